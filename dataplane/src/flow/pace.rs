//! How fast an address does something, for all workers at once and without a lock: the generic cell rate algorithm (ITU-T
//! I.371, annex A) in one word an address.
//!
//! A seat holds a part of the address's hash and its theoretical arrival time, the moment at which all that it did would be
//! used up. A seat whose moment is past is free: so nothing is ever swept.

use std::sync::atomic::Ordering;

use super::hash::Secret;
use super::tally::{Address, Row, TooMany, rows_for, seats};
use crate::moment::Moment;

/// Bits of a moment in microseconds: it wraps after 12 days.
const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const SECOND: u64 = 1_000_000;
/// What may come at once is a quarter of a second's worth: ten seconds stay within 2.5 % of the rate.
const BURST: u64 = SECOND / 4;
/// Bits of the hash that a seat has room for.
const TAG_MASK: u32 = 0xFF_FFFF;
/// Attempts to change a seat that other workers change too.
const SWAP_ATTEMPTS: usize = 16;

/// Rates by address.
#[derive(Debug)]
pub(super) struct Pace {
    rows: Box<[Row]>,
    secret: Secret,
    /// Microseconds that one event uses up.
    interval: u64,
}

impl Pace {
    /// For so many addresses at a time, each at most `rate` times a second.
    pub(super) fn new(addresses: usize, rate: u32, secret: Secret) -> Self {
        let interval = (SECOND / u64::from(rate.max(1))).max(1);
        Self { rows: rows_for(addresses), secret, interval }
    }

    /// Notes an event at `now`, unless it comes too soon.
    pub(super) fn admit(&self, address: Address, now: Moment) -> Result<(), TooMany> {
        let seats = seats(&self.rows, self.secret, address).ok_or(TooMany)?;
        let tag = u64::from(seats.tag & TAG_MASK) << TIME_BITS;
        let now = (now.nanos() / 1_000) & TIME_MASK;
        for _ in 0..SWAP_ATTEMPTS {
            let said = || seats.iter().map(|seat| (seat, seat.load(Ordering::Acquire)));
            let own = said().find(|(_, word)| (word ^ tag) >> TIME_BITS == 0);
            let free = || seats.free(|word| self.ahead(word, now) == 0);
            let (seat, found) = own.or_else(free).ok_or(TooMany)?;
            let ahead = self.ahead(found, now);
            if ahead > BURST.saturating_sub(self.interval) {
                return Err(TooMany);
            }
            let next = tag | ((now + ahead + self.interval) & TIME_MASK);
            if seat.compare_exchange(found, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Ok(());
            }
        }
        Err(TooMany)
    }

    /// Microseconds from `now` to the moment that the word says. What is further ahead than anything can be is past, and
    /// time has wrapped since.
    fn ahead(&self, word: u64, now: u64) -> u64 {
        let ahead = (word & TIME_MASK).wrapping_sub(now) & TIME_MASK;
        if ahead > BURST.max(self.interval) { 0 } else { ahead }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    fn pace(rate: u32) -> Pace {
        Pace::new(64, rate, Secret::of(&RandomState::new()))
    }

    /// Of events that come every `step` microseconds for `seconds`, beginning at `start`, how many are admitted.
    fn admitted(pace: &Pace, address: Address, start: u64, step: u64, seconds: u64) -> u64 {
        let events = (0..seconds * SECOND / step).map(|event| start + event * step);
        let admit = |micros: &u64| pace.admit(address, Moment::from_nanos(micros * 1_000)).is_ok();
        events.filter(admit).count() as u64
    }

    #[test]
    fn ten_seconds_are_within_a_twentieth_of_the_rate() {
        for rate in [1, 10, 100, 2_500, 50_000] {
            let step = (SECOND / u64::from(rate) / 4).max(1);
            let count = admitted(&pace(rate), [1, 2], 77, step, 10);
            let expected = u64::from(rate) * 10;
            let most = expected + (expected / 20).max(1);
            assert!((expected..=most).contains(&count), "{count} of {expected}");
        }
    }

    #[test]
    fn slower_ones_are_never_refused_and_one_does_not_slow_another() {
        let pace = pace(100);
        assert_eq!(admitted(&pace, [0, 1], 0, 10_000, 5), 500);
        assert!(admitted(&pace, [0, 2], 0, 1_000, 5) < 550);
        assert_eq!(admitted(&pace, [0, 3], 0, 10_000, 5), 500);
    }

    #[test]
    fn time_wraps_and_what_is_long_past_refuses_nobody() {
        let pace = pace(10);
        for start in [0, 3 << (TIME_BITS - 2), (1 << TIME_BITS) - SECOND, 1 << TIME_BITS] {
            let count = admitted(&pace, [9, 9], start, 10_000, 2);
            assert!((20..=23).contains(&count), "{count} from {start}");
        }
    }
}
