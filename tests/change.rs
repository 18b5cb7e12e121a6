//! A prefix comes and goes in a policy file: packets are judged anew, by a change of what is in force.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::time::Duration;

use classifier::packet::IpVersion::{V4, V6};
use ravelin::attempt::{Probe, Seen, attempt};
use ravelin::documents::SITE;
use ravelin::gateway::Gateway;
use ravelin::servers::serve;
use ravelin::topology::Lab;

const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(500);

const FILE: &str = "site.toml";
/// The office, and the office with the hosts of the stranger.
const WITHOUT: &str = r#"nets = ["198.18.20.0/24", "2001:2:0:20::/64"]"#;

#[test]
fn packets_are_judged_anew_when_a_prefix_comes_or_goes() {
    let site = Site { lab: &Lab::new().unwrap() };
    let mut gateway = site.gateway();
    assert_eq!(changes(&gateway), 0);
    for change in 1..=4 {
        let is_known = change % 2 == 1;
        site.know(&mut gateway, is_known);
        site.assert_reaches(is_known);
        assert_eq!(changes(&gateway), change, "it came as a change");
    }
    assert_eq!(base(&gateway), 1, "the image is the first one");
    assert!(gateway.status().unwrap().number("policy.patch-bytes").unwrap() > 0);
}

#[test]
fn a_change_outlives_both_programs() {
    let site = Site { lab: &Lab::new().unwrap() };
    let mut gateway = site.gateway();
    site.know(&mut gateway, true);
    let generation = gateway.generation().unwrap();
    gateway.kill_control().unwrap();
    // Only then does it have to be on disk.
    ravelin::deadline::wait_until(PATIENCE, || patch_is_kept(&gateway).then_some(())).unwrap();
    gateway.kill_dataplane().unwrap();
    gateway.start_dataplane().unwrap();
    assert_eq!(gateway.generation().unwrap(), generation);
    assert_eq!(base(&gateway), 1, "the image and its change, from disk");
    site.assert_reaches(true);

    gateway.start_control().unwrap();
    // What it compiles anew is the same policy in other tables, so it is published once.
    gateway.wait_for_generation(generation + 1).unwrap();
    site.know(&mut gateway, false);
    site.assert_reaches(false);
    site.know(&mut gateway, true);
    site.assert_reaches(true);
    assert!(changes(&gateway) >= 1, "the daemon that came back makes changes too");
}

#[test]
fn a_data_plane_that_lost_everything_gets_the_changed_policy_in_full() {
    let site = Site { lab: &Lab::new().unwrap() };
    let mut gateway = site.gateway();
    site.know(&mut gateway, true);
    let generation = gateway.generation().unwrap();
    gateway.kill_dataplane().unwrap();
    std::fs::remove_dir_all(gateway.path("state")).unwrap();
    gateway.start_dataplane().unwrap();
    gateway.wait_for_generation(generation + 1).unwrap();
    site.assert_reaches(true);
    site.know(&mut gateway, false);
    site.assert_reaches(false);
    assert_eq!(changes(&gateway), 1);
}

struct Site<'lab> {
    lab: &'lab Lab,
}

impl<'lab> Site<'lab> {
    fn gateway(&self) -> Gateway<'lab> {
        let mut gateway = Gateway::new(self.lab, &SITE).unwrap();
        gateway.start().unwrap();
        serve(&self.lab.server, &[22, 80], &[53]).unwrap();
        self.assert_reaches(false);
        gateway
    }

    /// Writes the file with or without the prefixes of the stranger, and waits until it is in force.
    fn know(&self, gateway: &mut Gateway<'_>, is_known: bool) {
        let generation = gateway.generation().unwrap();
        let [v4, v6] = [V4, V6].map(|version| self.lab.stranger.address(version));
        let with = WITHOUT.replace(']', &format!(", \"{v4}/32\", \"{v6}/128\"]"));
        let text = gateway.read(FILE).unwrap();
        let (from, to) = if is_known { (WITHOUT, &*with) } else { (&*with, WITHOUT) };
        assert!(text.contains(from), "{text}");
        gateway.write(FILE, &text.replace(from, to)).unwrap();
        gateway.wait_for_generation(generation + 1).unwrap();
    }

    /// The stranger gets an answer from the servers, or none.
    fn assert_reaches(&self, does: bool) {
        let (expected, patience) =
            if does { (Seen::Answered, PATIENCE) } else { (Seen::Nothing, SILENCE) };
        for version in [V4, V6] {
            for probe in [Probe::Ping, Probe::Udp(53)] {
                let to = self.lab.server.address(version);
                let seen = attempt(&self.lab.stranger, to, probe, patience).unwrap();
                assert_eq!(seen, expected, "{version:?} {probe:?}");
            }
        }
    }
}

fn patch_is_kept(gateway: &Gateway<'_>) -> bool {
    let files = std::fs::read_dir(gateway.path("state")).unwrap();
    files.flatten().any(|file| file.path().extension().is_some_and(|it| it == "patch"))
}

fn changes(gateway: &Gateway<'_>) -> u64 {
    gateway.status().unwrap().number("policy.changes").unwrap()
}

fn base(gateway: &Gateway<'_>) -> u64 {
    gateway.status().unwrap().number("policy.base-generation").unwrap()
}
