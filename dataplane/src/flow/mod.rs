//! The flow table: which conversations were admitted, by which policy, and what they are doing.
//!
//! One table for all workers, because the replies of a flow may arrive on another queue. Its size is fixed from the
//! start, nothing in it allocates, locks or waits. A flow lives in one of two buckets that its hash names, so a lookup
//! looks at 32 places at most and mostly at two cache lines; when both are full of live flows, no more fit.

mod admission;
mod bucket;
mod hash;
mod key;
mod limits;
mod list;
mod meta;
mod numbers;
mod pace;
mod quota;
mod slot;
mod state;
mod sweep;
mod tally;
mod tcp;
#[cfg(test)]
mod tests;
mod timers;
mod track;

use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

pub use self::admission::{Admission, Admitted};
use self::bucket::{Address, BUCKET_SLOTS, Bucket, Place};
use self::hash::Secret;
pub use self::key::{End, FlowKey};
pub use self::limits::{Limit, Limits};
use self::quota::Quota;
pub use self::quota::Refusal;
use self::slot::Tenant;
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
    gave_way: CachePadded<AtomicU64>,
    quota: Quota,
}

/// A known flow, as it was when it was looked up.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    place: Place<'a>,
    tenant: Tenant,
}

impl FlowTable {
    /// A table with `slots` places, rounded up to a power of two between `SLOTS_MIN` and `SLOTS_MAX`, with timers and limits
    /// as by default. `random` keys the hash.
    #[must_use]
    pub fn new(slots: usize, random: RandomState) -> Self {
        Self::with(slots, random, Timers::default(), Limits::default())
    }

    /// The same with these timers and limits.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the secret of one table is of no other")]
    pub fn with(slots: usize, random: RandomState, timers: Timers, limits: Limits) -> Self {
        let slots = slots.clamp(SLOTS_MIN, SLOTS_MAX).next_power_of_two();
        let buckets = (0..slots / BUCKET_SLOTS).map(|_| Bucket::free()).collect();
        let secret = Secret::of(&random);
        let quota = Quota::new(limits, slots, secret);
        let none = || CachePadded::new(AtomicU64::new(0));
        Self { buckets, secret, timers, live: none(), gave_way: none(), quota }
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
        self.quota.half_open()
    }

    /// Flows that were live and gave way to new ones, for want of room.
    #[must_use]
    pub fn gave_way(&self) -> u64 {
        self.gave_way.load(Ordering::Relaxed)
    }

    /// How long each flow may be silent now: half-open connections the shorter, the more of them there are.
    #[must_use]
    pub fn timers(&self) -> Timers {
        let usual = self.timers.millis(Timer::TcpOpening);
        self.timers.with_millis(Timer::TcpOpening, self.quota.opening_ms(usual))
    }

    /// The flow of `key`, unless it is silent for too long.
    #[must_use]
    pub fn find(&self, key: &FlowKey, now: Moment) -> Option<Flow<'_>> {
        let (address, timers) = (self.address(key), self.timers());
        address.search(key).find(|flow| !flow.tenant.meta.is_expired(now, &timers))
    }

    /// Looks a batch up: `found` takes for each key what `find` says. Each step is taken for all keys before the next, so
    /// that their waits for memory overlap.
    pub fn find_batch<'a>(&'a self, keys: &[FlowKey], now: Moment, found: &mut [Option<Flow<'a>>]) {
        const CHUNK: usize = 64;
        let timers = &self.timers();
        for (keys, found) in keys.chunks(CHUNK).zip(found.chunks_mut(CHUNK)) {
            let mut addresses = [Address::NOWHERE; CHUNK];
            for (address, key) in addresses.iter_mut().zip(keys) {
                *address = self.address(key);
            }
            // For the cache lines only. Nothing else in this loop, so that as many as the core can are on their way at once.
            let mut lines = 0;
            for address in addresses.iter().take(keys.len()) {
                let [first, _] = address.buckets;
                lines ^= first.map_or(0, Bucket::touch);
            }
            std::hint::black_box(lines);
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
                let in_first = first.and_then(|bucket| bucket.live_among(tagged, key, now, timers));
                *flow = in_first.or_else(|| {
                    let bucket = second?;
                    bucket.live_among(bucket.tagged(address.tag), key, now, timers)
                });
            }
        }
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

    /// Notes a packet of a flow that is no TCP connection, going `way`: it is live as of `now`.
    pub fn touch(&self, way: Way, now: Moment) {
        self.place.slot.touch(self.tenant.meta, now, |state| match way {
            Way::Original => state,
            Way::Reply => state.answered(),
        });
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
