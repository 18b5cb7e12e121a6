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
