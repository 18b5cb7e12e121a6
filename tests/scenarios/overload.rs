//! CC-34, and of S-48 what a link may do, on real interfaces: more frames than the gateway takes are counted where they came in, and an interface
//! that goes away and comes back opens nothing.

use std::time::Duration;

use dataplane::device::Port;
use ravelin::craft::ACK;
use ravelin::deadline::wait_until;
use ravelin::gateway::Gateway;
use ravelin::handover::Status;
use ravelin::stations::Stations;
use ravelin::topology::OUTSIDE_PORT;
use rustix::process::{Pid, Signal, kill_process};

use crate::policy::reference;
use crate::scenario::{Place, Script, row};

/// More than rings hold: 2,048 frames of each port by default.
const FRAMES: u64 = 6_000;
const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(300);

/// CC-34: while the data plane stands still, frames come in by one port. What is lost is counted for that port, within one in
/// a hundred of what was sent and never taken.
#[test]
fn overload_is_counted_for_the_interface() {
    let stations = Stations::new("overload").unwrap();
    let gateway = start(&stations);
    let process = Pid::from_raw(gateway.dataplane_id().unwrap().try_into().unwrap()).unwrap();
    let before = gateway.status().unwrap();
    kill_process(process, Signal::STOP).unwrap();
    let question = question();
    for _ in 0..FRAMES {
        stations.at(Port::A).send(&question).unwrap();
    }
    kill_process(process, Signal::CONT).unwrap();
    let taken = |status: &Status, port: Port| {
        let key = format!("port.{}.received.packets", port.index());
        status.number(&key).unwrap() - before.number(&key).unwrap()
    };
    let lost_since = |status: &Status, port: Port| lost(status, port) - lost(&before, port);
    let accounted = |status: &Status| taken(status, Port::A) + lost_since(status, Port::A);
    let after = wait_until(PATIENCE, || {
        let status = gateway.status().ok()?;
        (accounted(&status) >= FRAMES * 99 / 100).then_some(status)
    });
    let after = after.unwrap_or_else(|| gateway.status().unwrap());
    let (taken_here, lost_here) = (taken(&after, Port::A), lost_since(&after, Port::A));
    println!("overload: {FRAMES} sent, {taken_here} taken, {lost_here} counted as lost");
    assert!(taken_here < FRAMES, "there was no overload");
    assert!(lost_here.abs_diff(FRAMES - taken_here) <= FRAMES / 100, "{}", after.text());
    assert_eq!(
        (taken(&after, Port::B), lost_since(&after, Port::B)),
        (0, 0),
        "nothing at the other"
    );
}

/// Of S-48: the interface goes down, comes up, and takes longer frames; what policy denies passes at no time, and what it allows
/// passes again.
#[test]
fn interface_that_comes_back_opens_nothing() {
    let stations = Stations::new("carrier").unwrap();
    let gateway = start(&stations);
    let question = question();
    let denied = &frame_of(|at| at.web().send(Port::A, ACK, 1, 1, b"x"));
    let crosses = |frame: &[u8]| {
        stations.at(Port::A).send(frame).is_ok()
            && std::iter::from_fn(|| stations.at(Port::B).next(SILENCE)).any(|seen| seen == frame)
    };
    assert!(crosses(&question) && !crosses(denied));
    for change in ["down", "up", "mtu 1400", "mtu 1500", "down", "up"] {
        stations.middle.ip(&format!("link set {OUTSIDE_PORT} {change}")).unwrap();
        assert!(!crosses(denied), "after `{change}`");
        if change != "down" {
            let back = wait_until(PATIENCE, || crosses(&question).then_some(()));
            assert!(back.is_some(), "traffic does not come back after `{change}`");
        }
    }
    assert!(gateway.status().is_ok(), "the data plane lives");
}

fn start(stations: &Stations) -> Gateway<'_> {
    let mut gateway = Gateway::within(&stations.middle, &[]).unwrap();
    gateway.start_dataplane().unwrap();
    gateway.publish(reference().bytes()).unwrap();
    gateway
}

/// A question that policy allows.
fn question() -> Vec<u8> {
    frame_of(Place::question)
}

fn frame_of(make: impl FnOnce(Place) -> Vec<u8>) -> Vec<u8> {
    let scenario = row("T01", |at| Script::new().passes(Port::A, make(at)));
    scenario.steps[0].frame.clone()
}

/// Frames that the kernel could not give to the port's queues.
fn lost(status: &Status, port: Port) -> u64 {
    let of_port = format!("port.{}.queue.", port.index());
    let lines = status.text().lines().filter_map(|line| line.split_once(' '));
    lines
        .filter(|(key, _)| key.starts_with(&of_port))
        .filter(|(key, _)| {
            key.ends_with("kernel.rx-dropped") || key.ends_with("kernel.rx-ring-full")
        })
        .map(|(_, value)| value.parse::<u64>().unwrap())
        .sum()
}
