//! From peers and ports to rules: one for every pair of a protocol and a peer, as Calico makes them.

use classifier::packet::IpVersion;
use classifier::resource::{Action, Peer, Rule};
use ipnet::IpNet;

use super::ports::Ports;

/// Which way the packets go that a rule is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    /// The field that holds the rules.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// The field of a rule that holds its peers.
    pub(super) fn peers(self) -> &'static str {
        match self {
            Self::Ingress => "from",
            Self::Egress => "to",
        }
    }
}

/// Rules for packets to or from `peers` with a destination port of `ports`.
pub(super) fn rules(
    action: Action,
    direction: Direction,
    peers: &[Peer],
    ports: &[Ports],
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for ports in ports {
        for peer in peers {
            let mut rule = Rule { protocol: ports.protocol, ..Rule::new(action) };
            match direction {
                Direction::Ingress => rule.source = peer.clone(),
                Direction::Egress => rule.destination = peer.clone(),
            }
            rule.destination.ports.clone_from(&ports.ranges);
            rule.destination.named_ports.clone_from(&ports.names);
            rules.push(rule);
        }
    }
    rules
}

/// A peer for each family of the networks: a rule holds one.
pub(super) fn peers_of(nets: &[IpNet]) -> Vec<Peer> {
    let families = [IpVersion::V4, IpVersion::V6].map(|family| {
        let of_family = |net: &&IpNet| IpVersion::of(net.addr()) == family;
        nets.iter().filter(of_family).copied().collect::<Vec<IpNet>>()
    });
    let present = families.into_iter().filter(|nets| !nets.is_empty());
    present.map(|nets| Peer { nets, ..Peer::default() }).collect()
}
