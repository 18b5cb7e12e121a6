//! One place of the flow table: eight atomic words in one cache line, guarded by a version.
//!
//! The first word holds the version, the time of the last packet and the state. An even version is stable. A writer
//! makes it odd by compare-and-swap, writes the other words, and makes it even again, one higher; whoever finds it odd
//! does without. A packet of a live flow only swaps the first word, which fails when the version has moved on: so
//! nobody can mark, renew or remove a flow other than the one it read.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::key::{End, FlowKey, KEY_WORDS};
use super::tracker::State;
use crate::moment::Moment;

/// Attempts to read a slot that is being written. A writer needs some 20 ns; one that was interrupted is not waited for.
const READ_ATTEMPTS: usize = 16;
/// Attempts to swap the first word when other workers do the same to the same flow.
const SWAP_ATTEMPTS: usize = 8;
/// The last packet's time is renewed when it is at least this old: most packets of a busy flow write nothing.
/// Timeouts are longer by as much, so that no flow ends early.
pub(super) const TOUCH_MS: u32 = 128;
/// Set in the last key word when the second endpoint opened the flow.
const OPENED_BY_SECOND: u64 = 1 << 63;

/// One place of the table.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    meta: AtomicU64,
    key: [AtomicU64; KEY_WORDS],
    epoch: AtomicU64,
}

/// The first word: 28 bits of version, 32 of the last packet's time in milliseconds, 4 of state (0: free).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Meta(u64);

/// What a slot says of the flow in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tenant {
    pub(super) meta: Meta,
    pub(super) state: State,
    pub(super) opened_by: End,
    pub(super) epoch: u64,
}

/// A slot whose version is odd by our doing. It must be settled.
#[must_use]
pub(super) struct Claim<'a> {
    slot: &'a Slot,
    meta: Meta,
}

impl Slot {
    pub(super) fn free() -> Self {
        Self {
            meta: AtomicU64::new(0),
            key: std::array::from_fn(|_| AtomicU64::new(0)),
            epoch: AtomicU64::new(0),
        }
    }

    pub(super) fn meta(&self) -> Meta {
        Meta(self.meta.load(Ordering::Acquire))
    }

    /// The flow in this slot, if it is the one of `key`. A slot that stays unreadable counts as another flow's.
    pub(super) fn read(&self, key: &FlowKey) -> Option<Tenant> {
        for _ in 0..READ_ATTEMPTS {
            let before = self.meta();
            if before.is_claimed() {
                std::hint::spin_loop();
                continue;
            }
            before.state()?;
            let mut words = [0; KEY_WORDS];
            for (word, atomic) in words.iter_mut().zip(&self.key) {
                *word = atomic.load(Ordering::Relaxed);
            }
            let epoch = self.epoch.load(Ordering::Relaxed);
            let Some(meta) = self.unchanged_since(before) else { continue };
            let [.., last] = &mut words;
            let opened_by = if *last & OPENED_BY_SECOND == 0 { End::First } else { End::Second };
            *last &= !OPENED_BY_SECOND;
            let state = meta.state()?;
            // Without a branch for each word, and without a call.
            let differs = words.iter().zip(key.0).fold(0, |all, (word, other)| all | word ^ other);
            return (differs == 0).then_some(Tenant { meta, state, opened_by, epoch });
        }
        None
    }

    /// What the slot says now, if nobody has written it since it said `before`: what was read in between is one flow's.
    pub(super) fn unchanged_since(&self, before: Meta) -> Option<Meta> {
        fence(Ordering::Acquire);
        let now = Meta(self.meta.load(Ordering::Relaxed));
        (now.version() == before.version()).then_some(now)
    }

    /// Notes a packet of the flow that was read as `seen`: its state goes on as `advance` says.
    pub(super) fn touch(&self, seen: Meta, now: Moment, advance: impl Fn(State) -> State) {
        let mut current = seen;
        for _ in 0..SWAP_ATTEMPTS {
            let Some(state) = current.state().filter(|_| current.version() == seen.version())
            else {
                return;
            };
            let next = current.with(advance(state), current.later(now));
            if next == current {
                return;
            }
            match self.swap(current, next) {
                Ok(()) => return,
                Err(found) => current = found,
            }
        }
    }

    /// Takes the slot for writing while it is exactly as `seen`: no packet came since.
    pub(super) fn claim(&self, seen: Meta) -> Option<Claim<'_>> {
        if seen.is_claimed() {
            return None;
        }
        let meta = seen.next_version();
        self.swap(seen, meta).ok()?;
        fence(Ordering::Release);
        Some(Claim { slot: self, meta })
    }

    /// Takes the slot for writing while the same flow is in it, whatever packets came since.
    pub(super) fn claim_tenant(&self, seen: Meta) -> Option<Claim<'_>> {
        let mut current = seen;
        for _ in 0..SWAP_ATTEMPTS {
            if let Some(claim) = self.claim(current) {
                return Some(claim);
            }
            current = self.meta();
            if current.version() != seen.version() {
                return None;
            }
        }
        None
    }

    fn swap(&self, from: Meta, to: Meta) -> Result<(), Meta> {
        self.meta
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Meta)
    }
}

impl Claim<'_> {
    /// Puts a new flow into the slot.
    pub(super) fn settle(
        self,
        key: &FlowKey,
        opened_by: End,
        epoch: u64,
        state: State,
        now: Moment,
    ) {
        let mut words = key.0;
        if let (End::Second, [.., last]) = (opened_by, &mut words) {
            *last |= OPENED_BY_SECOND;
        }
        for (atomic, word) in self.slot.key.iter().zip(words) {
            atomic.store(word, Ordering::Relaxed);
        }
        self.slot.epoch.store(epoch, Ordering::Relaxed);
        let meta = self.meta.with(state, time_of(now));
        self.release(meta);
    }

    /// The flow stays and is now one of this epoch. What the slot says from now on.
    pub(super) fn renew(self, epoch: u64) -> Meta {
        self.slot.epoch.store(epoch, Ordering::Relaxed);
        let meta = self.meta;
        self.release(meta)
    }

    /// The slot is free.
    pub(super) fn vacate(self) {
        let meta = self.meta.freed();
        self.release(meta);
    }

    fn release(self, meta: Meta) -> Meta {
        let meta = meta.next_version();
        self.slot.meta.store(meta.0, Ordering::Release);
        meta
    }
}

impl Meta {
    const STATE_BITS: u32 = 4;
    const TIME_BITS: u32 = 32;
    const VERSION_SHIFT: u32 = Self::STATE_BITS + Self::TIME_BITS;

    pub(super) fn version(self) -> u64 {
        self.0 >> Self::VERSION_SHIFT
    }

    pub(super) fn is_claimed(self) -> bool {
        !self.version().is_multiple_of(2)
    }

    /// `None`: the slot is free.
    pub(super) fn state(self) -> Option<State> {
        let code = self.0 & ((1 << Self::STATE_BITS) - 1);
        let index = usize::try_from(code).ok()?.checked_sub(1)?;
        State::ALL.get(index).copied()
    }

    /// Whether the flow was silent for longer than its state allows.
    pub(super) fn is_expired(self, now: Moment) -> bool {
        self.state().is_some_and(|state| self.idle_ms(now) > state.idle_timeout_ms() + TOUCH_MS)
    }

    /// Time wraps after 49 days, far beyond every timeout. What is ahead of `now`, by the clock of another worker's
    /// batch, is not old.
    fn idle_ms(self, now: Moment) -> u32 {
        let idle = time_of(now).wrapping_sub(self.time());
        if idle > u32::MAX / 2 { 0 } else { idle }
    }

    /// The time to note for a packet at `now`: never earlier than what is noted, and the same if that is recent.
    fn later(self, now: Moment) -> u32 {
        if self.idle_ms(now) < TOUCH_MS { self.time() } else { time_of(now) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "32 bits are taken out of the word")]
    fn time(self) -> u32 {
        (self.0 >> Self::STATE_BITS) as u32
    }

    fn with(self, state: State, time: u32) -> Self {
        let version = self.version() << Self::VERSION_SHIFT;
        Self(version | u64::from(time) << Self::STATE_BITS | (state as u64 + 1))
    }

    fn freed(self) -> Self {
        Self(self.version() << Self::VERSION_SHIFT)
    }

    /// Wraps after 2^28 changes of one slot: none happens that often between two loads of one reader.
    fn next_version(self) -> Self {
        Self(self.0.wrapping_add(1 << Self::VERSION_SHIFT))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds wrap; see `idle_ms`")]
fn time_of(now: Moment) -> u32 {
    now.millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FlowKey = FlowKey([1, 2, 3, 4, 5, 6]);

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn settled(state: State, now: Moment) -> Slot {
        let slot = Slot::free();
        slot.claim(slot.meta()).unwrap().settle(&KEY, End::Second, 7, state, now);
        slot
    }

    #[test]
    fn slot_says_what_was_put_into_it() {
        for state in State::ALL {
            let tenant = settled(state, at(1_000)).read(&KEY).unwrap();
            assert_eq!((tenant.opened_by, tenant.epoch), (End::Second, 7));
            assert_eq!((tenant.meta.state(), tenant.meta.time()), (Some(state), 1_000));
        }
        assert_eq!(settled(State::Udp, at(0)).read(&FlowKey([1, 2, 3, 4, 5, 7])), None);
    }

    #[test]
    fn claimed_slot_is_unreadable_and_cannot_be_claimed_again() {
        let slot = settled(State::Udp, at(0));
        let seen = slot.meta();
        let claim = slot.claim(seen).unwrap();
        assert_eq!(slot.read(&KEY), None);
        assert!(slot.claim(seen).is_none() && slot.claim(slot.meta()).is_none());
        claim.vacate();
        assert_eq!(slot.read(&KEY), None);
        assert_eq!(slot.meta().state(), None);
    }

    #[test]
    fn stale_reader_can_neither_touch_nor_claim_the_next_flow() {
        let slot = settled(State::Udp, at(0));
        let stale = slot.read(&KEY).unwrap().meta;
        let other = FlowKey([9; 6]);
        slot.claim(slot.meta()).unwrap().settle(&other, End::First, 8, State::Query, at(5));
        let before = slot.read(&other).unwrap();
        slot.touch(stale, at(10_000), |_| State::Closing);
        assert!(slot.claim_tenant(stale).is_none());
        assert_eq!(slot.read(&other), Some(before));
    }

    #[test]
    fn reading_holds_while_packets_come_and_not_when_the_slot_is_written() {
        let slot = settled(State::Udp, at(0));
        let before = slot.meta();
        slot.touch(before, at(1_000), |_| State::Other);
        assert_eq!(slot.unchanged_since(before).and_then(Meta::state), Some(State::Other));
        let claim = slot.claim(slot.meta()).unwrap();
        assert_eq!(slot.unchanged_since(before), None, "it is being written");
        claim.settle(&KEY, End::First, 8, State::Udp, at(0));
        assert_eq!(slot.unchanged_since(before), None, "it was written");
    }

    #[test]
    fn reader_never_sees_a_slot_half_written() {
        const ROUNDS: u64 = 200_000;
        const HITS: u64 = 1_000;
        let slot = Slot::free();
        let hits = AtomicU64::new(0);
        let keys = [KEY, FlowKey([1, 2, 3, 4, 5, 7])];
        let write = |round: u64| {
            let claim = slot.claim(slot.meta()).unwrap();
            if round.is_multiple_of(2) {
                claim.settle(&keys[0], End::First, 0, State::Udp, at(0));
            } else {
                claim.settle(&keys[1], End::Second, 1, State::Query, at(1));
            }
            (0..round % 16).for_each(|_| std::hint::spin_loop());
        };
        // The two may run in turns only: it goes on until the reader had some.
        let enough = |round: u64| round >= ROUNDS && hits.load(Ordering::Relaxed) >= HITS;
        std::thread::scope(|scope| {
            let writer =
                scope.spawn(|| (0..u64::MAX).take_while(|round| !enough(*round)).for_each(write));
            while !writer.is_finished() {
                if let Some(tenant) = slot.read(&keys[0]) {
                    let Tenant { meta, state, opened_by, epoch } = tenant;
                    assert_eq!((state, opened_by, epoch), (State::Udp, End::First, 0));
                    assert_eq!(meta.time(), 0);
                    hits.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }

    #[test]
    fn expiry_holds_across_the_wrap_of_time_and_late_clocks() {
        let start = (1_u64 << 32) - 1_000;
        let meta = settled(State::Query, at(start)).meta();
        assert!(!meta.is_expired(at(start + 60_000)));
        assert!(!meta.is_expired(at(start - 5_000)), "another worker's clock is behind");
        assert!(meta.is_expired(at(start + 60_001 + u64::from(TOUCH_MS))));
    }

    #[test]
    fn packet_in_quick_succession_writes_nothing() {
        let slot = settled(State::Udp, at(0));
        let seen = slot.meta();
        slot.touch(seen, at(u64::from(TOUCH_MS) - 1), |state| state);
        assert_eq!(slot.meta(), seen);
        slot.touch(seen, at(u64::from(TOUCH_MS)), |state| state);
        assert_eq!(slot.meta().time(), TOUCH_MS);
        slot.touch(slot.meta(), at(1), |state| state);
        assert_eq!(slot.meta().time(), TOUCH_MS, "time never goes back");
    }
}
