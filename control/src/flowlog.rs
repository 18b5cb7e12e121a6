//! The flow log: records out of the spool, with names, as JSON lines in a file that rotates by size.
//!
//! At its own pace and never in the way of packets. How far it has read is on disk, so that a restart goes on where it
//! stopped; after a crash a line may stand there twice, never not at all. What went before it was read is counted.

mod line;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use tracing::{info, warn};

pub use self::line::{Line, Named, Position, protocol_name, reason_name};
use crate::images::{ImageCache, Images};
use crate::spool::{Batch, Spool};

/// Pause when there is nothing to read.
const POLL: Duration = Duration::from_millis(100);
/// Records turned into lines in one go.
const BATCH_RECORDS: usize = 1024;

/// What a flow log reads and writes.
#[derive(Clone, Debug)]
pub struct FlowLogFiles {
    /// The data plane's spool.
    pub spool: PathBuf,
    /// The images that name what records point to.
    pub images: Images,
    /// Where it remembers how far it has read.
    pub cursor: PathBuf,
    /// The file of JSON lines.
    pub log: PathBuf,
    /// At this size in bytes the file is renamed to `<path>.1` and begun anew.
    pub log_bytes_max: u64,
}

/// What the flow log has done, since ever: it survives restarts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowLogCounts {
    /// The number of the record to read next.
    pub next: u64,
    /// Lines written.
    pub written: u64,
    /// Records that went before they were read.
    pub lost: u64,
    /// Stretches of 96 bytes that were no record.
    pub unreadable: u64,
}

/// What others may know of a flow log at work.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowLogState {
    /// Its counts.
    #[serde(flatten)]
    pub counts: FlowLogCounts,
    /// Why it does not get on, if it does not.
    pub error: Option<String>,
}

/// Turns records into lines.
#[derive(Debug)]
pub struct FlowLog {
    files: FlowLogFiles,
    spool: Spool,
    images: ImageCache,
    ports: Vec<String>,
    counts: FlowLogCounts,
    shared: Arc<Mutex<FlowLogState>>,
}

impl FlowLog {
    /// Goes on where the last one stopped. `ports` are the names of the ports in the order of the settings.
    #[must_use]
    pub fn open(files: FlowLogFiles, ports: Vec<String>) -> Self {
        let counts = read_cursor(&files.cursor).unwrap_or_default();
        let spool = Spool::at(&files.spool);
        let images = ImageCache::new(files.images.clone());
        let shared = Arc::new(Mutex::new(FlowLogState { counts, error: None }));
        Self { files, spool, images, ports, counts, shared }
    }

    /// Its state, to be looked at while it runs.
    #[must_use]
    pub fn state(&self) -> Arc<Mutex<FlowLogState>> {
        Arc::clone(&self.shared)
    }

    /// Runs until `stop` is set.
    pub fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let stepped = self.step();
            let more = stepped.as_ref().is_ok_and(|count| *count > 0);
            self.tell(stepped.err().map(|error| error.to_string()));
            if !more {
                thread::sleep(POLL);
            }
        }
    }

    /// Writes what is there, up to a batch; returns how many records it went on.
    ///
    /// # Errors
    /// When the spool cannot be read or the log not be written; nothing is skipped then, and the next step tries again.
    pub fn step(&mut self) -> io::Result<usize> {
        let batch = self.spool.read(self.counts.next, BATCH_RECORDS)?;
        if batch.records.is_empty() && batch.next == self.counts.next {
            return Ok(0);
        }
        if batch.began_anew {
            warn!(expected = self.counts.next, "the spool of flow records was begun anew");
        }
        if batch.lost > 0 {
            warn!(lost = batch.lost, "flow records went before they were read");
        }
        let lines = self.lines(&batch)?;
        append(&self.files, &lines)?;
        let unreadable = batch.records.iter().filter(|record| record.is_none()).count() as u64;
        self.counts = FlowLogCounts {
            next: batch.next,
            written: self.counts.written + batch.records.len() as u64 - unreadable,
            lost: self.counts.lost + batch.lost,
            unreadable: self.counts.unreadable + unreadable,
        };
        write_cursor(&self.files.cursor, self.counts)?;
        Ok(batch.records.len())
    }

    /// What it has done.
    #[must_use]
    pub fn counts(&self) -> FlowLogCounts {
        self.counts
    }

    fn lines(&mut self, batch: &Batch) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        for record in batch.records.iter().flatten() {
            let image = self.images.image(record.generation);
            let view = image.as_ref().map(|image| image.view());
            serde_json::to_writer(&mut lines, &Line::of(record, view.as_ref(), &self.ports))?;
            lines.push(b'\n');
        }
        Ok(lines)
    }

    fn tell(&self, error: Option<String>) {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match (&error, &state.error) {
            (Some(error), before) if before.as_ref() != Some(error) => {
                warn!(error, "the flow log does not get on");
            }
            (None, Some(_)) => info!("the flow log gets on again"),
            _ => {}
        }
        *state = FlowLogState { counts: self.counts, error };
    }
}

/// Appends whole lines or nothing, after rotating when the file is large enough.
fn append(files: &FlowLogFiles, lines: &[u8]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut file = OpenOptions::new().append(true).create(true).open(&files.log)?;
    let mut length = file.metadata()?.len();
    if length > 0 && length + lines.len() as u64 > files.log_bytes_max {
        fs::rename(&files.log, rotated(&files.log))?;
        file = File::create(&files.log)?;
        length = 0;
    }
    file.write_all(lines).inspect_err(|_| {
        // What was written of them is written again: no line shall stand there torn.
        let _ = file.set_len(length);
    })
}

fn rotated(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Four numbers and a newline; anything else, a missing file included, is a log that has not begun.
fn read_cursor(path: &Path) -> Option<FlowLogCounts> {
    let text = fs::read_to_string(path).ok()?;
    let mut numbers = text.strip_suffix('\n')?.split(' ').map(str::parse);
    let mut number = || numbers.next()?.ok();
    Some(FlowLogCounts {
        next: number()?,
        written: number()?,
        lost: number()?,
        unreadable: number()?,
    })
}

fn write_cursor(path: &Path, counts: FlowLogCounts) -> io::Result<()> {
    let FlowLogCounts { next, written, lost, unreadable } = counts;
    let new = path.with_extension("new");
    fs::write(&new, format!("{next} {written} {lost} {unreadable}\n"))?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use classifier::compile::{Limits, compile};
    use classifier::decision::{Checkpoint, Direction, Reason, RuleRef, Verdict};
    use classifier::packet::{PacketKey, Transport, protocol};
    use classifier::record::{FlowRecord, Pending, RecordKind};
    use classifier::resource::{
        Action, Object, ObjectKind, Policy, PolicySet, Rule, StagedAction, Tier,
    };
    use classifier::selector::Selector;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_line_names_both_sides_and_the_rule() {
        let place = Place::new();
        place.images().keep(&compile(&policy(), 5, &Limits::default()).unwrap()).unwrap();
        place.spool(0, &[record(5, Some(Reason::Rule(RULE)))]);
        assert_eq!(place.flow_log(1 << 20).step().unwrap(), 1);
        let expected = json!({
            "time": "2026-01-02T03:04:05.678900Z",
            "kind": "denied", "action": "deny", "in": "eth0", "out": "eth1",
            "src": "198.18.10.5", "dst": "198.18.70.9",
            "protocol": "tcp", "protocolNumber": 6, "srcPort": 40000, "dstPort": 22,
            "vlans": [100],
            "source": { "kind": "GlobalNetworkSet", "name": "noc", "labels": { "zone": "noc" } },
            "destination": { "kind": "HostEndpoint", "name": "db", "labels": { "role": "db" } },
            "direction": "ingress", "reason": "rule",
            "tier": "default", "policy": "closed", "rule": 1, "ruleText": place.rule_text(5),
            "loggedBy": { "tier": "default", "policy": "closed", "rule": 0, "ruleText": "Log" },
            "generation": 5, "namesKnown": true, "length": 74,
        });
        assert_eq!(place.lines(), [expected]);
    }

    #[test]
    fn a_line_tells_what_staged_policies_would_have_done() {
        let place = Place::new();
        let mut set = policy();
        let staged = Policy { staged: Some(StagedAction::Set), ..set.policies[0].clone() };
        set.policies.push(Policy { ingress: vec![Rule::new(Action::Allow)], ..staged });
        place.images().keep(&compile(&set, 5, &Limits::default()).unwrap()).unwrap();
        let rule = RuleRef { policy: 1, rule: 0, ..RULE };
        let decided = Some((Checkpoint::Ingress, Reason::Rule(rule)));
        let pending = Some(Pending { verdict: Verdict::Allow, decided });
        let known = FlowRecord { pending, ..record(5, Some(Reason::Rule(RULE))) };
        let unknown = FlowRecord { generation: 6, ..known };
        place.spool(0, &[known, unknown]);
        place.flow_log(1 << 20).step().unwrap();
        let [known, unknown] = <[Value; 2]>::try_from(place.lines()).unwrap();
        assert_eq!(known["action"], "deny");
        let expected = json!({
            "verdict": "allow", "direction": "ingress", "reason": "rule",
            "tier": "default", "policyKind": "StagedGlobalNetworkPolicy", "policy": "closed", "rule": 0, "ruleText": "Allow",
        });
        assert_eq!(known["pending"], expected);
        let expected = json!({
            "verdict": "allow", "direction": "ingress", "reason": "rule",
            "policyNumber": 1, "rule": 0,
        });
        assert_eq!(unknown["pending"], expected);
    }

    #[test]
    fn an_unknown_generation_gives_numbers_and_no_name() {
        let place = Place::new();
        place.images().keep(&compile(&policy(), 4, &Limits::default()).unwrap()).unwrap();
        let records = [record(5, Some(Reason::Rule(RULE))), record(5, Some(Reason::EndOfTier(1)))];
        place.spool(0, &records);
        place.flow_log(1 << 20).step().unwrap();
        let [rule, tier] = <[Value; 2]>::try_from(place.lines()).unwrap();
        assert_eq!(rule["policyNumber"], 0);
        assert_eq!(rule["rule"], 1);
        assert_eq!(rule["namesKnown"], false);
        assert_eq!(tier["tierNumber"], 1);
        for name in ["tier", "policy", "ruleText", "source", "destination"] {
            assert_eq!(rule.get(name), None, "{name}");
            assert_eq!(tier.get(name), None, "{name}");
        }
    }

    #[test]
    fn a_restart_goes_on_where_the_last_one_stopped_and_keeps_its_counts() {
        let place = Place::new();
        place.spool(7, &[record(1, None)]);
        place.flow_log(1 << 20).step().unwrap();
        place.spool(8, &[record(1, None), record(1, None)]);
        let mut log = place.flow_log(1 << 20);
        assert_eq!(log.step().unwrap(), 2);
        assert_eq!(log.step().unwrap(), 0);
        assert_eq!(log.counts(), FlowLogCounts { next: 10, written: 3, lost: 7, unreadable: 0 });
        assert_eq!(place.lines().len(), 3);
    }

    #[test]
    fn bytes_that_are_no_record_are_counted() {
        let place = Place::new();
        fs::create_dir_all(place.path("spool")).unwrap();
        fs::write(place.path("spool/00000000000000000000.rec"), [7; 2 * 96]).unwrap();
        let mut log = place.flow_log(1 << 20);
        log.step().unwrap();
        assert_eq!(
            log.counts(),
            FlowLogCounts { next: 2, unreadable: 2, ..FlowLogCounts::default() }
        );
    }

    #[test]
    fn a_large_file_is_rotated_and_no_line_is_lost() {
        let place = Place::new();
        let mut log = place.flow_log(1);
        for number in 0..2 {
            place.spool(number, &[record(number, None)]);
            log.step().unwrap();
        }
        assert_eq!(place.lines()[0]["generation"], 1);
        let old: Value =
            serde_json::from_str(&fs::read_to_string(place.path("flows.log.1")).unwrap()).unwrap();
        assert_eq!(old["generation"], 0);
    }

    #[test]
    fn a_log_that_cannot_be_written_skips_nothing() {
        let place = Place::new();
        place.spool(0, &[record(1, None)]);
        fs::create_dir(place.path("flows.log")).unwrap();
        let mut log = place.flow_log(1 << 20);
        log.step().unwrap_err();
        assert_eq!(log.counts(), FlowLogCounts::default());
        fs::remove_dir(place.path("flows.log")).unwrap();
        log.step().unwrap();
        assert_eq!(place.lines().len(), 1);
    }

    const RULE: RuleRef = RuleRef { policy: 0, direction: Direction::Ingress, rule: 1 };

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn images(&self) -> Images {
            Images::open(&self.path("images")).unwrap()
        }

        fn flow_log(&self, log_bytes_max: u64) -> FlowLog {
            let files = FlowLogFiles {
                spool: self.path("spool"),
                images: self.images(),
                cursor: self.path("cursor"),
                log: self.path("flows.log"),
                log_bytes_max,
            };
            FlowLog::open(files, vec!["eth0".to_owned(), "eth1".to_owned()])
        }

        fn spool(&self, first: u64, records: &[FlowRecord]) {
            fs::create_dir_all(self.path("spool")).unwrap();
            let bytes: Vec<u8> = records.iter().flat_map(FlowRecord::encode).collect();
            fs::write(self.path(&format!("spool/{first:020}.rec")), bytes).unwrap();
        }

        fn lines(&self) -> Vec<Value> {
            let text = fs::read_to_string(self.path("flows.log")).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }

        fn rule_text(&self, generation: u64) -> String {
            let image = self.images().load(generation).unwrap();
            image.view().rule(RULE).unwrap().text.to_owned()
        }
    }

    fn policy() -> PolicySet {
        let object = |kind, name: &str, label: (&str, &str), net: &str| Object {
            kind,
            name: name.to_owned(),
            labels: [label].into_iter().collect(),
            nets: vec![net.parse().unwrap()],
            ..Object::new(ObjectKind::GlobalNetworkSet, "")
        };
        let closed = Policy {
            name: "closed".to_owned(),
            tier: Tier::DEFAULT.to_owned(),
            order: None,
            selector: Selector::parse("role == 'db'").unwrap(),
            applies_ingress: true,
            applies_egress: false,
            ingress: vec![Rule::new(Action::Log), Rule::new(Action::Deny)],
            egress: Vec::new(),
            ..Policy::new("")
        };
        PolicySet {
            policies: vec![closed],
            objects: vec![
                object(ObjectKind::GlobalNetworkSet, "noc", ("zone", "noc"), "198.18.10.0/24"),
                object(ObjectKind::HostEndpoint, "db", ("role", "db"), "198.18.70.9/32"),
            ],
            ..PolicySet::new()
        }
    }

    fn record(generation: u64, reason: Option<Reason>) -> FlowRecord {
        FlowRecord {
            time_ns: 1_767_323_045_678_900_000,
            generation,
            kind: RecordKind::Denied,
            in_port: 0,
            out_port: 1,
            vlans: [Some(100), None],
            length: 74,
            packet: PacketKey {
                src: "198.18.10.5".parse().unwrap(),
                dst: "198.18.70.9".parse().unwrap(),
                protocol: protocol::TCP,
                transport: Transport::Ports { src: 40_000, dst: 22 },
            },
            decided: reason.map(|reason| (Checkpoint::Ingress, reason)),
            logged: Some(RuleRef { rule: 0, ..RULE }),
            pending: None,
        }
    }
}
