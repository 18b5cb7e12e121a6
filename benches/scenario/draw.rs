//! Drawing: ranks, addresses, prefixes.

use std::net::IpAddr;

use classifier::packet::IpVersion;
use fastrand::Rng;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// How often one thing is drawn rather than another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Draw {
    /// All alike.
    Even,
    /// Few very often, most seldom.
    Zipf,
}

impl Draw {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Even, Self::Zipf];

    /// What tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Even => "uniform",
            Self::Zipf => "zipf",
        }
    }
}

/// Prefixes that addresses are drawn from, by family.
#[derive(Clone, Debug, Default)]
pub struct Nets {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

impl Nets {
    /// An address in one of the prefixes.
    pub fn address(&self, version: IpVersion, draw: Draw, rng: &mut Rng) -> IpAddr {
        match version {
            IpVersion::V4 => address(*pick(&self.v4, draw, rng), rng).into(),
            IpVersion::V6 => address6(*pick(&self.v6, draw, rng), rng).into(),
        }
    }

    /// In an order that has nothing to do with where they come from, and at most `count` of each family.
    pub(super) fn shuffle(&mut self, count: usize, rng: &mut Rng) {
        rng.shuffle(&mut self.v4);
        rng.shuffle(&mut self.v6);
        self.v4.truncate(count);
        self.v6.truncate(count);
    }
}

impl Extend<IpNet> for Nets {
    fn extend<T: IntoIterator<Item = IpNet>>(&mut self, nets: T) {
        for net in nets {
            match net {
                IpNet::V4(net) => self.v4.push(net),
                IpNet::V6(net) => self.v6.push(net),
            }
        }
    }
}

pub(super) fn pick<'a, T>(items: &'a [T], draw: Draw, rng: &mut Rng) -> &'a T {
    let at = match draw {
        Draw::Even => rng.usize(..items.len()),
        Draw::Zipf => zipf(items.len(), rng),
    };
    &items[at]
}

/// A rank below `count`, with a chance of about one in its number: the inverse of the continuous distribution.
pub fn zipf(count: usize, rng: &mut Rng) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rank far below 2^52"
    )]
    let rank = ((count as f64 + 1.0).ln() * rng.f64()).exp() as usize;
    rank.saturating_sub(1).min(count - 1)
}

/// So much of a count, at least 1.
pub(super) fn scaled(count: usize, scale: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "counts of a scenario"
    )]
    let scaled = (count as f64 * scale) as usize;
    scaled.max(1)
}

fn address(net: Ipv4Net, rng: &mut Rng) -> std::net::Ipv4Addr {
    let host_bits = 32 - u32::from(net.prefix_len());
    let host = if host_bits == 0 { 0 } else { rng.u32(..) >> (32 - host_bits) };
    (u32::from(net.network()) | host).into()
}

fn address6(net: Ipv6Net, rng: &mut Rng) -> std::net::Ipv6Addr {
    let host_bits = 128 - u32::from(net.prefix_len());
    let host = if host_bits == 0 { 0 } else { rng.u128(..) >> (128 - host_bits) };
    (u128::from(net.network()) | host).into()
}
