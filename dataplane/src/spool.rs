//! The spool: flow records on disk, in order, bounded. Workers never see it; the reporter writes, control reads.
//!
//! A directory of segment files. A segment's name is the number of its first record, twenty digits and `.rec`; it holds
//! `classifier::record` records back to back and nothing else. So every record has one number for ever, a reader's
//! place is one number, and what it missed when segments went is a subtraction. Records are only ever appended, whole
//! ones first: a reader takes what is there in multiples of `RECORD_BYTES`.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use classifier::record::{FlowRecord, RECORD_BYTES};

/// How much the spool may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpoolLimits {
    /// Records in a segment before the next one is begun; at least one.
    pub segment_records: u64,
    /// Segments kept, the one being written included; at least one.
    pub segments_max: usize,
}

impl Default for SpoolLimits {
    /// 16 segments of 65,536 records: a million records in 96 MiB.
    fn default() -> Self {
        Self { segment_records: 65_536, segments_max: 16 }
    }
}

/// What became of the records so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SpoolCounts {
    /// Written to a segment since the start.
    pub written: u64,
    /// Not written because the disk refused.
    pub lost_to_disk: u64,
    /// Removed with the oldest segments to keep the bound, read or not: only the reader knows which it had.
    pub overwritten: u64,
    /// Errors of the disk, of any kind.
    pub disk_errors: u64,
}

/// The writing end. Disk errors are counted, never fatal.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    limits: SpoolLimits,
    /// Number of the first record of each segment on disk, ascending; the last one is being written.
    segments: VecDeque<u64>,
    current: Option<File>,
    /// Whether something was written since the last `sync`.
    unsynced: bool,
    /// Number that the next record gets.
    next: u64,
    counts: SpoolCounts,
}

impl Spool {
    /// Opens the spool in `directory`, creating it, and goes on behind the last whole record that is there.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(directory: &Path, limits: SpoolLimits) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let segments = segments(directory)?;
        let next = match segments.back() {
            Some(first) => first + whole_records(&segment_path(directory, *first))?,
            None => 0,
        };
        let limits = SpoolLimits { segment_records: limits.segment_records.max(1), ..limits };
        let directory = directory.to_owned();
        let counts = SpoolCounts::default();
        Ok(Self { directory, limits, segments, current: None, unsynced: false, next, counts })
    }

    /// Appends the records in order. What the disk does not take is counted as lost.
    pub fn append(&mut self, records: &[FlowRecord]) {
        let mut rest = records;
        while !rest.is_empty() {
            let Some(room) = self.room() else {
                self.counts.disk_errors += 1;
                self.counts.lost_to_disk += rest.len() as u64;
                return;
            };
            let (now, later) = rest.split_at(rest.len().min(room));
            let written = self.write(now);
            self.next += written as u64;
            self.counts.written += written as u64;
            self.counts.lost_to_disk += (now.len() - written) as u64;
            rest = later;
        }
    }

    /// Forces what was written to the disk, if anything was since the last time.
    pub fn sync(&mut self) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if unsynced && self.current.as_ref().is_some_and(|file| file.sync_data().is_err()) {
            self.counts.disk_errors += 1;
        }
    }

    /// What became of the records so far.
    #[must_use]
    pub fn counts(&self) -> SpoolCounts {
        self.counts
    }

    /// Records the current segment still takes, at least one; begins a segment when needed.
    fn room(&mut self) -> Option<usize> {
        let full = |first: &u64| self.next - first >= self.limits.segment_records;
        if self.segments.back().is_none_or(full) {
            self.begin_segment().ok()?;
        }
        let first = *self.segments.back()?;
        if self.current.is_none() {
            self.current = Some(open_segment(&self.directory, first, self.next).ok()?);
        }
        usize::try_from(first + self.limits.segment_records - self.next).ok()
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.sync();
        self.current = Some(open_segment(&self.directory, self.next, self.next)?);
        self.segments.push_back(self.next);
        while self.segments.len() > self.limits.segments_max.max(1) {
            self.remove_oldest();
        }
        Ok(())
    }

    fn remove_oldest(&mut self) {
        let (Some(first), Some(following)) = (self.segments.pop_front(), self.segments.front())
        else {
            return;
        };
        self.counts.overwritten += following - first;
        if fs::remove_file(segment_path(&self.directory, first)).is_err() {
            self.counts.disk_errors += 1;
        }
    }

    /// Writes to the current segment; returns how many whole records it took.
    fn write(&mut self, records: &[FlowRecord]) -> usize {
        let Some(file) = &mut self.current else { return 0 };
        let bytes: Vec<u8> = records.iter().flat_map(FlowRecord::encode).collect();
        let taken = write_what_fits(file, &bytes);
        self.unsynced = true;
        if taken == bytes.len() {
            return records.len();
        }
        // Part of a record may stand at the end: the segment is cut there when it is opened again.
        self.current = None;
        self.counts.disk_errors += 1;
        taken / RECORD_BYTES
    }
}

/// First record numbers of the segments in `directory`, ascending. Other files are ignored.
fn segments(directory: &Path) -> io::Result<VecDeque<u64>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        segments
            .extend(name.to_str().and_then(|name| name.strip_suffix(".rec")?.parse::<u64>().ok()));
    }
    segments.sort_unstable();
    Ok(segments.into())
}

fn segment_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.rec"))
}

fn whole_records(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len() / RECORD_BYTES as u64)
}

/// The segment that begins with record `first`, cut to end before record `next`.
fn open_segment(directory: &Path, first: u64, next: u64) -> io::Result<File> {
    let path = segment_path(directory, first);
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    file.set_len((next - first) * RECORD_BYTES as u64)?;
    Ok(file)
}

/// Bytes written before the first error.
fn write_what_fits(file: &mut File, bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => break,
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    bytes.len() - rest.len()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use classifier::packet::{PacketKey, Transport};
    use classifier::record::RecordKind;

    use super::*;

    const SMALL: SpoolLimits = SpoolLimits { segment_records: 4, segments_max: 3 };

    #[test]
    fn records_are_on_disk_in_the_order_they_came() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), SMALL).unwrap();
        spool.append(&records(0..3));
        spool.append(&records(3..10));
        assert_eq!(on_disk(directory.path()), records(0..10));
        assert_eq!(spool.counts(), SpoolCounts { written: 10, ..SpoolCounts::default() });
    }

    #[test]
    fn the_oldest_segment_goes_first_and_its_records_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), SMALL).unwrap();
        spool.append(&records(0..21));
        assert_eq!(on_disk(directory.path()), records(12..21));
        let counts = SpoolCounts { written: 21, overwritten: 12, ..SpoolCounts::default() };
        assert_eq!(spool.counts(), counts);
    }

    #[test]
    fn a_restart_goes_on_behind_the_last_whole_record() {
        let directory = tempfile::tempdir().unwrap();
        Spool::open(directory.path(), SMALL).unwrap().append(&records(0..6));
        let torn = segment_path(directory.path(), 4);
        OpenOptions::new().append(true).open(torn).unwrap().write_all(&[1; 40]).unwrap();
        Spool::open(directory.path(), SMALL).unwrap().append(&records(6..9));
        assert_eq!(on_disk(directory.path()), records(0..9));
        assert_eq!(segments(directory.path()).unwrap(), [0, 4, 8]);
    }

    #[test]
    fn what_the_disk_refuses_is_counted_and_the_spool_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), SMALL).unwrap();
        fs::create_dir(segment_path(directory.path(), 0)).unwrap();
        spool.append(&records(0..5));
        let lost = SpoolCounts { lost_to_disk: 5, disk_errors: 1, ..SpoolCounts::default() };
        assert_eq!(spool.counts(), lost);
        fs::remove_dir(segment_path(directory.path(), 0)).unwrap();
        spool.append(&records(5..7));
        assert_eq!(on_disk(directory.path()), records(5..7));
        assert_eq!(spool.counts(), SpoolCounts { written: 2, ..lost });
    }

    #[test]
    fn a_full_disk_costs_whole_records_and_leaves_no_torn_one() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), SMALL).unwrap();
        spool.append(&records(0..1));
        spool.current = Some(full);
        spool.append(&records(1..3));
        let lost = SpoolCounts { written: 1, lost_to_disk: 2, disk_errors: 1, overwritten: 0 };
        assert_eq!(spool.counts(), lost);
        spool.append(&records(3..4));
        let kept: Vec<_> = [records(0..1), records(3..4)].concat();
        assert_eq!(on_disk(directory.path()), kept);
    }

    fn records(numbers: std::ops::Range<u64>) -> Vec<FlowRecord> {
        numbers.map(record).collect()
    }

    fn record(number: u64) -> FlowRecord {
        let address = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
        let transport = Transport::Ports { src: 1, dst: 2 };
        FlowRecord {
            time_ns: number,
            generation: 1,
            kind: RecordKind::Denied,
            in_port: 0,
            out_port: 1,
            vlans: [None; 2],
            length: 60,
            packet: PacketKey { src: address, dst: address, protocol: 17, transport },
            decided: None,
            logged: None,
            pending: None,
        }
    }

    fn on_disk(directory: &Path) -> Vec<FlowRecord> {
        let mut found = Vec::new();
        for first in segments(directory).unwrap() {
            let bytes = fs::read(segment_path(directory, first)).unwrap();
            let (whole, torn) = bytes.as_chunks::<RECORD_BYTES>();
            assert!(torn.is_empty(), "segment {first} ends in a torn record");
            found.extend(whole.iter().map(|bytes| FlowRecord::decode(bytes).unwrap()));
        }
        found
    }
}
