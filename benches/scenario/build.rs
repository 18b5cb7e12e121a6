//! Short words for resources.

use classifier::label::Labels;
use classifier::packet::protocol;
use classifier::resource::{Action, Object, ObjectKind, Peer, Policy, PortRange, Rule};
use classifier::selector::Selector;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub(super) fn net(at: u32, length: u8) -> IpNet {
    Ipv4Net::new(at.into(), length).expect("a length up to 32").trunc().into()
}

pub(super) fn net6(at: u128, length: u8) -> IpNet {
    Ipv6Net::new(at.into(), length).expect("a length up to 128").trunc().into()
}

pub(super) fn network_set(name: &str, labels: &[(&str, &str)], nets: Vec<IpNet>) -> Object {
    object(ObjectKind::GlobalNetworkSet, name, labels, nets)
}

pub(super) fn object(
    kind: ObjectKind,
    name: &str,
    labels: &[(&str, &str)],
    nets: Vec<IpNet>,
) -> Object {
    let labels = labels.iter().copied().collect::<Labels>();
    Object { labels, nets, ..Object::new(kind, name) }
}

pub(super) fn selector(text: &str) -> Selector {
    Selector::parse(text).expect("a selector")
}

/// Allows TCP from what the selector matches to these ports.
pub(super) fn allow(peer: &str, ports: &[u16]) -> Rule {
    let mut rule = Rule::new(Action::Allow);
    rule.protocol = Some(protocol::TCP);
    rule.source = matching(peer);
    rule.destination = to_ports(ports);
    rule
}

/// Denies everything from what the selector matches.
pub(super) fn deny(peer: &str) -> Rule {
    let mut rule = Rule::new(Action::Deny);
    rule.source = matching(peer);
    rule
}

pub(super) fn matching(text: &str) -> Peer {
    Peer { selector: Some(selector(text)), ..Peer::default() }
}

pub(super) fn to_ports(ports: &[u16]) -> Peer {
    let range = |port: &u16| PortRange { first: *port, last: *port };
    Peer { ports: ports.iter().map(range).collect(), ..Peer::default() }
}

/// A policy of what may come in to what the selector matches.
pub(super) fn ingress(name: &str, tier: &str, protects: &str, ingress: Vec<Rule>) -> Policy {
    Policy {
        tier: tier.to_owned(),
        order: Some(100.0),
        selector: selector(protects),
        applies_ingress: true,
        ingress,
        ..Policy::new(name)
    }
}
