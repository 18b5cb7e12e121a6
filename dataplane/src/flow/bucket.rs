//! Where the flows of the table are: buckets of slots, and the two that a key hashes to.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Flow;
use super::key::FlowKey;
use super::slot::Slot;
use super::timers::Timers;
use crate::moment::Moment;

/// Places of a bucket.
pub(super) const BUCKET_SLOTS: usize = 16;
/// From so many on, a flow goes to the emptier one of its buckets.
const BUCKET_CROWDED: usize = 12;
/// Tags in a word.
const LANES: usize = 4;
/// Bits of a tag.
const TAG_BITS: usize = 16;
/// Later than every moment.
pub(super) const NEVER: u64 = u64::MAX;
/// The tag of a free place.
pub(super) const NO_TAG: u16 = 0;

/// Places whose flows share a part of their hash. A tag is a part of a flow's hash, or `NO_TAG`; it is a hint that saves
/// reading the place, changed only by who has claimed the place.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Bucket {
    /// A moment in milliseconds before which nothing in the bucket can have been silent for too long; `NEVER` when it is empty.
    due: AtomicU64,
    tags: [AtomicU64; BUCKET_SLOTS / LANES],
    pub(super) slots: [Slot; BUCKET_SLOTS],
}

/// A slot, and where its tag is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) slot: &'a Slot,
    due: &'a AtomicU64,
    tags: &'a AtomicU64,
    /// Which bits of the word.
    shift: usize,
}

/// Where a key's flow may be.
#[derive(Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) buckets: [Option<&'a Bucket>; 2],
    pub(super) tag: u16,
}

impl<'a> Address<'a> {
    pub(super) const NOWHERE: Self = Self { buckets: [None; 2], tag: NO_TAG };

    pub(super) fn places(&self) -> impl Iterator<Item = Place<'a>> + use<'a> {
        self.buckets.into_iter().flatten().flat_map(Bucket::places)
    }

    /// Every slot with this key: one, or two for a moment after two workers admitted the same flow.
    pub(super) fn search(&self, key: &FlowKey) -> impl Iterator<Item = Flow<'a>> + use<'a> {
        let (key, tag) = (*key, self.tag);
        let buckets = self.buckets.into_iter().flatten();
        buckets.flat_map(move |bucket| bucket.among(bucket.tagged(tag), &key))
    }

    /// The first, as long as it has room to spare: so most lookups end there. Else the emptier one.
    pub(super) fn roomier_first(&self) -> [Option<&'a Bucket>; 2] {
        let [first, second] = self.buckets;
        if first.is_some_and(|bucket| bucket.taken() < BUCKET_CROWDED) {
            return [first, second];
        }
        let taken = |bucket: Option<&Bucket>| bucket.map_or(BUCKET_SLOTS, Bucket::taken);
        if taken(second) < taken(first) { [second, first] } else { [first, second] }
    }
}

impl Bucket {
    pub(super) fn free() -> Self {
        Self {
            due: AtomicU64::new(NEVER),
            tags: array::from_fn(|_| AtomicU64::new(0)),
            slots: array::from_fn(|_| Slot::free()),
        }
    }

    fn place(&self, at: usize) -> Option<Place<'_>> {
        let (slot, tags) = (self.slots.get(at)?, self.tags.get(at / LANES)?);
        Some(Place { slot, due: &self.due, tags, shift: at % LANES * TAG_BITS })
    }

    /// Before that moment no flow here needs to be looked at.
    pub(super) fn due(&self) -> u64 {
        self.due.load(Ordering::Acquire)
    }

    /// Whoever calls looks at all places now and says by `Place::expire_at` when the next look is due. A flow that comes
    /// meanwhile says so itself, behind what it wrote.
    pub(super) fn begin_look(&self) {
        self.due.swap(NEVER, Ordering::AcqRel);
    }

    /// For its cache line only.
    #[inline]
    pub(super) fn touch(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place<'_>> + use<'_> {
        (0..BUCKET_SLOTS).filter_map(|at| self.place(at))
    }

    /// A bit for each place with the tag.
    #[inline]
    pub(super) fn tagged(&self, tag: u16) -> u32 {
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
    pub(super) fn live_among(
        &self,
        tagged: u32,
        key: &FlowKey,
        now: Moment,
        timers: &Timers,
    ) -> Option<Flow<'_>> {
        self.among(tagged, key).find(|flow| !flow.tenant.meta.is_expired(now, timers))
    }

    fn taken(&self) -> usize {
        BUCKET_SLOTS - self.tagged(NO_TAG).count_ones() as usize
    }
}

impl Place<'_> {
    /// Its flow may have been silent for too long at this moment, in milliseconds.
    pub(super) fn expire_at(self, millis: u64) {
        self.due.fetch_min(millis, Ordering::AcqRel);
    }

    /// Changes the tag; nobody else does, for who calls has claimed the place.
    pub(super) fn mark(self, tag: u16) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_a_word_are_compared_each_for_itself() {
        let mut rng = fastrand::Rng::with_seed(0x5eed_0006);
        let numbers = [0, 1, 2, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff];
        for _ in 0..20_000 {
            let tags = [(); LANES].map(|()| numbers[rng.usize(..numbers.len())]);
            let word =
                (0..).zip(tags).fold(0, |word, (at, tag)| word | u64::from(tag) << (at * TAG_BITS));
            let tag = numbers[rng.usize(..numbers.len())];
            let expected =
                (0..).zip(tags).map(|(at, own)| u32::from(own == tag) << at).sum::<u32>();
            assert_eq!(lanes_equal(word, tag), expected, "{word:#x} {tag:#x}");
        }
    }
}
