//! The policy model as claims, each for IPv4 and IPv6 where a family is in question.

mod gateway;
mod governing;
mod matching;
mod named_ports;
mod order;
mod protection;
mod services;
mod staged;
mod transit;

use std::net::IpAddr;

use ipnet::IpNet;

use super::evaluate;
use crate::decision::{Decision, Direction, Half, Reason, RuleRef, Verdict};
use crate::packet::{Crossing, IpVersion, PacketKey, Place, Side, Transport, protocol};
use crate::resource::{
    Action, GatewayPort, Hook, IcmpMatch, InterfaceEndpoint, InterfaceMatch, Object, ObjectKind,
    Peer, Policy, PolicySet, PortRange, Rule, Tier, TierAction,
};
use crate::selector::Selector;

const IN: Crossing = Crossing::sides(Side::Outside, Side::Inside);
const OUT: Crossing = Crossing::sides(Side::Inside, Side::Outside);
const ACROSS: Crossing = Crossing::sides(Side::Inside, Side::Inside);
const AWAY: Crossing = Crossing::sides(Side::Outside, Side::Outside);

/// Two ports of the gateway that face away from the protected things: nothing but endpoints is asked between them.
const WAN0: Place = Place::Port { side: Side::Outside, number: Some(0) };
const WAN1: Place = Place::Port { side: Side::Outside, number: Some(1) };
const THROUGH: Crossing = Crossing { from: WAN0, to: WAN1 };
const TO_GATEWAY: Crossing = Crossing { from: WAN0, to: Place::Gateway };
const FROM_GATEWAY: Crossing = Crossing { from: Place::Gateway, to: WAN1 };

/// The same places in one family.
struct Lab {
    family: IpVersion,
    /// A protected address, in `rack` and `site`.
    server: IpAddr,
    /// An address outside.
    client: IpAddr,
    /// An address of no object.
    stranger: IpAddr,
    rack: &'static str,
    site: &'static str,
    clients: &'static str,
    everything: &'static str,
}

/// The lab in both families.
fn labs() -> [Lab; 2] {
    let address = |text: &str| text.parse().unwrap();
    [
        Lab {
            family: IpVersion::V4,
            server: address("198.18.70.1"),
            client: address("198.19.0.1"),
            stranger: address("198.19.255.255"),
            rack: "198.18.70.0/24",
            site: "198.18.0.0/16",
            clients: "198.19.0.0/24",
            everything: "0.0.0.0/0",
        },
        Lab {
            family: IpVersion::V6,
            server: address("2001:2:0:70::1"),
            client: address("2001:2:0:f0::1"),
            stranger: address("2001:2:0:ff::1"),
            rack: "2001:2:0:70::/64",
            site: "2001:2::/57",
            clients: "2001:2:0:f0::/64",
            everything: "::/0",
        },
    ]
}

impl Lab {
    /// A TCP packet from the client to port 443 of the server.
    fn packet(&self) -> PacketKey {
        PacketKey {
            src: self.client,
            dst: self.server,
            protocol: protocol::TCP,
            transport: Transport::Ports { src: 40_000, dst: 443 },
        }
    }

    /// A set where `rack` is protected and `clients` is a peer.
    fn set(&self, policies: impl IntoIterator<Item = Policy>) -> PolicySet {
        PolicySet {
            policies: policies.into_iter().collect(),
            objects: vec![
                object("rack", &[("role", "server")], &[self.rack]),
                object("clients", &[("role", "client")], &[self.clients]),
            ],
            ..PolicySet::new()
        }
    }

    /// A set of a gateway with two ports, `h0` on the first and `h1` on the second.
    fn gateway(&self, policies: impl IntoIterator<Item = Policy>) -> PolicySet {
        PolicySet {
            interfaces: vec![named("h0", "wan0"), named("h1", "wan1")],
            ports: vec![gateway_port("wan0", &[]), gateway_port("wan1", &[])],
            ..self.set(policies)
        }
    }

    /// Whether a rule like this one matches `packet` on its way to the server.
    fn matches(&self, packet: &PacketKey, change: impl FnOnce(&mut Rule)) -> bool {
        let mut rule = Rule::new(Action::Allow);
        change(&mut rule);
        let set = self.set([ingress("p", [rule])]);
        evaluate(&set, packet, IN).verdict() == Verdict::Allow
    }
}

fn object(name: &str, labels: &[(&str, &str)], nets: &[&str]) -> Object {
    Object {
        kind: ObjectKind::GlobalNetworkSet,
        name: name.to_owned(),
        labels: labels.iter().copied().collect(),
        nets: networks(nets),
        ..Object::new(ObjectKind::GlobalNetworkSet, "")
    }
}

fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

/// An endpoint of the interface of that name, which policies find by `h`.
fn named(name: &str, interface: &str) -> InterfaceEndpoint {
    endpoint(name, InterfaceMatch::Name(interface.to_owned()))
}

fn endpoint(name: &str, interface: InterfaceMatch) -> InterfaceEndpoint {
    let labels = [("h", name)].into_iter().collect();
    InterfaceEndpoint { name: name.to_owned(), interface, labels, profiles: Vec::new() }
}

fn gateway_port(interface: &str, addresses: &[&str]) -> GatewayPort {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    GatewayPort { interface: interface.to_owned(), addresses }
}

/// The same policy, for an endpoint and at a hook.
fn at(hook: Hook, endpoint: &str, policy: Policy) -> Policy {
    Policy { hook, selector: selector(&format!("h == '{endpoint}'")), ..policy }
}

fn allow() -> Rule {
    Rule::new(Action::Allow)
}

fn deny() -> Rule {
    Rule::new(Action::Deny)
}

fn log() -> Rule {
    Rule::new(Action::Log)
}

fn pass() -> Rule {
    Rule::new(Action::Pass)
}

/// A rule that no TCP packet matches.
fn other() -> Rule {
    Rule { protocol: Some(protocol::UDP), ..Rule::new(Action::Allow) }
}

/// A policy of the default tier for what has `role == 'server'`, on packets towards it.
fn ingress(name: &str, rules: impl IntoIterator<Item = Rule>) -> Policy {
    Policy {
        name: name.to_owned(),
        tier: Tier::DEFAULT.to_owned(),
        order: None,
        selector: selector("role == 'server'"),
        applies_ingress: true,
        applies_egress: false,
        ingress: rules.into_iter().collect(),
        egress: Vec::new(),
        ..Policy::new("")
    }
}

/// The same on packets from it.
fn egress(name: &str, rules: impl IntoIterator<Item = Rule>) -> Policy {
    Policy {
        applies_ingress: false,
        applies_egress: true,
        egress: rules.into_iter().collect(),
        ..ingress(name, [])
    }
}

fn tier(name: &str, order: Option<f64>, default_action: TierAction) -> Tier {
    Tier { name: name.to_owned(), order, default_action }
}

fn port(port: u16) -> PortRange {
    PortRange { first: port, last: port }
}

/// The decision of the only direction that was asked.
fn only_half(decision: Decision) -> Half {
    decision.egress.xor(decision.ingress).expect("one direction")
}

fn ingress_reason(set: &PolicySet, packet: &PacketKey) -> Reason {
    evaluate(set, packet, IN).ingress.expect("ingress was asked").reason
}

fn ingress_rule(policy: u32, rule: u32) -> Reason {
    Reason::Rule(RuleRef { policy, direction: Direction::Ingress, rule })
}

fn egress_rule(policy: u32, rule: u32) -> Reason {
    Reason::Rule(RuleRef { policy, direction: Direction::Egress, rule })
}

/// What was said, and why, of each checkpoint that was asked: entry, egress, ingress, exit.
fn reasons(decision: Decision) -> Vec<(Verdict, Reason)> {
    decision.halves().map(|(_, half)| (half.verdict, half.reason)).collect()
}
