//! One place of the flow table: two cache lines of atomic words, guarded by a version.
//!
//! The first word holds the version, the time of the last packet and the state. An even version is stable. A writer
//! makes it odd by compare-and-swap, writes the other words, and makes it even again, one higher; whoever finds it odd
//! does without. A packet of a live flow only swaps the first word, which fails when the version has moved on: so
//! nobody can mark, renew or remove a flow other than the one it read. A packet of a TCP connection also merges what it
//! says into words of the second line, each by compare-and-swap of what was there under the version that it read.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::Admission;
use super::key::{End, FlowKey, KEY_WORDS};
use super::meta::{Meta, time_of};
use super::numbers::Numbers;
use super::state::{State, Way};
use super::tcp::{Challenge, Connection, Heard, Pending, Sent};
use crate::moment::Moment;

/// Attempts to read a slot that is being written. A writer needs some 20 ns; one that was interrupted is not waited for.
const READ_ATTEMPTS: usize = 16;
/// Attempts to swap the first word when other workers do the same to the same flow.
const SWAP_ATTEMPTS: usize = 8;
/// Set in the last key word when the second endpoint opened the flow.
const OPENED_BY_SECOND: u64 = 1 << 63;
/// Of the last word of the first line, what holds the epoch: a thousand publications a second for eight years. Above it stand
/// the seconds at which the flow began, which wrap after two years.
const EPOCH_BITS: u32 = 38;
const EPOCH_MASK: u64 = (1 << EPOCH_BITS) - 1;

/// One place of the table.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    meta: AtomicU64,
    key: [AtomicU64; KEY_WORDS],
    epoch: AtomicU64,
    numbers: Numbers,
}

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
            numbers: Numbers::default(),
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
            let epoch = self.epoch.load(Ordering::Relaxed) & EPOCH_MASK;
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

    /// Whatever flow is in this slot, and since how many seconds. A slot that stays unreadable counts as free.
    pub(super) fn resident(&self, now: Moment) -> Option<(FlowKey, Tenant, u32)> {
        for _ in 0..READ_ATTEMPTS {
            self.meta().state()?;
            let mut words = self.key.each_ref().map(|word| word.load(Ordering::Relaxed));
            let [.., last] = &mut words;
            *last &= !OPENED_BY_SECOND;
            let key = FlowKey(words);
            // Words of two flows are no flow's key.
            let Some(tenant) = self.read(&key) else { continue };
            let began = self.epoch.load(Ordering::Relaxed) >> EPOCH_BITS;
            if self.unchanged_since(tenant.meta).is_some() {
                return Some((key, tenant, age(began, now)));
            }
        }
        None
    }

    /// What the slot says now, if nobody has written it since it said `before`: what was read in between is one flow's.
    pub(super) fn unchanged_since(&self, before: Meta) -> Option<Meta> {
        fence(Ordering::Acquire);
        let now = Meta(self.meta.load(Ordering::Relaxed));
        (now.version() == before.version()).then_some(now)
    }

    /// Notes a packet of the flow that was read as `seen`: its state goes on as `advance` says. What it was and is, if this
    /// packet and no other changed it.
    pub(super) fn touch(
        &self,
        seen: Meta,
        now: Moment,
        advance: impl Fn(State) -> State,
    ) -> Option<[State; 2]> {
        let mut current = seen;
        for _ in 0..SWAP_ATTEMPTS {
            let state = current.state().filter(|_| current.version() == seen.version())?;
            let next = advance(state);
            let wanted = current.with(next, current.later(now));
            if wanted == current {
                return None;
            }
            match self.swap(current, wanted) {
                Ok(()) => return (next != state).then_some([state, next]),
                Err(found) => current = found,
            }
        }
        None
    }

    /// What is known of the TCP connection that was read as `seen`, and the state it is in; `None` when the slot was written
    /// since.
    #[inline]
    pub(super) fn connection(&self, seen: Meta) -> Option<(Meta, Connection)> {
        let connection = self.numbers.load();
        let meta = self.unchanged_since(seen)?;
        Some((meta, connection))
    }

    /// Merges what a segment of `way` says into the numbers of the connection that was read as `seen`. False when the slot
    /// was written since.
    #[inline]
    pub(super) fn advance(&self, seen: Meta, way: Way, sent: Sent, heard: Option<Heard>) -> bool {
        let numbers = &self.numbers;
        let is_sent = self.merge(numbers.sent(way), seen, |word| Sent(word).merge(sent).0);
        let merged =
            |heard: Heard| self.merge(numbers.heard(way), seen, |word| Heard(word).merge(heard).0);
        is_sent && heard.is_none_or(merged)
    }

    /// A word of the second line, looked at only to have the line at hand.
    #[inline]
    pub(super) fn terms(&self) -> u64 {
        self.numbers.terms()
    }

    /// Remembers a SYN that does not belong. False when the slot was written since.
    pub(super) fn expect(&self, seen: Meta, pending: Pending) -> bool {
        self.merge(self.numbers.pending(), seen, |_| pending.0)
    }

    /// Remembers a challenge ACK. False when the slot was written since.
    pub(super) fn challenge(&self, seen: Meta, ack: u32) -> bool {
        self.merge(self.numbers.challenge(), seen, |_| Challenge::new(ack).0)
    }

    /// Changes a word while the flow that was read as `seen` is in the slot. Who claims the slot after the version was looked
    /// at and writes the word lets the swap fail.
    #[inline]
    fn merge(&self, word: &AtomicU64, seen: Meta, merged: impl Fn(u64) -> u64) -> bool {
        for _ in 0..SWAP_ATTEMPTS {
            let held = word.load(Ordering::Relaxed);
            if self.unchanged_since(seen).is_none() {
                return false;
            }
            let wanted = merged(held);
            let swap = |wanted| {
                word.compare_exchange(held, wanted, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            };
            if held == wanted || swap(wanted) {
                return true;
            }
        }
        false
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
    /// What the slot was when it was taken.
    pub(super) fn state(&self) -> Option<State> {
        self.meta.state()
    }

    /// The key of the flow in the slot.
    pub(super) fn key(&self) -> FlowKey {
        let mut words = [0; KEY_WORDS];
        for (word, atomic) in words.iter_mut().zip(&self.slot.key) {
            *word = atomic.load(Ordering::Relaxed);
        }
        let [.., last] = &mut words;
        *last &= !OPENED_BY_SECOND;
        FlowKey(words)
    }

    /// Which of the key's endpoints opened the flow in the slot.
    pub(super) fn opened_by(&self) -> End {
        let [.., last] = &self.slot.key;
        if last.load(Ordering::Relaxed) & OPENED_BY_SECOND == 0 { End::First } else { End::Second }
    }

    /// What is known of the TCP connection in the slot.
    pub(super) fn connection(&self) -> Connection {
        self.slot.numbers.load()
    }

    /// Puts a new flow into the slot.
    pub(super) fn settle(self, key: &FlowKey, admission: &Admission, now: Moment) {
        let Admission { opened_by, epoch, state, connection, is_limited: _ } = admission;
        let mut words = key.0;
        if let (End::Second, [.., last]) = (opened_by, &mut words) {
            *last |= OPENED_BY_SECOND;
        }
        for (atomic, word) in self.slot.key.iter().zip(words) {
            atomic.store(word, Ordering::Relaxed);
        }
        let epoch = seconds_of(now) << EPOCH_BITS | *epoch & EPOCH_MASK;
        self.slot.epoch.store(epoch, Ordering::Relaxed);
        if state.is_tcp() {
            self.slot.numbers.settle(connection, self.meta.version());
        }
        let meta = self.meta.with(*state, time_of(now));
        self.release(meta);
    }

    /// The same flow goes on in `state`, its numbers, which were `before`, now `after`.
    pub(super) fn resettle(
        self,
        state: State,
        before: &Connection,
        after: &Connection,
        now: Moment,
    ) {
        self.slot.numbers.store(before, after);
        let meta = self.meta.with(state, self.meta.later(now));
        self.release(meta);
    }

    /// The slot is left as it was.
    pub(super) fn leave(self) {
        let meta = self.meta;
        self.release(meta);
    }

    /// The flow stays and is now one of this epoch. What the slot says from now on.
    pub(super) fn renew(self, epoch: u64) -> Meta {
        let began = self.slot.epoch.load(Ordering::Relaxed) & !EPOCH_MASK;
        self.slot.epoch.store(began | epoch & EPOCH_MASK, Ordering::Relaxed);
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

fn seconds_of(now: Moment) -> u64 {
    now.millis() / 1_000
}

/// Seconds since a flow began. A flow of another worker's clock that is ahead of ours begins now.
fn age(began: u64, now: Moment) -> u32 {
    let mask = u64::MAX >> EPOCH_BITS;
    let age = seconds_of(now).wrapping_sub(began) & mask;
    if age > mask / 2 { 0 } else { u32::try_from(age).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::super::meta::TOUCH_MS;
    use super::super::timers::Timers;
    use super::*;

    const KEY: FlowKey = FlowKey([1, 2, 3, 4, 5, 6]);

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn settled(state: State, now: Moment) -> Slot {
        let slot = Slot::free();
        settle(&slot, &KEY, (End::Second, 7, state), now);
        slot
    }

    fn settle(
        slot: &Slot,
        key: &FlowKey,
        (opened_by, epoch, state): (End, u64, State),
        now: Moment,
    ) {
        let connection = Connection::default();
        let admission = Admission { opened_by, epoch, state, connection, is_limited: true };
        slot.claim(slot.meta()).unwrap().settle(key, &admission, now);
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
    fn resident_is_told_with_its_age_which_a_later_policy_does_not_change() {
        let slot = settled(State::Udp, at(5_000));
        let (key, tenant, age) = slot.resident(at(65_999)).unwrap();
        assert_eq!((key, tenant.opened_by, tenant.epoch, age), (KEY, End::Second, 7, 60));
        let _ = slot.claim(slot.meta()).unwrap().renew(EPOCH_MASK);
        let (_, tenant, age) = slot.resident(at(6_000)).unwrap();
        assert_eq!((tenant.epoch, age), (EPOCH_MASK, 1));
        assert_eq!(slot.resident(at(4_000)).unwrap().2, 0, "another worker's clock is ahead");
        slot.claim(slot.meta()).unwrap().vacate();
        assert_eq!(slot.resident(at(6_000)), None);
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
        settle(&slot, &other, (End::First, 8, State::Query), at(5));
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
        claim.leave();
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
            if round.is_multiple_of(2) {
                settle(&slot, &keys[0], (End::First, 0, State::Udp), at(0));
            } else {
                settle(&slot, &keys[1], (End::Second, 1, State::Query), at(1));
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
        let timers = Timers::default();
        assert!(!meta.is_expired(at(start + 60_000), &timers));
        assert!(!meta.is_expired(at(start - 5_000), &timers), "another worker's clock is behind");
        assert!(meta.is_expired(at(start + 60_001 + u64::from(TOUCH_MS)), &timers));
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
