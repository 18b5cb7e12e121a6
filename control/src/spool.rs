//! The reading end of the data plane's spool of flow records.
//!
//! A segment file is named by the number of its first record, and records are numbered without gaps: what was missed
//! when segments went is a subtraction.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use classifier::record::{FlowRecord, RECORD_BYTES};

/// A spool that somebody else writes.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
}

/// A stretch of records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The records in order; `None` for bytes that are not a record.
    pub records: Vec<Option<FlowRecord>>,
    /// The number of the record behind these: where to read on.
    pub next: u64,
    /// Records that went before they could be read.
    pub lost: u64,
    /// The spool ends before the place asked for: it is another one, and is read from its start.
    pub began_anew: bool,
}

impl Spool {
    /// The spool in `directory`, which need not exist yet.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Reads up to `records_max` records from number `from` on, within one segment.
    ///
    /// # Errors
    /// When the directory or a segment cannot be read; a spool that does not exist is empty.
    pub fn read(&self, from: u64, records_max: usize) -> io::Result<Batch> {
        let segments = self.segments()?;
        let (Some(oldest), Some(newest)) = (segments.first(), segments.last()) else {
            return Ok(Batch { next: from, ..Batch::default() });
        };
        let end = newest.first + newest.records;
        let began_anew = from > end;
        let from_here = if began_anew { oldest.first } else { from.max(oldest.first) };
        let lost = if began_anew { 0 } else { from_here - from };
        // The segment that holds the record, or the next one when a segment ends early.
        let at_or_behind = |segment: &&Segment| from_here < segment.first + segment.records;
        let Some(segment) = segments.iter().find(at_or_behind) else {
            return Ok(Batch { next: from_here, lost, began_anew, ..Batch::default() });
        };
        let start = from_here.max(segment.first);
        let lost = lost + (start - from_here);
        let count = records_max
            .min(usize::try_from(segment.first + segment.records - start).unwrap_or(usize::MAX));
        let records = self.records(segment, start - segment.first, count)?;
        Ok(Batch { next: start + records.len() as u64, records, lost, began_anew })
    }

    fn records(
        &self,
        segment: &Segment,
        skip: u64,
        count: usize,
    ) -> io::Result<Vec<Option<FlowRecord>>> {
        let file = File::open(self.directory.join(&segment.name))?;
        let mut bytes = vec![0; count * RECORD_BYTES];
        file.read_exact_at(&mut bytes, skip * RECORD_BYTES as u64)?;
        let (whole, _) = bytes.as_chunks::<RECORD_BYTES>();
        Ok(whole.iter().map(FlowRecord::decode).collect())
    }

    /// The segments in order, with as many whole records as each has now.
    fn segments(&self) -> io::Result<Vec<Segment>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut segments = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let first = name.strip_suffix(".rec").and_then(|number| number.parse().ok());
            // One that went while we look is not there.
            if let (Some(first), Ok(metadata)) = (first, entry.metadata()) {
                let records = metadata.len() / RECORD_BYTES as u64;
                segments.push(Segment { first, records, name });
            }
        }
        segments.sort_unstable_by_key(|segment| segment.first);
        Ok(segments)
    }
}

#[derive(Debug)]
struct Segment {
    first: u64,
    records: u64,
    name: String,
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::ops::Range;

    use classifier::packet::{PacketKey, Transport};
    use classifier::record::RecordKind;

    use super::*;

    #[test]
    fn records_are_read_on_from_segment_to_segment() {
        let directory = tempfile::tempdir().unwrap();
        segment(directory.path(), 0..4);
        segment(directory.path(), 4..6);
        let spool = Spool::at(directory.path());
        let first = spool.read(1, 100).unwrap();
        assert_eq!(first, Batch { records: records(1..4), next: 4, ..Batch::default() });
        let second = spool.read(4, 1).unwrap();
        assert_eq!(second, Batch { records: records(4..5), next: 5, ..Batch::default() });
        assert_eq!(spool.read(6, 1).unwrap(), Batch { next: 6, ..Batch::default() });
    }

    #[test]
    fn what_went_before_it_was_read_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        segment(directory.path(), 40..42);
        let batch = Spool::at(directory.path()).read(3, 100).unwrap();
        assert_eq!(
            batch,
            Batch { records: records(40..42), next: 42, lost: 37, began_anew: false }
        );
    }

    #[test]
    fn a_gap_between_segments_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        segment(directory.path(), 0..2);
        segment(directory.path(), 5..6);
        let batch = Spool::at(directory.path()).read(2, 100).unwrap();
        assert_eq!(batch, Batch { records: records(5..6), next: 6, lost: 3, began_anew: false });
    }

    #[test]
    fn a_record_in_the_making_is_left_for_later() {
        let directory = tempfile::tempdir().unwrap();
        segment(directory.path(), 0..2);
        let path = directory.path().join("00000000000000000000.rec");
        File::options().write(true).open(path).unwrap().set_len(96 + 40).unwrap();
        let batch = Spool::at(directory.path()).read(0, 100).unwrap();
        assert_eq!(batch, Batch { records: records(0..1), next: 1, ..Batch::default() });
    }

    #[test]
    fn another_spool_in_its_place_is_read_from_its_start() {
        let directory = tempfile::tempdir().unwrap();
        segment(directory.path(), 0..2);
        let batch = Spool::at(directory.path()).read(1000, 100).unwrap();
        assert_eq!(batch, Batch { records: records(0..2), next: 2, lost: 0, began_anew: true });
    }

    #[test]
    fn a_spool_that_is_not_there_is_empty() {
        let batch = Spool::at(Path::new("/nonexistent/spool")).read(7, 100).unwrap();
        assert_eq!(batch, Batch { next: 7, ..Batch::default() });
    }

    fn segment(directory: &Path, numbers: Range<u64>) {
        let name = format!("{:020}.rec", numbers.start);
        let bytes: Vec<u8> = numbers.flat_map(|number| record(number).encode()).collect();
        fs::write(directory.join(name), bytes).unwrap();
    }

    fn records(numbers: Range<u64>) -> Vec<Option<FlowRecord>> {
        numbers.map(|number| Some(record(number))).collect()
    }

    fn record(number: u64) -> FlowRecord {
        let address = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
        FlowRecord {
            time_ns: number,
            generation: 1,
            kind: RecordKind::Denied,
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
