//! All packets that a policy set may tell apart, one for each cell between the numbers that its rules name.

use std::net::IpAddr;

use classifier::packet::{IpVersion, PacketKey, Transport, protocol};
use classifier::resource::{Peer, PolicySet, PortRange, Rule};

use crate::generate::rules_of;

/// What stands behind the IP header, for every cell of both families.
pub(crate) struct Cells {
    v4: Vec<(u8, Transport)>,
    v6: Vec<(u8, Transport)>,
}

impl Cells {
    /// The cells between the numbers in the rules of all `sets`, and in what gives names to ports.
    pub(crate) fn of(sets: &[&PolicySet]) -> Self {
        let rules: Vec<&Rule> = sets.iter().flat_map(|set| rules_of(set)).collect();
        let mut known: Vec<PortRange> = sets.iter().flat_map(|set| known_ports(set)).collect();
        known.sort_unstable();
        known.dedup();
        Self {
            v4: cells(&rules, &known, protocol::ICMP),
            v6: cells(&rules, &known, protocol::ICMPV6),
        }
    }

    pub(crate) fn packets(
        &self,
        src: IpAddr,
        dst: IpAddr,
    ) -> impl ExactSizeIterator<Item = PacketKey> {
        let cells = match IpVersion::of(src) {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        };
        cells.iter().map(move |(protocol, transport)| PacketKey {
            src,
            dst,
            protocol: *protocol,
            transport: *transport,
        })
    }
}

/// Ports that have a name or serve: names and services stand for them.
fn known_ports(set: &PolicySet) -> impl Iterator<Item = PortRange> {
    let named = set.objects.iter().flat_map(|object| &object.ports).map(|named| named.port);
    let endpoints = set.services.iter().flat_map(|service| &service.endpoints);
    let served = endpoints.flat_map(|endpoint| &endpoint.ports).map(|(_, port)| *port);
    named.chain(served).map(|port| PortRange { first: port, last: port })
}

fn cells(rules: &[&Rule], known: &[PortRange], icmp: u8) -> Vec<(u8, Transport)> {
    let ends = |range: &PortRange| [u32::from(range.first), u32::from(range.last) + 1];
    let cut = |of: fn(&Rule) -> &Peer| {
        let peers = || rules.iter().map(|rule| of(rule));
        let listed = peers().flat_map(|peer| peer.ports.iter().chain(&peer.not_ports));
        let asks_for_names = peers().any(|peer| {
            peer.service.is_some()
                || !peer.named_ports.is_empty()
                || !peer.not_named_ports.is_empty()
        });
        let known = known.iter().filter(|_| asks_for_names);
        cuts(listed.chain(known).flat_map(ends))
    };
    let sources = cut(|rule| &rule.source);
    let destinations = cut(|rule| &rule.destination);
    let messages = rules.iter().flat_map(|rule| [rule.icmp, rule.not_icmp]).flatten();
    let kinds = cuts(messages.clone().flat_map(|m| [m.kind.into(), u32::from(m.kind) + 1]));
    let codes = messages.filter_map(|message| message.code);
    let codes = cuts(codes.flat_map(|code| [code.into(), u32::from(code) + 1]));
    let ports = [protocol::TCP, protocol::UDP, protocol::SCTP];
    let mut cells = Vec::new();
    for number in ports {
        for src in &sources {
            cells.extend(
                destinations.iter().map(|dst| (number, Transport::Ports { src: *src, dst: *dst })),
            );
        }
    }
    let bytes = |cuts: Vec<u16>| cuts.into_iter().filter_map(|cut| u8::try_from(cut).ok());
    for kind in bytes(kinds) {
        let codes = bytes(codes.clone());
        cells.extend(codes.map(|code| (icmp, Transport::Icmp { kind, code })));
    }
    let others = (0..=255).filter(|number| !ports.contains(number) && *number != icmp);
    cells.extend(others.map(|number| (number, Transport::Opaque)));
    cells
}

/// The least number of every interval.
fn cuts(numbers: impl Iterator<Item = u32>) -> Vec<u16> {
    let mut cuts: Vec<u16> =
        numbers.chain([0]).filter_map(|number| u16::try_from(number).ok()).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}
