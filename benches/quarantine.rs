//! From a changed file to the last packet of an open session: the time that a label needs to cut it, a hundred times.
//!
//! `cargo bench --bench quarantine` (root). `--rounds=N` says how often.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench reports and stops at the first surprise"
)]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use classifier::packet::IpVersion::V4;
use ravelin::attempt::connect;
use ravelin::deadline::{now, wait_until};
use ravelin::documents::SITE;
use ravelin::gateway::Gateway;
use ravelin::topology::Lab;

const ROUNDS: usize = 100;
const FILE: &str = "site.toml";
const FREE: &str = r#"quarantine = "false""#;
const CUT: &str = r#"quarantine = "true""#;
const PATIENCE: Duration = Duration::from_secs(10);
/// A session that says something each millisecond and is silent for so long is cut.
const SILENCE: Duration = Duration::from_millis(400);

/// When the last bytes arrived, in microseconds after the start of this program; 0 is never.
static LAST: AtomicU64 = AtomicU64::new(0);

fn main() {
    let rounds = std::env::args().find_map(|word| word.strip_prefix("--rounds=")?.parse().ok());
    let start = now();
    let lab = Lab::new().expect("a laboratory");
    let mut gateway = Gateway::new(&lab, &SITE).expect("a gateway");
    gateway.start().expect("a gateway that runs");
    lab.candidate.namespace.run(|| listen(start)).expect("a server");
    let mut times: Vec<Duration> =
        (0..rounds.unwrap_or(ROUNDS)).map(|_| cut(&lab, &mut gateway, start)).collect();
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share).div_ceil(100).saturating_sub(1));
    println!(
        "{} sessions cut: median {:?}, p99 {:?}, longest {:?}",
        times.len(),
        at(50).expect("a time"),
        at(99).expect("a time"),
        times.last().expect("a time"),
    );
}

/// Reads whatever comes to port 22 of the candidate and notes when.
fn listen(start: Instant) {
    let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 22);
    let listener = TcpListener::bind(any).expect("port 22");
    let hear = move |mut stream: TcpStream| {
        while matches!(stream.read(&mut [0; 256]), Ok(1..)) {
            LAST.store(micros(now() - start), Ordering::Relaxed);
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || hear(stream));
        }
    });
}

/// Opens a session, writes the file, and waits until nothing of the session arrives any more.
fn cut(lab: &Lab, gateway: &mut Gateway<'_>, start: Instant) -> Duration {
    let to = SocketAddr::new(lab.candidate.address(V4), 22);
    let session = connect(&lab.noc, to, PATIENCE).expect("a session");
    let (stop, begun) = (AtomicBool::new(false), micros(now() - start));
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            let mut session = &session;
            while !stop.load(Ordering::Relaxed) && session.write_all(b"still here\n").is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
        });
        let heard = || Some(LAST.load(Ordering::Relaxed)).filter(|last| *last > begun);
        wait_until(PATIENCE, heard).expect("a session that works");
        let documents = gateway.read(FILE).expect("the documents");
        let generation = gateway.generation().expect("a generation");
        let written = micros(now() - start);
        gateway.write(FILE, &documents.replace(FREE, CUT)).expect("a written file");
        let silent = || {
            let last = LAST.load(Ordering::Relaxed);
            (micros(now() - start) > last.max(written) + micros(SILENCE)).then_some(last)
        };
        let last = wait_until(PATIENCE, silent).expect("a session that was cut");
        stop.store(true, Ordering::Relaxed);
        // It may wait for room for what nobody acknowledges any more.
        session.shutdown(Shutdown::Both).expect("a session to close");
        assert!(
            gateway.generation().expect("a generation") > generation,
            "nothing came into force"
        );
        Duration::from_micros(last.saturating_sub(written))
    });
    drop(session);
    let generation = gateway.generation().expect("a generation");
    let documents = gateway.read(FILE).expect("the documents");
    gateway.write(FILE, &documents.replace(CUT, FREE)).expect("a written file");
    gateway.wait_for_generation(generation + 1).expect("a new generation");
    took
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
