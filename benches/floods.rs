//! Floods of 30 seconds each, with legitimate clients beside: how many of their connections come about, what an established
//! one still carries, what the gateway drops and for what reason, and what it takes of memory.
//!
//! `cargo bench --bench floods` (root). `--seconds=N` and `--burst=N` (frames a millisecond) say how long and how much, a word
//! like `Syn` which.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench reports and stops at the first surprise"
)]

use std::time::Duration;

use dataplane::disposition::DropReason;
use ravelin::documents::SITE;
use ravelin::floods::{Flood, Siege, flows_balance, prepare};
use ravelin::gateway::Gateway;
use ravelin::topology::Lab;

const SECONDS: u64 = 30;
/// Frames a millisecond: 20,000 a second.
const BURST: u64 = 20;

fn main() {
    let option = |name: &str, default: u64| {
        let value = std::env::args().find_map(|word| word.strip_prefix(name)?.parse().ok());
        value.unwrap_or(default)
    };
    let seconds = option("--seconds=", SECONDS);
    let burst = usize::try_from(option("--burst=", BURST)).expect("a number of frames");
    println!("{seconds} s of peace, then {seconds} s of each flood, {burst} frames a millisecond");
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_asked = |flood: &Flood| words.is_empty() || words.contains(&format!("{flood:?}"));
    for flood in Flood::ALL.into_iter().filter(is_asked) {
        // A gateway of its own for each: what one flood leaves behind is no part of the next.
        let lab = Lab::new().expect("a laboratory");
        let mut gateway = Gateway::new(&lab, &SITE).expect("a gateway");
        gateway.start().expect("a gateway that runs");
        prepare(&lab).expect("servers");
        let siege = Siege::lay(&lab, &gateway, flood, burst, Duration::from_secs(seconds));
        report(flood, &siege.expect("a siege"));
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(flood: Flood, siege: &Siege) {
    let [peace, war] = siege.service;
    let [tried, answered] = war.connects;
    let share = answered as f64 * 100.0 / tried.max(1) as f64;
    let ratio = war.goodput * 100.0 / peace.goodput;
    let [before, after] = siege.memory.map(|kib| kib / 1024);
    println!(
        "\n{flood:?}: {} frames, {} of them not taken off the wire",
        siege.sent,
        siege.missed()
    );
    println!(
        "  connects: {answered} of {tried} answered ({share:.2} %), {} in peace",
        peace.connects[1]
    );
    println!(
        "  goodput: {:.1} MB/s, {ratio:.0} % of {:.1} in peace",
        war.goodput / 1e6,
        peace.goodput / 1e6
    );
    println!("  memory: {before} MiB before, {after} MiB after");
    for reason in DropReason::ALL {
        let count = siege.grew(&format!("port.0.dropped.{}", reason.name())).expect("a count");
        if count > 0 {
            println!("  dropped as {}: {count}", reason.name());
        }
    }
    let [_, status] = &siege.status;
    for key in ["flows.now", "flows.half-open", "flows.gave-way", "flows.half-open-seconds"] {
        println!("  {key}: {}", status.value(key).unwrap_or("?"));
    }
    let (received, accounted) = status.balance().expect("counters");
    let [started, known] = flows_balance(status).expect("counters of flows");
    println!(
        "  frames: {received} received, {accounted} accounted for; flows: {started} started, {known} accounted for"
    );
    assert!(received == accounted && started == known, "lost count\n{}", status.text());
}
