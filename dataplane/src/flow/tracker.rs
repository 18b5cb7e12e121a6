//! What a flow is doing, as far as its packets show it, and how long it may be silent.
//!
//! The interface of a tracker: `start` for the first packet, `step` for each later one, `idle_timeout_ms` for a state.
//! This one follows flags only; sequence numbers and windows are the business of a strict one behind the same interface.

use classifier::packet::protocol;

use crate::parse::{Signal, TcpFlags};

/// RFC 5382 REQ-5: an established connection, idle for at least 2 hours and 4 minutes. One that is closed from one side
/// only is still in use (RFC 6146 section 3.5.2.2).
const TCP_ESTABLISHED_MS: u32 = 7_440_000;
/// RFC 5382 REQ-5: a connection that opens or closes, at least 4 minutes.
const TCP_TRANSITORY_MS: u32 = 240_000;
/// RFC 4787 REQ-5: 5 minutes by default.
const UDP_MS: u32 = 300_000;
/// RFC 5508 REQ-2: at least 60 seconds.
const ICMP_QUERY_MS: u32 = 60_000;
/// Protocols that we know nothing of: as UDP.
const OTHER_MS: u32 = 300_000;

/// Direction of a packet within its flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// As the packet that opened the flow.
    Original,
    /// The other way.
    Reply,
}

/// What a flow is doing.
///
/// ```text
/// TCP:  Opening --SYN(,ACK) of reply--> Answered --ACK of original--> Established
///       Established --FIN--> HalfClosed --FIN of the other side--> Closing;   any --RST--> Closing
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// TCP: the original side sent a SYN.
    Opening,
    /// TCP: the reply side answered it with a SYN of its own.
    Answered,
    /// TCP: the handshake is complete.
    Established,
    /// TCP: the original side sent a FIN.
    HalfClosedByOriginal,
    /// TCP: the reply side sent a FIN.
    HalfClosedByReply,
    /// TCP: both sides sent a FIN, or one a RST.
    Closing,
    /// An ICMP echo request and its replies.
    Query,
    /// UDP.
    Udp,
    /// SCTP, and protocols of which we only see the number.
    Other,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Opening,
        Self::Answered,
        Self::Established,
        Self::HalfClosedByOriginal,
        Self::HalfClosedByReply,
        Self::Closing,
        Self::Query,
        Self::Udp,
        Self::Other,
    ];

    /// How long a flow may be silent in this state, in milliseconds, before it ends.
    #[must_use]
    pub fn idle_timeout_ms(self) -> u32 {
        match self {
            Self::Opening | Self::Answered | Self::Closing => TCP_TRANSITORY_MS,
            Self::Established | Self::HalfClosedByOriginal | Self::HalfClosedByReply => {
                TCP_ESTABLISHED_MS
            }
            Self::Query => ICMP_QUERY_MS,
            Self::Udp => UDP_MS,
            Self::Other => OTHER_MS,
        }
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
    Refuse,
}

/// What a packet without a flow may begin.
///
/// An echo reply that nobody asked for begins nothing: it is a packet like any other, and policy decides.
#[must_use]
pub fn start(signal: Signal, protocol: u8) -> Start {
    match signal {
        Signal::Tcp(segment) if segment.flags.opens() => Start::Flow(State::Opening),
        Signal::Tcp(_) => Start::Refuse,
        Signal::Request(_) => Start::Flow(State::Query),
        Signal::Reply(_) | Signal::Error(_) | Signal::Message => Start::Nothing,
        Signal::Datagram if protocol == protocol::UDP => Start::Flow(State::Udp),
        Signal::Datagram => Start::Flow(State::Other),
    }
}

/// What a packet does to the flow it belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// It belongs to the flow, which is in this state now.
    Stay(State),
    /// It would begin a connection anew: policy judges it as if there were no flow, which lives on.
    Judge,
    /// The same, but the flow is over: when policy allows, the new one takes its place.
    Replace,
}

/// What a packet of a known flow does.
#[must_use]
pub fn step(state: State, way: Way, signal: Signal) -> Step {
    match signal {
        Signal::Tcp(segment) => tcp(state, way, segment.flags),
        Signal::Request(_)
        | Signal::Reply(_)
        | Signal::Error(_)
        | Signal::Message
        | Signal::Datagram => Step::Stay(state),
    }
}

fn tcp(state: State, way: Way, flags: TcpFlags) -> Step {
    if flags.rst() {
        return Step::Stay(State::Closing);
    }
    if flags.opens() && state != State::Opening && state != State::Answered {
        return if state == State::Closing { Step::Replace } else { Step::Judge };
    }
    let state = shake_hands(state, way, flags);
    Step::Stay(if flags.fin() { close(state, way) } else { state })
}

/// A SYN of the reply side without ACK is a simultaneous open (RFC 9293 section 3.5).
fn shake_hands(state: State, way: Way, flags: TcpFlags) -> State {
    match (state, way) {
        (State::Opening, Way::Reply) if flags.syn() => State::Answered,
        (State::Answered, Way::Original) if flags.ack() => State::Established,
        _ => state,
    }
}

/// A FIN before the handshake is complete changes nothing: the short timeout holds.
fn close(state: State, way: Way) -> State {
    match (state, way) {
        (State::Established, Way::Original) => State::HalfClosedByOriginal,
        (State::Established, Way::Reply) => State::HalfClosedByReply,
        (State::HalfClosedByOriginal, Way::Reply) | (State::HalfClosedByReply, Way::Original) => {
            State::Closing
        }
        _ => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Query, Segment};

    fn tcp(flags: u8) -> Signal {
        let flags = TcpFlags(flags);
        Signal::Tcp(Segment { flags, seq: 1, ack: 1, window: 1, data_bytes: 0, scale: None })
    }

    const QUERY: Query = Query { kind: 8, identifier: 1 };
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;

    fn after(packets: &[(Way, u8)]) -> State {
        packets.iter().fold(State::Opening, |state, (way, flags)| {
            match step(state, *way, tcp(*flags)) {
                Step::Stay(state) => state,
                Step::Judge | Step::Replace => panic!("it goes on after {flags:#04x}"),
            }
        })
    }

    #[test]
    fn connection_runs_through_its_states() {
        use Way::{Original, Reply};
        let story = [
            (Original, SYN, State::Opening),
            (Original, ACK, State::Opening),
            (Reply, SYN | ACK, State::Answered),
            (Reply, SYN | ACK, State::Answered),
            (Original, SYN, State::Answered),
            (Original, ACK, State::Established),
            (Reply, ACK, State::Established),
            (Reply, SYN | ACK, State::Established),
            (Reply, FIN | ACK, State::HalfClosedByReply),
            (Reply, FIN | ACK, State::HalfClosedByReply),
            (Original, ACK, State::HalfClosedByReply),
            (Original, FIN | ACK, State::Closing),
            (Reply, ACK, State::Closing),
        ];
        for length in 1..=story.len() {
            let packets: Vec<_> = story[..length].iter().map(|row| (row.0, row.1)).collect();
            assert_eq!(after(&packets), story[length - 1].2, "after {length} packets");
        }
    }

    #[test]
    fn simultaneous_open_is_established() {
        use Way::{Original, Reply};
        assert_eq!(after(&[(Reply, SYN), (Original, SYN | ACK)]), State::Established);
    }

    #[test]
    fn reset_closes_whatever_the_state() {
        for state in State::ALL.into_iter().take(6) {
            for way in [Way::Original, Way::Reply] {
                let reset = step(state, way, tcp(RST | ACK));
                assert_eq!(reset, Step::Stay(State::Closing));
            }
        }
    }

    #[test]
    fn syn_on_a_complete_connection_is_for_policy_to_judge() {
        let syn = tcp(SYN);
        for way in [Way::Original, Way::Reply] {
            assert_eq!(step(State::Established, way, syn), Step::Judge);
            assert_eq!(step(State::HalfClosedByOriginal, way, syn), Step::Judge);
            assert_eq!(step(State::HalfClosedByReply, way, syn), Step::Judge);
            assert_eq!(step(State::Closing, way, syn), Step::Replace);
        }
    }

    #[test]
    fn only_a_pure_syn_opens() {
        for flags in 0..=u8::MAX {
            let pure = flags & (SYN | ACK | RST | FIN) == SYN;
            let expected = if pure { Start::Flow(State::Opening) } else { Start::Refuse };
            assert_eq!(start(tcp(flags), protocol::TCP), expected);
        }
    }

    #[test]
    fn handshake_without_an_answer_never_gets_the_long_timeout() {
        for flags in 0..=u8::MAX {
            if let Step::Stay(state) = step(State::Opening, Way::Original, tcp(flags)) {
                assert_eq!(state.idle_timeout_ms(), TCP_TRANSITORY_MS, "{flags:#04x}");
            }
        }
    }

    #[test]
    fn other_protocols_begin_flows_by_kind() {
        let udp = start(Signal::Datagram, protocol::UDP);
        assert_eq!(udp, Start::Flow(State::Udp));
        assert_eq!(start(Signal::Datagram, protocol::SCTP), Start::Flow(State::Other));
        assert_eq!(start(Signal::Request(QUERY), protocol::ICMP), Start::Flow(State::Query));
        assert_eq!(start(Signal::Reply(QUERY), protocol::ICMP), Start::Nothing);
        assert_eq!(start(Signal::Message, protocol::ICMPV6), Start::Nothing);
    }
}
