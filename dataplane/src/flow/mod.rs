//! The flow table: which conversations were admitted, by which policy, and what they are doing.
//!
//! One table for all workers, because the replies of a flow may arrive on another queue. Its size is fixed from the
//! start, nothing in it allocates, locks or waits. A flow lives in one of two buckets that its hash names, so a lookup
//! looks at 32 places at most and mostly at two cache lines; when both are full of live flows, no more fit.

mod bucket;
mod hash;
mod key;
mod limits;
mod meta;
mod numbers;
mod slot;
mod state;
mod sweep;
mod tcp;
#[cfg(test)]
mod tests;
mod timers;
mod track;

use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crossbeam_utils::CachePadded;

use self::bucket::{Address, BUCKET_SLOTS, Bucket, NO_TAG, Place};
use self::hash::Secret;
pub use self::key::{End, FlowKey};
pub use self::limits::{Limit, Limits};
use self::slot::{Claim, Tenant};
pub use self::state::{Pair, Start, State, Way, start};
pub use self::sweep::Sweep;
pub use self::tcp::Connection;
pub use self::timers::{TIMER_SECONDS_MAX, Timer, Timers};
pub use self::track::{Expected, Tracked};
use crate::moment::Moment;

/// Places for flows by default: 33 MiB. At 300 s for a UDP flow that is room for some 800 new ones a second.
pub const SLOTS_DEFAULT: usize = 1 << 18;
/// Fewest places a table has: two buckets.
pub const SLOTS_MIN: usize = 2 * BUCKET_SLOTS;
/// Most places a table may have: 2.1 GiB.
pub const SLOTS_MAX: usize = 1 << 24;

/// The table. All methods take `&self` and may be called from all workers at once.
#[derive(Debug)]
pub struct FlowTable {
    buckets: Box<[Bucket]>,
    secret: Secret,
    timers: Timers,
    live: CachePadded<AtomicU64>,
    half_open: CachePadded<AtomicU64>,
}

/// A known flow, as it was when it was looked up.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    place: Place<'a>,
    tenant: Tenant,
}

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
}

/// What became of an admission.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Admitted {
    /// Flows that started: one, or none when another worker had admitted the same flow already.
    pub started: u64,
    /// Flows that ended because this one took their place.
    pub ended: u64,
}

/// No place for another flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full;

impl FlowTable {
    /// A table with `slots` places, rounded up to a power of two between `SLOTS_MIN` and `SLOTS_MAX`, and timers as by
    /// default. `random` keys the hash.
    #[must_use]
    pub fn new(slots: usize, random: RandomState) -> Self {
        Self::with_timers(slots, random, Timers::default())
    }

    /// The same with these timers.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the secret of one table is of no other")]
    pub fn with_timers(slots: usize, random: RandomState, timers: Timers) -> Self {
        let slots = slots.clamp(SLOTS_MIN, SLOTS_MAX).next_power_of_two();
        let buckets = (0..slots / BUCKET_SLOTS).map(|_| Bucket::free()).collect();
        let none = || CachePadded::new(AtomicU64::new(0));
        let secret = Secret::of(&random);
        Self { buckets, secret, timers, live: none(), half_open: none() }
    }

    /// Places in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buckets.len() * BUCKET_SLOTS
    }

    /// Flows in the table, with expired ones that were not swept yet.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// Those of them that are TCP connections whose handshake is not complete.
    #[must_use]
    pub fn half_open(&self) -> u64 {
        self.half_open.load(Ordering::Relaxed)
    }

    /// The flow of `key`, unless it is silent for too long.
    #[must_use]
    pub fn find(&self, key: &FlowKey, now: Moment) -> Option<Flow<'_>> {
        let address = self.address(key);
        address.search(key).find(|flow| !flow.tenant.meta.is_expired(now, &self.timers))
    }

    /// Looks a batch up: `found` takes for each key what `find` says. Each step is taken for all keys before the next, so
    /// that their waits for memory overlap.
    pub fn find_batch<'a>(&'a self, keys: &[FlowKey], now: Moment, found: &mut [Option<Flow<'a>>]) {
        const CHUNK: usize = 64;
        for (keys, found) in keys.chunks(CHUNK).zip(found.chunks_mut(CHUNK)) {
            let mut addresses = [Address::NOWHERE; CHUNK];
            for (address, key) in addresses.iter_mut().zip(keys) {
                *address = self.address(key);
            }
            // Mostly a flow is in its first bucket.
            let mut tagged = [0; CHUNK];
            for (tagged, address) in tagged.iter_mut().zip(&addresses).take(keys.len()) {
                let [first, _] = address.buckets;
                *tagged = first.map_or(0, |bucket| bucket.tagged(address.tag));
            }
            // Looked at for their cache lines only: `read` looks again.
            let mut states = 0;
            for (address, tagged) in addresses.iter().zip(tagged) {
                let at = tagged.trailing_zeros() as usize;
                let slot = address.buckets[0].and_then(|bucket| bucket.slots.get(at));
                states ^= slot.map_or(0, |slot| slot.meta().version() ^ slot.terms());
            }
            std::hint::black_box(states);
            for (((flow, key), address), tagged) in
                found.iter_mut().zip(keys).zip(&addresses).zip(tagged)
            {
                let [first, second] = address.buckets;
                let in_first =
                    first.and_then(|bucket| bucket.live_among(tagged, key, now, &self.timers));
                *flow = in_first.or_else(|| {
                    let bucket = second?;
                    bucket.live_among(bucket.tagged(address.tag), key, now, &self.timers)
                });
            }
        }
    }

    /// Puts a flow into the table, decided before. A flow of the same key that is there and live is left as it is:
    /// another worker admitted it a moment ago.
    ///
    /// # Errors
    /// When all places that the flow may have are taken by live flows.
    pub fn admit(
        &self,
        key: &FlowKey,
        admission: Admission,
        now: Moment,
    ) -> Result<Admitted, Full> {
        let address = self.address(key);
        if let Some(flow) = address.search(key).next() {
            if !flow.tenant.meta.is_expired(now, &self.timers) {
                return Ok(Admitted::default());
            }
            if let Some(claim) = flow.place.slot.claim(flow.tenant.meta) {
                self.end(&claim);
                self.begin(claim, key, &admission, now);
                return Ok(Admitted { started: 1, ended: 1 });
            }
        }
        let Some((place, ended)) = self.occupy(&address, key, &admission, now) else {
            return Err(Full);
        };
        Ok(self.withdraw_double(&address, key, place, ended))
    }

    /// Lets a new flow of the same key take the place of `flow`. False when `flow` is not there any more.
    #[must_use]
    pub fn replace(
        &self,
        flow: &Flow<'_>,
        key: &FlowKey,
        admission: Admission,
        now: Moment,
    ) -> bool {
        let Some(claim) = flow.place.slot.claim_tenant(flow.tenant.meta) else { return false };
        self.end(&claim);
        self.begin(claim, key, &admission, now);
        true
    }

    /// Removes `flow`. False when it is not there any more.
    #[must_use]
    pub fn remove(&self, flow: &Flow<'_>) -> bool {
        let claim = flow.place.slot.claim_tenant(flow.tenant.meta);
        claim.map(|claim| self.vacate(flow.place, claim)).is_some()
    }

    /// The two buckets and the tag that a key hashes to.
    fn address(&self, key: &FlowKey) -> Address<'_> {
        let hash = self.secret.hash(key);
        let mask = self.buckets.len() - 1;
        let part = |shift: u32| usize::try_from(hash >> shift & 0xFF_FFFF).unwrap_or(0) & mask;
        let first = part(0);
        let second = first ^ (part(20) | 1);
        let buckets = [self.buckets.get(first), self.buckets.get(second)];
        let tag = u16::try_from(hash >> 48).unwrap_or(0) | 1;
        Address { buckets, tag }
    }

    /// Takes a free place in the bucket with more room, else in the other one, else that of an expired flow; and how many
    /// flows ended by it.
    fn occupy<'a>(
        &self,
        address: &Address<'a>,
        key: &FlowKey,
        admission: &Admission,
        now: Moment,
    ) -> Option<(Place<'a>, u64)> {
        let settle_in = |place: Place<'a>, claim: Claim<'a>| {
            place.mark(address.tag);
            self.begin(claim, key, admission, now);
            place
        };
        for bucket in address.roomier_first().into_iter().flatten() {
            for place in bucket.places() {
                let meta = place.slot.meta();
                if meta.state().is_none()
                    && let Some(claim) = place.slot.claim(meta)
                {
                    self.live.fetch_add(1, Ordering::Relaxed);
                    return Some((settle_in(place, claim), 0));
                }
            }
        }
        address.places().find_map(|place| {
            let meta = place.slot.meta();
            let claim = meta.is_expired(now, &self.timers).then(|| place.slot.claim(meta))??;
            self.end(&claim);
            Some((settle_in(place, claim), 1))
        })
    }

    /// Two workers may have admitted one flow at the same time, each without seeing the other's. At least one of them
    /// sees both now; the earlier place stays.
    fn withdraw_double(
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

    fn vacate(&self, place: Place<'_>, claim: Claim<'_>) {
        self.end(&claim);
        place.mark(NO_TAG);
        claim.vacate();
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// The one place where a flow begins.
    fn begin(&self, claim: Claim<'_>, key: &FlowKey, admission: &Admission, now: Moment) {
        if admission.state.is_half_open() {
            self.half_open.fetch_add(1, Ordering::Relaxed);
        }
        claim.settle(key, admission, now);
    }

    /// The one place where a flow ends, whose place was taken for that.
    fn end(&self, claim: &Claim<'_>) {
        if claim.state().is_some_and(State::is_half_open) {
            self.leave_half_open(&claim.key());
        }
    }

    /// The one place where a TCP connection ceases to be half open: its handshake is complete, or it is over.
    fn leave_half_open(&self, _key: &FlowKey) {
        self.half_open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Flow<'_> {
    /// The packet's direction in this flow, by which endpoint sent it.
    #[must_use]
    pub fn way(&self, sender: End) -> Way {
        if sender == self.tenant.opened_by { Way::Original } else { Way::Reply }
    }

    /// What the flow was doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.tenant.state
    }

    /// Publication of the policy that allowed it last.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.tenant.epoch
    }

    /// The flow as it is now; `None` when it is over, or was judged again. That time has passed is not looked at.
    #[must_use]
    pub fn again(mut self) -> Option<Self> {
        let meta = self.place.slot.unchanged_since(self.tenant.meta)?;
        self.tenant.state = meta.state()?;
        self.tenant.meta = meta;
        Some(self)
    }

    /// Notes a packet of a flow that is no TCP connection: it is live as of `now`.
    pub fn touch(&self, now: Moment) {
        self.place.slot.touch(self.tenant.meta, now, |state| state);
    }

    /// Notes that a later policy allows it too. False when the flow is not there any more.
    #[must_use]
    pub fn renew(&mut self, epoch: u64) -> bool {
        let Some(claim) = self.place.slot.claim_tenant(self.tenant.meta) else { return false };
        self.tenant.meta = claim.renew(epoch);
        self.tenant.epoch = epoch;
        true
    }
}
