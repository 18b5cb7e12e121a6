//! Frees places of flows that went silent, a few buckets a batch, so that no packet ever waits for a scan.
//!
//! Each bucket says when the next of its flows can have been silent for too long; only then are its places looked at.

use super::bucket::Bucket;
use super::meta::TOUCH_MS;
use super::{BUCKET_SLOTS, FlowTable, Timers};
use crate::moment::Moment;

/// Time in which all buckets are asked: an expired flow is counted as live for this much longer at most.
const PERIOD_NS: u64 = 1_000_000_000;
/// Most buckets asked in one go: each is a cache line. At ten idle polls a second the default table takes 0.4 s.
const ASKED_MAX: u64 = 4_096;
/// Most buckets whose places are looked at in one go: 2,048 places, some 20 µs.
const LOOKED_AT_MAX: u64 = 128;
/// A half-open connection is looked at again after this time: by then there may be more of them, and less patience.
const HALF_OPEN_MS: u64 = 1_000;

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
        let asked = self.due(table, now);
        if asked == 0 {
            return 0;
        }
        let timers = table.timers();
        let (mut ended, mut looked_at) = (0, 0);
        for _ in 0..asked {
            if looked_at == LOOKED_AT_MAX {
                break;
            }
            let bucket = table.buckets.get(self.bucket);
            self.bucket = (self.bucket + 1) % table.buckets.len();
            if let Some(bucket) = bucket.filter(|bucket| bucket.due() <= now.millis()) {
                ended += look(table, bucket, now, &timers);
                looked_at += 1;
            }
        }
        ended
    }

    fn due(&mut self, table: &FlowTable, now: Moment) -> u64 {
        let buckets = (table.capacity() / BUCKET_SLOTS) as u64;
        let elapsed = now.nanos().saturating_sub(self.until.nanos()).min(PERIOD_NS);
        let due = elapsed * buckets / PERIOD_NS;
        if due > ASKED_MAX {
            self.until = now;
            return ASKED_MAX;
        }
        let spent = due * PERIOD_NS / buckets;
        self.until = Moment::from_nanos(self.until.nanos() + spent);
        due
    }
}

/// Frees what expired in a bucket, and says when to look again.
fn look(table: &FlowTable, bucket: &Bucket, now: Moment, timers: &Timers) -> u64 {
    bucket.begin_look();
    let mut ended = 0;
    for place in bucket.places() {
        let meta = place.slot.meta();
        let Some(state) = meta.state() else { continue };
        if meta.is_expired(now, timers)
            && let Some(claim) = place.slot.claim(meta)
        {
            table.vacate(place, claim);
            ended += 1;
            continue;
        }
        let patience = timers.millis(state.timer()).saturating_add(TOUCH_MS);
        let left = u64::from(patience.saturating_sub(meta.idle_ms(now))) + 1;
        let next = if state.is_half_open() { left.min(HALF_OPEN_MS) } else { left };
        place.expire_at(now.millis() + next);
    }
    ended
}
