//! Large policy sets from a seed: estates as they might be, the same for every run and every peer.

pub(crate) mod corporate;
pub(crate) mod nesting;

use classifier::label::Labels;
use classifier::packet::{PacketKey, Transport, protocol};
use classifier::resource::{Action, Object, ObjectKind, Peer, PolicySet, PortRange, Rule};
use classifier::selector::Selector;
use fastrand::Rng;
use ipnet::{IpNet, Ipv4Net};

/// A scenario: the policy, and what draws its traffic.
pub(crate) struct Scenario {
    pub(crate) set: PolicySet,
    /// Prefixes that sources are drawn from.
    sources: Vec<Ipv4Net>,
    /// Prefixes that destinations, which are protected, are drawn from.
    destinations: Vec<Ipv4Net>,
    /// Ports that rules name.
    ports: Vec<u16>,
}

/// How often one prefix is drawn rather than another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draw {
    /// All alike.
    Even,
    /// Few very often, most seldom.
    Zipf,
}

impl Scenario {
    /// TCP openings from `sources` to `destinations`.
    pub(crate) fn packets(&self, count: usize, draw: Draw, rng: &mut Rng) -> Vec<PacketKey> {
        (0..count)
            .map(|_| PacketKey {
                src: address(*pick(&self.sources, draw, rng), rng).into(),
                dst: address(*pick(&self.destinations, draw, rng), rng).into(),
                protocol: protocol::TCP,
                transport: Transport::Ports {
                    src: rng.u16(1024..),
                    dst: *pick(&self.ports, Draw::Zipf, rng),
                },
            })
            .collect()
    }
}

fn pick<'a, T>(items: &'a [T], draw: Draw, rng: &mut Rng) -> &'a T {
    let at = match draw {
        Draw::Even => rng.usize(..items.len()),
        Draw::Zipf => zipf(items.len(), rng),
    };
    &items[at]
}

/// A rank below `count`, with a chance of about one in its number: the inverse of the continuous distribution.
fn zipf(count: usize, rng: &mut Rng) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rank far below 2^52"
    )]
    let rank = ((count as f64 + 1.0).ln() * rng.f64()).exp() as usize;
    rank.saturating_sub(1).min(count - 1)
}

fn address(net: Ipv4Net, rng: &mut Rng) -> std::net::Ipv4Addr {
    let host_bits = 32 - u32::from(net.prefix_len());
    let host = if host_bits == 0 { 0 } else { rng.u32(..) >> (32 - host_bits) };
    (u32::from(net.network()) | host).into()
}

fn network_set(name: &str, labels: &[(&str, &str)], nets: Vec<Ipv4Net>) -> Object {
    Object {
        labels: labels.iter().copied().collect::<Labels>(),
        nets: nets.into_iter().map(IpNet::from).collect(),
        ..Object::new(ObjectKind::GlobalNetworkSet, name)
    }
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).expect("a selector")
}

/// Allows TCP from what the selector matches to these ports.
fn allow(peer: &str, ports: &[u16]) -> Rule {
    let mut rule = Rule::new(Action::Allow);
    rule.protocol = Some(protocol::TCP);
    rule.source = from(peer);
    rule.destination = to_ports(ports);
    rule
}

fn from(text: &str) -> Peer {
    Peer { selector: Some(selector(text)), ..Peer::default() }
}

fn to_ports(ports: &[u16]) -> Peer {
    let range = |port: &u16| PortRange { first: *port, last: *port };
    Peer { ports: ports.iter().map(range).collect(), ..Peer::default() }
}
