//! Scenarios through the whole of a worker, on a device in memory.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use classifier::packet::Side;
use classifier::record::FlowRecord;
use dataplane::checks::{Checks, Profile};
use dataplane::counters::CounterBlock;
use dataplane::device::Port;
use dataplane::device::memory::MemoryDevice;
use dataplane::disposition::DropReason;
use dataplane::flow::FlowTable;
use dataplane::fragment::{FragmentLimits, Fragments};
use dataplane::pipeline::{Parts, Pipeline, PortRules};
use dataplane::policy::PolicySlot;
use dataplane::sanity::{Sanity, SpecialPurpose};
use dataplane::worker::Worker;
use rtrb::{Consumer, RingBuffer};

use crate::policy::{NETWORKS, reference};
use crate::scenario::{Scenario, Seen, Setting, Strict};

/// Longer than any fragment waits.
const FRAGMENT_PATIENCE: Duration = Duration::from_secs(61);

/// A gateway in memory.
pub(crate) struct Gate {
    worker: Worker<MemoryDevice, Pipeline>,
    published: Arc<CounterBlock>,
    now: Duration,
    _records: Consumer<FlowRecord>,
}

impl Gate {
    pub(crate) fn new(setting: Setting, strict: Strict) -> Self {
        let slot = PolicySlot::of_ports(["outside", "inside"].map(str::to_owned));
        slot.publish(reference());
        let rules = |side| PortRules { side, pass_non_ip: false, pick_up: false };
        let published = Arc::new(CounterBlock::new());
        let (records, consumer) = RingBuffer::new(1 << 12);
        let pipeline = Pipeline::new(Parts {
            ports: [rules(Side::Outside), rules(Side::Inside)],
            policy: slot.reader(),
            flows: Arc::new(FlowTable::new(1 << 12, RandomState::new())),
            fragments: Fragments::new(FragmentLimits::default(), RandomState::new()),
            counters: Arc::clone(&published),
            records,
            keep_on_policy_change: false,
            sanity: sanity(setting, strict),
            wall_offset_ns: 0,
        });
        let worker = Worker::new(MemoryDevice::new(512, 2048, 256), pipeline);
        Self { worker, published, now: Duration::from_secs(100), _records: consumer }
    }

    /// Sends the frames; returns what came otherwise than expected.
    pub(crate) fn try_it(&mut self, scenario: &Scenario, strict: Strict) -> Result<(), String> {
        for (at, step) in scenario.steps.iter().enumerate() {
            let seen = self.send(step.from, &step.frame);
            let expected = scenario.expected(at, strict);
            if seen != expected {
                return Err(format!("frame {at}: expected {expected}, seen {seen}"));
            }
        }
        self.wait_for_fragments(scenario, strict)
    }

    /// What is left of fragments is given up and counted.
    fn wait_for_fragments(&mut self, scenario: &Scenario, strict: Strict) -> Result<(), String> {
        let before = self.drops();
        self.pass_time(FRAGMENT_PATIENCE);
        for (port, before) in Port::BOTH.into_iter().zip(before) {
            let waiting = scenario.left_waiting(port, strict);
            let given_up = since(&before, &self.drops()[port.index()]);
            let expected =
                Vec::from_iter((waiting > 0).then_some((DropReason::FragmentTimeout, waiting)));
            if given_up != expected {
                return Err(format!("fragments left: expected {expected:?}, seen {given_up:?}"));
            }
            if self.published.read().port(port).held.packets > 0 {
                return Err("fragments are held for ever".to_owned());
            }
        }
        Ok(())
    }

    fn send(&mut self, from: Port, frame: &[u8]) -> Seen {
        let before = self.drops();
        assert!(self.worker.device_mut().arrive(from, frame));
        self.worker.round(self.now);
        let mut left = Vec::new();
        self.worker.device_mut().drain(from.other(), |bytes| left.push(bytes.to_vec()));
        self.worker.device_mut().drain(from, |bytes| {
            panic!("a frame goes back by the port it came from: {bytes:02x?}");
        });
        let [there, back] = [from, from.other()]
            .map(|port| since(&before[port.index()], &self.drops()[port.index()]));
        assert_eq!(back, [], "the other port received nothing");
        Seen { left, drops: there }
    }

    /// Time passes, and the worker looks at the clock.
    fn pass_time(&mut self, time: Duration) {
        for _ in 0..2 {
            self.now += time;
            self.worker.round(self.now);
        }
    }

    fn drops(&self) -> [Vec<u64>; 2] {
        let counters = self.published.read();
        Port::BOTH.map(|port| {
            let count = |reason| counters.port(port).dropped_for(reason).packets;
            DropReason::ALL.map(count).to_vec()
        })
    }
}

fn sanity(setting: Setting, strict: Strict) -> Arc<Sanity> {
    let profile = match strict {
        Strict::Default => Profile::Default,
        Strict::CommonCriteria => Profile::CcStrict,
    };
    let networks = match setting {
        Setting::Plain => Default::default(),
        Setting::Networks => NETWORKS.map(|nets| nets.join(",").parse().unwrap()),
    };
    let checks = Checks { profile, ..Checks::default() };
    Arc::new(Sanity::new(checks, &SpecialPurpose::default(), &networks))
}

/// What was counted between two readings.
fn since(before: &[u64], after: &[u64]) -> Vec<(DropReason, u64)> {
    let reasons = DropReason::ALL.into_iter().zip(before).zip(after);
    let counted = reasons.map(|((reason, before), after)| (reason, after - before));
    counted.filter(|(_, count)| *count > 0).collect()
}
