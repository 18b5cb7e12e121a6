//! TCP segments and the flows that they belong to: the pure tracker's answer, put into the table.

use super::tcp::{Connection, Heard, Pending, Sent, Step};
use super::{Flow, FlowKey, FlowTable, State, Way};
use crate::disposition::DropReason;
use crate::moment::Moment;
use crate::parse::Segment;
use std::sync::atomic::{Ordering, fence};

/// What a segment is to the flow that it belongs to by its addresses and ports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tracked {
    /// It passes, and is noted.
    Passes,
    /// It does not belong to the connection.
    Refused(DropReason),
    /// Policy judges it as if there were no flow, which lives on. What to remember if it passes: see `FlowTable::expect`.
    Judged(Option<Expected>),
    /// The flow is over: if policy allows, a new one takes its place.
    Replaces,
    /// It answers a SYN that policy let pass before, and whose flow, of this connection and opened by the side that this
    /// segment goes to, is to take the place of this one.
    Restarts(Connection),
    /// The flow was judged again, replaced or removed by another worker: it has to be looked up again.
    Moved,
}

/// A SYN that does not belong to the flow of its addresses and ports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Expected(Pending);

impl FlowTable {
    /// Judges a segment by its flow, and notes it if it belongs there.
    #[must_use]
    pub fn track(
        &self,
        flow: &Flow<'_>,
        key: &FlowKey,
        way: Way,
        segment: &Segment,
        now: Moment,
    ) -> Tracked {
        let slot = flow.place.slot;
        let Some((meta, connection)) = slot.connection(flow.tenant.meta) else {
            return Tracked::Moved;
        };
        let Some(state) = meta.state() else { return Tracked::Moved };
        let noted = match connection.step(state, way, segment) {
            Step::Advance(sent, heard) => {
                self.advance(flow, key, (way, state), (sent, heard), &connection, now)
            }
            Step::Repeat => {
                slot.touch(meta, now, |state| state);
                true
            }
            Step::Linger => true,
            Step::Answer(_) => return answer(flow, way, segment, now),
            Step::Challenge(ack) => slot.challenge(meta, ack),
            Step::Close => {
                let changed = slot.touch(meta, now, |_| State::Closed);
                self.note_change(flow, key, changed, now);
                changed.is_some()
            }
            Step::Judge(pending) => return Tracked::Judged(pending.map(Expected)),
            Step::Replace => return Tracked::Replaces,
            Step::Restart(connection) => return Tracked::Restarts(connection),
            Step::Refuse(reason) => return Tracked::Refused(reason),
        };
        if noted { Tracked::Passes } else { Tracked::Moved }
    }

    /// Remembers a SYN that passed although it does not belong to the flow: by its answer the flow begins anew.
    pub fn expect(&self, flow: &Flow<'_>, expected: Expected) {
        // Where the flow moved on meanwhile, the answer will not match, and the SYN comes again.
        let _ = flow.place.slot.expect(flow.tenant.meta, expected.0);
    }

    /// Whether an ICMP error may be about a TCP segment with this number that went this way.
    #[must_use]
    pub fn is_in_flight(&self, flow: &Flow<'_>, way: Way, seq: u32) -> bool {
        let Some((meta, connection)) = flow.place.slot.connection(flow.tenant.meta) else {
            return false;
        };
        meta.state().is_some_and(|state| connection.is_in_flight(state, way, seq))
    }

    /// Merges the numbers first; what they say of the state is looked at behind a fence, so that of two workers that change
    /// one half each at least one sees the whole.
    fn advance(
        &self,
        flow: &Flow<'_>,
        key: &FlowKey,
        (way, state): (Way, State),
        (sent, heard): (Sent, Option<Heard>),
        connection: &Connection,
        now: Moment,
    ) -> bool {
        let (slot, meta) = (flow.place.slot, flow.tenant.meta);
        if !slot.advance(meta, way, sent, heard) {
            return false;
        }
        let mut after = *connection;
        *after.peers.sent.of_mut(way) = after.peers.sent.of(way).merge(sent);
        if state == State::Established && after.settled(state) == state {
            slot.touch(meta, now, |state| state);
            return true;
        }
        fence(Ordering::SeqCst);
        let changed = slot.touch(meta, now, |state| {
            slot.connection(meta).map_or(state, |(_, connection)| connection.settled(state))
        });
        self.note_change(flow, key, changed, now);
        true
    }

    fn note_change(
        &self,
        flow: &Flow<'_>,
        key: &FlowKey,
        changed: Option<[State; 2]>,
        now: Moment,
    ) {
        let Some([from, to]) = changed else { return };
        if from.is_half_open() && !to.is_half_open() {
            self.leave_half_open(flow, key);
        }
        self.note_expiry(flow.place, to, now);
    }
}

/// Takes the slot to put the numbers of the reply side into it. Another worker may have done so since the segment was
/// looked at, so it is looked at again.
fn answer(flow: &Flow<'_>, way: Way, segment: &Segment, now: Moment) -> Tracked {
    let Some(claim) = flow.place.slot.claim_tenant(flow.tenant.meta) else {
        return Tracked::Moved;
    };
    let before = claim.connection();
    let step = claim.state().map(|state| before.step(state, way, segment));
    let Some(Step::Answer(after)) = step else {
        claim.leave();
        return Tracked::Moved;
    };
    claim.resettle(State::Answered, &before, &after, now);
    Tracked::Passes
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::sync::atomic::{AtomicBool, AtomicU32};
    use std::thread;

    use super::super::{Admission, End};
    use super::*;
    use crate::parse::TcpFlags;

    const NOW: Moment = Moment::from_millis(0);
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const ACK: u8 = 16;
    /// Where both sides begin.
    const ISN: u32 = u32::MAX - 100_000;
    const WINDOW: u16 = 20_000;
    /// How often the flow is renewed meanwhile.
    const RENEWALS: u32 = 200;

    fn seg(flags: u8, seq: u32, ack: u32, data_bytes: u16) -> Segment {
        let flags = TcpFlags(flags);
        let (seq, ack) = (ISN.wrapping_add(seq), ISN.wrapping_add(ack));
        Segment { flags, seq, ack, window: WINDOW, data_bytes, scale: None }
    }

    fn key(number: u64) -> FlowKey {
        FlowKey([number, 0, 1, 0, 2, 6])
    }

    fn open(table: &FlowTable, key: &FlowKey) {
        let connection = Connection::opened(&seg(SYN, 0, 0, 0));
        let (opened_by, state) = (End::First, State::Opening);
        let admission = Admission { opened_by, epoch: 1, state, connection, is_limited: true };
        table.admit(key, admission, NOW).unwrap();
    }

    /// As the pipeline does it: another worker may have changed the flow, so it is looked up again.
    fn pass(table: &FlowTable, key: &FlowKey, way: Way, segment: &Segment) {
        for _ in 0..100_000 {
            let Some(flow) = table.find(key, NOW) else {
                // Who has claimed it was interrupted. A packet would be dropped here, and come again.
                thread::yield_now();
                continue;
            };
            let tracked = table.track(&flow, key, way, segment, NOW);
            if tracked == Tracked::Passes {
                return;
            }
            assert_eq!(tracked, Tracked::Moved, "{way:?} {segment:?}");
        }
        panic!("{way:?} {segment:?} finds no rest");
    }

    /// One side of a connection on one worker: sends what the other side granted and acknowledges what arrived, both as far
    /// as they passed the other worker.
    struct Side<'a> {
        table: &'a FlowTable,
        key: FlowKey,
        way: Way,
        /// Behind the last octet that passed, of this side and of the other.
        sent: &'a AtomicU32,
        arrived: &'a AtomicU32,
        /// What each side acknowledged.
        acked: &'a AtomicU32,
        acked_back: &'a AtomicU32,
        renewals: &'a AtomicU32,
    }

    impl Side<'_> {
        fn talk(&self, octets: u32) {
            let mut next = 1;
            let is_through = |acked: &&AtomicU32| acked.load(Ordering::Acquire) > octets;
            // Until all is sent, both sides acknowledged all, and the third worker had its share.
            for _ in 0..20_000_000 {
                if [self.acked, self.acked_back].iter().all(is_through)
                    && self.renewals.load(Ordering::Relaxed) >= RENEWALS
                {
                    return;
                }
                let ack = self.arrived.load(Ordering::Acquire);
                let edge = self.acked_back.load(Ordering::Acquire) + u32::from(WINDOW);
                let most = edge.min(octets + 1).saturating_sub(next).min(1_000);
                let data = u16::try_from(most).unwrap();
                pass(self.table, &self.key, self.way, &seg(ACK, next, ack, data));
                next += most;
                self.sent.store(next, Ordering::Release);
                self.acked.store(ack, Ordering::Release);
                if most == 0 {
                    thread::yield_now();
                }
            }
            panic!("the other side has stopped");
        }
    }

    #[test]
    fn directions_on_two_workers_drop_nothing_while_a_third_renews_the_flow() {
        const OCTETS: u32 = 500_000;
        let table = FlowTable::new(0, RandomState::new());
        let key = key(1);
        open(&table, &key);
        pass(&table, &key, Way::Reply, &seg(SYN | ACK, 0, 1, 0));
        pass(&table, &key, Way::Original, &seg(ACK, 1, 1, 0));
        let [a, b, a_acked, b_acked] = [1; 4].map(AtomicU32::new);
        let (done, renewals) = (AtomicBool::new(false), &AtomicU32::new(0));
        let (table, a, b, a_acked, b_acked) = (&table, &a, &b, &a_acked, &b_acked);
        let there = Side {
            table,
            key,
            way: Way::Original,
            sent: a,
            arrived: b,
            acked: a_acked,
            acked_back: b_acked,
            renewals,
        };
        let back = Side {
            table,
            key,
            way: Way::Reply,
            sent: b,
            arrived: a,
            acked: b_acked,
            acked_back: a_acked,
            renewals,
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let epoch = 2 + u64::from(renewals.load(Ordering::Relaxed));
                    if table.find(&key, NOW).is_some_and(|mut flow| flow.renew(epoch)) {
                        renewals.fetch_add(1, Ordering::Relaxed);
                    }
                    thread::yield_now();
                }
            });
            let talking = [scope.spawn(|| there.talk(OCTETS)), scope.spawn(|| back.talk(OCTETS))];
            let ends = talking.map(thread::ScopedJoinHandle::join);
            done.store(true, Ordering::Relaxed);
            assert!(ends.iter().all(Result::is_ok), "neither direction lost a segment");
        });
        let flow = table.find(&key, NOW).unwrap();
        let beyond = seg(ACK, OCTETS + 1, OCTETS + 2, 0);
        let refused = Tracked::Refused(DropReason::TcpWindow);
        assert_eq!(table.track(&flow, &key, Way::Original, &beyond, NOW), refused);
        assert_eq!(flow.state(), State::Established);
    }

    /// Of two workers that each see one half of a change, at least one sees the whole.
    #[test]
    fn handshakes_and_ends_that_meet_on_two_workers_are_counted_once() {
        let table = FlowTable::new(1 << 12, RandomState::new());
        let both = |key: &FlowKey, there: &Segment, back: &Segment| {
            thread::scope(|scope| {
                scope.spawn(|| pass(&table, key, Way::Original, there));
                pass(&table, key, Way::Reply, back);
            });
            table.find(key, NOW).unwrap().state()
        };
        for number in 0..1_000 {
            let key = key(number);
            open(&table, &key);
            assert_eq!(table.half_open(), 1);
            pass(&table, &key, Way::Reply, &seg(SYN, 0, 0, 0));
            // A simultaneous open, then a simultaneous close.
            let answer = seg(SYN | ACK, 0, 1, 0);
            assert_eq!(both(&key, &answer, &answer), State::Established);
            assert_eq!(table.half_open(), 0);
            let fin = seg(FIN | ACK, 1, 1, 0);
            assert_eq!(both(&key, &fin, &fin), State::Closing);
            let last = seg(ACK, 2, 2, 0);
            assert_eq!(both(&key, &last, &last), State::Closed);
            assert!(table.remove(&table.find(&key, NOW).unwrap()));
        }
        assert_eq!((table.live(), table.half_open()), (0, 0));
    }

    #[test]
    fn copies_of_an_answer_on_two_workers_answer_once() {
        let table = FlowTable::new(1 << 12, RandomState::new());
        for number in 0..1_000 {
            let key = key(number);
            open(&table, &key);
            let answer = seg(SYN | ACK, 0, 1, 0);
            thread::scope(|scope| {
                scope.spawn(|| pass(&table, &key, Way::Reply, &answer));
                pass(&table, &key, Way::Reply, &answer);
            });
            pass(&table, &key, Way::Original, &seg(ACK, 1, 1, 0));
            assert_eq!(table.find(&key, NOW).unwrap().state(), State::Established);
            assert_eq!(table.half_open(), 0);
            assert!(table.remove(&table.find(&key, NOW).unwrap()));
        }
    }

    #[test]
    fn stale_reader_notes_nothing_in_the_next_flow() {
        let table = FlowTable::new(0, RandomState::new());
        let key = key(1);
        open(&table, &key);
        let stale = table.find(&key, NOW).unwrap();
        assert!(table.remove(&stale));
        open(&table, &key);
        let fresh = table.find(&key, NOW).unwrap();
        let before = fresh.place.slot.connection(fresh.tenant.meta);
        for (way, segment) in [
            (Way::Reply, seg(SYN | ACK, 0, 1, 0)),
            (Way::Reply, seg(ACK, 5, 5, 0)),
            (Way::Original, seg(SYN, 0, 0, 100)),
        ] {
            assert_eq!(table.track(&stale, &key, way, &segment, NOW), Tracked::Moved);
        }
        let slot = stale.place.slot;
        let meta = stale.tenant.meta;
        let other = Connection::opened(&seg(SYN, 9, 0, 0));
        assert!(!slot.advance(meta, Way::Original, other.peers.sent.original, None));
        assert!(!slot.challenge(meta, 7));
        assert_eq!(fresh.place.slot.connection(fresh.tenant.meta), before);
    }
}
