//! Floods for a moment, with legitimate clients beside: they are served, nothing of a flood that may not pass does, the
//! limits are exact, and every frame and every flow is accounted for. How well under load is for `cargo bench --bench floods`.

use std::collections::HashSet;
use std::time::Duration;

use etherparse::PacketBuilder;
use ravelin::deadline::wait_until;
use ravelin::documents::SITE;
use ravelin::floods::{Flood, Siege, flows_balance, prepare};
use ravelin::frames::{Capture, FrameSender};
use ravelin::gateway::Gateway;
use ravelin::topology::Lab;

const TIME: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(5);
/// Frames a millisecond.
const BURST: usize = 5;
/// Half-open connections to one destination.
const HALF_OPEN: usize = 200;

#[test]
fn clients_are_served_under_every_flood_and_nothing_is_lost_count_of() {
    let lab = Lab::new().unwrap();
    let mut gateway = Gateway::new(&lab, &SITE).unwrap();
    gateway.start().unwrap();
    prepare(&lab).unwrap();
    for flood in Flood::ALL {
        let siege = Siege::lay(&lab, &gateway, flood, BURST, TIME).unwrap();
        let [_, after] = &siege.status;
        let [_, war] = siege.service;
        println!("{flood:?}: {} sent, connects {:?}", siege.sent, war.connects);
        assert!(siege.sent > 100, "{flood:?} is no flood");
        let [tried, answered] = war.connects;
        assert!(answered > 0 && answered == tried, "{flood:?}: {answered} of {tried}");
        if let Some(reason) = flood.refused_as() {
            let dropped = siege.grew(&format!("port.0.dropped.{}", reason.name())).unwrap();
            // What the machine had no time to take off the wire did not reach the gateway; the kernel counts it.
            let missed = siege.missed();
            let all = dropped..=dropped + missed;
            assert!(all.contains(&siege.sent), "{flood:?}: {all:?}\n{}", after.text());
        }
        let (received, accounted) = after.balance().unwrap();
        assert_eq!(received, accounted, "{flood:?}\n{}", after.text());
        let [started, known] = flows_balance(after).unwrap();
        assert_eq!(started, known, "{flood:?}\n{}", after.text());
    }
}

#[test]
fn half_open_connections_to_one_destination_are_limited_to_the_last_one() {
    let lab = Lab::new().unwrap();
    let mut gateway = Gateway::new(&lab, &SITE).unwrap();
    gateway.configure(&format!("[flows.limits]\nhalfOpenPerDestination = {HALF_OPEN}\n")).unwrap();
    gateway.start().unwrap();
    let capture = Capture::new(&lab.server, "tcp dst port 80").unwrap();
    let sender = FrameSender::new(&lab.stranger).unwrap();
    let before = gateway.status().unwrap().number("port.0.received.packets").unwrap();
    // Nobody lives there who could complete a handshake or refuse one.
    let (sent, nobody) = (2 * HALF_OPEN, [198, 18, 70, 222]);
    for number in 0..sent {
        let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
        let syn = PacketBuilder::ethernet2(lab.stranger.mac, lab.server.mac)
            .ipv4([198, 19, 128 + high, low], nobody, 64)
            .tcp(4000, 80, 1, 1024)
            .syn();
        let mut frame = Vec::new();
        syn.write(&mut frame, &[]).unwrap();
        sender.send(&frame).unwrap();
    }
    let all = before + sent as u64;
    let status = wait_until(PATIENCE, || {
        let status = gateway.status().ok()?;
        (status.number("port.0.received.packets").ok()? >= all).then_some(status)
    });
    let status = status.unwrap();
    assert_eq!(status.dropped("half-open-limit").unwrap(), HALF_OPEN as u64, "{}", status.text());
    assert_eq!(status.number("flows.half-open").unwrap(), HALF_OPEN as u64);
    std::thread::sleep(Duration::from_millis(300));
    let arrived: HashSet<Vec<u8>> = capture.finish().unwrap().into_iter().collect();
    assert_eq!(arrived.len(), HALF_OPEN, "{}", status.text());
}
