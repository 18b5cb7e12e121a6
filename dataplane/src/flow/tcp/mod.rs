//! Whether a TCP segment belongs to its connection, by what was seen of both peers: pure, without storage, clock or IO.
//!
//! The bounds are those of van Rooij ("Real Stateful TCP Packet Filtering in IP Filter", 2001), as tight as an endpoint's own
//! (RFC 9293 section 3.10.7.4, RFC 5961): nobody sends beyond what the other one granted, or acknowledges what the other one
//! did not send; what is old is at most one window old. Nothing in a segment is mended before it is checked.

mod judge;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use self::words::{Challenge, Heard, Initial, Peers, Pending, Sent, Terms};
use self::words::{is_after, is_within, later};
use super::state::{Pair, State, Way};
use crate::disposition::DropReason;
use crate::parse::{Segment, TcpFlags};

/// All that is known of a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Connection {
    pub(crate) peers: Peers,
    pub(crate) initial: Initial,
    pub(crate) terms: Terms,
    pub(crate) pending: Pending,
    pub(crate) challenge: Challenge,
}

/// What a segment is to its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// It belongs to the connection, which goes on by what its sender says.
    Advance(Sent, Option<Heard>),
    /// It belongs to the connection and changes nothing.
    Repeat,
    /// The same, and the connection does not even count as used by it.
    Linger,
    /// The SYN of the reply side: the connection is now this one, answered.
    Answer(Connection),
    /// It passes as the answer to a SYN that does not belong; who sent that one will answer with a RST of this number.
    Challenge(u32),
    /// It ends the connection.
    Close,
    /// It would begin a connection anew: policy judges it as if there were no flow, which lives on.
    /// What there is to remember of it if it passes: its answer tells whether it does begin one.
    Judge(Option<Pending>),
    /// The same, but the flow is over: when policy allows, the new one takes its place.
    Replace,
    /// The answer to a SYN that policy let pass before: that one's connection takes the place of this, opened from the side
    /// that this segment goes to.
    Restart(Connection),
    /// It does not belong to the connection.
    Refuse(DropReason),
}

/// Control bits that some TCP may send: neither none, nor SYN with FIN or RST, nor FIN without ACK.
pub(crate) fn are_possible(flags: TcpFlags) -> bool {
    let is_contrary = flags.syn() && (flags.fin() || flags.rst());
    let says_something = flags.ack() || flags.syn() || flags.rst();
    says_something && !is_contrary && (flags.ack() || !flags.fin())
}

/// Neither a beginning nor an end: a segment of a connection that is in full use.
pub(crate) fn goes_on(flags: TcpFlags) -> bool {
    flags.ack() && !flags.syn() && !flags.fin() && !flags.rst()
}

/// Octets that the window field stands for. A window of zero may be probed with one octet (RFC 9293 section 3.8.6.1).
fn window(field: u32, shift: u32) -> u32 {
    (field << shift).max(1)
}

impl Connection {
    /// Of the SYN that opens it.
    #[must_use]
    pub fn opened(syn: &Segment) -> Self {
        Self::opening(syn.seq, syn.data_bytes, syn.window.into(), syn.scale)
    }

    /// Of the first segment that was seen of a connection whose SYNs were not. How windows are scaled is not known, so nothing
    /// is checked but what ends it (RFC 7323 section 2.3, RFC 6092 REC-32).
    #[must_use]
    pub fn picked_up(segment: &Segment) -> Self {
        let (seq, ack) = (segment.seq, segment.ack);
        let end = seq.wrapping_add(segment.data_bytes.into());
        let sent = Pair { original: Sent::new(end, false, 1), reply: Sent::new(ack, false, 1) };
        let heard = Pair { original: Heard::new(ack, ack), reply: Heard::new(seq, seq) };
        let terms = Terms::PICKED;
        Self { peers: Peers { sent, heard }, terms, ..Self::default() }
    }

    /// The state that follows from `state` and the numbers.
    pub(crate) fn settled(&self, state: State) -> State {
        let Peers { sent, heard } = &self.peers;
        let is_in_use = match state {
            State::Opening
            | State::Closed
            | State::Query
            | State::QueryAnswered
            | State::Udp
            | State::UdpAnswered
            | State::Other
            | State::OtherAnswered => return state,
            State::Answered => self.is_shaken(),
            State::Established
            | State::HalfClosedByOriginal
            | State::HalfClosedByReply
            | State::Closing => true,
        };
        let is_acked = |way: Way| !is_after(sent.of(way).end(), heard.of(way.other()).acked());
        match (is_in_use, sent.original.fin(), sent.reply.fin()) {
            (false, ..) => State::Answered,
            (true, false, false) => State::Established,
            (true, true, false) => State::HalfClosedByOriginal,
            (true, false, true) => State::HalfClosedByReply,
            (true, true, true) if is_acked(Way::Original) && is_acked(Way::Reply) => State::Closed,
            (true, true, true) => State::Closing,
        }
    }

    /// Whether an ICMP error may be about a segment of this number that went this way: one in flight, between SND.UNA and
    /// SND.NXT of its sender (RFC 5927 section 4.1).
    pub(crate) fn is_in_flight(&self, state: State, way: Way, seq: u32) -> bool {
        if self.terms.is_picked_up() || self.pending.is(way, seq) {
            return true;
        }
        let end = self.peers.sent.of(way).end();
        if state == State::Answered || !self.terms.is_answered() {
            let is_known = way == Way::Original || self.terms.is_answered();
            return is_known && is_within(seq, self.initial.of(way), end);
        }
        is_within(seq, self.peers.heard.of(way.other()).acked(), end)
    }

    /// Whether both SYNs are acknowledged.
    fn is_shaken(&self) -> bool {
        [Way::Original, Way::Reply]
            .into_iter()
            .all(|way| is_after(self.peers.heard.of(way.other()).acked(), self.initial.of(way)))
    }

    /// With the SYN of the reply side, whether or not it acknowledges that of the original side.
    fn answered(&self, syn: &Segment) -> Self {
        let mut next = *self;
        let original = self.peers.sent.original;
        let own_window = window(syn.window.into(), 0);
        let start = syn.seq.wrapping_add(1);
        let first = self.initial.of(Way::Original);
        let acked = if syn.flags.ack() { syn.ack } else { first };
        // Before it is acknowledged, a SYN's window counts from behind the other's SYN.
        let granted = later(acked, first.wrapping_add(1)).wrapping_add(own_window);
        next.peers.sent.reply =
            Sent::new(start.wrapping_add(syn.data_bytes.into()), false, own_window);
        next.peers.heard = Pair {
            original: Heard::new(syn.seq, start.wrapping_add(original.widest())),
            reply: Heard::new(acked, granted),
        };
        next.initial = Initial::new(first, syn.seq);
        next.terms = self.terms.answered(syn.scale);
        next
    }

    /// The connection of the pending SYN, answered by `syn`.
    fn restarted(&self, syn: &Segment) -> Self {
        let (isn, window, scale) =
            (self.pending.isn(), self.pending.window(), self.pending.scale());
        Self::opening(isn, 0, window, scale).answered(syn)
    }

    fn opening(isn: u32, data_bytes: u16, field: u32, scale: Option<u8>) -> Self {
        let end = isn.wrapping_add(1).wrapping_add(data_bytes.into());
        let sent = Pair { original: Sent::new(end, false, window(field, 0)), ..Pair::default() };
        Self {
            peers: Peers { sent, ..Peers::default() },
            initial: Initial::new(isn, 0),
            terms: Terms::opened(scale),
            ..Self::default()
        }
    }
}
