//! `ravelin-dataplane`: start, serve until told to stop, leave nothing behind.
//!
//! Nothing passes before a valid image is in force, and nothing once this process is gone.

use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::hash::RandomState;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use dataplane::counters::CounterBlock;
use dataplane::crew::Crew;
use dataplane::device::af_xdp::{self, AfXdpDevice, Opened, Queue, Sizes};
use dataplane::device::interface::{self, Interface, KernelFiles};
use dataplane::flow::FlowTable;
use dataplane::fragment::Fragments;
use dataplane::handover::{DeskParts, FlowDesk, Handover, Peers, Server};
use dataplane::pipeline::{Parts, Pipeline, PortRules};
use dataplane::policy::PolicySlot;
use dataplane::reporter::Reporter;
use dataplane::sanity::Sanity;
use dataplane::settings::{Flags, LogFormat, Settings};
use dataplane::spool::Spool;
use dataplane::status::Sources;
use mimalloc::MiMalloc;
use rtrb::RingBuffer;
use signal_hook::consts::{SIGINT, SIGTERM};
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Pause between two looks at whether all is well.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// What went wrong, each a sentence of its own.
struct Failures(Vec<String>);

fn main() -> ExitCode {
    let flags = Flags::parse();
    start_logging(flags.log_format);
    let settings = Settings::from_flags(flags, Path::new("/etc/passwd"));
    match settings.map_err(Failures::from).and_then(|settings| run(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failures(failures)) => {
            for failure in failures {
                error!("{failure}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> Result<(), Failures> {
    let stop = stop_on_signals().map_err(|error| Failures::one("signals", &error))?;
    // First of all a place that only one data plane can have.
    let server = Server::bind(&settings.socket, Peers { uid: settings.control_uid })
        .map_err(|error| Failures(vec![error.to_string()]))?;
    let state_dir = &settings.state_dir;
    fs::create_dir_all(state_dir).map_err(|error| Failures::one(state_dir.display(), &error))?;
    let spool = state_dir.join("spool");
    let spool = Spool::open(&spool, settings.spool)
        .map_err(|error| Failures::one(spool.display(), &error))?;
    let names = settings.ports.each_ref().map(|port| port.name.as_str());
    let ports = interface::inspect(names, &KernelFiles::default())?;
    let sizes = Sizes { frames: settings.frames_per_queue, ring: settings.ring_entries };
    let Opened { devices, queues, attachments } = af_xdp::open(&ports, sizes)?;
    log_queues(&ports, &queues);

    let policy = settings.ports.each_ref().map(|port| port.name.clone());
    let policy = Arc::new(PolicySlot::of_ports(policy));
    let origin = now();
    let Prepared { posts, reporter, sources, desk } =
        prepare(settings, &policy, devices, spool, origin);
    let handover = prepare_handover(settings, Arc::clone(&policy), sources, queues, desk);
    let crew = Crew::start(posts, &settings.cores, move || origin.elapsed())
        .map_err(|error| Failures::one("workers", &error))?;
    let behind = Behind::start(reporter, handover, server)
        .map_err(|error| Failures::one("threads", &error))?;
    info!("in service");

    let trouble = watch(&stop, &ports, &policy, &crew, &behind);
    let ended = crew.stop();
    drop(attachments);
    behind.stop();
    info!("out of service");
    let mut failures = ended.err().unwrap_or_default();
    failures.extend(trouble);
    if failures.is_empty() { Ok(()) } else { Err(Failures(failures)) }
}

/// Returns when it is time to stop; why, unless it was told to.
fn watch(
    stop: &AtomicBool,
    ports: &[Interface; 2],
    policy: &PolicySlot,
    crew: &Crew,
    behind: &Behind,
) -> Option<String> {
    while !stop.load(Ordering::Relaxed) {
        if crew.is_incomplete() {
            return Some("a worker ended".to_owned());
        }
        if behind.is_incomplete() {
            return Some("the thread of the reporter or of the handover ended".to_owned());
        }
        if let Some(port) = ports.iter().find(|port| !af_xdp::is_here(port)) {
            // A new interface of that name has to be inspected and opened like at start: the service manager does that.
            return Some(format!("port `{}`: the interface is gone", port.name));
        }
        // A worker never frees a replaced policy.
        policy.reclaim();
        thread::sleep(LOOK_AROUND);
    }
    None
}

type Post = (AfXdpDevice, Pipeline);

/// The pipelines of all workers, and what they share with the threads behind them.
struct Prepared {
    posts: Vec<Post>,
    reporter: Reporter,
    sources: Sources,
    desk: FlowDesk,
}

/// `origin` is where the workers' clock begins.
fn prepare(
    settings: &Settings,
    policy: &PolicySlot,
    devices: Vec<AfXdpDevice>,
    spool: Spool,
    origin: Instant,
) -> Prepared {
    let flows = Arc::new(FlowTable::with(
        settings.flows_max as usize,
        RandomState::new(),
        settings.strictness.timers,
        settings.strictness.limits,
    ));
    let checks = settings.strictness.checks.clone();
    let networks = settings.ports.each_ref().map(|port| port.networks.clone());
    let special_purpose = &settings.strictness.special_purpose;
    let sanity = Arc::new(Sanity::new(checks, special_purpose, &networks));
    let since = SystemTime::now();
    let wall_offset_ns = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let wall_offset_ns = u64::try_from(wall_offset_ns).unwrap_or(u64::MAX);
    let (mut posts, mut waiting, mut workers) = (Vec::new(), Vec::new(), Vec::new());
    for device in devices {
        let (records, end) = RingBuffer::new(settings.records_waiting_max);
        let counters = Arc::new(CounterBlock::new());
        waiting.push(end);
        workers.push(Arc::clone(&counters));
        let ports = settings.ports.each_ref().map(|port| PortRules {
            side: port.side,
            pass_non_ip: port.pass_non_ip,
            pick_up: port.judge_mid_stream,
        });
        let (policy, flows) = (policy.reader(), Arc::clone(&flows));
        let fragments = Fragments::new(settings.strictness.fragments, RandomState::new());
        let parts = Parts {
            ports,
            sanity: Arc::clone(&sanity),
            keep_on_policy_change: settings.strictness.keep_on_policy_change,
            policy,
            flows,
            fragments,
            counters,
            records,
            wall_offset_ns,
        };
        posts.push((device, Pipeline::new(parts)));
    }
    let (records, end) = RingBuffer::new(settings.records_waiting_max);
    waiting.push(end);
    let desk = FlowDesk::new(DeskParts {
        table: Arc::clone(&flows),
        policy: policy.reader(),
        sides: settings.ports.each_ref().map(|port| port.side),
        records,
        clock: Box::new(move || origin.elapsed().into()),
        wall_offset_ns,
    });
    let reporter = Reporter::new(waiting, spool);
    let (ports, counted) = (settings.ports.clone(), reporter.counters());
    let sources = Sources { since, ports, workers, flows, reporter: counted, desk: desk.counts() };
    Prepared { posts, reporter, sources, desk }
}

/// The handover with the last good policy in force, if there is one.
fn prepare_handover(
    settings: &Settings,
    policy: Arc<PolicySlot>,
    sources: Sources,
    queues: Vec<Queue>,
    desk: FlowDesk,
) -> Handover {
    let publish = Box::new(move |image| policy.publish(image));
    let describe = Box::new(move |lines: &mut String| {
        sources.describe(lines);
        for queue in &queues {
            queue.describe(lines);
        }
    });
    let handover = Handover::new(&settings.state_dir, settings.image_bytes_max, publish, describe);
    let mut handover = handover.with_desk(desk);
    match handover.start(SystemTime::now()) {
        Ok(Some(generation)) => info!(generation, "the last good policy is in force"),
        Ok(None) => warn!("there is no policy yet: nothing passes until control hands one over"),
        Err(error) => error!("{error}: nothing passes until control hands another one over"),
    }
    handover
}

/// The threads behind the workers: nothing on the way of a packet waits for them.
struct Behind {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Behind {
    fn start(reporter: Reporter, handover: Handover, server: Server) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (reporter_stop, handover_stop) = (Arc::clone(&stop), Arc::clone(&stop));
        let report = move || reporter.run(&reporter_stop);
        let hand_over = move || {
            if let Err(error) = handover.run(&server, &handover_stop) {
                error!("handover: {error}");
            }
        };
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let threads = vec![named("reporter").spawn(report)?, named("handover").spawn(hand_over)?];
        Ok(Self { stop, threads })
    }

    fn is_incomplete(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// After the workers: the reporter takes what they left.
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if thread.join().is_err() {
                error!("a thread behind the workers panicked");
            }
        }
    }
}

fn log_queues(ports: &[Interface; 2], queues: &[Queue]) {
    for queue in queues {
        let port = ports.get(queue.port.index()).map_or("", |port| &port.name);
        let (number, mode, huge_pages) = (queue.number, queue.mode, queue.huge_pages);
        info!(port, queue = number, %mode, huge_pages, "queue in service");
    }
}

fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn start_logging(format: LogFormat) {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => logging.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => logging.json().init(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the workers' clock begins here")]
fn now() -> Instant {
    Instant::now()
}

impl Failures {
    fn one(what: impl Display, error: &dyn Error) -> Self {
        Self(vec![format!("{what}: {error}")])
    }
}

impl<E: Display> From<Vec<E>> for Failures {
    fn from(errors: Vec<E>) -> Self {
        Self(errors.iter().map(ToString::to_string).collect())
    }
}
