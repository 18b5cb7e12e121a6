//! How many of something each address has, exactly, for all workers at once and without a lock.
//!
//! An address has a seat in one of two rows that its keyed hash names; a seat is one word: a part of the hash, and the count.
//! A seat whose count is 0 is free. So one compare-and-swap takes, changes or leaves a seat, and nothing is ever swept.
//! Two addresses share a seat when 32 bits of their hashes and their row are equal: nobody can choose them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::Secret;

/// Seats of a row: a cache line.
const ROW_SEATS: usize = 8;
/// Attempts to change a seat that other workers change too.
const SWAP_ATTEMPTS: usize = 16;

/// An address as two words, IPv4 as IPv4-mapped.
pub(super) type Address = [u64; 2];

/// One more would be too many: by the limit, or because there is no seat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooMany;

/// Counts by address.
#[derive(Debug)]
pub(super) struct Tally {
    rows: Box<[Row]>,
    secret: Secret,
}

/// Where an address may sit.
#[derive(Clone, Copy)]
pub(super) struct Seats<'a> {
    rows: [&'a Row; 2],
    /// The part of the hash that a taken seat carries.
    pub(super) tag: u32,
}

#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Row([AtomicU64; ROW_SEATS]);

/// Rows for so many addresses at half load.
pub(super) fn rows_for(addresses: usize) -> Box<[Row]> {
    let rows = (addresses * 2).div_ceil(ROW_SEATS).next_power_of_two().max(2);
    (0..rows).map(|_| Row(std::array::from_fn(|_| AtomicU64::new(0)))).collect()
}

/// The seats of an address.
pub(super) fn seats(rows: &[Row], secret: Secret, address: Address) -> Option<Seats<'_>> {
    let hash = secret.of_words(&address);
    let mask = rows.len() - 1;
    let part = |shift: u32| usize::try_from(hash >> shift & 0xFFFF_FFFF).unwrap_or(0) & mask;
    let (first, second) = (part(0), part(0) ^ (part(16) | 1));
    let rows = [rows.get(first)?, rows.get(second)?];
    Some(Seats { rows, tag: u32::try_from(hash >> 32).unwrap_or_default() })
}

impl<'a> Seats<'a> {
    pub(super) fn iter(self) -> impl Iterator<Item = &'a AtomicU64> {
        self.rows.into_iter().flat_map(|row| &row.0)
    }

    /// The first seat of this tag, and what it says.
    fn taken(self) -> Option<(&'a AtomicU64, u64)> {
        self.said().find(|(_, found)| self.is_own(*found))
    }

    /// A free seat in the row with more of them, and what it says. Taking the roomier row is what makes half load enough for
    /// every address to find a seat.
    pub(super) fn free(self, is_free: impl Fn(u64) -> bool) -> Option<(&'a AtomicU64, u64)> {
        let [first, second] = self.rows;
        let free_in = |row: &'a Row| {
            let said = row.0.iter().map(|seat| (seat, seat.load(Ordering::Acquire)));
            said.filter(|(_, found)| is_free(*found))
        };
        let roomier = if free_in(second).count() > free_in(first).count() { second } else { first };
        free_in(roomier).next()
    }

    fn sum(self) -> u32 {
        self.said().filter(|(_, found)| self.is_own(*found)).map(|(_, found)| count_of(found)).sum()
    }

    fn said(self) -> impl Iterator<Item = (&'a AtomicU64, u64)> {
        self.iter().map(|seat| (seat, seat.load(Ordering::Acquire)))
    }

    fn is_own(self, found: u64) -> bool {
        count_of(found) > 0 && tag_of(found) == self.tag
    }
}

impl Tally {
    /// For so many addresses at a time.
    pub(super) fn new(addresses: usize, secret: Secret) -> Self {
        Self { rows: rows_for(addresses), secret }
    }

    /// One more, unless there are `most` already.
    ///
    /// An address whose first two came at the same moment on two workers may have two seats: their counts belong together.
    /// Only then can there be more than `most`, and no more than there are workers.
    pub(super) fn add(&self, address: Address, most: u32) -> Result<(), TooMany> {
        let seats = seats(&self.rows, self.secret, address).ok_or(TooMany)?;
        for _ in 0..SWAP_ATTEMPTS {
            if seats.sum() >= most {
                return Err(TooMany);
            }
            let (seat, found) = seats
                .taken()
                .or_else(|| seats.free(|found| count_of(found) == 0))
                .ok_or(TooMany)?;
            if swap(seat, found, word(seats.tag, count_of(found) + 1)) {
                return Ok(());
            }
        }
        Err(TooMany)
    }

    /// One less.
    pub(super) fn remove(&self, address: Address) {
        let Some(seats) = seats(&self.rows, self.secret, address) else { return };
        // Every failure is another worker's success; an address that nobody counted has no seat.
        while let Some((seat, found)) = seats.taken() {
            if swap(seat, found, found - 1) {
                return;
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self, address: Address) -> u32 {
        seats(&self.rows, self.secret, address).map_or(0, Seats::sum)
    }
}

fn swap(seat: &AtomicU64, from: u64, to: u64) -> bool {
    seat.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

fn word(tag: u32, count: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(count)
}

fn tag_of(word: u64) -> u32 {
    u32::try_from(word >> 32).unwrap_or_default()
}

fn count_of(word: u64) -> u32 {
    u32::try_from(word & 0xFFFF_FFFF).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::RandomState;
    use std::thread;

    use super::*;

    fn tally(addresses: usize) -> Tally {
        Tally::new(addresses, Secret::of(&RandomState::new()))
    }

    #[test]
    fn counts_are_those_of_a_map() {
        let tally = tally(256);
        let mut random = fastrand::Rng::with_seed(0x5eed_0051);
        let mut counts: HashMap<u64, u32> = HashMap::new();
        for _ in 0..100_000 {
            let address = random.u64(..128);
            let count = counts.entry(address).or_default();
            if random.bool() && *count > 0 {
                tally.remove([0, address]);
                *count -= 1;
            } else {
                assert_eq!(tally.add([0, address], 5).is_ok(), *count < 5);
                *count = 5.min(*count + 1);
            }
            assert_eq!(tally.count([0, address]), *count);
        }
        for (address, count) in counts {
            (0..count).for_each(|_| tally.remove([0, address]));
            tally.remove([0, address]);
            assert_eq!(tally.count([0, address]), 0);
        }
        let seats = tally.rows.iter().flat_map(|row| &row.0);
        assert!(seats.into_iter().all(|seat| count_of(seat.load(Ordering::Relaxed)) == 0));
    }

    #[test]
    fn workers_count_together_and_nothing_is_lost() {
        let tally = tally(64);
        for _ in 0..200 {
            let added: usize = thread::scope(|scope| {
                let work = || (0..40_u64).filter(|i| tally.add([7, i % 4], 15).is_ok()).count();
                let workers = [scope.spawn(work), scope.spawn(work)];
                workers.into_iter().map(|worker| worker.join().unwrap()).sum()
            });
            let counts: u32 = (0..4).map(|address| tally.count([7, address])).sum();
            assert_eq!(added, counts as usize);
            // Fifteen each, and one more where both workers began an address at the same moment.
            assert!((60..=64).contains(&added), "{added}");
            for address in 0..4 {
                (0..tally.count([7, address])).for_each(|_| tally.remove([7, address]));
            }
        }
    }

    #[test]
    fn all_the_addresses_that_it_is_made_for_find_a_seat() {
        for _ in 0..20 {
            let tally = tally(1 << 14);
            let refused = (0..1 << 14).filter(|address| tally.add([0, *address], 1).is_err());
            assert_eq!(refused.count(), 0);
        }
    }

    #[test]
    fn address_without_a_seat_is_refused() {
        let tally = tally(1);
        let seats = tally.rows.len() * ROW_SEATS;
        let added = (0..1_000).filter(|address| tally.add([1, *address], 1).is_ok()).count();
        assert_eq!(added, seats, "and no more");
    }
}
