//! Large policy sets from a seed: estates as they might be, the same for every run and every peer.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a generator that meets a surprise is wrong, and whoever runs it should see"
)]

pub mod bank;
mod build;
pub mod corporate;
mod draw;
pub mod feeds;
pub mod internet;
pub mod nesting;

use classifier::packet::{Crossing, IpVersion, PacketKey, Side, Transport, protocol};
use classifier::resource::PolicySet;
use fastrand::Rng;

pub use self::draw::{Draw, Nets, zipf};

/// Outside to inside.
pub const INWARD: Crossing = Crossing::sides(Side::Outside, Side::Inside);
/// Inside to outside.
pub const OUTWARD: Crossing = Crossing::sides(Side::Inside, Side::Outside);
/// Between two inside ports: judged for both ends.
pub const ACROSS: Crossing = Crossing::sides(Side::Inside, Side::Inside);

/// A policy set, and what draws its traffic.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What a reader of its figures must know, if anything.
    pub note: Option<&'static str>,
    /// The policy.
    pub set: PolicySet,
    /// The way that most of its traffic takes.
    pub crossing: Crossing,
    /// Where sources are drawn from.
    pub sources: Nets,
    /// Where destinations, which are protected, are drawn from.
    pub destinations: Nets,
    /// How many of a hundred packets are IPv6, and how many UDP; the others are IPv4, and TCP.
    pub percent: Percent,
    /// Ports that rules name, and some that none does.
    pub ports: Vec<u16>,
}

/// Shares of a scenario's packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Percent {
    /// IPv6.
    pub v6: u8,
    /// UDP.
    pub udp: u8,
}

impl Scenario {
    /// Opening packets from `sources` to `destinations`.
    pub fn packets(&self, count: usize, draw: Draw, rng: &mut Rng) -> Vec<PacketKey> {
        (0..count)
            .map(|_| {
                let v6 = rng.u8(..100) < self.percent.v6;
                let version = if v6 { IpVersion::V6 } else { IpVersion::V4 };
                self.packet(version, draw, rng)
            })
            .collect()
    }

    /// The same, of one family.
    pub fn packets_of(
        &self,
        version: IpVersion,
        count: usize,
        draw: Draw,
        rng: &mut Rng,
    ) -> Vec<PacketKey> {
        (0..count).map(|_| self.packet(version, draw, rng)).collect()
    }

    fn packet(&self, version: IpVersion, draw: Draw, rng: &mut Rng) -> PacketKey {
        let udp = rng.u8(..100) < self.percent.udp;
        PacketKey {
            src: self.sources.address(version, draw, rng),
            dst: self.destinations.address(version, draw, rng),
            protocol: if udp { protocol::UDP } else { protocol::TCP },
            transport: Transport::Ports {
                src: rng.u16(1024..),
                dst: *draw::pick(&self.ports, Draw::Zipf, rng),
            },
        }
    }

    /// How many sets, prefixes, of these IPv6 ones, and rules there are.
    #[must_use]
    pub fn size(&self) -> Size {
        let nets = || self.set.objects.iter().flat_map(|object| &object.nets);
        let policies = self.set.policies.iter();
        Size {
            sets: self.set.objects.len(),
            prefixes: nets().count(),
            v6_prefixes: nets().filter(|net| net.addr().is_ipv6()).count(),
            rules: policies.map(|policy| policy.ingress.len() + policy.egress.len()).sum(),
        }
    }
}

/// How large a scenario is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Objects with labels and addresses.
    pub sets: usize,
    /// Prefixes of all of them.
    pub prefixes: usize,
    /// Those of IPv6.
    pub v6_prefixes: usize,
    /// Rules of all policies.
    pub rules: usize,
}

/// A scenario by its name.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// Makes it.
    pub make: fn() -> Scenario,
}

const SEED: u64 = 7;

/// The large scenarios, and two small ones to see growth from.
pub const CASES: [Case; 9] = [
    Case { name: "corporate-10-rules-small", make: || corporate::corporate(SEED, 0.001, 10) },
    Case { name: "corporate-10-rules", make: || corporate::corporate(SEED, 1.0, 10) },
    Case { name: "corporate-1k-rules", make: || corporate::corporate(SEED, 1.0, 1_000) },
    Case { name: "corporate-10k-rules", make: || corporate::corporate(SEED, 1.0, 10_000) },
    Case { name: "corporate-48k-rules", make: || corporate::corporate(SEED, 1.0, 50_000) },
    Case { name: "corporate-10k-rules-real", make: || corporate::corporate_for_real(SEED, 10_000) },
    Case { name: "bank", make: || bank::bank(SEED, 1.0) },
    Case { name: "feeds", make: || feeds::feeds(SEED, 1.0) },
    Case { name: "nesting", make: || nesting::nesting(SEED, 10_000, 100) },
];
