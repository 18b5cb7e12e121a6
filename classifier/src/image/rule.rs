//! One rule in an image: sixteen words, one cache line.

use super::layout::NONE;
use super::rows::Rows;
use super::set_lists::Sets;
use crate::decision::Direction;
use crate::packet::{IpVersion, PacketKey, Transport};
use crate::resource::Action;

/// Words of an encoded rule.
pub(crate) const RULE_WORDS: usize = 16;

const ACTION_MASK: u32 = 0b11;
const MATCHES_V4: u32 = 1 << 2;
const MATCHES_V6: u32 = 1 << 3;
const PROTOCOL: u32 = 1 << 4;
const NOT_PROTOCOL: u32 = 1 << 5;
const ICMP: u32 = 1 << 6;
const ICMP_CODE: u32 = 1 << 7;
const NOT_ICMP: u32 = 1 << 8;
const NOT_ICMP_CODE: u32 = 1 << 9;
const SOURCE_SET_NEGATED: u32 = 1 << 10;
const DESTINATION_SET_NEGATED: u32 = 1 << 11;
const NUMBER_SHIFT: u32 = 12;
/// Most rules in one direction of a policy: their numbers share a word with the flags.
pub(crate) const RULE_NUMBERS: usize = 1 << (32 - NUMBER_SHIFT);

/// A row of a rule as words. A rule that names ports, or a service, takes several rows, one after the other.
/// 0 action, flags and from bit 12 the rule's number · 1 protocol, notProtocol, another notProtocol or 0 (bytes) · 2 icmp type, code, notICMP type, code (bytes) ·
/// 3 to 5 source match sets: selector, nets, notNets · 6 to 8 the same for the destination · 9 to 12 first port range of
/// source ports, source notPorts, destination ports, destination notPorts · 13, 14 their counts, two in a word ·
/// 15 position in `Section::Extras`, or `NONE`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct RuleWords(pub(crate) [u32; RULE_WORDS]);

/// What a rule asks of one peer's address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PeerSets {
    /// Match set of the selectors, or `NONE`; negated: the address must not belong to it.
    pub(crate) selector: u32,
    pub(crate) selector_negated: bool,
    /// Match set of `nets`, or `NONE`.
    pub(crate) nets: u32,
    /// Match set of `notNets`, or `NONE`.
    pub(crate) not_nets: u32,
    /// Another match set that the address must belong to, or `NONE`: where a named port is that port.
    pub(crate) also: u32,
    /// Another match set that the address must not belong to, or `NONE`.
    pub(crate) also_not: u32,
}

impl PeerSets {
    /// Asks nothing.
    pub(crate) const ANY: Self = Self {
        selector: NONE,
        selector_negated: false,
        nets: NONE,
        not_nets: NONE,
        also: NONE,
        also_not: NONE,
    };

    fn extras(&self) -> [u32; 2] {
        [self.also, self.also_not]
    }
}

/// A row of `Section::Extras`: what sources must and must not belong to besides, then the same for destinations.
pub(crate) type Extras = [u32; 4];

/// The tables that rows of rules point into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleTables<'a> {
    pub(crate) port_ranges: Rows<'a, u32>,
    pub(crate) extras: Rows<'a, Extras>,
}

/// A range in `Section::PortRanges`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct PortList {
    pub(crate) first: u32,
    pub(crate) count: u16,
}

/// A rule taken apart: what the compiler writes and `trace` shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RuleParts {
    /// Position in the policy's list.
    pub(crate) number: u32,
    pub(crate) action: Action,
    pub(crate) matches_v4: bool,
    pub(crate) matches_v6: bool,
    pub(crate) protocol: Option<u8>,
    pub(crate) not_protocol: Option<u8>,
    /// Beside `not_protocol`; never 0, which has no ports.
    pub(crate) nor_protocol: Option<u8>,
    pub(crate) icmp: Option<(u8, Option<u8>)>,
    pub(crate) not_icmp: Option<(u8, Option<u8>)>,
    pub(crate) source: PeerSets,
    pub(crate) destination: PeerSets,
    /// Source ports, source notPorts, destination ports, destination notPorts.
    pub(crate) ports: [PortList; 4],
}

impl RuleParts {
    /// What the peers ask beyond what a row holds, if anything.
    pub(crate) fn extras(&self) -> Option<Extras> {
        let [[a, b], [c, d]] = [self.source.extras(), self.destination.extras()];
        let extras = [a, b, c, d];
        (extras != [NONE; 4]).then_some(extras)
    }

    /// The row; `extra` is where its `extras` stand, or `NONE`.
    pub(crate) fn encode(&self, extra: u32) -> RuleWords {
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        let word0 = self.number << NUMBER_SHIFT
            | action_bits(self.action)
            | flag(self.matches_v4, MATCHES_V4)
            | flag(self.matches_v6, MATCHES_V6)
            | flag(self.protocol.is_some(), PROTOCOL)
            | flag(self.not_protocol.is_some(), NOT_PROTOCOL)
            | flag(self.icmp.is_some(), ICMP)
            | flag(self.icmp.is_some_and(|(_, code)| code.is_some()), ICMP_CODE)
            | flag(self.not_icmp.is_some(), NOT_ICMP)
            | flag(self.not_icmp.is_some_and(|(_, code)| code.is_some()), NOT_ICMP_CODE)
            | flag(self.source.selector_negated, SOURCE_SET_NEGATED)
            | flag(self.destination.selector_negated, DESTINATION_SET_NEGATED);
        let (icmp, icmp_code) = self.icmp.unwrap_or_default();
        let (not_icmp, not_icmp_code) = self.not_icmp.unwrap_or_default();
        let bytes = |a: u8, b: u8, c: u8, d: u8| u32::from_le_bytes([a, b, c, d]);
        let [a, b, c, d] = self.ports;
        let counts =
            |low: PortList, high: PortList| u32::from(low.count) | u32::from(high.count) << 16;
        RuleWords([
            word0,
            bytes(
                self.protocol.unwrap_or_default(),
                self.not_protocol.unwrap_or_default(),
                self.nor_protocol.unwrap_or_default(),
                0,
            ),
            bytes(icmp, icmp_code.unwrap_or_default(), not_icmp, not_icmp_code.unwrap_or_default()),
            self.source.selector,
            self.source.nets,
            self.source.not_nets,
            self.destination.selector,
            self.destination.nets,
            self.destination.not_nets,
            a.first,
            b.first,
            c.first,
            d.first,
            counts(a, b),
            counts(c, d),
            extra,
        ])
    }
}

/// What a rule is matched against: the packet, and which match sets its two addresses belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) packet: &'a PacketKey,
    pub(crate) source_sets: Sets<'a>,
    pub(crate) destination_sets: Sets<'a>,
}

impl<'a> Candidate<'a> {
    /// The sets of who sends, seen from what an ingress policy protects; of who receives, seen from egress.
    #[inline]
    pub(crate) fn other_end(&self, direction: Direction) -> &Sets<'a> {
        match direction {
            Direction::Egress => &self.destination_sets,
            Direction::Ingress => &self.source_sets,
        }
    }
}

/// The first field of a rule that a packet does not satisfy; also the word that `trace` prints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mismatch {
    /// The rule is about the other IP family.
    IpVersion,
    /// `protocol`
    Protocol,
    /// `notProtocol`
    NotProtocol,
    /// `icmp`
    Icmp,
    /// `notICMP`
    NotIcmp,
    /// `source.selector` or `source.notSelector`
    SourceSelector,
    /// `source.nets` or `source.notNets`
    SourceNets,
    /// `source.ports` or `source.notPorts`
    SourcePorts,
    /// `destination.selector` or `destination.notSelector`
    DestinationSelector,
    /// `destination.nets` or `destination.notNets`
    DestinationNets,
    /// `destination.ports` or `destination.notPorts`
    DestinationPorts,
}

impl RuleWords {
    pub(crate) fn action(&self) -> Action {
        action_of(self.head())
    }

    /// Position of the rule in its policy's list.
    pub(crate) fn number(&self) -> u32 {
        number_of(self.head())
    }

    /// The first word.
    pub(crate) fn head(&self) -> u32 {
        self.0[0]
    }

    /// Position in the table of extras, or `NONE`.
    pub(crate) fn extra(&self) -> u32 {
        self.0[15]
    }

    fn extras_in(&self, tables: RuleTables<'_>) -> Extras {
        match self.extra() {
            NONE => [NONE; 4],
            // A position outside of the table asks for a set that nothing belongs to.
            extra => tables.extras.get(extra).copied().unwrap_or([NONE - 1; 4]),
        }
    }

    /// The match sets that the rule names, for validation.
    pub(crate) fn match_sets(&self) -> [[u32; 3]; 2] {
        let [_, _, _, selector, nets, not_nets, ..] = self.0;
        let source = [selector, nets, not_nets];
        let [.., selector, nets, not_nets, _, _, _, _, _, _, _] = self.0;
        [source, [selector, nets, not_nets]]
    }

    /// Source ports, source notPorts, destination ports, destination notPorts.
    pub(crate) fn ports(&self) -> [PortList; 4] {
        let [.., a, b, c, d, low, high, _] = self.0;
        let [a_low, a_high, b_low, b_high] = low.to_le_bytes();
        let [c_low, c_high, d_low, d_high] = high.to_le_bytes();
        let list = |first, low, high| PortList { first, count: u16::from_le_bytes([low, high]) };
        [
            list(a, a_low, a_high),
            list(b, b_low, b_high),
            list(c, c_low, c_high),
            list(d, d_low, d_high),
        ]
    }

    /// `None` when every field matches, else the first that does not, cheapest first.
    #[inline]
    pub(crate) fn mismatch(
        &self,
        candidate: &Candidate<'_>,
        tables: RuleTables<'_>,
    ) -> Option<Mismatch> {
        let Candidate { packet, source_sets, destination_sets } = candidate;
        let flags = self.0[0];
        if let Some(mismatch) = self.header_mismatch(packet) {
            return Some(mismatch);
        }
        if !in_selector_set(source_sets, self.0[3], flags & SOURCE_SET_NEGATED != 0) {
            return Some(Mismatch::SourceSelector);
        }
        if !in_selector_set(destination_sets, self.0[6], flags & DESTINATION_SET_NEGATED != 0) {
            return Some(Mismatch::DestinationSelector);
        }
        if !in_nets(source_sets, self.0[4], self.0[5]) {
            return Some(Mismatch::SourceNets);
        }
        if !in_nets(destination_sets, self.0[7], self.0[8]) {
            return Some(Mismatch::DestinationNets);
        }
        if let Some(mismatch) = self.port_mismatch(packet, tables.port_ranges) {
            return Some(mismatch);
        }
        let [source, not_source, destination, not_destination] = self.extras_in(tables);
        if !in_nets(source_sets, source, not_source) {
            return Some(Mismatch::SourcePorts);
        }
        (!in_nets(destination_sets, destination, not_destination))
            .then_some(Mismatch::DestinationPorts)
    }

    /// Whether the fields about addresses match; the same as in `mismatch`.
    pub(crate) fn admits_addresses(
        &self,
        source_sets: &Sets<'_>,
        destination_sets: &Sets<'_>,
        tables: RuleTables<'_>,
    ) -> bool {
        let [source, not_source, destination, not_destination] = self.extras_in(tables);
        let flags = self.0[0];
        in_selector_set(source_sets, self.0[3], flags & SOURCE_SET_NEGATED != 0)
            && in_selector_set(destination_sets, self.0[6], flags & DESTINATION_SET_NEGATED != 0)
            && in_nets(source_sets, self.0[4], self.0[5])
            && in_nets(destination_sets, self.0[7], self.0[8])
            && in_nets(source_sets, source, not_source)
            && in_nets(destination_sets, destination, not_destination)
    }

    /// A match set that the other end of a packet must belong to for the row to match, or `NONE`.
    pub(crate) fn needed_set(&self, direction: Direction, tables: RuleTables<'_>) -> u32 {
        let [source_also, _, destination_also, _] = self.extras_in(tables);
        let [_, _, _, source, source_nets, _, destination, destination_nets, ..] = self.0;
        let (selector, negated, nets, also) = match direction {
            Direction::Ingress => (source, SOURCE_SET_NEGATED, source_nets, source_also),
            Direction::Egress => {
                (destination, DESTINATION_SET_NEGATED, destination_nets, destination_also)
            }
        };
        let selector = if self.0[0] & negated == 0 { selector } else { NONE };
        [selector, nets, also].into_iter().find(|set| *set != NONE).unwrap_or(NONE)
    }

    /// The protocols and destination ports that the row asks for, as numbers of protocol and port; none when it does not
    /// ask for both.
    pub(crate) fn destination_spans(&self, tables: RuleTables<'_>) -> Vec<(u32, u32)> {
        let [protocol, ..] = self.protocols();
        let [_, _, ports, _] = self.ports();
        let Some(protocol) = protocol else { return Vec::new() };
        let protocol = u32::from(protocol) << 16;
        let end = ports.first.saturating_add(ports.count.into());
        let ranges = tables.port_ranges.range([ports.first, end]).iter();
        ranges.map(|range| (protocol | range >> 16, protocol | range & 0xffff)).collect()
    }

    /// From the first to the last of the destination ports that the row asks for, if it does.
    pub(crate) fn destination_hull(&self, tables: RuleTables<'_>) -> Option<[u16; 2]> {
        let [_, _, ports, _] = self.ports();
        let end = ports.first.saturating_add(ports.count.into());
        let ranges = tables.port_ranges.range([ports.first, end]);
        // A list that is not there has no port.
        let nothing = [u16::MAX, 0];
        let half = |word: u32| u16::try_from(word & 0xffff).unwrap_or(u16::MAX);
        (ports.count > 0).then(|| {
            ranges.iter().fold(nothing, |[first, last], range| {
                [first.min(half(range >> 16)), last.max(half(*range))]
            })
        })
    }

    /// Whether the row asks for nothing but a family, a protocol, one range of destination ports, and that one peer belongs
    /// to `set`, if that is not `NONE`.
    pub(crate) fn asks_no_more_than(&self, set: u32) -> bool {
        const MORE: u32 = NOT_PROTOCOL
            | ICMP
            | ICMP_CODE
            | NOT_ICMP
            | NOT_ICMP_CODE
            | SOURCE_SET_NEGATED
            | DESTINATION_SET_NEGATED;
        let [_, _, nor_protocol] = self.protocols();
        let [source, not_source, destination, not_destination] = self.ports();
        let [[.., not_sources], [.., not_destinations]] = self.match_sets();
        let asked = self.match_sets().into_iter().flatten().filter(|asked| *asked != NONE);
        self.0[0] & MORE == 0
            && nor_protocol.is_none()
            && [source, not_source, not_destination].iter().all(|ports| ports.count == 0)
            && destination.count <= 1
            && self.extra() == NONE
            && [not_sources, not_destinations] == [NONE; 2]
            && asked.eq((set != NONE).then_some(set))
    }

    /// Whether the rule is about packets of the family.
    pub(crate) fn is_about(&self, version: IpVersion) -> bool {
        let family = match version {
            IpVersion::V4 => MATCHES_V4,
            IpVersion::V6 => MATCHES_V6,
        };
        self.0[0] & family != 0
    }

    /// `protocol`, `notProtocol`, and another `notProtocol`.
    pub(crate) fn protocols(&self) -> [Option<u8>; 3] {
        let [protocol, not_protocol, nor_protocol, _] = self.0[1].to_le_bytes();
        [
            self.flagged(PROTOCOL, protocol),
            self.flagged(NOT_PROTOCOL, not_protocol),
            (nor_protocol != 0).then_some(nor_protocol),
        ]
    }

    /// `icmp` and `notICMP`: type, and code where one is asked for.
    pub(crate) fn icmp(&self) -> [Option<(u8, Option<u8>)>; 2] {
        let [kind, code, not_kind, not_code] = self.0[2].to_le_bytes();
        let message = |bit, kind, code_bit, code| {
            self.flagged(bit, kind).map(|kind| (kind, self.flagged(code_bit, code)))
        };
        [message(ICMP, kind, ICMP_CODE, code), message(NOT_ICMP, not_kind, NOT_ICMP_CODE, not_code)]
    }

    fn flagged(&self, bit: u32, value: u8) -> Option<u8> {
        (self.0[0] & bit != 0).then_some(value)
    }

    fn header_mismatch(&self, packet: &PacketKey) -> Option<Mismatch> {
        let flags = self.0[0];
        let family = match packet.version() {
            IpVersion::V4 => MATCHES_V4,
            IpVersion::V6 => MATCHES_V6,
        };
        if flags & family == 0 {
            return Some(Mismatch::IpVersion);
        }
        let [protocol, not_protocol, nor_protocol, _] = self.0[1].to_le_bytes();
        if flags & PROTOCOL != 0 && packet.protocol != protocol {
            return Some(Mismatch::Protocol);
        }
        if flags & NOT_PROTOCOL != 0 && packet.protocol == not_protocol {
            return Some(Mismatch::NotProtocol);
        }
        if nor_protocol != 0 && packet.protocol == nor_protocol {
            return Some(Mismatch::DestinationPorts);
        }
        let [icmp, icmp_code, not_icmp, not_icmp_code] = self.0[2].to_le_bytes();
        if flags & ICMP != 0
            && !icmp_is(packet, icmp, (flags & ICMP_CODE != 0).then_some(icmp_code))
        {
            return Some(Mismatch::Icmp);
        }
        if flags & NOT_ICMP != 0
            && icmp_is(packet, not_icmp, (flags & NOT_ICMP_CODE != 0).then_some(not_icmp_code))
        {
            return Some(Mismatch::NotIcmp);
        }
        None
    }

    fn port_mismatch(&self, packet: &PacketKey, ranges: Rows<'_, u32>) -> Option<Mismatch> {
        if self.0[13] == 0 && self.0[14] == 0 {
            return None;
        }
        let [source, not_source, destination, not_destination] = self.ports();
        let (src, dst) = match packet.transport {
            Transport::Ports { src, dst } => (Some(src), Some(dst)),
            Transport::Icmp { .. } | Transport::Opaque => (None, None),
        };
        if !ports_match(src, source, not_source, ranges) {
            return Some(Mismatch::SourcePorts);
        }
        (!ports_match(dst, destination, not_destination, ranges))
            .then_some(Mismatch::DestinationPorts)
    }
}

/// What a row does, by its first word.
pub(crate) fn action_of(head: u32) -> Action {
    match head & ACTION_MASK {
        0 => Action::Allow,
        1 => Action::Deny,
        2 => Action::Log,
        _ => Action::Pass,
    }
}

/// The number of a row's rule, by its first word.
pub(crate) fn number_of(head: u32) -> u32 {
    head >> NUMBER_SHIFT
}

/// Words of the block table.
pub(crate) fn direction_word(direction: Direction) -> u32 {
    match direction {
        Direction::Egress => 0,
        Direction::Ingress => 1,
    }
}

fn action_bits(action: Action) -> u32 {
    match action {
        Action::Allow => 0,
        Action::Deny => 1,
        Action::Log => 2,
        Action::Pass => 3,
    }
}

fn in_selector_set(sets: &Sets<'_>, set: u32, negated: bool) -> bool {
    set == NONE || sets.contains(set) != negated
}

fn in_nets(sets: &Sets<'_>, nets: u32, not_nets: u32) -> bool {
    (nets == NONE || sets.contains(nets)) && (not_nets == NONE || !sets.contains(not_nets))
}

fn icmp_is(packet: &PacketKey, kind: u8, code: Option<u8>) -> bool {
    match packet.transport {
        Transport::Icmp { kind: seen, code: seen_code } => {
            seen == kind && code.is_none_or(|code| code == seen_code)
        }
        Transport::Ports { .. } | Transport::Opaque => false,
    }
}

/// A rule about ports is only about packets that have them.
fn ports_match(
    port: Option<u16>,
    wanted: PortList,
    unwanted: PortList,
    ranges: Rows<'_, u32>,
) -> bool {
    if wanted.count == 0 && unwanted.count == 0 {
        return true;
    }
    let Some(port) = port else { return false };
    (wanted.count == 0 || in_ranges(port, wanted, ranges)) && !in_ranges(port, unwanted, ranges)
}

fn in_ranges(port: u16, list: PortList, ranges: Rows<'_, u32>) -> bool {
    let part = ranges.range([list.first, list.first.saturating_add(list.count.into())]);
    let port = u32::from(port);
    part.iter().any(|range| range >> 16 <= port && port <= range & 0xffff)
}
