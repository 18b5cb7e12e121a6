//! Which end of a packet is behind the gateway.

use std::net::IpAddr;

use classifier::decision::{Half, Reason};
use classifier::image::View;
use classifier::packet::{Crossing, PacketKey, Place, Side, Transport, protocol};
use ipnet::IpNet;

use super::Judges;
use crate::commands::ports::Ends;

/// How the sides are told.
pub(super) enum Sides<'a> {
    /// Every packet comes in on this side.
    All(Side),
    /// These are inside.
    Inside(&'a [IpNet]),
    /// What some policy protects is inside.
    Protected(&'a Judges<'a>),
}

impl Sides<'_> {
    /// The side of all packets, if it was said.
    pub(super) fn of_all(&self) -> Option<Side> {
        match self {
            Self::All(side) => Some(*side),
            Self::Inside(_) | Self::Protected(_) => None,
        }
    }

    /// The way of a packet; `None` when it does not cross the gateway.
    ///
    /// When both ends are known to be inside, the gateway does not see the packet. When policy protects both, one of them
    /// may well be a peer outside: both directions are asked.
    pub(super) fn ends(&self, packet: &PacketKey) -> Option<Ends> {
        if let Self::All(side) = self {
            return Some(Ends::across(*side));
        }
        match (self.is_inside(packet.src), self.is_inside(packet.dst), self) {
            (false, true, _) => Some(Ends::across(Side::Outside)),
            (true, false, _) => Some(Ends::across(Side::Inside)),
            (true, true, Self::Protected(_)) => Some(Ends { from: Side::Inside, to: Side::Inside }),
            (true, true, _) | (false, false, _) => None,
        }
    }

    /// Whether an address is behind the gateway, where that can be said of addresses.
    pub(super) fn is_inside(&self, address: IpAddr) -> bool {
        match self {
            Self::All(side) => *side == Side::Inside,
            Self::Inside(nets) => nets.iter().any(|net| net.contains(&address)),
            Self::Protected(Judges { now, against, .. }) => {
                let mut judges = [Some(now), against.as_ref()].into_iter().flatten();
                judges.any(|judge| is_protected(&judge.view, address))
            }
        }
    }
}

/// Whether some policy applies to what covers the address, in either direction.
fn is_protected(view: &View<'_>, address: IpAddr) -> bool {
    const INSIDE: Place = Place::Port { side: Side::Inside, number: None };
    const WITHIN: [Crossing; 2] = [
        Crossing { from: Place::Gateway, to: INSIDE },
        Crossing { from: INSIDE, to: Place::Gateway },
    ];
    let packet = PacketKey {
        src: address,
        dst: address,
        protocol: protocol::TCP,
        transport: Transport::Opaque,
    };
    let [inward, outward] = WITHIN.map(|crossing| view.classify(&packet, crossing));
    [inward.ingress, outward.egress]
        .into_iter()
        .flatten()
        .any(|half: Half| !matches!(half.reason, Reason::Uncovered | Reason::Unselected))
}
