//! What the daemon says of itself: one JSON document to whoever connects to its socket.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tracing::debug;

use crate::flowlog::FlowLogState;

/// Time that a slow reader gets.
const PEER_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes taken from a daemon.
const REPORT_BYTES_MAX: u64 = 16 << 20;
/// Owner and group may ask.
const SOCKET_MODE: u32 = 0o660;

/// The state of a daemon. Its JSON form is what `ravelin status -o json` gives under `control`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The version of this form: names keep their meaning while it stays.
    pub schema: u32,
    /// The program's version.
    pub version: &'static str,
    /// The gateway's name.
    pub gateway: String,
    /// What is in force.
    pub policy: PolicyReport,
    /// What came of the documents when they were read last.
    pub last_load: Option<LoadReport>,
    /// The way to the data plane.
    pub dataplane: DataplaneReport,
    /// The flow log.
    pub flow_log: FlowLogState,
}

/// What is in force, as far as the daemon knows.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    /// The generation in force in the data plane; `null` when none is or nobody knows.
    pub generation: Option<u64>,
    /// Since when, RFC 3339.
    pub since: Option<String>,
    /// Whether that is what the documents say that were accepted last.
    pub current: bool,
    /// The documents of the last accepted set.
    pub sources: Vec<PathBuf>,
    /// The list files of the last accepted set.
    pub lists: Vec<PathBuf>,
}

/// What came of reading the documents.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    /// When, RFC 3339.
    pub at: String,
    /// Whether the set was taken.
    pub accepted: bool,
    /// All findings, as `ravelin check -o json` gives them.
    pub findings: Value,
}

/// The way to the data plane.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataplaneReport {
    /// Where it listens.
    pub socket: PathBuf,
    /// Whether it answered last time.
    pub connected: bool,
    /// What went wrong last time, if something did.
    pub error: Option<String>,
}

/// The report that the daemon writes and the socket's thread reads.
#[derive(Clone, Debug)]
pub struct SharedReport(Arc<Mutex<Report>>);

impl SharedReport {
    /// Shares a report.
    #[must_use]
    pub fn new(report: Report) -> Self {
        Self(Arc::new(Mutex::new(report)))
    }

    /// Changes it.
    pub fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// As it is now.
    #[must_use]
    pub fn snapshot(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The socket where a daemon reports. Its file goes when it is dropped.
#[derive(Debug)]
pub struct ReportSocket {
    path: PathBuf,
}

impl ReportSocket {
    /// Answers on `path` from a thread of its own, for as long as the process lives.
    ///
    /// # Errors
    /// When another daemon answers there, or the socket cannot be made.
    pub fn serve(
        path: &Path,
        report: SharedReport,
        flow_log: Arc<Mutex<FlowLogState>>,
    ) -> io::Result<Self> {
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
        thread::Builder::new().name("report".to_owned()).spawn(move || {
            for peer in listener.incoming().flatten() {
                let mut report = report.snapshot();
                report.flow_log = flow_log.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Err(error) = tell(&peer, &report) {
                    debug!(%error, "somebody asked for the report and did not take it");
                }
            }
        })?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for ReportSocket {
    fn drop(&mut self) {
        // Nothing to do about a failure: the next start finds the file stale and replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Asks the daemon at `socket` for its report.
///
/// # Errors
/// When there is no daemon, or what it says is no JSON.
pub fn ask(socket: &Path) -> io::Result<Value> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PEER_TIMEOUT))?;
    let mut text = String::new();
    stream.take(REPORT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn tell(mut peer: &UnixStream, report: &Report) -> io::Result<()> {
    peer.set_write_timeout(Some(PEER_TIMEOUT))?;
    let mut text = serde_json::to_vec(report)?;
    text.push(b'\n');
    peer.write_all(&text)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::other("there is a file that is not a socket"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::other("another daemon is answering there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_connects_gets_the_report() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let shared = SharedReport::new(report());
        let _socket = ReportSocket::serve(&path, shared.clone(), Arc::default()).unwrap();
        assert_eq!(ask(&path).unwrap()["gateway"], "gw1");
        shared.change(|report| report.policy.generation = Some(7));
        let asked = ask(&path).unwrap();
        assert_eq!(asked["policy"]["generation"], 7);
        assert_eq!(asked["lastLoad"], Value::Null);
        assert_eq!(asked["flowLog"]["lost"], 0);
    }

    #[test]
    fn a_second_daemon_is_refused_and_a_stale_socket_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let serve = || ReportSocket::serve(&path, SharedReport::new(report()), Arc::default());
        let first = serve().unwrap();
        assert_eq!(serve().unwrap_err().to_string(), "another daemon is answering there");
        drop(first);
        drop(UnixListener::bind(&path).unwrap());
        serve().unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "precious").unwrap();
        let refused = ReportSocket::serve(&path, SharedReport::new(report()), Arc::default());
        assert_eq!(refused.unwrap_err().to_string(), "there is a file that is not a socket");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    fn report() -> Report {
        Report {
            schema: 1,
            version: "0",
            gateway: "gw1".to_owned(),
            policy: PolicyReport::default(),
            last_load: None,
            dataplane: DataplaneReport::default(),
            flow_log: FlowLogState::default(),
        }
    }
}
