//! Frees places of flows that went silent, a few buckets a batch, so that no packet ever waits for a scan.

use super::{BUCKET_SLOTS, FlowTable};
use crate::moment::Moment;

/// Time in which the whole table is swept: an expired flow is counted as live for this much longer at most.
const PERIOD_NS: u64 = 10_000_000_000;
/// Most buckets swept in one go: 2,048 places, some 20 µs. At ten idle polls a second the default table takes 13 s.
const BUCKETS_MAX: u64 = 128;

/// One worker's progress through the table.
#[derive(Debug, Default)]
pub struct Sweep {
    bucket: usize,
    until: Moment,
}

impl Sweep {
    /// A sweep that begins at `now`.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self { bucket: 0, until: now }
    }

    /// Sweeps what is due at `now`; returns how many flows ended.
    pub fn go_on(&mut self, table: &FlowTable, now: Moment) -> u64 {
        let due = self.due(table, now);
        (0..due).map(|_| self.next_bucket(table, now)).sum()
    }

    fn due(&mut self, table: &FlowTable, now: Moment) -> u64 {
        let buckets = (table.capacity() / BUCKET_SLOTS) as u64;
        let elapsed = now.nanos().saturating_sub(self.until.nanos()).min(PERIOD_NS);
        let due = elapsed * buckets / PERIOD_NS;
        if due > BUCKETS_MAX {
            self.until = now;
            return BUCKETS_MAX;
        }
        let spent = due * PERIOD_NS / buckets;
        self.until = Moment::from_nanos(self.until.nanos() + spent);
        due
    }

    fn next_bucket(&mut self, table: &FlowTable, now: Moment) -> u64 {
        let Some(bucket) = table.buckets.get(self.bucket) else {
            self.bucket = 0;
            return 0;
        };
        self.bucket = (self.bucket + 1) % table.buckets.len();
        let mut ended = 0;
        for place in bucket.places() {
            let meta = place.slot.meta();
            if meta.is_expired(now, &table.timers)
                && let Some(claim) = place.slot.claim(meta)
            {
                table.vacate(place, claim);
                ended += 1;
            }
        }
        ended
    }
}
