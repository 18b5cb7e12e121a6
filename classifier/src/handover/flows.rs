//! Live flows on the wire: pages of them from the data plane, and the ones that are to end.
//!
//! All numbers are little-endian. A request `Flows` carries a cursor behind its byte: 0, or what the page before ended with.
//! Its answer is a page: the next cursor (`END` behind the last flow), then `LISTED_BYTES` for each flow. A request `Kill`
//! carries `CONVERSATION_BYTES` for each flow that is to end; its answer says in a decimal number how many did.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::MESSAGE_MAX;
use crate::packet::{PacketKey, Transport, protocol};

/// Bytes of a cursor.
pub const CURSOR_BYTES: usize = 8;
/// The cursor behind the last flow.
pub const END: u64 = u64::MAX;
/// Bytes of a conversation.
pub const CONVERSATION_BYTES: usize = 42;
/// Bytes of a flow in a page.
pub const LISTED_BYTES: usize = 52;
/// Most flows of a page, which is one message with its reply byte.
pub const PAGE_FLOWS_MAX: usize = (MESSAGE_MAX - 1 - CURSOR_BYTES) / LISTED_BYTES;
/// Most flows of one request to end them, which is one message with its request byte.
pub const KILL_FLOWS_MAX: usize = (MESSAGE_MAX - 1) / CONVERSATION_BYTES;

/// "No VLAN tag": no identifier is this large.
const NO_VLAN: u16 = u16::MAX;
const IS_V6: u8 = 1;
const IN_PORT_1: u8 = 2;
const IS_CURRENT: u8 = 4;

/// What tells a flow from all others, in the direction of the packet that opened it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Conversation {
    /// Who opened it.
    pub src: IpAddr,
    /// The other end, of the same family.
    pub dst: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Ports of `src` and `dst`; of an ICMP query its identifier and its type; else zeros.
    pub numbers: [u16; 2],
    /// VLAN identifiers, outer first.
    pub vlans: [Option<u16>; 2],
    /// The port that the opening packet came in by: 0 or 1, in the order of the settings.
    pub in_port: u8,
}

/// What a flow is doing, as far as its packets showed it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum FlowState {
    /// TCP: a SYN went.
    Opening = 1,
    /// TCP: a SYN came back, the handshake is not complete.
    Answered = 2,
    /// TCP: the handshake is complete.
    Established = 3,
    /// TCP: one side has sent its last.
    HalfClosed = 4,
    /// TCP: both sides have sent their last.
    Closing = 5,
    /// TCP: over; only repetitions of its last segments pass.
    Closed = 6,
    /// Any other protocol: only who opened it has spoken.
    OneWay = 7,
    /// Any other protocol: the other end has spoken too.
    TwoWay = 8,
}

/// A live flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListedFlow {
    /// Which.
    pub conversation: Conversation,
    /// What it is doing.
    pub state: FlowState,
    /// Whether the policy in force was asked for it; else it will be before its next packet leaves.
    pub is_current: bool,
    /// Milliseconds since its last packet.
    pub idle_ms: u32,
    /// Seconds since its first packet.
    pub age_s: u32,
}

impl Conversation {
    /// What policy sees of the packet that opened it.
    #[must_use]
    pub fn packet(&self) -> PacketKey {
        let Self { src, dst, protocol, numbers: [first, second], .. } = *self;
        let transport = match protocol {
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                Transport::Ports { src: first, dst: second }
            }
            // A query has no other code.
            _ if self.is_query() => {
                Transport::Icmp { kind: u8::try_from(second).unwrap_or_default(), code: 0 }
            }
            _ => Transport::Opaque,
        };
        PacketKey { src, dst, protocol, transport }
    }

    /// Whether it is an ICMP query: ICMP of the other family is a protocol like any.
    #[must_use]
    pub fn is_query(&self) -> bool {
        self.protocol == if self.src.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 }
    }

    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; CONVERSATION_BYTES] {
        let mut bytes = [0; CONVERSATION_BYTES];
        let Self { src, dst, protocol, numbers: [first, second], vlans: [outer, inner], in_port } =
            *self;
        let is_v6 = if src.is_ipv6() { IS_V6 } else { 0 };
        let port = if in_port == 0 { 0 } else { IN_PORT_1 };
        let words = [first, second, outer.unwrap_or(NO_VLAN), inner.unwrap_or(NO_VLAN)];
        let parts = octets(src).into_iter().chain(octets(dst));
        let parts = parts.chain(words.into_iter().flat_map(u16::to_le_bytes));
        for (byte, part) in bytes.iter_mut().zip(parts.chain([protocol, is_v6 | port])) {
            *byte = part;
        }
        bytes
    }

    /// Reads one; `None` when the bytes are not one.
    #[must_use]
    pub fn decode(bytes: &[u8; CONVERSATION_BYTES]) -> Option<Self> {
        let (src, rest) = bytes.split_first_chunk()?;
        let (dst, rest) = rest.split_first_chunk()?;
        let (words, rest) = rest.split_first_chunk::<8>()?;
        let [protocol, flags] = *<&[u8; 2]>::try_from(rest).ok()?;
        if flags & !(IS_V6 | IN_PORT_1) != 0 {
            return None;
        }
        let is_v6 = flags & IS_V6 != 0;
        let (pairs, _) = words.as_chunks();
        let mut words = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
        let mut word = || words.next();
        let numbers = [word()?, word()?];
        let vlans = [word()?, word()?].map(|vlan| (vlan != NO_VLAN).then_some(vlan));
        let (src, dst) = (address(*src, is_v6)?, address(*dst, is_v6)?);
        let in_port = u8::from(flags & IN_PORT_1 != 0);
        Some(Self { src, dst, protocol, numbers, vlans, in_port })
    }

    /// Reads those of a request; `None` when the bytes are none, or no whole number of them.
    #[must_use]
    pub fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let (conversations, rest) = bytes.as_chunks();
        let all = conversations.iter().map(Self::decode).collect::<Option<Vec<_>>>()?;
        (rest.is_empty() && !all.is_empty()).then_some(all)
    }
}

impl FlowState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Opening,
        Self::Answered,
        Self::Established,
        Self::HalfClosed,
        Self::Closing,
        Self::Closed,
        Self::OneWay,
        Self::TwoWay,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == byte)
    }
}

impl fmt::Display for FlowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Opening => "opening",
            Self::Answered => "answered",
            Self::Established => "established",
            Self::HalfClosed => "half-closed",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::OneWay => "one-way",
            Self::TwoWay => "two-way",
        })
    }
}

impl ListedFlow {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; LISTED_BYTES] {
        let Self { conversation, state, is_current, idle_ms, age_s } = *self;
        let flags = if is_current { IS_CURRENT } else { 0 };
        let parts = conversation.encode().into_iter().chain([state as u8, flags]);
        let parts = parts.chain(idle_ms.to_le_bytes()).chain(age_s.to_le_bytes());
        let mut bytes = [0; LISTED_BYTES];
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = part;
        }
        bytes
    }

    /// Reads one; `None` when the bytes are not one.
    #[must_use]
    pub fn decode(bytes: &[u8; LISTED_BYTES]) -> Option<Self> {
        let (conversation, rest) = bytes.split_first_chunk()?;
        let (&[state, flags], rest) = rest.split_first_chunk()?;
        let (idle, age) = rest.split_first_chunk()?;
        Some(Self {
            conversation: Conversation::decode(conversation)?,
            state: FlowState::from_byte(state)?,
            is_current: flags == IS_CURRENT,
            idle_ms: u32::from_le_bytes(*idle),
            age_s: u32::from_le_bytes(age.try_into().ok()?),
        })
    }
}

/// A page of flows: where to go on, and the flows.
#[must_use]
pub fn encode_page(next: u64, flows: &[ListedFlow]) -> Vec<u8> {
    let mut page = next.to_le_bytes().to_vec();
    page.extend(flows.iter().flat_map(ListedFlow::encode));
    page
}

/// Reads a page; `None` when the bytes are not one.
#[must_use]
pub fn decode_page(page: &[u8]) -> Option<(u64, Vec<ListedFlow>)> {
    let (next, flows) = page.split_first_chunk()?;
    let (flows, rest) = flows.as_chunks();
    let flows = flows.iter().map(ListedFlow::decode).collect::<Option<Vec<_>>>()?;
    rest.is_empty().then_some((u64::from_le_bytes(*next), flows))
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// IPv4 stands as IPv4-mapped; nothing else may claim to be IPv4.
fn address(octets: [u8; 16], is_v6: bool) -> Option<IpAddr> {
    let address = Ipv6Addr::from(octets);
    if is_v6 { Some(address.into()) } else { address.to_ipv4_mapped().map(IpAddr::V4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows() -> Vec<ListedFlow> {
        let conversation = |src: &str, dst: &str, protocol, numbers, in_port| Conversation {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            protocol,
            numbers,
            vlans: if in_port == 0 { [None; 2] } else { [Some(0), Some(4094)] },
            in_port,
        };
        let conversations = [
            conversation("198.18.0.1", "198.18.0.2", protocol::TCP, [40_000, 22], 0),
            conversation("2001:2::1", "2001:2::2", protocol::ICMPV6, [7, 128], 1),
            conversation("::ffff:198.18.0.1", "::ffff:198.18.0.2", 47, [0, 0], 1),
        ];
        let states = FlowState::ALL.into_iter().zip(conversations.into_iter().cycle());
        let listed = |(state, conversation)| ListedFlow {
            conversation,
            state,
            is_current: state == FlowState::TwoWay,
            idle_ms: 5_000_000,
            age_s: 4_000_000_000,
        };
        states.map(listed).collect()
    }

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let flows = flows();
        assert_eq!(decode_page(&encode_page(77, &flows)), Some((77, flows)));
        assert_eq!(decode_page(&encode_page(END, &[])), Some((END, Vec::new())));
    }

    #[test]
    fn a_full_page_and_a_full_request_fit_a_message() {
        let flows = vec![flows()[0]; PAGE_FLOWS_MAX];
        assert!(encode_page(0, &flows).len() < MESSAGE_MAX);
        let conversations = vec![flows[0].conversation.encode(); KILL_FLOWS_MAX];
        assert!(conversations.as_flattened().len() < MESSAGE_MAX);
    }

    #[test]
    fn bytes_that_are_none_are_refused() {
        let flows = flows();
        let page = encode_page(1, &flows);
        for length in (0..page.len()).filter(|length| length % LISTED_BYTES != CURSOR_BYTES) {
            assert_eq!(decode_page(&page[..length]), None, "{length} bytes");
        }
        let good = flows[0].conversation.encode();
        assert_eq!(Conversation::decode_all(&good), Some(vec![flows[0].conversation]));
        assert_eq!(Conversation::decode_all(&good[..41]), None);
        assert_eq!(Conversation::decode_all(&[]), None);
        let (mut flagged, mut foreign) = (good, good);
        flagged[41] = 0x80;
        // An address that is not IPv4-mapped, and says that it is IPv4.
        foreign[0] = 0x20;
        assert_eq!(Conversation::decode(&flagged), None);
        assert_eq!(Conversation::decode(&foreign), None);
        let mut stateless = flows[0].encode();
        stateless[42] = 0;
        assert_eq!(ListedFlow::decode(&stateless), None);
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_harm() {
        let mut bytes = [0; LISTED_BYTES];
        for seed in 0..50_000_u32 {
            let mut state = seed.wrapping_mul(2_654_435_761) | 1;
            for byte in &mut bytes {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                *byte = state.to_le_bytes()[0];
            }
            if let Some(flow) = ListedFlow::decode(&bytes) {
                assert_eq!(ListedFlow::decode(&flow.encode()), Some(flow));
            }
        }
    }

    #[test]
    fn the_packet_that_opened_a_flow_is_what_policy_sees() {
        let flows = flows();
        let ports = Transport::Ports { src: 40_000, dst: 22 };
        assert_eq!(flows[0].conversation.packet().transport, ports);
        let query = Transport::Icmp { kind: 128, code: 0 };
        assert_eq!(flows[1].conversation.packet().transport, query);
        assert_eq!(flows[2].conversation.packet().transport, Transport::Opaque);
    }
}
