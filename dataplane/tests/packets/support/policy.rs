//! Small policies over one rack behind the gateway, compiled to images.

use std::sync::Arc;

use classifier::compile::{Limits, compile};
use classifier::image::Image;
use classifier::packet::protocol;
use classifier::resource::{
    Action, GatewayPort, Hook, InterfaceEndpoint, InterfaceMatch, Object, ObjectKind, Peer, Policy,
    PolicySet, PortRange, Rule,
};
use classifier::selector::Selector;

/// A server in the rack, and a client outside, in both families.
pub(crate) const SERVER: [&str; 2] = ["198.18.70.9", "2001:2:0:70::9"];
pub(crate) const CLIENT: [&str; 2] = ["198.18.10.1", "2001:2:0:10::1"];

/// An image that allows nothing.
pub(crate) fn closed(generation: u64) -> Arc<Image> {
    image(generation, Vec::new(), Vec::new())
}

/// An image that allows these rules towards the rack and nothing from it.
pub(crate) fn ingress(generation: u64, rules: Vec<Rule>) -> Arc<Image> {
    image(generation, rules, Vec::new())
}

/// An image with these rules towards the rack and from it, and nothing beyond them.
pub(crate) fn image(generation: u64, ingress: Vec<Rule>, egress: Vec<Rule>) -> Arc<Image> {
    compiled(&rack(ingress, egress), generation)
}

/// What a set compiles to.
pub(crate) fn compiled(set: &PolicySet, generation: u64) -> Arc<Image> {
    Arc::new(compile(set, generation, &Limits::default()).unwrap())
}

/// A rack, and one policy with these rules for it.
pub(crate) fn rack(ingress: Vec<Rule>, egress: Vec<Rule>) -> PolicySet {
    let mut set = PolicySet::new();
    set.objects.push(Object {
        kind: ObjectKind::GlobalNetworkSet,
        name: "rack".to_owned(),
        labels: [("role", "server")].into_iter().collect(),
        nets: vec!["198.18.70.0/24".parse().unwrap(), "2001:2:0:70::/64".parse().unwrap()],
        ..Object::new(ObjectKind::GlobalNetworkSet, "")
    });
    set.policies.push(Policy {
        name: "rack".to_owned(),
        tier: "default".to_owned(),
        order: Some(1.0),
        selector: Selector::parse("role == 'server'").unwrap(),
        applies_ingress: true,
        applies_egress: true,
        ingress,
        egress,
        ..Policy::new("")
    });
    set
}

/// A host endpoint on the outer port, and a policy of the hook that selects it, with these rules for what enters there.
pub(crate) fn guard_outer_port(set: &mut PolicySet, hook: Hook, ingress: Vec<Rule>) {
    set.ports = INTERFACES
        .map(|name| GatewayPort { interface: name.to_owned(), addresses: Vec::new() })
        .into();
    set.interfaces = vec![InterfaceEndpoint {
        name: "outer".to_owned(),
        interface: InterfaceMatch::Name(INTERFACES[0].to_owned()),
        labels: [("port", "outer")].into_iter().collect(),
        profiles: Vec::new(),
    }];
    set.policies.push(Policy {
        selector: Selector::parse("port == 'outer'").unwrap(),
        hook,
        applies_ingress: true,
        ingress,
        ..Policy::new("outer")
    });
}

/// The interfaces of ports A and B.
pub(crate) const INTERFACES: [&str; 2] = ["eth-out", "eth-in"];

/// Allows every packet.
pub(crate) fn anything() -> Rule {
    Rule::new(Action::Allow)
}

/// Allows what goes to one of these ports.
pub(crate) fn to_ports(protocol: u8, ports: impl IntoIterator<Item = u16>) -> Rule {
    let ports = ports.into_iter().map(|port| PortRange { first: port, last: port }).collect();
    let destination = Peer { ports, ..Peer::default() };
    Rule { protocol: Some(protocol), destination, ..anything() }
}

/// Allows one protocol.
pub(crate) fn of_protocol(protocol: u8) -> Rule {
    Rule { protocol: Some(protocol), ..anything() }
}

/// Allows what the tests use as allowed: SSH, DNS, SCTP, GRE and ping, but no other ICMP.
pub(crate) fn services() -> Vec<Rule> {
    let ping = |protocol, kind| Rule {
        icmp: Some(classifier::resource::IcmpMatch { kind, code: None }),
        ..of_protocol(protocol)
    };
    vec![
        to_ports(protocol::TCP, [22]),
        to_ports(protocol::UDP, [53]),
        to_ports(protocol::SCTP, [2905]),
        of_protocol(47),
        ping(protocol::ICMP, 8),
        ping(protocol::ICMPV6, 128),
    ]
}
