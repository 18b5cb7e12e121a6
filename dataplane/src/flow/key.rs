//! The name of a flow: the same for both directions, and for no other conversation.

use std::net::IpAddr;

use classifier::packet::{PacketKey, Transport};

use crate::device::Port;
use crate::parse::{Packet, Query, Quote, Quoted, Signal, Vlans};

/// Number of words of a key.
pub(super) const KEY_WORDS: usize = 6;
/// "No VLAN tag": no identifier is this large.
const NO_VLAN: u16 = u16::MAX;

/// Both endpoints of a flow with all that tells it from others, as plain words.
///
/// The endpoints stand in an order that does not depend on the packet's direction: the lower address and port first; of
/// an ICMP query, the requester first, because a request the other way is another query. Words 0 and 1 are the first
/// address, 2 and 3 the second (IPv4 as IPv4-mapped), 4 the ports (or the identifier and the type of a query) and VLANs, 5 the protocol,
/// the family, and the port behind which the first endpoint lives: the same tuple from the wrong side is another flow.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FlowKey(pub(super) [u64; KEY_WORDS]);

/// An endpoint of a flow, as the packet's direction goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The endpoint that stands first in the key.
    First,
    /// The other one.
    Second,
}

impl End {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl FlowKey {
    /// The flow that this packet from `in_port` belongs to, and which of its endpoints sent it. Of an ICMP error these are the
    /// flow that it is about and the sender of the quoted packet, which went the other way. `None` for what belongs to no
    /// flow: ICMP messages that are neither queries nor errors.
    #[must_use]
    pub fn of(packet: &Packet, in_port: Port) -> Option<(Self, End)> {
        let vlans = packet.vlans;
        match packet.signal {
            Signal::Message => None,
            Signal::Error(Quote { key, part }) => {
                Some(Self::between(&key, query_ports(&key, part), vlans, in_port.other()))
            }
            Signal::Request(query) => {
                Some(Self::between(&packet.key, Some(asked(query)), vlans, in_port))
            }
            Signal::Reply(query) => {
                Some(Self::between(&packet.key, Some(answered(query)), vlans, in_port))
            }
            Signal::Datagram | Signal::Tcp(_) => {
                Some(Self::between(&packet.key, None, vlans, in_port))
            }
        }
    }

    /// `query` is what stands where ports would, and who asked.
    pub(super) fn between(
        packet: &PacketKey,
        query: Option<([u16; 2], End)>,
        vlans: Vlans,
        in_port: Port,
    ) -> (Self, End) {
        let [src_port, dst_port] =
            query.map_or_else(|| ports(packet.transport), |(ports, _)| ports);
        let src = (octets(packet.src), src_port);
        let dst = (octets(packet.dst), dst_port);
        let by_order = || if src <= dst { End::First } else { End::Second };
        let sender = query.map_or_else(by_order, |(_, sender)| sender);
        let (first, second, first_port) = match sender {
            End::First => (src, dst, in_port),
            End::Second => (dst, src, in_port.other()),
        };
        let family = u64::from(packet.src.is_ipv6());
        let [a, b] = halves(first.0);
        let [c, d] = halves(second.0);
        let ends = u64::from(first.1) << 48 | u64::from(second.1) << 32 | tags(vlans);
        let rest = u64::from(packet.protocol) | family << 8 | (first_port.index() as u64) << 9;
        (Self([a, b, c, d, ends, rest]), sender)
    }
}

fn asked(Query { kind, identifier }: Query) -> ([u16; 2], End) {
    ([identifier, kind.into()], End::First)
}

fn answered(Query { kind, identifier }: Query) -> ([u16; 2], End) {
    ([kind.into(), identifier], End::Second)
}

/// Of a quoted packet. Its type tells a query from its answer.
fn query_ports(key: &PacketKey, part: Quoted) -> Option<([u16; 2], End)> {
    let Quoted::Query(query) = part else { return None };
    let is_request = matches!(key.transport, Transport::Icmp { kind, .. } if kind == query.kind);
    Some(if is_request { asked(query) } else { answered(query) })
}

impl FlowKey {
    /// Both addresses, the first end's first.
    pub(super) fn addresses(&self) -> [[u64; 2]; 2] {
        let [a, b, c, d, ..] = self.0;
        [[a, b], [c, d]]
    }
}

fn ports(transport: Transport) -> [u16; 2] {
    match transport {
        Transport::Ports { src, dst } => [src, dst],
        Transport::Icmp { .. } | Transport::Opaque => [0; 2],
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn halves(octets: [u8; 16]) -> [u64; 2] {
    let whole = u128::from_be_bytes(octets);
    [whole >> 64, whole & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or_default())
}

fn tags([outer, inner]: Vlans) -> u64 {
    u64::from(outer.unwrap_or(NO_VLAN)) << 16 | u64::from(inner.unwrap_or(NO_VLAN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disposition::Reasons;
    use crate::parse::{Segment, TcpFlags};

    const ACK: Signal = Signal::Tcp(Segment {
        flags: TcpFlags(16),
        seq: 1,
        ack: 1,
        window: 1,
        data_bytes: 0,
        scale: None,
    });

    fn echo(identifier: u16) -> Query {
        Query { kind: 8, identifier }
    }

    fn packet(src: (&str, u16), dst: (&str, u16), signal: Signal) -> Packet {
        let transport = match signal {
            Signal::Tcp(_) => Transport::Ports { src: src.1, dst: dst.1 },
            Signal::Datagram => Transport::Opaque,
            Signal::Request(_) => Transport::Icmp { kind: 8, code: 0 },
            Signal::Reply(_) | Signal::Error(_) | Signal::Message => {
                Transport::Icmp { kind: 0, code: 0 }
            }
        };
        let (src, dst) = (src.0.parse().unwrap(), dst.0.parse().unwrap());
        let key = PacketKey { src, dst, protocol: 6, transport };
        Packet { key, vlans: [None; 2], signal, completion: None, noticed: Reasons::default() }
    }

    fn key(src: (&str, u16), dst: (&str, u16), signal: Signal, port: Port) -> FlowKey {
        FlowKey::of(&packet(src, dst, signal), port).unwrap().0
    }

    #[test]
    fn both_directions_have_one_key_and_name_their_sender() {
        for (x, y) in [("198.18.0.1", "198.18.0.2"), ("2001:2::1", "2001:2:0:1::1")] {
            for (p, q) in [(1, 2), (2, 1), (7, 7)] {
                let there = FlowKey::of(&packet((x, p), (y, q), ACK), Port::A).unwrap();
                let back = FlowKey::of(&packet((y, q), (x, p), ACK), Port::B).unwrap();
                assert_eq!(there.0, back.0);
                assert_ne!(there.1, back.1);
            }
        }
    }

    #[test]
    fn same_tuple_from_the_wrong_port_is_another_flow() {
        let (x, y) = (("198.18.0.1", 1), ("198.18.0.2", 2));
        let there = key(x, y, ACK, Port::A);
        assert_ne!(there, key(x, y, ACK, Port::B));
        assert_ne!(there, key(y, x, ACK, Port::A));
        let itself = key(x, x, ACK, Port::A);
        assert_ne!(itself, key(x, x, ACK, Port::B), "also when both endpoints are one");
    }

    #[test]
    fn every_part_of_the_tuple_tells_flows_apart() {
        let base = packet(("198.18.0.1", 1), ("198.18.0.2", 2), ACK);
        let mut others = vec![base; 9];
        others[0].key.src = "198.18.0.3".parse().unwrap();
        others[1].key.dst = "198.18.0.3".parse().unwrap();
        others[2].key.transport = Transport::Ports { src: 3, dst: 2 };
        others[3].key.transport = Transport::Ports { src: 1, dst: 3 };
        others[4].key.protocol = 17;
        others[5].vlans = [Some(1), None];
        others[6].vlans = [Some(0), None];
        others[7].vlans = [Some(1), Some(1)];
        others[8].key.src = "::ffff:198.18.0.1".parse().unwrap();
        others[8].key.dst = "::ffff:198.18.0.2".parse().unwrap();
        others.push(base);
        let mut keys: Vec<_> =
            others.iter().map(|packet| FlowKey::of(packet, Port::A).unwrap().0.0).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), others.len());
    }

    #[test]
    fn queries_of_two_requesters_are_two_flows() {
        let (x, y) = (("198.18.0.1", 0), ("198.18.0.2", 0));
        let query = key(x, y, Signal::Request(echo(5)), Port::A);
        assert_eq!(query, key(y, x, Signal::Reply(echo(5)), Port::B));
        assert_ne!(query, key(y, x, Signal::Request(echo(5)), Port::B));
        assert_ne!(query, key(x, y, Signal::Reply(echo(5)), Port::A));
        assert_ne!(query, key(y, x, Signal::Reply(echo(6)), Port::B));
        assert!(FlowKey::of(&packet(x, y, Signal::Message), Port::A).is_none());
    }

    /// An error that comes in by port B about what went out there, from whoever and to whoever.
    fn error(about: PacketKey, part: Quoted) -> Packet {
        let signal = Signal::Error(Quote { key: about, part });
        packet(("198.18.9.9", 0), ("198.18.8.8", 0), signal)
    }

    #[test]
    fn error_belongs_to_the_flow_of_the_packet_that_it_quotes() {
        let (x, y) = (("198.18.0.1", 1), ("198.18.0.2", 2));
        for (src, dst) in [(x, y), (y, x)] {
            let sent = packet(src, dst, ACK);
            let error = FlowKey::of(&error(sent.key, Quoted::Tcp(1)), Port::B);
            assert_eq!(error, FlowKey::of(&sent, Port::A), "and to its sender");
            assert_ne!(error.unwrap().0, FlowKey::of(&sent, Port::B).unwrap().0, "the wrong side");
        }
        let request = packet(x, y, Signal::Request(echo(5)));
        let about = |key, id| FlowKey::of(&error(key, Quoted::Query(echo(id))), Port::B);
        assert_eq!(about(request.key, 5), FlowKey::of(&request, Port::A));
        assert_ne!(about(request.key, 6), FlowKey::of(&request, Port::A));
        let reply = packet(x, y, Signal::Reply(echo(5)));
        assert_eq!(about(reply.key, 5), FlowKey::of(&reply, Port::A));
        assert_ne!(about(reply.key, 5), FlowKey::of(&request, Port::A));
    }
}
