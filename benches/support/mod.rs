//! Inputs that the benches share, from fixed numbers: the same policy for every run and every peer.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "an input that meets a surprise is wrong, and whoever runs it should see"
)]

pub mod meter;
pub mod steps;

use classifier::label::Labels;
use classifier::packet::protocol;
use classifier::resource::{
    Action, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule, Tier,
};
use classifier::selector::Selector;

/// Destination port of the allowed traffic, matched by the last rule of every policy.
pub const ALLOWED_PORT: u16 = 5000;

/// One protected rack, one allowed source, and `rules` rules that the traffic walks: all but the last name a port that
/// it does not use.
pub fn policy_set(rules: u16) -> PolicySet {
    let mut set = PolicySet::new();
    set.objects.push(network_set("source", &["198.18.0.0/16", "2001:2:0::/48"]));
    set.objects.push(network_set("rack", &["198.19.0.0/16", "2001:2:1::/48"]));
    let ports = (1..rules).map(|n| 20_000 + n).chain([ALLOWED_PORT]);
    set.policies.push(Policy {
        name: "rack-ingress".to_owned(),
        tier: Tier::DEFAULT.to_owned(),
        order: Some(100.0),
        selector: selector("role == 'rack'"),
        applies_ingress: true,
        applies_egress: false,
        ingress: ports.map(allow_udp).collect(),
        egress: Vec::new(),
        ..Policy::new("")
    });
    set
}

fn network_set(role: &str, nets: &[&str]) -> Object {
    Object {
        kind: ObjectKind::GlobalNetworkSet,
        name: role.to_owned(),
        labels: Labels::from_iter([("role", role)]),
        nets: nets.iter().map(|net| net.parse().expect("a net")).collect(),
        ..Object::new(ObjectKind::GlobalNetworkSet, "")
    }
}

fn allow_udp(port: u16) -> Rule {
    let mut rule = Rule::new(Action::Allow);
    rule.protocol = Some(protocol::UDP);
    rule.source.selector = Some(selector("role == 'source'"));
    rule.destination =
        Peer { ports: vec![PortRange { first: port, last: port }], ..Peer::default() };
    rule
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).expect("a selector")
}
