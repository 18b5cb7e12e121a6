//! How flows come into the table, and how they leave it.
//!
//! Who gives way when there is no room: first a flow that has been silent for too long, then what remains of a closed
//! connection, then the oldest that only its opener has a part in. Never one that both sides have a part in.

use std::sync::atomic::{Ordering, fence};

use super::bucket::{Address, NO_TAG, Place};
use super::key::End;
use super::quota::{Claimant, Grant, OPENING_MS_MIN, Refusal};
use super::slot::Claim;
use super::state::State;
use super::tcp::Connection;
use super::{Flow, FlowKey, FlowTable};
use crate::moment::Moment;

/// What a flow begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Admission {
    /// The endpoint that sent the first packet.
    pub opened_by: End,
    /// Publication of the policy that allowed it.
    pub epoch: u64,
    /// The first state.
    pub state: State,
    /// What is known of a TCP connection. Not looked at for other flows.
    pub connection: Connection,
    /// Whether limits may refuse it; without, only a full table can.
    pub is_limited: bool,
}

/// What became of an admission.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Admitted {
    /// Flows that started: one, or none when another worker had admitted the same flow already.
    pub started: u64,
    /// Flows that were over and ended because this one took their place. Those that gave way are not counted here.
    pub ended: u64,
}

impl FlowTable {
    /// Puts a flow into the table, decided before. A flow of the same key that is there and live is left as it is:
    /// another worker admitted it a moment ago.
    ///
    /// # Errors
    /// When a limit is reached, or all places that the flow may have are taken by flows that do not give way.
    pub fn admit(
        &self,
        key: &FlowKey,
        admission: Admission,
        now: Moment,
    ) -> Result<Admitted, Refusal> {
        let address = self.address(key);
        let before = address.search(key).next();
        if before.is_some_and(|flow| !flow.tenant.meta.is_expired(now, &self.timers())) {
            return Ok(Admitted::default());
        }
        let claimant = Claimant::of(key, admission.opened_by, admission.state);
        self.grant(&address, &claimant, admission.is_limited, now)?;
        if let Some(flow) = before
            && let Some(claim) = flow.place.slot.claim(flow.tenant.meta)
        {
            self.end(&claim);
            self.begin(flow.place, claim, key, &admission, now);
            return Ok(Admitted { started: 1, ended: 1 });
        }
        let Some((place, ended)) = self.occupy(&address, key, &admission, now) else {
            self.quota.ended(&claimant);
            return Err(Refusal::Full);
        };
        Ok(self.withdraw_double(&address, key, place, ended))
    }

    /// Lets a new flow of the same key take the place of `flow`. None starts when `flow` is not there any more.
    ///
    /// # Errors
    /// When a limit is reached.
    pub fn replace(
        &self,
        flow: &Flow<'_>,
        key: &FlowKey,
        admission: Admission,
        now: Moment,
    ) -> Result<Admitted, Refusal> {
        let claimant = Claimant::of(key, admission.opened_by, admission.state);
        self.grant(&self.address(key), &claimant, admission.is_limited, now)?;
        let Some(claim) = flow.place.slot.claim_tenant(flow.tenant.meta) else {
            self.quota.ended(&claimant);
            return Ok(Admitted::default());
        };
        self.end(&claim);
        self.begin(flow.place, claim, key, &admission, now);
        Ok(Admitted { started: 1, ended: 1 })
    }

    /// Removes `flow`. False when it is not there any more.
    #[must_use]
    pub fn remove(&self, flow: &Flow<'_>) -> bool {
        let claim = flow.place.slot.claim_tenant(flow.tenant.meta);
        claim.map(|claim| self.vacate(flow.place, claim)).is_some()
    }

    /// Counts a flow that is to come, and lets another one give way where there are too many half-open ones.
    fn grant(
        &self,
        address: &Address<'_>,
        claimant: &Claimant,
        is_limited: bool,
        now: Moment,
    ) -> Result<(), Refusal> {
        if self.quota.admit(claimant, is_limited, now)? == Grant::Free
            || self.let_give_way(address, now, State::is_half_open)
        {
            return Ok(());
        }
        self.quota.ended(claimant);
        Err(Refusal::HalfOpen)
    }

    /// Takes a free place, else that of an expired flow, else that of one that gives way; and how many expired ones ended by
    /// it.
    pub(super) fn occupy<'a>(
        &self,
        address: &Address<'a>,
        key: &FlowKey,
        admission: &Admission,
        now: Moment,
    ) -> Option<(Place<'a>, u64)> {
        if let Some(place) = self.take_free(address, key, admission, now) {
            return Some((place, 0));
        }
        let timers = self.timers();
        for place in address.places() {
            let meta = place.slot.meta();
            if meta.is_expired(now, &timers)
                && let Some(claim) = place.slot.claim(meta)
            {
                self.end(&claim);
                place.mark(address.tag);
                self.begin(place, claim, key, admission, now);
                return Some((place, 1));
            }
        }
        if self.let_give_way(address, now, |state| state == State::Closed)
            || self.let_give_way(address, now, State::is_unanswered)
        {
            return self.take_free(address, key, admission, now).map(|place| (place, 0));
        }
        None
    }

    /// Takes a free place in the bucket with more room, else in the other one.
    fn take_free<'a>(
        &self,
        address: &Address<'a>,
        key: &FlowKey,
        admission: &Admission,
        now: Moment,
    ) -> Option<Place<'a>> {
        for bucket in address.roomier_first().into_iter().flatten() {
            for place in bucket.places() {
                let meta = place.slot.meta();
                if meta.state().is_none()
                    && let Some(claim) = place.slot.claim(meta)
                {
                    self.live.fetch_add(1, Ordering::Relaxed);
                    place.mark(address.tag);
                    self.begin(place, claim, key, admission, now);
                    return Some(place);
                }
            }
        }
        None
    }

    /// Ends the flow that was silent for longest of those in such a state, where the address leads. False when there is none.
    fn let_give_way(
        &self,
        address: &Address<'_>,
        now: Moment,
        gives_way: impl Fn(State) -> bool,
    ) -> bool {
        let candidates = address.places().map(|place| (place, place.slot.meta()));
        let candidates = candidates.filter(|(_, meta)| meta.state().is_some_and(&gives_way));
        let oldest = candidates.max_by_key(|(_, meta)| meta.idle_ms(now));
        let claimed = oldest.and_then(|(place, meta)| Some((place, place.slot.claim(meta)?)));
        let Some((place, claim)) = claimed else { return false };
        self.vacate(place, claim);
        self.gave_way.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Two workers may have admitted one flow at the same time, each without seeing the other's. At least one of them
    /// sees both now; the earlier place stays.
    pub(super) fn withdraw_double(
        &self,
        address: &Address<'_>,
        key: &FlowKey,
        mine: Place<'_>,
        ended: u64,
    ) -> Admitted {
        fence(Ordering::SeqCst);
        let mut found = address.search(key);
        let (Some(first), Some(second)) = (found.next(), found.next()) else {
            return Admitted { started: 1, ended };
        };
        if !self.remove(&second) {
            return Admitted { started: 1, ended };
        }
        if std::ptr::eq(second.place.slot, mine.slot) {
            debug_assert!(!std::ptr::eq(first.place.slot, mine.slot), "one slot is found once");
            return Admitted { started: 0, ended };
        }
        Admitted { started: 1, ended: ended + 1 }
    }

    pub(super) fn vacate(&self, place: Place<'_>, claim: Claim<'_>) {
        self.end(&claim);
        place.mark(NO_TAG);
        claim.vacate();
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// The one place where a flow begins. It was counted before, when it was granted.
    fn begin(
        &self,
        place: Place<'_>,
        claim: Claim<'_>,
        key: &FlowKey,
        admission: &Admission,
        now: Moment,
    ) {
        claim.settle(key, admission, now);
        self.note_expiry(place, admission.state, now);
    }

    /// The one place where a flow ends, whose place was taken for that.
    fn end(&self, claim: &Claim<'_>) {
        if let Some(state) = claim.state() {
            self.quota.ended(&Claimant::of(&claim.key(), claim.opened_by(), state));
        }
    }

    /// The one place where a TCP connection ceases to be half open: its handshake is complete, or it is over.
    pub(super) fn leave_half_open(&self, flow: &Flow<'_>, key: &FlowKey) {
        self.quota.settled(&Claimant::of(key, flow.tenant.opened_by, State::Opening));
    }

    /// A flow is in this state as of `now`. The more half-open ones there are, the sooner they expire.
    pub(super) fn note_expiry(&self, place: Place<'_>, state: State, now: Moment) {
        let usual = u64::from(self.timers.millis(state.timer()));
        let soonest = if state.is_half_open() { usual.min(OPENING_MS_MIN) } else { usual };
        place.expire_at(now.millis() + soonest);
    }
}
