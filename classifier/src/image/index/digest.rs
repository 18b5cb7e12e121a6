//! What of a row of a rule can be told from sixteen bytes: of most rows, that they cannot match.

use crate::decision::Direction;
use crate::image::rule::{RuleTables, RuleWords};
use crate::packet::{IpVersion, PacketKey, Transport};

const V4: u8 = 1;
const V6: u8 = 2;
/// The protocol is asked for.
const PROTOCOL: u8 = 4;
/// Ports are asked for.
const PORTS: u8 = 8;

/// What rows ask of headers, about: whatever they match is admitted, and more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter {
    flags: u8,
    protocol: u8,
    /// First and last destination port.
    ports: [u16; 2],
}

/// A packet, as filters see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    family: u8,
    protocol: u8,
    /// The destination port, if it has one.
    port: u16,
    has_port: bool,
}

/// A row of a rule in short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest {
    /// The row's first word: action and number.
    pub(crate) head: u32,
    /// A match set that the other end must belong to, or `NONE`.
    pub(crate) set: u32,
    pub(crate) filter: Filter,
    /// The row asks for nothing else.
    pub(crate) is_all: bool,
}

impl Digest {
    /// Of a row in a block of the direction.
    pub(crate) fn of(words: RuleWords, direction: Direction, tables: RuleTables<'_>) -> Self {
        let set = words.needed_set(direction, tables);
        Self {
            head: words.head(),
            set,
            filter: Filter::of(words, tables),
            is_all: words.asks_no_more_than(set),
        }
    }
}

impl Filter {
    /// Admits no packet.
    pub(crate) const NOTHING: Self = Self { flags: 0, protocol: 0, ports: [0; 2] };

    fn of(words: RuleWords, tables: RuleTables<'_>) -> Self {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let [protocol, ..] = words.protocols();
        let ports = words.destination_hull(tables);
        Self {
            flags: flag(words.is_about(IpVersion::V4), V4)
                | flag(words.is_about(IpVersion::V6), V6)
                | flag(protocol.is_some(), PROTOCOL)
                | flag(ports.is_some(), PORTS),
            protocol: protocol.unwrap_or_default(),
            ports: ports.unwrap_or_default(),
        }
    }

    /// Admits what either admits.
    pub(crate) fn joined(self, other: Self) -> Self {
        let ([first, last], [other_first, other_last]) = (self.ports, other.ports);
        let common = self.flags & other.flags & (PROTOCOL | PORTS);
        let same = if self.protocol == other.protocol { common } else { common & !PROTOCOL };
        Self {
            flags: (self.flags | other.flags) & (V4 | V6) | same,
            protocol: self.protocol,
            ports: [first.min(other_first), last.max(other_last)],
        }
    }

    #[inline]
    pub(crate) fn admits(self, header: Header) -> bool {
        let [first, last] = self.ports;
        let family = self.flags & header.family != 0;
        let protocol = self.flags & PROTOCOL == 0 || self.protocol == header.protocol;
        let within = header.has_port && (first..=last).contains(&header.port);
        family && protocol && (self.flags & PORTS == 0 || within)
    }
}

impl Header {
    pub(crate) fn of(packet: &PacketKey) -> Self {
        let (port, has_port) = match packet.transport {
            Transport::Ports { dst, .. } => (dst, true),
            Transport::Icmp { .. } | Transport::Opaque => (0, false),
        };
        let family = match packet.version() {
            IpVersion::V4 => V4,
            IpVersion::V6 => V6,
        };
        Self { family, protocol: packet.protocol, port, has_port }
    }

    /// Protocol and destination port in one number.
    pub(crate) fn port_key(self) -> Option<u32> {
        self.has_port.then_some(u32::from(self.protocol) << 16 | u32::from(self.port))
    }
}
