//! What is asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use classifier::packet::{PacketKey, Transport, protocol};
use classifier::resource::{Object, PolicySet};
use classifier::selector::{Expr, Selector};
use fastrand::Rng;
use ipnet::IpNet;

use super::Question;
use crate::scenario::{ACROSS, Draw, INWARD, OUTWARD, Scenario};

/// Objects that are tried until one is selected.
const ATTEMPTS: usize = 64;

/// Questions about the estate's own traffic, back and forth and across, and about the first and last addresses of nets and
/// their neighbours, with protocols that rules do not name; and about what some rule, drawn at random, is about.
pub fn questions(scenario: &Scenario, count: usize, rng: &mut Rng) -> Vec<Question> {
    let aim = Aim::at(&scenario.set);
    let edges: Vec<IpAddr> = (0..count).filter_map(|_| edge(&scenario.set.objects, rng)).collect();
    let draw = |number: usize| if number.is_multiple_of(2) { Draw::Even } else { Draw::Zipf };
    let drawn = (0..count).flat_map(|number| scenario.packets(1, draw(number), rng));
    let drawn: Vec<PacketKey> = drawn.collect();
    drawn
        .into_iter()
        .enumerate()
        .map(|(number, packet)| match number % 16 {
            0..5 => (packet, INWARD),
            5 | 6 => (turned(packet), OUTWARD),
            7 | 8 => (packet, ACROSS),
            9..14 => aim.at_some_rule(packet, rng),
            14 => (at_edge(packet, &edges, rng), INWARD),
            _ => (at_edge(strange(packet, rng), &edges, rng), ACROSS),
        })
        .collect()
}

/// Makes packets that a rule is about: of random ones few meet the rules that name one application.
struct Aim<'a> {
    set: &'a PolicySet,
    /// Positions of the objects that carry a label.
    carriers: BTreeMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Aim<'a> {
    fn at(set: &'a PolicySet) -> Self {
        let mut carriers: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (position, object) in set.objects.iter().enumerate() {
            for (name, value) in &object.labels {
                carriers.entry((name.as_str(), value.as_str())).or_default().push(position);
            }
        }
        Self { set, carriers }
    }

    /// From, or to, something that the policy of the rule protects; the other end, protocol and port are what the rule names.
    /// Where nothing is found, the packet stays what it is.
    fn at_some_rule(&self, packet: PacketKey, rng: &mut Rng) -> Question {
        let v6 = packet.src.is_ipv6();
        let Some(policy) = rng.choice(&self.set.policies) else { return (packet, INWARD) };
        let inward = policy.egress.is_empty() || rng.bool();
        let rules = if inward { &policy.ingress } else { &policy.egress };
        let Some(rule) = rng.choice(rules) else { return (packet, INWARD) };
        let own = self.address(&policy.selector, v6, rng).unwrap_or(packet.dst);
        let peer = if inward { &rule.source } else { &rule.destination };
        let other = match &peer.selector {
            Some(selector) => self.address(selector, v6, rng),
            None => rng.choice(&peer.nets).map(IpNet::network),
        };
        let other = other.filter(|other| other.is_ipv6() == v6).unwrap_or(packet.src);
        let transport = match (packet.transport, rng.choice(&rule.destination.ports)) {
            (Transport::Ports { src, .. }, Some(range)) => {
                Transport::Ports { src, dst: range.last }
            }
            (transport, _) => transport,
        };
        let (src, dst) = if inward { (other, own) } else { (own, other) };
        let protocol = rule.protocol.unwrap_or(packet.protocol);
        let crossing = match (rng.u8(..4), inward) {
            (0, _) => ACROSS,
            (_, true) => INWARD,
            (_, false) => OUTWARD,
        };
        (PacketKey { src, dst, protocol, transport }, crossing)
    }

    /// An address of an object that is selected, if a few attempts find one.
    fn address(&self, selector: &Selector, v6: bool, rng: &mut Rng) -> Option<IpAddr> {
        let named = equals(selector.expr()).and_then(|label| self.carriers.get(&label));
        for _ in 0..ATTEMPTS {
            let object = match named {
                Some(carriers) => self.set.objects.get(*rng.choice(carriers)?)?,
                None => rng.choice(&self.set.objects)?,
            };
            let net = rng.choice(&object.nets).filter(|net| net.addr().is_ipv6() == v6);
            if let Some(net) = net.filter(|_| selector.matches(&object.labels)) {
                return Some(if rng.bool() { net.network() } else { net.broadcast() });
            }
        }
        None
    }
}

/// Some label that the selector asks for.
fn equals(expr: &Expr) -> Option<(&str, &str)> {
    match expr {
        Expr::Equal(name, value) => Some((name, value)),
        Expr::And(operands) => operands.iter().find_map(equals),
        Expr::All
        | Expr::Global
        | Expr::Has(_)
        | Expr::NotEqual(..)
        | Expr::Contains(..)
        | Expr::StartsWith(..)
        | Expr::EndsWith(..)
        | Expr::In(..)
        | Expr::NotIn(..)
        | Expr::Not(_)
        | Expr::Or(_) => None,
    }
}

/// The first or last address of some net, or its neighbour outside.
fn edge(objects: &[Object], rng: &mut Rng) -> Option<IpAddr> {
    let object = rng.choice(objects)?;
    let net = rng.choice(&object.nets)?;
    let (first, last) = (net.network(), net.broadcast());
    Some(match rng.u8(..4) {
        0 => first,
        1 => last,
        2 => stepped(first, false),
        _ => stepped(last, true),
    })
}

fn stepped(address: IpAddr, up: bool) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let bits = u32::from(address);
            IpAddr::V4(if up { bits.wrapping_add(1) } else { bits.wrapping_sub(1) }.into())
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            IpAddr::V6(if up { bits.wrapping_add(1) } else { bits.wrapping_sub(1) }.into())
        }
    }
}

/// The same packet from an edge of its family, or to one.
fn at_edge(packet: PacketKey, edges: &[IpAddr], rng: &mut Rng) -> PacketKey {
    let Some(&edge) = rng.choice(edges) else { return packet };
    if edge.is_ipv4() != packet.src.is_ipv4() {
        return packet;
    }
    if rng.bool() { PacketKey { src: edge, ..packet } } else { PacketKey { dst: edge, ..packet } }
}

fn turned(packet: PacketKey) -> PacketKey {
    PacketKey { src: packet.dst, dst: packet.src, ..packet }
}

/// Not TCP, and mostly nothing with ports.
fn strange(packet: PacketKey, rng: &mut Rng) -> PacketKey {
    let icmp = if packet.src.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
    let (protocol, transport) = match rng.u8(..4) {
        0 => (icmp, Transport::Icmp { kind: rng.u8(..20), code: 0 }),
        1 => (protocol::SCTP, packet.transport),
        2 => (protocol::UDP, packet.transport),
        _ => (47, Transport::Opaque),
    };
    PacketKey { protocol, transport, ..packet }
}
