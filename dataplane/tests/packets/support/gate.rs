//! A pipeline with everything around it: port A faces outside, port B inside.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use classifier::image::Image;
use classifier::packet::Side;
use classifier::record::FlowRecord;
use dataplane::counters::{CounterBlock, Counters};
use dataplane::device::Port;
use dataplane::disposition::{Disposition, DropReason};
use dataplane::flow::FlowTable;
use dataplane::fragment::{FragmentLimits, Fragments};
use dataplane::pipeline::{Parts, Pipeline, PortRules};
use dataplane::policy::PolicySlot;
use dataplane::worker::Judge;
use rtrb::{Consumer, RingBuffer};

use super::policy::INTERFACES;

pub(crate) const RULES: [PortRules; 2] = [
    PortRules { side: Side::Outside, pass_non_ip: false, pick_up: false },
    PortRules { side: Side::Inside, pass_non_ip: false, pick_up: false },
];
/// Wall-clock time at the origin of the tests' clock.
pub(crate) const WALL_NS: u64 = 1_700_000_000_000_000_000;

/// Little room for fragments, so that tests see what happens when there is none.
pub(crate) const FRAGMENTS: FragmentLimits = FragmentLimits {
    bytes: 256 << 10,
    bytes_per_source: 128 << 10,
    datagrams: 64,
    ipv4: Duration::from_secs(30),
    ipv6: Duration::from_mins(1),
};

pub(crate) struct Gate {
    pub(crate) slot: PolicySlot,
    pub(crate) flows: Arc<FlowTable>,
    pub(crate) records: Consumer<FlowRecord>,
    pub(crate) now: Duration,
    pipeline: Pipeline,
    published: Arc<CounterBlock>,
}

impl Gate {
    /// No policy yet, room for `slots` flows and `records` records.
    pub(crate) fn new(ports: [PortRules; 2], slots: usize, records: usize) -> Self {
        Self::hashing(RandomState::new(), ports, slots, records)
    }

    fn hashing(hasher: RandomState, ports: [PortRules; 2], slots: usize, records: usize) -> Self {
        let slot = PolicySlot::of_ports(INTERFACES.map(str::to_owned));
        let flows = Arc::new(FlowTable::new(slots, hasher));
        let (pipeline, published, records) = pipeline(ports, &slot, &flows, records);
        let now = Duration::from_secs(100);
        Self { slot, flows, records, now, pipeline, published }
    }

    /// With this policy in force, and other settings.
    pub(crate) fn set(image: Arc<Image>, change: impl FnOnce(&mut Parts)) -> Self {
        let slot = PolicySlot::of_ports(INTERFACES.map(str::to_owned));
        slot.publish(image);
        let flows = Arc::new(FlowTable::new(1 << 12, RandomState::new()));
        let (mut parts, published, records) = parts(RULES, &slot, &flows, 1 << 12);
        change(&mut parts);
        let (pipeline, now) = (Pipeline::new(parts), Duration::from_secs(100));
        Self { slot, flows, records, now, pipeline, published }
    }

    /// Two whose flow tables put the same flows into the same places.
    pub(crate) fn twins() -> [Self; 2] {
        let hasher = RandomState::new();
        [(); 2].map(|()| Self::hashing(hasher.clone(), RULES, 1 << 12, 1 << 12))
    }

    /// With this policy in force.
    pub(crate) fn with(image: Arc<Image>) -> Self {
        let gate = Self::new(RULES, 1 << 12, 1 << 12);
        gate.slot.publish(image);
        gate
    }

    /// One frame in a batch of its own. True when it passes.
    pub(crate) fn send(&mut self, port: Port, frame: &[u8]) -> Disposition {
        self.pipeline.begin_batch(self.now);
        let disposition = self.pipeline.judge(port, frame);
        self.pipeline.end_batch();
        disposition
    }

    /// Frames of one batch, judged one by one.
    pub(crate) fn send_one_by_one(&mut self, port: Port, frames: &[&[u8]]) -> Vec<Disposition> {
        self.pipeline.begin_batch(self.now);
        let judged = frames.iter().map(|frame| self.pipeline.judge(port, frame)).collect();
        self.pipeline.end_batch();
        judged
    }

    /// Frames of one batch, judged together.
    pub(crate) fn send_batch(&mut self, port: Port, frames: &[&[u8]]) -> Vec<Disposition> {
        let mut dispositions = vec![Disposition::Drop(DropReason::Internal); frames.len()];
        self.pipeline.begin_batch(self.now);
        self.pipeline.judge_batch(port, frames, &mut dispositions);
        self.pipeline.end_batch();
        dispositions
    }

    pub(crate) fn passes(&mut self, port: Port, frame: &[u8]) -> bool {
        self.send(port, frame) == Disposition::Forward
    }

    pub(crate) fn counters(&self) -> Counters {
        self.published.read()
    }

    pub(crate) fn next_record(&mut self) -> Option<FlowRecord> {
        self.records.pop().ok()
    }
}

/// A pipeline of this policy and flow table, its published counters, and its records.
pub(crate) fn pipeline(
    ports: [PortRules; 2],
    slot: &PolicySlot,
    flows: &Arc<FlowTable>,
    records: usize,
) -> (Pipeline, Arc<CounterBlock>, Consumer<FlowRecord>) {
    let (parts, counters, consumer) = parts(ports, slot, flows, records);
    (Pipeline::new(parts), counters, consumer)
}

/// What such a pipeline is made of.
fn parts(
    ports: [PortRules; 2],
    slot: &PolicySlot,
    flows: &Arc<FlowTable>,
    records: usize,
) -> (Parts, Arc<CounterBlock>, Consumer<FlowRecord>) {
    let (producer, consumer) = RingBuffer::new(records);
    let counters = Arc::new(CounterBlock::new());
    let parts = Parts {
        ports,
        sanity: Arc::default(),
        keep_on_policy_change: false,
        policy: slot.reader(),
        flows: Arc::clone(flows),
        fragments: Fragments::new(FRAGMENTS, RandomState::new()),
        counters: Arc::clone(&counters),
        records: producer,
        wall_offset_ns: WALL_NS,
    };
    (parts, counters, consumer)
}
