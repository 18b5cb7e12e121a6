//! The policy that all scenarios are tried under: new connections to TCP port 80, questions to UDP port 53 and echo requests
//! may come in. What belongs to a flow follows it. Nothing else.

use std::sync::Arc;

use classifier::compile::{Limits, compile};
use classifier::image::Image;
use classifier::packet::protocol;
use classifier::resource::{
    Action, IcmpMatch, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule,
};
use classifier::selector::Selector;

/// What is behind each port, in both families.
pub(crate) const NETWORKS: [[&str; 2]; 2] =
    [["198.18.0.0/16", "2001:2:0:a::/64"], ["198.19.0.0/16", "2001:2:0:b::/64"]];

/// The policy, compiled.
pub(crate) fn reference() -> Arc<Image> {
    let mut set = PolicySet::new();
    set.objects.push(Object {
        labels: [("role", "server")].into_iter().collect(),
        nets: NETWORKS[1].iter().map(|net| net.parse().unwrap()).collect(),
        ..Object::new(ObjectKind::GlobalNetworkSet, "servers")
    });
    set.policies.push(Policy {
        tier: "default".to_owned(),
        order: Some(1.0),
        selector: Selector::parse("role == 'server'").unwrap(),
        applies_ingress: true,
        applies_egress: true,
        ingress: vec![
            to_port(protocol::TCP, 80),
            to_port(protocol::UDP, 53),
            echo(protocol::ICMP, 8),
            echo(protocol::ICMPV6, 128),
        ],
        ..Policy::new("reference")
    });
    Arc::new(compile(&set, 1, &Limits::default()).unwrap())
}

fn to_port(protocol: u8, port: u16) -> Rule {
    let ports = vec![PortRange { first: port, last: port }];
    let destination = Peer { ports, ..Peer::default() };
    Rule { protocol: Some(protocol), destination, ..Rule::new(Action::Allow) }
}

fn echo(protocol: u8, kind: u8) -> Rule {
    let icmp = Some(IcmpMatch { kind, code: None });
    Rule { protocol: Some(protocol), icmp, ..Rule::new(Action::Allow) }
}
