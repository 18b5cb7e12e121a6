//! Flow records: what the data plane notes of a packet for the flow log, as fixed-size bytes in the spool.

use std::net::{IpAddr, Ipv6Addr};

use crate::decision::{Checkpoint, Decision, Direction, Reason, RuleRef, Verdict};
use crate::packet::{PacketKey, Transport};

/// Size of an encoded record in bytes.
pub const RECORD_BYTES: usize = 96;
/// First two bytes of a record: a spool that holds something else is recognised as such.
const MARK: u16 = 0x5246;
/// "No VLAN tag", "no rule".
const NONE_U16: u16 = u16::MAX;
const NONE_U32: u32 = u32::MAX;

/// Why a record was written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RecordKind {
    /// Policy denied the packet.
    Denied,
    /// A `Log` rule matched and the packet passed.
    Logged,
    /// A flow was admitted.
    Started,
    /// An admitted flow lost its permission when policy changed.
    Cut,
    /// A person ended an admitted flow.
    Killed,
}

/// One line of the flow log, still in numbers; the image of `generation` turns them into names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlowRecord {
    /// Wall-clock time in nanoseconds since 1970.
    pub time_ns: u64,
    /// The image that decided.
    pub generation: u64,
    /// Why there is a record.
    pub kind: RecordKind,
    /// The port the packet came in by: 0 or 1, in the order of the settings.
    pub in_port: u8,
    /// The port it left by, or would have.
    pub out_port: u8,
    /// VLAN identifiers, outer first.
    pub vlans: [Option<u16>; 2],
    /// Frame length in bytes.
    pub length: u16,
    /// The packet.
    pub packet: PacketKey,
    /// The checkpoint that settled it and why; `None` when none applied.
    pub decided: Option<(Checkpoint, Reason)>,
    /// The first `Log` rule that matched.
    pub logged: Option<RuleRef>,
    /// What the pending evaluation said; `None` when the image has no staged policy.
    pub pending: Option<Pending>,
}

/// What would have become of the packet if every staged policy had been applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pending {
    /// Its fate.
    pub verdict: Verdict,
    /// The checkpoint that would have settled it and why; `None` when none applied.
    pub decided: Option<(Checkpoint, Reason)>,
}

impl From<&Decision> for Pending {
    fn from(decision: &Decision) -> Self {
        let decided = decision.deciding().map(|(at, half)| (at, half.reason));
        Self { verdict: decision.verdict(), decided }
    }
}

impl FlowRecord {
    /// The record as bytes, little-endian.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut out = Writer { bytes: [0; RECORD_BYTES], at: 0 };
        out.put(&MARK.to_le_bytes());
        out.put(&[kind_byte(self.kind), self.in_port, self.out_port, self.packet.protocol]);
        out.put(&[u8::from(self.packet.src.is_ipv6())]);
        let (transport, first, second) = transport_fields(self.packet.transport);
        out.put(&[transport]);
        out.put(&self.time_ns.to_le_bytes());
        out.put(&self.generation.to_le_bytes());
        out.put(&octets(self.packet.src));
        out.put(&octets(self.packet.dst));
        for value in [first, second, vlan(self.vlans[0]), vlan(self.vlans[1]), self.length] {
            out.put(&value.to_le_bytes());
        }
        let (reason, rule) = reason_fields(self.decided);
        out.put(&[reason, checkpoint_byte(self.decided.map(|(at, _)| at))]);
        for value in rule {
            out.put(&value.to_le_bytes());
        }
        let logged = self.logged;
        let pending = self.pending.and_then(|pending| pending.decided);
        let (reason, rule) = reason_fields(pending);
        let verdict = verdict_byte(self.pending.map(|pending| pending.verdict));
        let direction = direction_byte(logged.map(|rule| rule.direction));
        out.put(&[direction, verdict, reason, checkpoint_byte(pending.map(|(at, _)| at))]);
        out.put(&logged.map_or(NONE_U32, |rule| rule.policy).to_le_bytes());
        out.put(&logged.map_or(NONE_U32, |rule| rule.rule).to_le_bytes());
        for value in rule {
            out.put(&value.to_le_bytes());
        }
        out.bytes
    }

    /// Reads a record; `None` when the bytes are not one.
    #[must_use]
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let mut from = Reader { bytes, at: 0 };
        if from.u16()? != MARK {
            return None;
        }
        let kind = kind_from(from.u8()?)?;
        let (in_port, out_port, protocol) = (from.u8()?, from.u8()?, from.u8()?);
        let v6 = from.u8()? == 1;
        let transport = from.u8()?;
        let (time_ns, generation) = (from.u64()?, from.u64()?);
        let (src, dst) = (address(from.array()?, v6), address(from.array()?, v6));
        let (first, second) = (from.u16()?, from.u16()?);
        let vlans = [vlan_from(from.u16()?), vlan_from(from.u16()?)];
        let length = from.u16()?;
        let (reason, at) = (from.u8()?, checkpoint_from(from.u8()?));
        let decided = reason_from(reason, at, [from.u32()?, from.u32()?])?;
        let [logged_direction, verdict, reason, at] = from.array()?;
        let (policy, rule) = (from.u32()?, from.u32()?);
        let logged =
            direction_from(logged_direction).map(|direction| RuleRef { policy, direction, rule });
        let pending = reason_from(reason, checkpoint_from(at), [from.u32()?, from.u32()?])?;
        let pending = verdict_from(verdict)?.map(|verdict| Pending { verdict, decided: pending });
        let transport = transport_from(transport, first, second)?;
        let packet = PacketKey { src, dst, protocol, transport };
        Some(Self {
            time_ns,
            generation,
            kind,
            in_port,
            out_port,
            vlans,
            length,
            packet,
            decided,
            logged,
            pending,
        })
    }
}

struct Writer {
    bytes: [u8; RECORD_BYTES],
    at: usize,
}

impl Writer {
    fn put(&mut self, part: &[u8]) {
        let end = self.at + part.len();
        if let Some(room) = self.bytes.get_mut(self.at..end) {
            room.copy_from_slice(part);
        }
        self.at = end;
    }
}

struct Reader<'a> {
    bytes: &'a [u8; RECORD_BYTES],
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let part = self.bytes.get(self.at..self.at + N)?;
        self.at += N;
        part.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

fn kind_byte(kind: RecordKind) -> u8 {
    match kind {
        RecordKind::Denied => 1,
        RecordKind::Logged => 2,
        RecordKind::Started => 3,
        RecordKind::Cut => 4,
        RecordKind::Killed => 5,
    }
}

fn kind_from(byte: u8) -> Option<RecordKind> {
    use RecordKind::{Cut, Denied, Killed, Logged, Started};
    [Denied, Logged, Started, Cut, Killed].into_iter().find(|kind| kind_byte(*kind) == byte)
}

fn transport_fields(transport: Transport) -> (u8, u16, u16) {
    match transport {
        Transport::Opaque => (0, 0, 0),
        Transport::Ports { src, dst } => (1, src, dst),
        Transport::Icmp { kind, code } => (2, u16::from(kind), u16::from(code)),
    }
}

fn transport_from(byte: u8, first: u16, second: u16) -> Option<Transport> {
    match byte {
        0 => Some(Transport::Opaque),
        1 => Some(Transport::Ports { src: first, dst: second }),
        2 => Some(Transport::Icmp { kind: first.try_into().ok()?, code: second.try_into().ok()? }),
        _ => None,
    }
}

fn reason_fields(decided: Option<(Checkpoint, Reason)>) -> (u8, [u32; 2]) {
    match decided.map(|(_, reason)| reason) {
        None => (0, [NONE_U32; 2]),
        Some(Reason::Rule(rule)) => (1, [rule.policy, rule.rule]),
        Some(Reason::EndOfTier(tier)) => (2, [tier, NONE_U32]),
        Some(Reason::NoTierDecided) => (3, [NONE_U32; 2]),
        Some(Reason::Unselected) => (4, [NONE_U32; 2]),
        Some(Reason::Uncovered) => (5, [NONE_U32; 2]),
        Some(Reason::NoForwardPolicy) => (6, [NONE_U32; 2]),
        Some(Reason::NoProfile) => (7, [NONE_U32; 2]),
    }
}

/// The outer `None` means "not a record".
#[expect(clippy::option_option, reason = "a record may have no deciding checkpoint, or not be one")]
fn reason_from(
    byte: u8,
    at: Option<Checkpoint>,
    rule: [u32; 2],
) -> Option<Option<(Checkpoint, Reason)>> {
    if byte == 0 {
        return Some(None);
    }
    let at = at?;
    let reason = match byte {
        1 => Reason::Rule(RuleRef { policy: rule[0], direction: at.direction(), rule: rule[1] }),
        2 => Reason::EndOfTier(rule[0]),
        3 => Reason::NoTierDecided,
        4 => Reason::Unselected,
        5 => Reason::Uncovered,
        6 => Reason::NoForwardPolicy,
        7 => Reason::NoProfile,
        _ => return None,
    };
    Some(Some((at, reason)))
}

/// 0 for none, else one more than the position among all.
fn checkpoint_byte(at: Option<Checkpoint>) -> u8 {
    match at {
        None => 0,
        Some(Checkpoint::Entry) => 1,
        Some(Checkpoint::Egress) => 2,
        Some(Checkpoint::Ingress) => 3,
        Some(Checkpoint::Exit) => 4,
    }
}

fn checkpoint_from(byte: u8) -> Option<Checkpoint> {
    Checkpoint::ALL.into_iter().find(|at| checkpoint_byte(Some(*at)) == byte)
}

fn verdict_byte(verdict: Option<Verdict>) -> u8 {
    match verdict {
        None => 0,
        Some(Verdict::Allow) => 1,
        Some(Verdict::Deny) => 2,
    }
}

/// The outer `None` means "not a record".
#[expect(clippy::option_option, reason = "a record may have no verdict, or not be one")]
fn verdict_from(byte: u8) -> Option<Option<Verdict>> {
    match byte {
        0 => Some(None),
        1 => Some(Some(Verdict::Allow)),
        2 => Some(Some(Verdict::Deny)),
        _ => None,
    }
}

fn direction_byte(direction: Option<Direction>) -> u8 {
    match direction {
        None => 0,
        Some(Direction::Egress) => 1,
        Some(Direction::Ingress) => 2,
    }
}

fn direction_from(byte: u8) -> Option<Direction> {
    match byte {
        1 => Some(Direction::Egress),
        2 => Some(Direction::Ingress),
        _ => None,
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn address(octets: [u8; 16], v6: bool) -> IpAddr {
    let address = Ipv6Addr::from(octets);
    match address.to_ipv4_mapped() {
        Some(mapped) if !v6 => IpAddr::V4(mapped),
        _ => IpAddr::V6(address),
    }
}

fn vlan(tag: Option<u16>) -> u16 {
    tag.unwrap_or(NONE_U16)
}

fn vlan_from(value: u16) -> Option<u16> {
    (value != NONE_U16).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(
        src: &str,
        transport: Transport,
        decided: Option<(Checkpoint, Reason)>,
    ) -> FlowRecord {
        let src: IpAddr = src.parse().unwrap();
        let rule = RuleRef { policy: 7, direction: Direction::Egress, rule: 2 };
        FlowRecord {
            time_ns: 1_234_567_890_123_456_789,
            generation: 41,
            kind: RecordKind::Cut,
            in_port: 1,
            out_port: 0,
            vlans: [Some(100), None],
            length: 1514,
            packet: PacketKey { src, dst: src, protocol: 6, transport },
            decided,
            logged: Some(rule),
            pending: None,
        }
    }

    #[test]
    fn every_record_is_read_back_as_it_was_written() {
        let rule = RuleRef { policy: 3, direction: Direction::Ingress, rule: 9 };
        let reasons = [
            None,
            Some((Checkpoint::Ingress, Reason::Rule(rule))),
            Some((Checkpoint::Entry, Reason::Rule(rule))),
            Some((Checkpoint::Egress, Reason::EndOfTier(2))),
            Some((Checkpoint::Egress, Reason::NoTierDecided)),
            Some((Checkpoint::Ingress, Reason::Unselected)),
            Some((Checkpoint::Ingress, Reason::Uncovered)),
            Some((Checkpoint::Exit, Reason::NoForwardPolicy)),
            Some((Checkpoint::Entry, Reason::NoProfile)),
        ];
        let transports = [
            Transport::Opaque,
            Transport::Ports { src: 1, dst: 65535 },
            Transport::Icmp { kind: 8, code: 255 },
        ];
        for src in ["198.18.0.1", "2001:2::1", "::ffff:198.18.0.1"] {
            for transport in transports {
                for decided in reasons {
                    let mut written = record(src, transport, decided);
                    assert_eq!(FlowRecord::decode(&written.encode()), Some(written));
                    for verdict in [Verdict::Allow, Verdict::Deny] {
                        written.pending = Some(Pending { verdict, decided });
                        assert_eq!(FlowRecord::decode(&written.encode()), Some(written));
                    }
                }
            }
        }
    }

    #[test]
    fn foreign_bytes_are_not_a_record() {
        assert_eq!(FlowRecord::decode(&[0; RECORD_BYTES]), None);
        let mut bytes = record("2001:2::1", Transport::Opaque, None).encode();
        bytes[2] = 99;
        assert_eq!(FlowRecord::decode(&bytes), None);
    }
}
