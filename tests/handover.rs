//! From a saved file to a policy in force and a named record: the real daemon against the data plane's real socket and
//! spool. No packets, no namespaces.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test helpers"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use classifier::decision::{Checkpoint, Direction, Reason, RuleRef};
use classifier::image::Image;
use classifier::packet::{PacketKey, Transport};
use classifier::record::{FlowRecord, RecordKind};
use dataplane::handover::{Handover, Peers, Server};
use dataplane::spool::{Spool, SpoolLimits};
use ravelin::binaries::Binaries;
use ravelin::deadline::{timed, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// For what should happen at once, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// From a saved file to the policy in force.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(1);

const SET: &str = "[[globalNetworkSets]]\nname = \"noc\"\nlabels = { zone = \"noc\" }\nnets = [\"198.18.10.0/24\"]\n";
const SERVERS: &str = r#"
[[globalNetworkSets]]
name = "rack-7"
labels = { role = "server" }
nets = ["198.18.70.0/24"]
list = { path = "lists/more.cidr" }

[[globalNetworkPolicies]]
name = "ssh"
selector = "role == 'server'"
types = ["Ingress"]
ingress = [
  { action = "Allow", protocol = "TCP", source = { selector = "zone == 'noc'" }, destination = { ports = [22] } },
]
"#;

#[test]
fn a_saved_file_is_in_force_within_a_second() {
    let site = Site::new();
    let _dataplane = site.dataplane();
    let _daemon = site.daemon();
    site.wait_for_published(&[1]);
    let (took, ()) = timed(|| {
        site.write("policies/a.toml", &SET.replace("10.0/24", "11.0/24"));
        site.wait_for_published(&[1, 2]);
    });
    assert!(took < IN_FORCE_WITHIN, "it took {took:?}");
    let trace = site.trace("198.18.11.5");
    assert_eq!(trace["policy"]["generation"], 2);
    assert_eq!(trace["source"]["name"], "noc");
    assert_eq!(trace["verdict"], "allow");
    assert_eq!(site.trace("198.18.10.5")["verdict"], "deny");
}

#[test]
fn a_changed_list_is_in_force_too() {
    let site = Site::new();
    let _dataplane = site.dataplane();
    let _daemon = site.daemon();
    site.wait_for_published(&[1]);
    site.write("policies/lists/more.cidr", "198.18.71.0/24\n198.18.72.0/24\n");
    site.wait_for_published(&[1, 2]);
}

#[test]
fn a_broken_document_is_refused_and_the_old_policy_stays() {
    let site = Site::new();
    let _dataplane = site.dataplane();
    let _daemon = site.daemon();
    site.wait_for_published(&[1]);
    site.write("policies/b.toml", &SERVERS.replace("protocol", "protcol"));
    let report =
        site.wait_for_report("a refusal", |report| report["lastLoad"]["accepted"] == false);
    let finding = &report["lastLoad"]["findings"][0];
    assert!(finding["message"].as_str().unwrap().contains("`protcol`"), "{finding}");
    assert!(finding["help"].as_str().unwrap().contains("`protocol`"), "{finding}");
    assert_eq!(finding["place"]["line"], 13);
    assert_eq!(report["policy"]["generation"], 1);
    assert_eq!(site.published(), [1]);
    assert_eq!(site.trace("198.18.10.5")["verdict"], "allow");
    let status = site.ravelin(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    let page = String::from_utf8(status.stdout).unwrap();
    assert!(page.contains("documents are refused; what was in force stays"), "{page}");
    assert!(page.contains("policies/b.toml:13:"), "{page}");
    site.write("policies/b.toml", SERVERS);
    site.wait_for_report("acceptance", |report| report["lastLoad"]["accepted"] == true);
    assert_eq!(site.published(), [1], "the policy in force is what the documents say again");
}

#[test]
fn a_restarted_daemon_publishes_nothing_that_is_in_force_already() {
    let site = Site::new();
    let _dataplane = site.dataplane();
    let daemon = site.daemon();
    site.wait_for_published(&[1]);
    assert!(daemon.end().success());
    assert_eq!(site.trace("198.18.10.5")["verdict"], "allow", "the data plane goes on alone");
    let _daemon = site.daemon();
    site.wait_for_report("agreement", |report| report["policy"]["current"] == true);
    assert_eq!(site.published(), [1]);
}

#[test]
fn a_data_plane_that_appears_gets_the_policy() {
    let site = Site::new();
    let _daemon = site.daemon();
    let report =
        site.wait_for_report("an attempt", |report| !report["dataplane"]["error"].is_null());
    let error = report["dataplane"]["error"].as_str().unwrap();
    assert!(error.starts_with("the data plane does not answer on `"), "{error}");
    assert_eq!(report["lastLoad"]["accepted"], true);
    let status = site.ravelin(&["status", "-o", "json"]);
    assert_eq!(status.status.code(), Some(1));
    let _dataplane = site.dataplane();
    site.wait_for_published(&[1]);
    site.wait_for_report("agreement", |report| report["policy"]["current"] == true);
    let status = site.ravelin(&["status", "-o", "json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["ok"], true, "{status}");
    assert_eq!(status["dataplane"]["status"]["policy.generation"], 1);
}

#[test]
fn a_data_plane_that_lost_its_state_gets_the_policy_under_a_new_number() {
    let site = Site::new();
    let dataplane = site.dataplane();
    let _daemon = site.daemon();
    site.wait_for_published(&[1]);
    dataplane.end();
    fs::remove_dir_all(site.path("state")).unwrap();
    let _dataplane = site.dataplane();
    site.wait_for_published(&[1, 2]);
}

#[test]
fn a_data_plane_that_comes_back_keeps_its_policy() {
    let site = Site::new();
    let dataplane = site.dataplane();
    let _daemon = site.daemon();
    site.wait_for_published(&[1]);
    dataplane.end();
    site.wait_for_report("silence", |report| report["dataplane"]["connected"] == false);
    let _dataplane = site.dataplane();
    site.wait_for_report("agreement", |report| report["policy"]["current"] == true);
    assert_eq!(site.published(), [1, 1], "from its own disk, not from the daemon");
}

#[test]
fn a_hangup_reads_the_documents_again() {
    let site = Site::new();
    let _dataplane = site.dataplane();
    let daemon = site.daemon();
    let report = site.wait_for_report("agreement", |report| report["policy"]["current"] == true);
    let before = report["lastLoad"]["at"].clone();
    daemon.signal(Signal::HUP);
    site.wait_for_report("another reading", |report| report["lastLoad"]["at"] != before);
    assert_eq!(site.published(), [1]);
}

#[test]
fn a_record_gets_the_names_of_the_policy_that_decided_it() {
    let site = Site::new();
    let _dataplane = site.dataplane();
    let _daemon = site.daemon();
    site.wait_for_published(&[1]);
    site.write("policies/a.toml", &SET.replace("\"noc\"", "\"operations\""));
    site.wait_for_published(&[1, 2]);
    let mut spool = Spool::open(&site.path("state/spool"), SpoolLimits::default()).unwrap();
    spool.append(&[record(1), record(2), record(3)]);
    let lines = wait_until(PATIENCE, || Some(site.flow_log()).filter(|lines| lines.len() == 3));
    let lines = lines.expect("three lines of flow log");
    let name = |line: &Value| (line["source"]["name"].clone(), line["policy"].clone());
    assert_eq!(name(&lines[0]), ("noc".into(), "ssh".into()));
    assert_eq!(name(&lines[1]), ("operations".into(), "ssh".into()));
    assert_eq!(name(&lines[2]), (Value::Null, Value::Null));
    assert_eq!(lines[2]["policyNumber"], 0);
}

#[test]
fn what_the_spool_let_go_is_lost_and_counted() {
    let site = Site::new();
    let _dataplane = site.dataplane();
    let limits = SpoolLimits { segment_records: 4, segments_max: 2 };
    let mut spool = Spool::open(&site.path("state/spool"), limits).unwrap();
    spool.append(&(0..10).map(record).collect::<Vec<_>>());
    assert_eq!(spool.counts().overwritten, 4);
    let _daemon = site.daemon();
    let report = site.wait_for_report("six lines", |report| report["flowLog"]["written"] == 6);
    assert_eq!(report["flowLog"]["lost"], 4);
    assert_eq!(report["flowLog"]["next"], 10);
    assert_eq!(site.flow_log()[0]["generation"], 4);
}

fn record(generation: u64) -> FlowRecord {
    let rule = RuleRef { policy: 0, direction: Direction::Ingress, rule: 0 };
    FlowRecord {
        time_ns: 1_767_323_045_000_000_000,
        generation,
        kind: RecordKind::Started,
        in_port: 0,
        out_port: 1,
        vlans: [None; 2],
        length: 74,
        packet: PacketKey {
            src: "198.18.10.5".parse().unwrap(),
            dst: "198.18.70.9".parse().unwrap(),
            protocol: 6,
            transport: Transport::Ports { src: 40_000, dst: 22 },
        },
        decided: Some((Checkpoint::Ingress, Reason::Rule(rule))),
        pending: None,
        logged: None,
    }
}

/// A gateway's directories and files, and what its data planes published.
struct Site {
    directory: TempDir,
    ravelin: PathBuf,
    published: Arc<Mutex<Vec<u64>>>,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("ravelin-handover-").tempdir().unwrap();
        let ravelin = Binaries::find().unwrap().ravelin;
        let site = Self { directory, ravelin, published: Arc::default() };
        fs::create_dir_all(site.path("policies/lists")).unwrap();
        site.write("policies/a.toml", SET);
        site.write("policies/b.toml", SERVERS);
        site.write("policies/lists/more.cidr", "198.18.71.0/24\n");
        site.write("ravelin.toml", "\
            gateway = { name = 'gw1' }\n\
            ports = [{ interface = 'eth0', side = 'outside' }, { interface = 'eth1', side = 'inside' }]\n\
            policy = { directory = 'policies' }\n\
            dataplane = { socket = 'dataplane.sock', stateDir = 'state' }\n\
            control = { socket = 'control.sock', stateDir = 'daemon' }\n\
            flowlog = { path = 'flows.jsonl' }\n");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn daemon(&self) -> Daemon {
        let log = fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        let mut command = Command::new(&self.ravelin);
        command.args(["control", "--config"]).arg(self.path("ravelin.toml")).stderr(log);
        Daemon { child: command.spawn().unwrap() }
    }

    fn dataplane(&self) -> DataplaneSide {
        fs::create_dir_all(self.path("state")).unwrap();
        let log = Arc::clone(&self.published);
        let publish =
            Box::new(move |image: Arc<Image>| log.lock().unwrap().push(image.generation()));
        let describe = Box::new(|_: &mut String| {});
        let mut handover = Handover::new(&self.path("state"), 1 << 20, publish, describe);
        handover.start(SystemTime::now()).unwrap();
        let server = Server::bind(&self.path("dataplane.sock"), Peers::default()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || handover.run(&server, &stopped).unwrap());
        DataplaneSide { stop, thread: Some(thread) }
    }

    fn published(&self) -> Vec<u64> {
        self.published.lock().unwrap().clone()
    }

    fn wait_for_published(&self, expected: &[u64]) {
        let reached = || (self.published().len() >= expected.len()).then(|| self.published());
        assert_eq!(wait_until(PATIENCE, reached).as_deref(), Some(expected), "{}", self.log());
        let settled = |report: &Value| report["policy"]["generation"] == *expected.last().unwrap();
        self.wait_for_report("the daemon to know", settled);
    }

    fn wait_for_report(&self, what: &str, reached: impl Fn(&Value) -> bool) -> Value {
        let ask = || control::report::ask(&self.path("control.sock")).ok().filter(&reached);
        wait_until(PATIENCE, ask)
            .unwrap_or_else(|| panic!("no {what}; the daemon said:\n{}", self.log()))
    }

    fn ravelin(&self, arguments: &[&str]) -> Output {
        let config = self.path("ravelin.toml");
        Command::new(&self.ravelin).args(arguments).arg("--config").arg(config).output().unwrap()
    }

    /// A new connection to port 22 of a server, by the policy in force.
    fn trace(&self, src: &str) -> Value {
        let packet = ["--in", "eth0", "--dst", "198.18.70.9", "--proto", "tcp", "--dport", "22"];
        let output = self.ravelin(&[&["trace", "-o", "json", "--src", src][..], &packet].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn flow_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("flows.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// The daemon's process. Ends with this value.
struct Daemon {
    child: Child,
}

impl Daemon {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        wait_until(PATIENCE, || self.child.try_wait().unwrap()).expect("the daemon to end")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Dead already in most cases.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The data plane's side of the socket. Ends with this value.
struct DataplaneSide {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DataplaneSide {
    fn end(self) {
        drop(self);
    }
}

impl Drop for DataplaneSide {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
