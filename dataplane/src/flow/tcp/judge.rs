//! The checks of a segment, by what the connection is doing.

use super::words::{earlier, is_after, is_within, later};
use super::{Connection, Heard, Pending, Sent, Step, are_possible, window};
use crate::disposition::DropReason;
use crate::flow::state::{State, Way};
use crate::parse::Segment;

/// What no peer can have meant.
const BEYOND: Step = Step::Refuse(DropReason::TcpWindow);
/// What a closed connection has no more room for.
const OVER: Step = Step::Refuse(DropReason::TcpClosed);

/// How far back an acknowledgment may lie however small windows are: van Rooij's MAXACKWINDOW.
const LATE_ACK: u32 = 66_000;

/// A segment, and numbers of both peers as its check needs them.
struct Numbers<'a> {
    way: Way,
    segment: &'a Segment,
    /// Of the sender.
    sent: Sent,
    heard: Heard,
    /// Of the receiver.
    sent_back: Sent,
    heard_back: Heard,
}

impl Connection {
    /// What `segment` is to the connection, which is in `state`.
    pub(crate) fn step(&self, state: State, way: Way, segment: &Segment) -> Step {
        if !are_possible(segment.flags) {
            return Step::Refuse(DropReason::TcpFlags);
        }
        if segment.flags.opens() {
            return self.syn(state, way, segment);
        }
        match state {
            State::Opening => match way {
                Way::Original => self.before_answer(segment),
                Way::Reply => self.answer(segment),
            },
            State::Answered
            | State::Established
            | State::HalfClosedByOriginal
            | State::HalfClosedByReply
            | State::Closing => self.in_use(state, way, segment),
            State::Closed => self.repetition(way, segment),
            State::Query
            | State::QueryAnswered
            | State::Udp
            | State::UdpAnswered
            | State::Other
            | State::OtherAnswered => Step::Refuse(DropReason::Internal),
        }
    }

    /// A pure SYN. The one that opened the connection may come again. Another one on a connection in use is not of that
    /// connection; its receiver answers with a challenge ACK (RFC 5961 section 4.2), or opens anew.
    fn syn(&self, state: State, way: Way, syn: &Segment) -> Step {
        let is_again = !self.terms.is_picked_up()
            && (way == Way::Original || self.terms.is_answered())
            && syn.seq == self.initial.of(way);
        match (state, way) {
            (State::Closed, _) => Step::Replace,
            (State::Opening, Way::Original) if is_again => {
                Step::Advance(Self::opened(syn).peers.sent.original, None)
            }
            // A simultaneous open (RFC 9293 section 3.5).
            (State::Opening, Way::Reply) => Step::Answer(self.answered(syn)),
            (State::Answered, _) if is_again => Step::Repeat,
            _ => Step::Judge((!is_again).then(|| Pending::new(way, syn))),
        }
    }

    /// From who opened, before any answer.
    fn before_answer(&self, segment: &Segment) -> Step {
        let (seq, flags) = (segment.seq, segment.flags);
        let start = self.initial.of(Way::Original).wrapping_add(1);
        if !flags.rst() {
            return BEYOND;
        }
        if self.challenge.is_answered_by(seq) {
            return Step::Repeat;
        }
        let gives_up = seq == start || seq == self.peers.sent.original.end();
        if gives_up { Step::Close } else { BEYOND }
    }

    /// The first that the other side says. A RST must acknowledge the SYN (RFC 9293 section 3.10.7.3).
    fn answer(&self, segment: &Segment) -> Step {
        let flags = segment.flags;
        let acks_syn = self.acks_first_syn(segment);
        if flags.rst() {
            let refuses_pending = self.pending.is_acked_by(Way::Reply, segment);
            return match (acks_syn, refuses_pending) {
                (true, _) => Step::Close,
                (false, true) => Step::Repeat,
                (false, false) => BEYOND,
            };
        }
        if flags.syn() {
            return self.syn_ack(State::Opening, Way::Reply, segment);
        }
        let is_bare = segment.data_bytes == 0 && !flags.fin();
        if is_bare { Step::Challenge(segment.ack) } else { BEYOND }
    }

    /// SYN and ACK: the answer to the SYN that opened, that answer once more, or the answer to a later SYN.
    fn syn_ack(&self, state: State, way: Way, segment: &Segment) -> Step {
        let is_answer = way == Way::Reply && self.acks_first_syn(segment);
        // In the other state the one before was lost on its way, and this is the answer to another copy of the SYN.
        let is_first = state == State::Opening
            || state == State::Answered
                && self.peers.heard.original.acked() == self.initial.of(Way::Reply)
                && segment.seq != self.initial.of(Way::Reply);
        if is_answer && is_first {
            let most = self.peers.sent.original.widest();
            let fits = u32::from(segment.data_bytes) <= most;
            return if fits { Step::Answer(self.answered(segment)) } else { BEYOND };
        }
        if self.pending.is_acked_by(way, segment) {
            return Step::Restart(self.restarted(segment));
        }
        if state == State::Opening
            || self.terms.is_picked_up()
            || segment.seq != self.initial.of(way)
        {
            return BEYOND;
        }
        self.data(state, &self.numbers(way, segment))
    }

    fn in_use(&self, state: State, way: Way, segment: &Segment) -> Step {
        if segment.flags.syn() {
            return self.syn_ack(state, way, segment);
        }
        let numbers = self.numbers(way, segment);
        if segment.flags.rst() {
            return self.reset(&numbers);
        }
        if self.terms.is_picked_up() {
            return numbers.unchecked();
        }
        self.data(state, &numbers)
    }

    /// A segment within a connection whose SYNs were seen.
    fn data(&self, state: State, numbers: &Numbers<'_>) -> Step {
        let Numbers { way, segment, sent, .. } = *numbers;
        let flags = segment.flags;
        let text_end =
            segment.seq.wrapping_add(segment.data_bytes.into()).wrapping_add(flags.syn().into());
        let end = text_end.wrapping_add(flags.fin().into());
        let acks_syn =
            state != State::Answered || is_after(segment.ack, self.initial.of(way.other()));
        let is_behind_fin = sent.fin() && is_after(end, sent.end());
        if !numbers.may_reach(text_end)
            || !numbers.is_recent(end)
            || !numbers.has_fair_ack()
            || !acks_syn
            || is_behind_fin
        {
            return BEYOND;
        }
        let shift = if flags.syn() { 0 } else { self.terms.shift(way) };
        let window = window(segment.window.into(), shift);
        // A FIN before the end of what was sent is none that its sender can have meant.
        let fin = flags.fin() && !is_after(sent.end(), end);
        let heard = Heard::new(segment.ack, segment.ack.wrapping_add(window));
        Step::Advance(Sent::new(end, fin, window), Some(heard))
    }

    /// RFC 5961 section 3.2: one that is exactly where its receiver is ends the connection; for one within the window the
    /// receiver asks back by a challenge ACK, so it must arrive and nothing must change; any other is forged.
    ///
    /// Where the receiver is, is known up to what is in flight: it has what it acknowledged, and may have all that was sent.
    fn reset(&self, numbers: &Numbers<'_>) -> Step {
        let Numbers { way, segment, sent, heard_back, .. } = *numbers;
        let (seq, end) = (segment.seq, sent.end());
        if self.pending.is_acked_by(way, segment) {
            return Step::Repeat;
        }
        let is_exact = seq == heard_back.acked() || seq == end;
        if self.terms.is_picked_up() {
            return if is_exact { Step::Close } else { Step::Repeat };
        }
        let text_end = seq.wrapping_add(segment.data_bytes.into());
        if !is_within(seq, heard_back.acked(), later(heard_back.granted(), end))
            || !numbers.may_reach(text_end)
            || segment.flags.ack() && !numbers.has_fair_ack()
        {
            return BEYOND;
        }
        if is_exact { Step::Close } else { Step::Repeat }
    }

    /// A closed connection: repetitions of its last segments, which the peers may still need to hear, and never data.
    fn repetition(&self, way: Way, segment: &Segment) -> Step {
        let flags = segment.flags;
        if segment.data_bytes > 0 || flags.syn() {
            return OVER;
        }
        if !self.terms.is_answered() {
            let refuses = way == Way::Reply && self.acks_first_syn(segment);
            let gives_up = way == Way::Original && segment.seq == self.peers.sent.original.end();
            return if flags.rst() && (refuses || gives_up) { Step::Linger } else { OVER };
        }
        let numbers = self.numbers(way, segment);
        let Numbers { sent, heard_back, .. } = numbers;
        let is_in_place = if flags.rst() {
            numbers.is_recent(segment.seq) && numbers.may_reach(segment.seq)
        } else if flags.fin() {
            sent.fin() && segment.seq.wrapping_add(1) == sent.end()
        } else {
            is_within(segment.seq, earlier(heard_back.acked(), sent.end()), sent.end())
                || segment.seq.wrapping_add(1) == sent.end()
        };
        let has_fair_ack = !flags.ack() || numbers.has_fair_ack();
        if is_in_place && has_fair_ack { Step::Linger } else { OVER }
    }

    /// Whether it acknowledges the SYN that opened, and no more than was sent with it.
    fn acks_first_syn(&self, segment: &Segment) -> bool {
        let first = self.initial.of(Way::Original).wrapping_add(1);
        segment.flags.ack() && is_within(segment.ack, first, self.peers.sent.original.end())
    }

    fn numbers<'a>(&self, way: Way, segment: &'a Segment) -> Numbers<'a> {
        let (sent, heard) = (&self.peers.sent, &self.peers.heard);
        Numbers {
            way,
            segment,
            sent: *sent.of(way),
            heard: *heard.of(way),
            sent_back: *sent.of(way.other()),
            heard_back: *heard.of(way.other()),
        }
    }
}

impl Numbers<'_> {
    /// Not beyond what the receiver granted; what was once sent may come again.
    fn may_reach(&self, end: u32) -> bool {
        !is_after(end, later(self.heard_back.granted(), self.sent.end()))
    }

    /// Not older than one window of the receiver, or than what it lacks; a keepalive is one octet older (RFC 9293 section
    /// 3.8.4). One that ends behind what the receiver has is of use however early it begins.
    fn is_recent(&self, end: u32) -> bool {
        let acked = self.heard_back.acked();
        let window_back = self.sent.end().wrapping_sub(self.sent_back.widest());
        let oldest = earlier(window_back, acked.wrapping_sub(1));
        is_after(end, acked) || !is_after(oldest, self.segment.seq)
    }

    /// RFC 5961 section 5.2: it acknowledges nothing that was not sent, and nothing older than one window of the sender; or
    /// than the largest window without scaling, so that a small one leaves room for segments that arrive late.
    fn has_fair_ack(&self) -> bool {
        let oldest = self.heard.acked().wrapping_sub(self.sent.widest().max(LATE_ACK));
        is_within(self.segment.ack, oldest, self.sent_back.end())
    }

    /// Of a connection that was picked up in its midst: the numbers as they are.
    fn unchecked(&self) -> Step {
        let Self { segment, .. } = self;
        let fin = segment.flags.fin();
        let end = segment.seq.wrapping_add(segment.data_bytes.into()).wrapping_add(fin.into());
        let fin = fin && !is_after(self.sent.end(), end);
        Step::Advance(Sent::new(end, fin, 1), Some(Heard::new(segment.ack, segment.ack)))
    }
}
