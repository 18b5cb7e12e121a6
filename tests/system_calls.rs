//! What a worker asks of the kernel under load: few kinds of calls, and far fewer calls than packets.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use classifier::packet::IpVersion::{V4, V6};
use ravelin::deadline::wait_until;
use ravelin::documents::SITE;
use ravelin::gateway::Gateway;
use ravelin::streams::{Stream, udp};
use ravelin::topology::Lab;
use rustix::process::{Pid, Signal, kill_process};

/// All that a worker may call once it runs: waiting, and telling the kernel that there is something to send or receive.
const ALLOWED: [&str; 4] = ["poll", "ppoll", "sendto", "recvfrom"];
const WATCHED: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(10);
/// Frames each of two streams sends in a millisecond.
const BURST: usize = 64;

#[test]
fn a_worker_under_load_only_polls_and_sends_and_less_than_once_a_packet() {
    let lab = Lab::new().unwrap();
    let mut gateway = Gateway::new(&lab, &SITE).unwrap();
    gateway.start().unwrap();
    let process = gateway.dataplane_id().unwrap();
    let workers = threads(process, "worker");
    assert_eq!(workers.len(), 1, "one queue pair has one worker");
    let streams = [&lab.noc, &lab.office].map(|host| {
        let frames = [V4, V6].map(|version| udp(host, &lab.server, version, [4000, 53]).unwrap());
        Stream::start(host, frames.into(), BURST).unwrap()
    });
    let under_way = || (gateway.status().unwrap().balance().unwrap().0 > 1_000).then_some(());
    wait_until(PATIENCE, under_way).unwrap();

    let packets_before = gateway.status().unwrap().balance().unwrap().0;
    let calls = calls_of(workers[0], WATCHED);
    let packets = gateway.status().unwrap().balance().unwrap().0 - packets_before;
    for stream in streams {
        stream.finish().unwrap();
    }
    let total: u64 = calls.values().sum();
    println!("system calls of the worker in {WATCHED:?} under load: {calls:?}");
    #[expect(clippy::cast_precision_loss, reason = "a ratio to look at")]
    let ratio = total as f64 / packets as f64;
    println!("{total} calls for {packets} packets: {ratio:.3} a packet");
    let unexpected: Vec<&String> =
        calls.keys().filter(|name| !ALLOWED.contains(&name.as_str())).collect();
    assert!(unexpected.is_empty(), "the worker also calls {unexpected:?}");
    assert!(calls.contains_key("sendto"), "nothing was sent");
    assert!(packets > 1_000 && total < packets, "{total} calls for {packets} packets");
}

/// The numbers of the threads of `process` whose name begins like this.
fn threads(process: u32, name: &str) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let tasks = tasks.map(|entry| entry.unwrap().path());
    tasks
        .filter(|task| fs::read_to_string(task.join("comm")).unwrap().starts_with(name))
        .map(|task| task.file_name().unwrap().to_str().unwrap().parse().unwrap())
        .collect()
}

/// Counts the system calls of one thread for a while, by name.
fn calls_of(thread: u32, time: Duration) -> BTreeMap<String, u64> {
    let mut strace = Command::new("strace");
    strace.args(["-c", "-U", "calls,name", "-p", &thread.to_string()]);
    let strace = strace.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
    let strace = strace.unwrap();
    thread::sleep(time);
    kill_process(Pid::from_child(&strace), Signal::INT).unwrap();
    let output = strace.wait_with_output().unwrap();
    let table = String::from_utf8(output.stderr).unwrap();
    let rows = table.lines().filter_map(|line| {
        let (calls, name) = line.trim().split_once(char::is_whitespace)?;
        Some((name.trim().to_owned(), calls.parse().ok()?))
    });
    let calls: BTreeMap<String, u64> = rows.filter(|(name, _)| name != "total").collect();
    assert!(!calls.is_empty(), "strace saw nothing:\n{table}");
    calls
}
