//! `ravelin control`: makes what is in force match the documents.
//!
//! Output depends on the documents as they are now, not on the way there: at every start, change and reconnection the
//! daemon compares what the documents say with what is in force, and publishes when they differ. A set that is refused
//! leaves everything as it was.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

use crate::flowlog::{FlowLog, FlowLogFiles};
use crate::images::Images;
use crate::reconcile::Reconciler;
use crate::report::ReportSocket;
use crate::settings::Settings;
use crate::watch::{Debounce, Event, Watch, directories};

/// Time between two looks at the data plane and at what is watched, while all is well.
const TICK: Duration = Duration::from_millis(500);
/// First and longest pause before asking again a data plane that did not answer or refused.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Readings in a row when every one names new directories: lists can move between them, but not for ever.
const LOADS_MAX: usize = 3;

/// Why the daemon does not run.
#[derive(Debug)]
pub enum DaemonError {
    /// A file or socket of its own cannot be used.
    Io {
        /// What for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Signals or file changes cannot be heard.
    Events(String),
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, path, error } => {
                write!(f, "cannot use `{}` for {what}: {error}", path.display())
            }
            Self::Events(error) => {
                write!(f, "cannot listen for signals and changed files: {error}")
            }
        }
    }
}

impl std::error::Error for DaemonError {}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// When it cannot start. Once it runs, nothing but a signal ends it.
pub fn run(settings: Settings) -> Result<(), DaemonError> {
    let (sender, events) = channel();
    hear_signals(sender.clone()).map_err(|error| DaemonError::Events(error.to_string()))?;
    let state = settings.control_state_dir.clone();
    let failed = |what, path: &PathBuf| {
        let path = path.clone();
        move |error| DaemonError::Io { what, path, error }
    };
    let image_directory = state.join("images");
    let images = Images::open(&image_directory)
        .map_err(failed("images of past generations", &image_directory))?;
    for file in [&settings.flow_log.path, &settings.control_socket] {
        make_parent(file).map_err(failed("its own files", file))?;
    }
    let flow_log = FlowLog::open(flow_log_files(&settings, &images), port_names(&settings));
    let socket = settings.control_socket.clone();
    let reconciler = Reconciler::new(settings, images);
    let served = ReportSocket::serve(&socket, reconciler.report(), flow_log.state());
    let _socket = served.map_err(failed("status", &socket))?;
    let watch = Watch::new(sender).map_err(|error| DaemonError::Events(error.to_string()))?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let reading = thread::Builder::new()
        .name("flow-log".to_owned())
        .spawn(move || flow_log.run(&stopped))
        .map_err(|error| DaemonError::Events(error.to_string()))?;
    info!("the daemon runs");
    Loop { reconciler, watch, debounce: Debounce::default(), retry: RETRY_FIRST }.run(&events);
    stop.store(true, Ordering::Relaxed);
    if reading.join().is_err() {
        warn!("the flow log ended in a fault");
    }
    info!("the daemon ends; what is in force stays in force");
    Ok(())
}

/// The daemon at work: waits for the next thing to do, and does it.
struct Loop {
    reconciler: Reconciler,
    watch: Watch,
    debounce: Debounce,
    retry: Duration,
}

impl Loop {
    #[expect(clippy::disallowed_methods, reason = "the daemon's loop is where its time comes from")]
    fn run(mut self, events: &Receiver<Event>) {
        self.watch.update(&self.watched());
        self.load();
        let mut next_look = Instant::now() + self.reconcile();
        loop {
            let wake = self.debounce.due().map_or(next_look, |due| due.min(next_look));
            let wait = wake.saturating_duration_since(Instant::now());
            match events.recv_timeout(wait) {
                Ok(Event::Changed) => self.debounce.note(Instant::now()),
                Ok(Event::Reload) => {
                    info!("asked to read the documents again");
                    self.load();
                    next_look = Instant::now();
                }
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.debounce.settle(Instant::now()) {
                self.load();
                next_look = Instant::now();
            }
            if next_look <= Instant::now() {
                if self.watch.update(&self.watched()) {
                    self.load();
                }
                next_look = Instant::now() + self.reconcile();
            }
        }
    }

    /// Reads the documents, and again where reading showed a directory that was not watched while it was read.
    fn load(&mut self) {
        for _ in 0..LOADS_MAX {
            self.reconciler.load(Timestamp::now());
            if !self.watch.update(&self.watched()) {
                break;
            }
        }
    }

    fn watched(&self) -> Vec<PathBuf> {
        directories(self.reconciler.policy_directory(), self.reconciler.files())
    }

    /// Reconciles; returns when to do so again.
    fn reconcile(&mut self) -> Duration {
        if self.reconciler.reconcile() {
            self.retry = RETRY_FIRST;
            return TICK;
        }
        let pause = self.retry;
        self.retry = (self.retry * 2).min(RETRY_MAX);
        pause
    }
}

fn make_parent(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

fn flow_log_files(settings: &Settings, images: &Images) -> FlowLogFiles {
    FlowLogFiles {
        spool: settings.dataplane.state_dir.join("spool"),
        images: images.clone(),
        cursor: settings.control_state_dir.join("flow-log.cursor"),
        log: settings.flow_log.path.clone(),
        log_bytes_max: u64::from(settings.flow_log.max_mib) << 20,
    }
}

fn port_names(settings: &Settings) -> Vec<String> {
    settings.ports.iter().map(|port| port.interface.clone()).collect()
}

fn hear_signals(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::Reload } else { Event::Stop };
            if events.send(event).is_err() {
                warn!("a signal came after the end");
                break;
            }
        }
    })?;
    Ok(())
}
