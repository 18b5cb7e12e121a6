//! The reporter: takes flow records out of the workers' queues and puts them into the spool.
//!
//! One thread of its own, so that a slow disk costs records (the workers count a full queue) and never packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use classifier::record::FlowRecord;
use rtrb::Consumer;

use crate::handover::status_line;
use crate::spool::{Spool, SpoolCounts};

/// Pause between two looks at the queues. A queue of 4,096 records then holds 200,000 records a second.
const POLL: Duration = Duration::from_millis(20);
/// Longest time that a record waits for the disk: what a power failure may cost.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Records taken from a queue in one go, so that one busy queue cannot keep the others waiting for long.
const CHUNK_RECORDS: usize = 1024;
/// Most goes between two looks at the clock: workers that fill their queues as fast as they are emptied must not keep
/// the disk from being synced and the counters from being seen.
const ROUNDS_MAX: usize = 32;

/// Moves records from queues to the spool.
#[derive(Debug)]
pub struct Reporter {
    queues: Vec<Consumer<FlowRecord>>,
    spool: Spool,
    synced: Option<Instant>,
    shared: Arc<ReporterCounters>,
}

impl Reporter {
    /// A reporter of these queues, one a worker.
    #[must_use]
    pub fn new(queues: Vec<Consumer<FlowRecord>>, spool: Spool) -> Self {
        Self { queues, spool, synced: None, shared: Arc::default() }
    }

    /// Runs until `stop` is set, then takes what is left.
    #[expect(
        clippy::disallowed_methods,
        reason = "the reporter's loop is where its time comes from"
    )]
    pub fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.drain(Instant::now());
            thread::sleep(POLL);
        }
        self.drain(Instant::now());
        self.spool.sync();
    }

    /// Moves what is in the queues to the spool, and forces it to disk when that is due.
    pub fn drain(&mut self, now: Instant) {
        let mut records = Vec::with_capacity(CHUNK_RECORDS);
        for _ in 0..ROUNDS_MAX {
            let mut moved = 0;
            for queue in &mut self.queues {
                records.clear();
                records.extend(std::iter::from_fn(|| queue.pop().ok()).take(CHUNK_RECORDS));
                self.spool.append(&records);
                moved += records.len();
            }
            if moved == 0 {
                break;
            }
        }
        if self.synced.is_none_or(|synced| now.duration_since(synced) >= SYNC_INTERVAL) {
            self.spool.sync();
            self.synced = Some(now);
        }
        self.shared.publish(self.spool.counts());
    }

    /// The counters, for whoever reports the status.
    #[must_use]
    pub fn counters(&self) -> Arc<ReporterCounters> {
        Arc::clone(&self.shared)
    }
}

/// What the reporter's spool counted, readable from another thread.
#[derive(Debug, Default)]
pub struct ReporterCounters {
    written: AtomicU64,
    lost_to_disk: AtomicU64,
    overwritten: AtomicU64,
    disk_errors: AtomicU64,
}

impl ReporterCounters {
    /// The counts as of the last look at the queues.
    #[must_use]
    pub fn counts(&self) -> SpoolCounts {
        let Self { written, lost_to_disk, overwritten, disk_errors } = self;
        SpoolCounts {
            written: written.load(Ordering::Relaxed),
            lost_to_disk: lost_to_disk.load(Ordering::Relaxed),
            overwritten: overwritten.load(Ordering::Relaxed),
            disk_errors: disk_errors.load(Ordering::Relaxed),
        }
    }

    /// The counts as lines of the status.
    pub fn describe(&self, lines: &mut String) {
        let SpoolCounts { written, lost_to_disk, overwritten, disk_errors } = self.counts();
        status_line(lines, "records.written", &written);
        status_line(lines, "records.lost-to-disk", &lost_to_disk);
        status_line(lines, "records.overwritten", &overwritten);
        status_line(lines, "records.disk-errors", &disk_errors);
    }

    fn publish(&self, counts: SpoolCounts) {
        let SpoolCounts { written, lost_to_disk, overwritten, disk_errors } = counts;
        self.written.store(written, Ordering::Relaxed);
        self.lost_to_disk.store(lost_to_disk, Ordering::Relaxed);
        self.overwritten.store(overwritten, Ordering::Relaxed);
        self.disk_errors.store(disk_errors, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;

    use classifier::packet::{PacketKey, Transport};
    use classifier::record::{RECORD_BYTES, RecordKind};
    use rtrb::RingBuffer;

    use super::*;
    use crate::spool::SpoolLimits;

    #[test]
    fn drain_empties_every_queue_into_the_spool() {
        let directory = tempfile::tempdir().unwrap();
        let (mut first, first_end) = RingBuffer::new(4096);
        let (mut second, second_end) = RingBuffer::new(4096);
        for number in 0..3000 {
            first.push(record(number)).unwrap();
        }
        second.push(record(9999)).unwrap();
        let mut reporter = reporter(vec![first_end, second_end], directory.path());
        let counters = reporter.counters();
        reporter.drain(moment());
        assert_eq!(counters.counts().written, 3001);
        assert_eq!(spooled_bytes(directory.path()), 3001 * RECORD_BYTES as u64);
        assert_eq!(first.slots(), 4096);
        assert_eq!(second.slots(), 4096);
    }

    #[test]
    fn busy_queue_keeps_neither_the_others_nor_the_clock_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let flood = ROUNDS_MAX * CHUNK_RECORDS + 1;
        let (mut busy, busy_end) = RingBuffer::new(flood);
        let (mut other, other_end) = RingBuffer::new(16);
        for _ in 0..flood {
            busy.push(record(1)).unwrap();
        }
        other.push(record(2)).unwrap();
        let mut reporter = reporter(vec![busy_end, other_end], directory.path());
        let counters = reporter.counters();
        reporter.drain(moment());
        assert_eq!(
            counters.counts().written,
            flood as u64,
            "all of the other, not all of the busy"
        );
        let spooled = std::fs::read(directory.path().join(format!("{:020}.rec", 0))).unwrap();
        let (spooled, _) = spooled.as_chunks::<RECORD_BYTES>();
        let place = spooled.iter().position(|bytes| FlowRecord::decode(bytes) == Some(record(2)));
        assert_eq!(place, Some(CHUNK_RECORDS));
        reporter.drain(moment());
        assert_eq!(counters.counts().written, flood as u64 + 1);
    }

    #[test]
    fn the_status_tells_what_became_of_the_records() {
        let directory = tempfile::tempdir().unwrap();
        let (mut queue, end) = RingBuffer::new(16);
        for number in 0..10 {
            queue.push(record(number)).unwrap();
        }
        let spool =
            Spool::open(directory.path(), SpoolLimits { segment_records: 2, segments_max: 2 });
        let mut reporter = Reporter::new(vec![end], spool.unwrap());
        reporter.drain(moment());
        let mut lines = String::new();
        reporter.counters().describe(&mut lines);
        let expected = "records.written 10\nrecords.lost-to-disk 0\nrecords.overwritten 6\nrecords.disk-errors 0\n";
        assert_eq!(lines, expected);
    }

    fn reporter(queues: Vec<Consumer<FlowRecord>>, directory: &Path) -> Reporter {
        Reporter::new(queues, Spool::open(directory, SpoolLimits::default()).unwrap())
    }

    #[expect(clippy::disallowed_methods, reason = "some moment; nothing is measured against it")]
    fn moment() -> Instant {
        Instant::now()
    }

    fn spooled_bytes(directory: &Path) -> u64 {
        let files = std::fs::read_dir(directory).unwrap();
        files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    fn record(number: u64) -> FlowRecord {
        let address = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
        FlowRecord {
            time_ns: number,
            generation: 1,
            kind: RecordKind::Started,
            in_port: 0,
            out_port: 1,
            vlans: [None; 2],
            length: 60,
            packet: PacketKey {
                src: address,
                dst: address,
                protocol: 47,
                transport: Transport::Opaque,
            },
            decided: None,
            logged: None,
            pending: None,
        }
    }
}
