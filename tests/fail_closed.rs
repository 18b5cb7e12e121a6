//! Absences: nothing passes before policy is in force, nor while the data plane is dead, and a dead daemon changes nothing.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::time::Duration;

use classifier::packet::IpVersion::{V4, V6};
use ravelin::deadline::wait_until;
use ravelin::documents::SITE;
use ravelin::frames::Capture;
use ravelin::gateway::Gateway;
use ravelin::streams::{Stream, syn, tagged, udp};
use ravelin::topology::Lab;

const PATIENCE: Duration = Duration::from_secs(10);
/// How long each phase of a scene lasts.
const PHASE: Duration = Duration::from_millis(500);
/// Frames each stream sends in a millisecond.
const BURST: usize = 4;

/// Ports that tell the streams apart where they arrive.
const ALLOWED_PORT: u16 = 4001;
const DENIED_PORT: u16 = 4002;

#[test]
fn nothing_passes_before_a_policy_is_in_force() {
    let lab = Lab::new().unwrap();
    let mut gateway = Gateway::new(&lab, &SITE).unwrap();
    gateway.start_dataplane().unwrap();
    let scene = Scene::start(&lab);
    scene.last(PHASE);
    assert_eq!(gateway.generation().unwrap(), 0);
    assert_eq!(scene.passed(), (0, 0));
    assert!(gateway.status().unwrap().dropped("no-policy").unwrap() > 0);
    gateway.start_control().unwrap();
    gateway.wait_for_generation(1).unwrap();
    scene.wait_until_allowed_pass();
    scene.finish();
}

#[test]
fn nothing_denied_passes_when_the_data_plane_is_killed_and_started_again() {
    let lab = Lab::new().unwrap();
    let mut gateway = Gateway::new(&lab, &SITE).unwrap();
    gateway.start().unwrap();
    let generation = gateway.generation().unwrap();
    let scene = Scene::start(&lab);
    scene.wait_until_allowed_pass();
    gateway.kill_control().unwrap();
    for _ in 0..3 {
        scene.last(PHASE);
        gateway.kill_dataplane().unwrap();
        // What was on its way when it died is let arrive; from then on there must be nothing.
        scene.last(PHASE);
        scene.passed();
        scene.last(PHASE);
        assert_eq!(scene.passed(), (0, 0), "frames passed a dead data plane");
        // No daemon is there: it starts from the last good image.
        gateway.start_dataplane().unwrap();
        assert_eq!(gateway.generation().unwrap(), generation);
        scene.wait_until_allowed_pass();
    }
    scene.finish();
}

#[test]
fn a_killed_daemon_changes_neither_traffic_nor_policy() {
    let lab = Lab::new().unwrap();
    let mut gateway = Gateway::new(&lab, &SITE).unwrap();
    gateway.start().unwrap();
    let generation = gateway.generation().unwrap();
    let scene = Scene::start(&lab);
    scene.wait_until_allowed_pass();
    gateway.kill_control().unwrap();
    for _ in 0..4 {
        scene.last(PHASE);
        let (allowed, denied) = scene.passed();
        assert!(allowed > 0, "allowed traffic stopped");
        assert_eq!(denied, 0);
        assert_eq!(gateway.generation().unwrap(), generation);
    }
    gateway.start_control().unwrap();
    scene.last(PHASE);
    assert!(scene.passed().0 > 0);
    // The documents are the same, so there is nothing to publish.
    assert_eq!(gateway.generation().unwrap(), generation);
    scene.finish();
}

#[test]
fn a_damaged_last_good_image_lets_nothing_pass() {
    let lab = Lab::new().unwrap();
    let mut gateway = Gateway::new(&lab, &SITE).unwrap();
    gateway.start().unwrap();
    gateway.kill_control().unwrap();
    gateway.kill_dataplane().unwrap();
    let path = gateway.path("state/last-good.image");
    let mut image = fs::read(&path).unwrap();
    let middle = image.len() / 2;
    *image.get_mut(middle).unwrap() ^= 1;
    fs::write(&path, image).unwrap();
    gateway.start_dataplane().unwrap();
    let scene = Scene::start(&lab);
    scene.last(PHASE);
    assert_eq!(scene.passed(), (0, 0));
    let status = gateway.status().unwrap();
    assert_eq!(status.value("policy.generation"), Some("none"));
    assert!(status.value("policy.last-refusal").unwrap().contains("checksum"));
    gateway.start_control().unwrap();
    gateway.wait_for_generation(1).unwrap();
    scene.wait_until_allowed_pass();
    scene.finish();
}

/// Allowed and denied streams of both families at the same time, and what of them arrives.
struct Scene {
    allowed: Stream,
    denied: Stream,
    capture: Capture,
}

impl Scene {
    fn start(lab: &Lab) -> Self {
        let Lab { noc, office, embargoed, stranger, server, candidate, .. } = lab;
        let capture = Capture::new(server, "").unwrap();
        let mut allowed = Vec::new();
        let mut denied = Vec::new();
        for version in [V4, V6] {
            allowed.push(udp(noc, server, version, [ALLOWED_PORT, 53]).unwrap());
            denied.push(udp(office, server, version, [DENIED_PORT, 5353]).unwrap());
            denied.push(udp(embargoed, server, version, [DENIED_PORT, 53]).unwrap());
            denied.push(syn(stranger, server, version, [DENIED_PORT, 22]).unwrap());
            let hidden = udp(candidate, server, version, [DENIED_PORT, 53]).unwrap();
            denied.push(tagged(&hidden, &[100]));
        }
        let allowed = Stream::start(noc, allowed, BURST).unwrap();
        let denied = Stream::start(office, denied, BURST).unwrap();
        Self { allowed, denied, capture }
    }

    /// Lets the traffic go on for a while.
    fn last(&self, time: Duration) {
        let before = (self.allowed.sent(), self.denied.sent());
        std::thread::sleep(time);
        assert!(self.allowed.sent() > before.0 && self.denied.sent() > before.1, "no traffic");
    }

    /// How many frames of each stream arrived since this was last asked; all else that arrived counts as denied.
    fn passed(&self) -> (usize, usize) {
        let frames = self.capture.arrived();
        let (allowed, denied): (Vec<_>, Vec<_>) =
            frames.into_iter().partition(|frame| comes_from_port(frame, ALLOWED_PORT));
        (allowed.len(), denied.iter().filter(|frame| !is_neighbour_talk(frame)).count())
    }

    fn wait_until_allowed_pass(&self) {
        let passes = || {
            let (allowed, denied) = self.passed();
            assert_eq!(denied, 0, "denied frames passed");
            (allowed > 0).then_some(())
        };
        assert!(wait_until(PATIENCE, passes).is_some(), "allowed frames do not pass");
    }

    fn finish(self) {
        let Self { allowed, denied, capture } = self;
        let (sent_allowed, sent_denied) = (allowed.finish().unwrap(), denied.finish().unwrap());
        let frames = capture.finish().unwrap();
        let bad = frames.iter().filter(|frame| comes_from_port(frame, DENIED_PORT)).count();
        println!("sent: {sent_allowed} allowed, {sent_denied} denied; denied that passed: {bad}");
        assert_eq!(bad, 0);
    }
}

/// Whether the frame is one of a stream, by the source port, which stands where its headers end.
fn comes_from_port(frame: &[u8], port: u16) -> bool {
    let header_lengths = [34, 54, 38, 58];
    header_lengths.into_iter().any(|at| frame.get(at..at + 2) == Some(&port.to_be_bytes()))
}

/// ARP and `ICMPv6`: hosts talk about their addresses on their own.
fn is_neighbour_talk(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x08, 0x06])
        || (frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&58))
        || (frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&0))
}
