//! The flow table: which conversations were admitted, by which policy, and what they are doing.
//!
//! One table for all workers, because the replies of a flow may arrive on another queue. Its size is fixed from the
//! start, nothing in it allocates, locks or waits. A flow lives in one of two buckets that its hash names, so a lookup
//! looks at 32 places at most and mostly at two cache lines; when both are full of live flows, no more fit.

mod hash;
mod key;
mod limits;
mod slot;
mod sweep;
#[cfg(test)]
mod tests;
mod timers;
mod tracker;

use std::array;
use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crossbeam_utils::CachePadded;

use self::hash::Secret;
pub use self::key::{End, FlowKey};
pub use self::limits::{Limit, Limits};
use self::slot::{Claim, Slot, Tenant};
pub use self::sweep::Sweep;
pub use self::timers::{TIMER_SECONDS_MAX, Timer, Timers};
pub use self::tracker::{Start, State, Step, Way, start, step};
use crate::moment::Moment;

/// Places for flows by default: 18 MiB. At 300 s for a UDP flow that is room for some 800 new ones a second.
pub const SLOTS_DEFAULT: usize = 1 << 18;
/// Fewest places a table has: two buckets.
pub const SLOTS_MIN: usize = 2 * BUCKET_SLOTS;
/// Most places a table may have: 1.1 GiB.
pub const SLOTS_MAX: usize = 1 << 24;
/// Places of a bucket.
const BUCKET_SLOTS: usize = 16;
/// From so many on, a flow goes to the emptier one of its buckets.
const BUCKET_CROWDED: usize = 12;
/// Tags in a word.
const LANES: usize = 4;
/// Bits of a tag.
const TAG_BITS: usize = 16;
/// The tag of a free place.
const NO_TAG: u16 = 0;

/// The table. All methods take `&self` and may be called from all workers at once.
#[derive(Debug)]
pub struct FlowTable {
    buckets: Box<[Bucket]>,
    secret: Secret,
    live: CachePadded<AtomicU64>,
}

/// Places whose flows share a part of their hash. A tag is a part of a flow's hash, or `NO_TAG`; it is a hint that saves
/// reading the place, changed only by who has claimed the place.
#[derive(Debug)]
#[repr(align(64))]
struct Bucket {
    tags: [AtomicU64; BUCKET_SLOTS / LANES],
    slots: [Slot; BUCKET_SLOTS],
}

/// A known flow, as it was when it was looked up.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    place: Place<'a>,
    tenant: Tenant,
}

/// A slot, and where its tag is.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    slot: &'a Slot,
    tags: &'a AtomicU64,
    /// Which bits of the word.
    shift: usize,
}

/// What a flow begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Admission {
    /// The endpoint that sent the first packet.
    pub opened_by: End,
    /// Publication of the policy that allowed it.
    pub epoch: u64,
    /// The tracker's first state.
    pub state: State,
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
    /// A table with `slots` places, rounded up to a power of two between `SLOTS_MIN` and `SLOTS_MAX`. `random` keys the
    /// hash.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the secret of one table is of no other")]
    pub fn new(slots: usize, random: RandomState) -> Self {
        let slots = slots.clamp(SLOTS_MIN, SLOTS_MAX).next_power_of_two();
        let buckets = (0..slots / BUCKET_SLOTS).map(|_| Bucket::free()).collect();
        Self { buckets, secret: Secret::of(&random), live: CachePadded::new(AtomicU64::new(0)) }
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

    /// The flow of `key`, unless it is silent for too long.
    #[must_use]
    pub fn find(&self, key: &FlowKey, now: Moment) -> Option<Flow<'_>> {
        let address = self.address(key);
        address.search(key).find(|flow| !flow.tenant.meta.is_expired(now))
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
                states ^= slot.map_or(0, |slot| slot.meta().version());
            }
            std::hint::black_box(states);
            for (((flow, key), address), tagged) in
                found.iter_mut().zip(keys).zip(&addresses).zip(tagged)
            {
                let [first, second] = address.buckets;
                let in_first = first.and_then(|bucket| bucket.live_among(tagged, key, now));
                *flow = in_first.or_else(|| {
                    let bucket = second?;
                    bucket.live_among(bucket.tagged(address.tag), key, now)
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
            if !flow.tenant.meta.is_expired(now) {
                return Ok(Admitted::default());
            }
            if let Some(claim) = flow.place.slot.claim(flow.tenant.meta) {
                settle(claim, key, admission, now);
                return Ok(Admitted { started: 1, ended: 1 });
            }
        }
        let Some((place, ended)) = self.occupy(&address, key, admission, now) else {
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
        let claim = flow.place.slot.claim_tenant(flow.tenant.meta);
        claim.map(|claim| settle(claim, key, admission, now)).is_some()
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
        admission: Admission,
        now: Moment,
    ) -> Option<(Place<'a>, u64)> {
        let settle_in = |place: Place<'a>, claim: Claim<'a>| {
            place.mark(address.tag);
            settle(claim, key, admission, now);
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
            let claim = meta.is_expired(now).then(|| place.slot.claim(meta))??;
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
        place.mark(NO_TAG);
        claim.vacate();
        self.live.fetch_sub(1, Ordering::Relaxed);
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

    /// Notes a packet: the flow is live as of `now`, and its state goes on as `advance` says.
    pub fn touch(&self, now: Moment, advance: impl Fn(State) -> State) {
        self.place.slot.touch(self.tenant.meta, now, advance);
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

/// Where a key's flow may be.
#[derive(Clone, Copy)]
struct Address<'a> {
    buckets: [Option<&'a Bucket>; 2],
    tag: u16,
}

impl<'a> Address<'a> {
    const NOWHERE: Self = Self { buckets: [None; 2], tag: NO_TAG };

    fn places(&self) -> impl Iterator<Item = Place<'a>> + use<'a> {
        self.buckets.into_iter().flatten().flat_map(Bucket::places)
    }

    /// Every slot with this key: one, or two for a moment after two workers admitted the same flow.
    fn search(&self, key: &FlowKey) -> impl Iterator<Item = Flow<'a>> + use<'a> {
        let (key, tag) = (*key, self.tag);
        let buckets = self.buckets.into_iter().flatten();
        buckets.flat_map(move |bucket| bucket.among(bucket.tagged(tag), &key))
    }

    /// The first, as long as it has room to spare: so most lookups end there. Else the emptier one.
    fn roomier_first(&self) -> [Option<&'a Bucket>; 2] {
        let [first, second] = self.buckets;
        if first.is_some_and(|bucket| bucket.taken() < BUCKET_CROWDED) {
            return [first, second];
        }
        let taken = |bucket: Option<&Bucket>| bucket.map_or(BUCKET_SLOTS, Bucket::taken);
        if taken(second) < taken(first) { [second, first] } else { [first, second] }
    }
}

impl Bucket {
    fn free() -> Self {
        Self {
            tags: array::from_fn(|_| AtomicU64::new(0)),
            slots: array::from_fn(|_| Slot::free()),
        }
    }

    fn place(&self, at: usize) -> Option<Place<'_>> {
        let (slot, tags) = (self.slots.get(at)?, self.tags.get(at / LANES)?);
        Some(Place { slot, tags, shift: at % LANES * TAG_BITS })
    }

    fn places(&self) -> impl Iterator<Item = Place<'_>> + use<'_> {
        (0..BUCKET_SLOTS).filter_map(|at| self.place(at))
    }

    /// A bit for each place with the tag.
    #[inline]
    fn tagged(&self, tag: u16) -> u32 {
        let of = |word: &AtomicU64| lanes_equal(word.load(Ordering::Acquire), tag);
        let [a, b, c, d] = &self.tags;
        of(a) | of(b) << LANES | of(c) << (2 * LANES) | of(d) << (3 * LANES)
    }

    /// Of these places every one with the key.
    #[inline]
    fn among(&self, mut tagged: u32, key: &FlowKey) -> impl Iterator<Item = Flow<'_>> + use<'_> {
        let key = *key;
        let places = std::iter::from_fn(move || {
            let place = self.place(tagged.trailing_zeros() as usize)?;
            tagged &= tagged - 1;
            Some(place)
        });
        places.filter_map(move |place| {
            let tenant = place.slot.read(&key)?;
            Some(Flow { place, tenant })
        })
    }

    /// Of these places the live flow with the key.
    #[inline]
    fn live_among(&self, tagged: u32, key: &FlowKey, now: Moment) -> Option<Flow<'_>> {
        self.among(tagged, key).find(|flow| !flow.tenant.meta.is_expired(now))
    }

    fn taken(&self) -> usize {
        BUCKET_SLOTS - self.tagged(NO_TAG).count_ones() as usize
    }
}

impl Place<'_> {
    /// Changes the tag; nobody else does, for who calls has claimed the place.
    fn mark(self, tag: u16) {
        let own = u64::from(u16::MAX) << self.shift;
        let wanted = u64::from(tag) << self.shift;
        let change = (self.tags.load(Ordering::Relaxed) ^ wanted) & own;
        self.tags.fetch_xor(change, Ordering::Release);
    }
}

/// A bit for each quarter of the word that is equal to the tag.
#[inline]
fn lanes_equal(word: u64, tag: u16) -> u32 {
    const ONES: u64 = 0x0001_0001_0001_0001;
    const LOW: u64 = 0x7fff * ONES;
    let other = word ^ (u64::from(tag) * ONES);
    // The highest bit of each quarter that is zero.
    let equal = !(((other & LOW) + LOW) | other | LOW) >> (TAG_BITS - 1);
    let bits = equal | equal >> 15 | equal >> 30 | equal >> 45;
    u32::try_from(bits & 0xf).unwrap_or(0)
}

fn settle(claim: Claim<'_>, key: &FlowKey, admission: Admission, now: Moment) {
    let Admission { opened_by, epoch, state } = admission;
    claim.settle(key, opened_by, epoch, state, now);
}
