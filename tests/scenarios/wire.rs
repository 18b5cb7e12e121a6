//! Scenarios through the real gateway, on veth and AF_XDP: frames go in at one end and come out at the other or not, and the
//! gateway's own counters say why.

use std::fs;
use std::time::Duration;

use dataplane::device::Port;
use dataplane::disposition::DropReason;
use ravelin::deadline::{Deadline, wait_until};
use ravelin::gateway::Gateway;
use ravelin::handover::Status;
use ravelin::stations::Stations;

use crate::policy::{NETWORKS, reference};
use crate::scenario::{Scenario, Seen, Setting, Strict};

/// How long a frame may take through the gateway on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// Fragments wait here for longer than all fragments of a scenario take, and no longer than a test has patience.
const FRAGMENTS: &str = "\n[fragments]\nipv4Seconds = 3\nipv6Seconds = 3\n";
/// What has not come by then does not come.
const SILENCE: Duration = Duration::from_millis(300);

/// A gateway between two ends.
pub(crate) struct Bench<'s> {
    stations: &'s Stations,
    gateway: Gateway<'s>,
    /// Fragments of each port that nothing will complete.
    left_waiting: [u64; 2],
}

impl<'s> Bench<'s> {
    pub(crate) fn new(stations: &'s Stations, setting: Setting, strict: Strict) -> Self {
        let mut gateway = Gateway::within(&stations.middle, &[]).unwrap();
        let settings = gateway.path("ravelin.toml");
        let text = fs::read_to_string(&settings).unwrap();
        fs::write(&settings, settings_of(text, setting, strict)).unwrap();
        gateway.start_dataplane().unwrap();
        gateway.publish(reference().bytes()).unwrap();
        Self { stations, gateway, left_waiting: [0; 2] }
    }

    /// Sends the frames; returns what came otherwise than expected.
    pub(crate) fn try_it(&mut self, scenario: &Scenario, strict: Strict) -> Result<(), String> {
        for (at, step) in scenario.steps.iter().enumerate() {
            let expected = scenario.expected(at, strict);
            let seen = self.send(step.from, &step.frame, expected.left.len());
            if seen != expected {
                return Err(format!("frame {at}: expected {expected}, seen {seen}"));
            }
        }
        for port in Port::BOTH {
            self.left_waiting[port.index()] += scenario.left_waiting(port, strict);
        }
        Ok(())
    }

    /// Sends a frame; returns what left until the gateway had counted it and `expected` frames had come.
    fn send(&self, from: Port, frame: &[u8], expected: usize) -> Seen {
        let before = self.gateway.status().unwrap();
        self.stations.at(from).send(frame).unwrap();
        let received = format!("port.{}.received.packets", from.index());
        let due = before.number(&received).unwrap() + 1;
        let deadline = Deadline::after(PATIENCE);
        let after = loop {
            let status = self.gateway.status().unwrap();
            if status.number(&received).unwrap() >= due {
                break status;
            }
            assert!(!deadline.is_over(), "the gateway does not see {frame:02x?}");
        };
        let end = self.stations.at(from.other());
        let mut left: Vec<_> = (0..expected).map_while(|_| end.next(PATIENCE)).collect();
        left.extend(end.next(Duration::ZERO));
        assert_eq!(drops(&before, &after, from.other()), [], "the other port received nothing");
        Seen { left, drops: drops(&before, &after, from) }
    }

    /// Waits for what is still to come: fragments are given up, and nothing else arrives anywhere.
    pub(crate) fn finish(self) {
        for port in Port::BOTH {
            let given_up = format!("port.{}.dropped.fragment-timeout", port.index());
            let held = format!("port.{}.held.packets", port.index());
            let count = |key: &str| self.gateway.status().unwrap().number(key).unwrap();
            let due = self.left_waiting[port.index()];
            let all = wait_until(PATIENCE, || (count(&given_up) >= due).then_some(()));
            assert!(all.is_some() && count(&given_up) == due, "{given_up}, expected {due}");
            assert_eq!(count(&held), 0, "fragments are held for ever");
            let end = self.stations.at(port);
            assert_eq!(end.next(SILENCE), None, "a frame too many at {port:?}");
            assert_eq!(end.came_back(), 0, "frames came back at {port:?}");
        }
        let status = self.gateway.status().unwrap();
        let (received, accounted) = status.balance().unwrap();
        assert_eq!(received, accounted, "{}", status.text());
    }
}

fn drops(before: &Status, after: &Status, port: Port) -> Vec<(DropReason, u64)> {
    let counted = |reason: DropReason| {
        let key = format!("port.{}.dropped.{}", port.index(), reason.name());
        (reason, after.number(&key).unwrap() - before.number(&key).unwrap())
    };
    DropReason::ALL.into_iter().map(counted).filter(|(_, count)| *count > 0).collect()
}

fn settings_of(mut text: String, setting: Setting, strict: Strict) -> String {
    if setting == Setting::Networks {
        for (side, [v4, v6]) in ["outside", "inside"].into_iter().zip(NETWORKS) {
            let line = format!("side = \"{side}\"\n");
            text = text.replace(&line, &format!("{line}networks = [\"{v4}\", \"{v6}\"]\n"));
        }
    }
    text += FRAGMENTS;
    if strict == Strict::CommonCriteria {
        text += "\n[sanity]\nprofile = \"cc-strict\"\n";
    }
    text
}
