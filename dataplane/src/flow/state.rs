//! What a flow is doing, as far as its packets show it, and what packets begin one.

use classifier::packet::protocol;

use super::tcp;
use super::timers::Timer;
use crate::disposition::DropReason;
use crate::parse::Signal;

/// Direction of a packet within its flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// As the packet that opened the flow.
    Original,
    /// The other way.
    Reply,
}

impl Way {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// One of something for each side of a flow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pair<T> {
    /// Of the side that sent the packet which opened the flow.
    pub original: T,
    /// Of the other side.
    pub reply: T,
}

impl<T> Pair<T> {
    /// That of one side.
    #[inline]
    pub fn of(&self, way: Way) -> &T {
        match way {
            Way::Original => &self.original,
            Way::Reply => &self.reply,
        }
    }

    /// That of one side, to change it.
    #[inline]
    pub fn of_mut(&mut self, way: Way) -> &mut T {
        match way {
            Way::Original => &mut self.original,
            Way::Reply => &mut self.reply,
        }
    }
}

/// What a flow is doing.
///
/// ```text
/// TCP:  Opening --SYN(,ACK) of reply--> Answered --both SYNs acknowledged--> Established
///       Established --FIN--> HalfClosedBy.. --FIN of the other side--> Closing --both acknowledged--> Closed
///       any --RST that ends it--> Closed
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// TCP: the original side sent a SYN.
    Opening,
    /// TCP: both sides sent a SYN, at least one of which is not acknowledged.
    Answered,
    /// TCP: the handshake is complete.
    Established,
    /// TCP: the original side sent a FIN.
    HalfClosedByOriginal,
    /// TCP: the reply side sent a FIN.
    HalfClosedByReply,
    /// TCP: both sides sent a FIN, at least one of which is not acknowledged.
    Closing,
    /// TCP: both FINs are acknowledged, or a RST ended it. Repetitions of its last segments pass, data never.
    Closed,
    /// An ICMP query without a reply.
    Query,
    /// One with replies.
    QueryAnswered,
    /// UDP without an answer.
    Udp,
    /// UDP both ways.
    UdpAnswered,
    /// SCTP, and protocols of which we only see the number, without an answer.
    Other,
    /// The same both ways.
    OtherAnswered,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 13] = [
        Self::Opening,
        Self::Answered,
        Self::Established,
        Self::HalfClosedByOriginal,
        Self::HalfClosedByReply,
        Self::Closing,
        Self::Closed,
        Self::Query,
        Self::QueryAnswered,
        Self::Udp,
        Self::UdpAnswered,
        Self::Other,
        Self::OtherAnswered,
    ];

    /// Which timer runs while a flow is silent in this state. A connection that is closed from one side only is still in use
    /// (RFC 6146 section 3.5.2.2).
    #[must_use]
    pub fn timer(self) -> Timer {
        match self {
            Self::Opening | Self::Answered => Timer::TcpOpening,
            Self::Established | Self::HalfClosedByOriginal | Self::HalfClosedByReply => {
                Timer::TcpEstablished
            }
            Self::Closing => Timer::TcpClosing,
            Self::Closed => Timer::TcpClosed,
            Self::Query | Self::QueryAnswered => Timer::IcmpQuery,
            Self::Udp | Self::UdpAnswered => Timer::Udp,
            Self::Other | Self::OtherAnswered => Timer::Other,
        }
    }

    /// Whether it is one of a TCP connection.
    #[must_use]
    pub fn is_tcp(self) -> bool {
        match self {
            Self::Opening
            | Self::Answered
            | Self::Established
            | Self::HalfClosedByOriginal
            | Self::HalfClosedByReply
            | Self::Closing
            | Self::Closed => true,
            Self::Query
            | Self::QueryAnswered
            | Self::Udp
            | Self::UdpAnswered
            | Self::Other
            | Self::OtherAnswered => false,
        }
    }

    /// The state of a flow that is no TCP connection once its other side has answered.
    #[must_use]
    pub fn answered(self) -> Self {
        match self {
            Self::Query => Self::QueryAnswered,
            Self::Udp => Self::UdpAnswered,
            Self::Other => Self::OtherAnswered,
            Self::Opening
            | Self::Answered
            | Self::Established
            | Self::HalfClosedByOriginal
            | Self::HalfClosedByReply
            | Self::Closing
            | Self::Closed
            | Self::QueryAnswered
            | Self::UdpAnswered
            | Self::OtherAnswered => self,
        }
    }

    /// Whether nobody but its opener has a part in it so far, so that anyone could have made it up: where there is no room, it
    /// gives way.
    #[must_use]
    pub fn is_unanswered(self) -> bool {
        matches!(self, Self::Opening | Self::Answered | Self::Query | Self::Udp | Self::Other)
    }

    /// Whether it is that of a connection whose handshake is not complete.
    #[must_use]
    pub fn is_half_open(self) -> bool {
        matches!(self, Self::Opening | Self::Answered)
    }
}

/// What a packet that belongs to no flow may begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// A flow, if policy allows.
    Flow(State),
    /// No flow: policy judges each such packet by itself.
    Nothing,
    /// It belongs into a flow, and there is none.
    Refuse(DropReason),
}

/// What a packet without a flow may begin. `pick_up` says whether a TCP connection may be taken up in its midst.
#[must_use]
pub fn start(signal: Signal, protocol: u8, pick_up: bool) -> Start {
    match signal {
        Signal::Tcp(segment) if !tcp::are_possible(segment.flags) => {
            Start::Refuse(DropReason::TcpFlags)
        }
        Signal::Tcp(segment) if segment.flags.opens() => Start::Flow(State::Opening),
        Signal::Tcp(segment) if pick_up && tcp::goes_on(segment.flags) => {
            Start::Flow(State::Established)
        }
        Signal::Tcp(_) => Start::Refuse(DropReason::TcpNotOpening),
        Signal::Request(_) => Start::Flow(State::Query),
        Signal::Reply(_) | Signal::Error(_) => Start::Refuse(DropReason::IcmpUnmatched),
        Signal::Message => Start::Nothing,
        Signal::Datagram if protocol == protocol::UDP => Start::Flow(State::Udp),
        Signal::Datagram => Start::Flow(State::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Query, Quote, Quoted, Segment, TcpFlags};
    use classifier::packet::{PacketKey, Transport};

    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    const QUERY: Query = Query { kind: 8, identifier: 1 };

    fn begins(flags: u8, pick_up: bool) -> Start {
        let flags = TcpFlags(flags);
        let segment = Segment { flags, seq: 1, ack: 1, window: 1, data_bytes: 0, scale: None };
        start(Signal::Tcp(segment), protocol::TCP, pick_up)
    }

    #[test]
    fn only_a_pure_syn_opens() {
        for flags in 0..=u8::MAX {
            let pure = flags & (SYN | ACK | RST | FIN) == SYN;
            let expected = match flags & (SYN | ACK | RST | FIN) {
                SYN => Start::Flow(State::Opening),
                0 | FIN => Start::Refuse(DropReason::TcpFlags),
                bits if bits & (SYN | FIN) == SYN | FIN => Start::Refuse(DropReason::TcpFlags),
                bits if bits & (SYN | RST) == SYN | RST => Start::Refuse(DropReason::TcpFlags),
                bits if bits & (FIN | ACK) == FIN => Start::Refuse(DropReason::TcpFlags),
                _ => Start::Refuse(DropReason::TcpNotOpening),
            };
            assert_eq!(begins(flags, false), expected, "{flags:#04x}");
            assert_eq!(pure, expected == Start::Flow(State::Opening));
        }
    }

    #[test]
    fn picking_up_begins_with_a_plain_segment_only() {
        for flags in 0..=u8::MAX {
            let plain = flags & (SYN | ACK | RST | FIN) == ACK;
            let picked = begins(flags, true) == Start::Flow(State::Established);
            assert_eq!(picked, plain, "{flags:#04x}");
        }
    }

    #[test]
    fn other_protocols_begin_flows_by_kind() {
        let udp = start(Signal::Datagram, protocol::UDP, false);
        assert_eq!(udp, Start::Flow(State::Udp));
        let other = start(Signal::Datagram, protocol::SCTP, false);
        assert_eq!(other, Start::Flow(State::Other));
        let query = start(Signal::Request(QUERY), protocol::ICMP, false);
        assert_eq!(query, Start::Flow(State::Query));
        let src = "198.18.0.1".parse().unwrap();
        let transport = Transport::Opaque;
        let key = PacketKey { src, dst: src, protocol: 47, transport };
        let quote = Quote { key, part: Quoted::Datagram };
        for signal in [Signal::Reply(QUERY), Signal::Error(quote)] {
            let unmatched = Start::Refuse(DropReason::IcmpUnmatched);
            assert_eq!(start(signal, protocol::ICMP, true), unmatched);
        }
        assert_eq!(start(Signal::Message, protocol::ICMPV6, false), Start::Nothing);
    }
}
