//! Exact sets of packets between two classes of addresses: unions of disjoint bricks.
//!
//! A brick is an interval of protocols times an interval of source ports (or ICMP types) times an interval of destination
//! ports (or ICMP codes). Cutting one brick out of another leaves at most six, so sets stay finite and exact.

use super::block::{Block, blocks};
use crate::packet::{IpVersion, PacketKey, Transport, protocol};

/// Numbers `first..=last`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span {
    /// The first.
    pub first: u16,
    /// The last, not below `first`.
    pub last: u16,
}

impl Span {
    /// Every port.
    pub const PORTS: Self = Self { first: 0, last: u16::MAX };
    /// Every protocol, ICMP type or ICMP code.
    pub const BYTES: Self = Self { first: 0, last: 255 };
    /// The one value of what a packet does not have.
    pub(super) const NOTHING: Self = Self { first: 0, last: 0 };

    pub(super) fn one(number: impl Into<u16>) -> Self {
        let number = number.into();
        Self { first: number, last: number }
    }

    fn intersection(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }

    fn contains(self, number: u16) -> bool {
        self.first <= number && number <= self.last
    }
}

/// What stands behind the IP header, as `Transport` has it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Form {
    /// Ports: the axes are source and destination port.
    Ports,
    /// ICMP or `ICMPv6`: the axes are type and code.
    Icmp,
    /// Any other protocol: the axes are not used.
    Opaque,
}

/// Protocols times two axes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Brick {
    pub(super) form: Form,
    /// Protocol; source port or type; destination port or code.
    pub(super) sides: [Span; 3],
}

impl Brick {
    fn intersection(&self, other: &Self) -> Option<Self> {
        let [protocol, first, second] = self.sides;
        let [a, b, c] = other.sides;
        let sides = [protocol.intersection(a)?, first.intersection(b)?, second.intersection(c)?];
        (self.form == other.form).then_some(Self { form: self.form, sides })
    }

    fn with(mut self, axis: usize, span: Span) -> Self {
        if let Some(side) = self.sides.get_mut(axis) {
            *side = span;
        }
        self
    }

    /// Puts what is left of this without `hole` into `rest`.
    fn cut_out(&self, hole: &Self, rest: &mut Vec<Self>) {
        let Some(common) = self.intersection(hole) else { return rest.push(*self) };
        let mut core = *self;
        for (axis, (whole, part)) in self.sides.into_iter().zip(common.sides).enumerate() {
            if whole.first < part.first {
                rest.push(core.with(axis, Span { first: whole.first, last: part.first - 1 }));
            }
            if part.last < whole.last {
                rest.push(core.with(axis, Span { first: part.last + 1, last: whole.last }));
            }
            core = core.with(axis, part);
        }
    }
}

/// A set of packets between two classes of addresses of one family.
#[derive(Clone, Debug, Default)]
pub struct Region {
    bricks: Vec<Brick>,
}

impl Region {
    /// Every packet of the family that a data plane makes a key of: TCP, UDP and SCTP with ports, the family's own ICMP
    /// with type and code, any other protocol by number. Fragments are none, they are dropped before.
    #[must_use]
    pub fn everything(version: IpVersion) -> Self {
        let icmp = match version {
            IpVersion::V4 => protocol::ICMP,
            IpVersion::V6 => protocol::ICMPV6,
        };
        let ports = [protocol::TCP, protocol::UDP, protocol::SCTP];
        let brick = |form, number: u8, axis| Brick { form, sides: [Span::one(number), axis, axis] };
        let mut all = Self::from_disjoint(vec![brick(Form::Icmp, icmp, Span::BYTES)]);
        all.bricks.extend(ports.map(|number| brick(Form::Ports, number, Span::PORTS)));
        let holes = [icmp].into_iter().chain(ports);
        let holes = holes.map(|number| brick(Form::Opaque, number, Span::NOTHING)).collect();
        let sides = [Span::BYTES, Span::NOTHING, Span::NOTHING];
        let opaque = Self::from_disjoint(vec![Brick { form: Form::Opaque, sides }]);
        all.join(opaque.without(&Self::from_disjoint(holes)));
        all
    }

    pub(super) fn from_disjoint(bricks: Vec<Brick>) -> Self {
        Self { bricks }
    }

    /// Whether no packet is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bricks.is_empty()
    }

    /// How many bricks it takes.
    pub(super) fn size(&self) -> usize {
        self.bricks.len()
    }

    /// Packets of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let pairs = self.bricks.iter().flat_map(|a| other.bricks.iter().map(move |b| (a, b)));
        Self { bricks: pairs.filter_map(|(a, b)| a.intersection(b)).collect() }
    }

    /// Packets of this that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = self.bricks.clone();
        for hole in &other.bricks {
            let mut rest = Vec::with_capacity(left.len());
            for brick in &left {
                brick.cut_out(hole, &mut rest);
            }
            left = rest;
        }
        Self { bricks: left }
    }

    /// Adds packets that are not in it yet.
    pub(super) fn join(&mut self, other: Self) {
        self.bricks.extend(other.bricks);
    }

    /// Whether the packet is in it; its addresses are not looked at.
    #[must_use]
    pub fn contains(&self, packet: &PacketKey) -> bool {
        let (form, one, other) = match packet.transport {
            Transport::Ports { src, dst } => (Form::Ports, src, dst),
            Transport::Icmp { kind, code } => (Form::Icmp, kind.into(), code.into()),
            Transport::Opaque => (Form::Opaque, 0, 0),
        };
        self.bricks.iter().any(|brick| {
            let [protocol, first, second] = brick.sides;
            brick.form == form
                && protocol.contains(packet.protocol.into())
                && first.contains(one)
                && second.contains(other)
        })
    }

    /// The set in its one canonical form: equal sets have equal blocks.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        blocks(&self.bricks)
    }
}
