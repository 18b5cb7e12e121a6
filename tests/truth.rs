//! Two real TCP stacks are the judges: over a wire that loses, doubles and reorders frames, with the gateway in the middle,
//! every byte arrives, and the gateway takes nothing that they say to each other for wrong.
//!
//! `RAVELIN_TRANSFERS=10000 cargo test --release --test truth` is the long run.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use classifier::packet::IpVersion::{V4, V6};
use ravelin::deadline::timed;
use ravelin::documents::SITE;
use ravelin::gateway::Gateway;
use ravelin::relay::{Faults, Relay};
use ravelin::topology::Lab;
use ravelin::transfers::{serve_transfers, transfer};

/// Transfers where nobody asks for more.
const TRANSFERS: u64 = 300;
/// Of them at a time.
const AT_ONCE: u64 = 32;
/// Most bytes of one, each way.
const BYTES_MAX: u64 = 128 << 10;
/// Of a thousand frames.
const FAULTS: Faults = Faults { lost: 10, doubled: 10, late: 20 };
const SEED: u64 = 5;

/// What the gateway must not find in what two honest stacks say to each other.
const NEVER: [&str; 6] =
    ["tcp-window", "tcp-not-opening", "tcp-flags", "malformed", "checksum", "flow-table-full"];

#[test]
fn transfers_over_a_bad_wire_arrive_whole_and_nothing_of_them_is_refused() {
    let count = std::env::var("RAVELIN_TRANSFERS").map_or(TRANSFERS, |text| text.parse().unwrap());
    let lab = Lab::new().unwrap();
    let relay = Relay::between(&lab, FAULTS, SEED).unwrap();
    let mut gateway = Gateway::new(&lab, &SITE).unwrap();
    gateway.start().unwrap();
    serve_transfers(&lab.server, 80).unwrap();
    let to = [V4, V6].map(|version| SocketAddr::new(lab.server.address(version), 80));
    let (time, outcome) =
        timed(|| transfer(&lab.office, &to, [count, AT_ONCE, BYTES_MAX], SEED).unwrap());
    let status = gateway.status().unwrap();
    let [carried, lost, doubled, late] = relay.deeds();
    let bytes = outcome.bytes.load(Ordering::Relaxed);
    println!(
        "{count} transfers, {bytes} bytes in {time:.1?}; [whole, corrupted, failed] {:?}",
        outcome.counts()
    );
    println!("the wire: {carried} frames, {lost} lost, {doubled} doubled, {late} late");
    for reason in NEVER.iter().chain(&["tcp-closed", "policy-denied", "transmit-ring-full"]) {
        println!("dropped as {reason}: {}", status.dropped(reason).unwrap());
    }
    assert_eq!(outcome.counts(), [count, 0, 0], "{}", status.text());
    for reason in NEVER {
        assert_eq!(status.dropped(reason).unwrap(), 0, "{reason}\n{}", status.text());
    }
    let (received, accounted) = status.balance().unwrap();
    assert_eq!(received, accounted, "{}", status.text());
    // A good wire would prove nothing.
    for (deeds, per_mille) in [(lost, FAULTS.lost), (doubled, FAULTS.doubled), (late, FAULTS.late)]
    {
        assert!(deeds * 2_000 > carried * u64::from(per_mille), "{:?}", relay.deeds());
    }
}
