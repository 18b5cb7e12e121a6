//! Small policies over the servers behind port B.

use std::sync::Arc;

use classifier::compile::{Limits, compile};
use classifier::image::Image;
use classifier::packet::protocol;
use classifier::resource::{
    Action, GatewayPort, Hook, IcmpMatch, InterfaceEndpoint, InterfaceMatch, Object, ObjectKind,
    Peer, Policy, PolicySet, PortRange, Rule,
};
use classifier::selector::Selector;

/// TCP to port 80, UDP to port 53 and echo requests may come in; nothing else, and nothing out.
pub(crate) fn reference(generation: u64) -> Arc<Image> {
    let ingress = vec![
        to_port(protocol::TCP, 80),
        to_port(protocol::UDP, 53),
        echo(protocol::ICMP, 8),
        echo(protocol::ICMPV6, 128),
    ];
    image(generation, ingress, Vec::new())
}

/// Nothing may pass.
pub(crate) fn closed(generation: u64) -> Arc<Image> {
    image(generation, Vec::new(), Vec::new())
}

/// Everything may pass, both ways.
pub(crate) fn open(generation: u64) -> Arc<Image> {
    let all = || vec![Rule::new(Action::Allow)];
    image(generation, all(), all())
}

/// Everything may pass, but for these rules of a gateway's interface, for what comes in by it.
pub(crate) fn guarded(generation: u64, interface: &str, rules: Vec<Rule>) -> Arc<Image> {
    let all = || vec![Rule::new(Action::Allow)];
    let mut set = servers(all(), all());
    set.ports = ["outside", "inside"]
        .map(|name| GatewayPort { interface: name.to_owned(), addresses: Vec::new() })
        .into();
    set.interfaces = vec![InterfaceEndpoint {
        name: "guarded".to_owned(),
        interface: InterfaceMatch::Name(interface.to_owned()),
        labels: [("port", "guarded")].into_iter().collect(),
        profiles: Vec::new(),
    }];
    set.policies.push(Policy {
        selector: Selector::parse("port == 'guarded'").unwrap(),
        hook: Hook::Forward,
        applies_ingress: true,
        ingress: rules,
        ..Policy::new("guard")
    });
    compiled(&set, generation)
}

/// These rules for what comes to the servers and what leaves them.
pub(crate) fn image(generation: u64, ingress: Vec<Rule>, egress: Vec<Rule>) -> Arc<Image> {
    compiled(&servers(ingress, egress), generation)
}

fn compiled(set: &PolicySet, generation: u64) -> Arc<Image> {
    Arc::new(compile(set, generation, &Limits::default()).unwrap())
}

fn servers(ingress: Vec<Rule>, egress: Vec<Rule>) -> PolicySet {
    let mut set = PolicySet::new();
    set.objects.push(Object {
        labels: [("role", "server")].into_iter().collect(),
        nets: ["198.19.0.0/16", "2001:2:0:b::/64"].map(|net| net.parse().unwrap()).into(),
        ..Object::new(ObjectKind::GlobalNetworkSet, "servers")
    });
    set.policies.push(Policy {
        tier: "default".to_owned(),
        order: Some(1.0),
        selector: Selector::parse("role == 'server'").unwrap(),
        applies_ingress: true,
        applies_egress: true,
        ingress,
        egress,
        ..Policy::new("servers")
    });
    set
}

/// Allows what goes to this port.
pub(crate) fn to_port(protocol: u8, port: u16) -> Rule {
    let ports = vec![PortRange { first: port, last: port }];
    let destination = Peer { ports, ..Peer::default() };
    Rule { protocol: Some(protocol), destination, ..Rule::new(Action::Allow) }
}

fn echo(protocol: u8, kind: u8) -> Rule {
    let icmp = Some(IcmpMatch { kind, code: None });
    Rule { protocol: Some(protocol), icmp, ..Rule::new(Action::Allow) }
}
