//! Conversations told segment by segment. The numbers of the scenarios are those of the assurance document: T rows by what
//! one segment is to a connection, S rows where they need no network.

mod attack;
mod ending;
mod opening;
mod window;

use super::*;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;
const A: Way = Way::Original;
const B: Way = Way::Reply;
/// The window in all segments that do not say otherwise.
const WINDOW: u16 = 8_192;

fn seg(flags: u8, seq: u32, ack: u32, data_bytes: u16) -> Segment {
    let flags = TcpFlags(flags);
    Segment { flags, seq, ack, window: WINDOW, data_bytes, scale: None }
}

/// A connection under way. Its sides begin at `a` and `b`; numbers in stories count from there.
struct Talk {
    connection: Connection,
    state: State,
    a: u32,
    b: u32,
}

impl Talk {
    fn open(syn: Segment) -> Self {
        let connection = Connection::opened(&syn);
        Self { connection, state: State::Opening, a: syn.seq, b: 0x8000_0000 }
    }

    /// A SYN from number `a`.
    fn opening(a: u32) -> Self {
        Self::open(seg(SYN, a, 0, 0))
    }

    /// With handshakes complete, and no octet sent.
    fn established(a: u32, b: u32) -> Self {
        Self::scaled(a, b, None, None)
    }

    fn scaled(a: u32, b: u32, own: Option<u8>, other: Option<u8>) -> Self {
        let mut talk = Self::open(Segment { scale: own, ..seg(SYN, a, 0, 0) });
        talk.b = b;
        talk.passes(B, Segment { scale: other, ..seg(SYN | ACK, b, a.wrapping_add(1), 0) });
        assert_eq!(talk.state, State::Answered);
        talk.passes(A, talk.of(A, ACK, 1, 1, 0));
        assert_eq!(talk.state, State::Established);
        talk
    }

    /// A segment whose numbers count from the initial ones.
    fn of(&self, way: Way, flags: u8, seq: u32, ack: u32, data_bytes: u16) -> Segment {
        let (own, other) = if way == A { (self.a, self.b) } else { (self.b, self.a) };
        seg(flags, own.wrapping_add(seq), other.wrapping_add(ack), data_bytes)
    }

    /// What a segment does, put into the connection as the table puts it.
    fn take(&mut self, way: Way, segment: Segment) -> Step {
        let step = self.connection.step(self.state, way, &segment);
        match step {
            Step::Advance(sent, heard) => {
                let peers = &mut self.connection.peers;
                *peers.sent.of_mut(way) = peers.sent.of(way).merge(sent);
                if let Some(heard) = heard {
                    *peers.heard.of_mut(way) = peers.heard.of(way).merge(heard);
                }
                self.state = self.connection.settled(self.state);
            }
            Step::Answer(connection) | Step::Restart(connection) => {
                (self.connection, self.state) = (connection, State::Answered);
            }
            Step::Challenge(ack) => self.connection.challenge = Challenge::new(ack),
            Step::Close => self.state = State::Closed,
            // Policy allows what it is asked.
            Step::Judge(pending) => {
                self.connection.pending = pending.unwrap_or(self.connection.pending);
            }
            Step::Replace => *self = Self { b: self.b, ..Self::open(segment) },
            Step::Repeat | Step::Linger | Step::Refuse(_) => {}
        }
        step
    }

    #[track_caller]
    fn passes(&mut self, way: Way, segment: Segment) {
        let step = self.take(way, segment);
        assert!(!matches!(step, Step::Refuse(_)), "{step:?} of {segment:?} in {:?}", self.state);
    }

    #[track_caller]
    fn drops(&mut self, way: Way, segment: Segment, reason: DropReason) {
        let (connection, state) = (self.connection, self.state);
        assert_eq!(self.take(way, segment), Step::Refuse(reason), "{segment:?} in {state:?}");
        assert_eq!((self.connection, self.state), (connection, state), "nothing changes");
    }

    #[track_caller]
    fn beyond(&mut self, way: Way, segment: Segment) {
        self.drops(way, segment, DropReason::TcpWindow);
    }

    #[track_caller]
    fn over(&mut self, way: Way, segment: Segment) {
        self.drops(way, segment, DropReason::TcpClosed);
    }

    /// Passes by numbers from the initial ones.
    #[track_caller]
    fn says(&mut self, way: Way, flags: u8, seq: u32, ack: u32, data_bytes: u16) {
        self.passes(way, self.of(way, flags, seq, ack, data_bytes));
    }
}

/// Initial numbers at which something wraps early, late or never.
const STARTS: [(u32, u32); 5] = [
    (1_000, 5_000),
    (u32::MAX, u32::MAX),
    (u32::MAX - 2_000, 7),
    (0x7fff_ff00, 0x8000_0000),
    (0, u32::MAX - 9_000),
];

fn each(story: impl Fn(Talk)) {
    for (a, b) in STARTS {
        story(Talk::established(a, b));
    }
}
