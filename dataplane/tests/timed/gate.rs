//! A whole worker in memory, with a clock that goes where a test says.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use classifier::image::Image;
use classifier::packet::Side;
use classifier::record::FlowRecord;
use dataplane::checks::Checks;
use dataplane::counters::{CounterBlock, Counters};
use dataplane::device::memory::MemoryDevice;
use dataplane::device::{BATCH_FRAMES, Port};
use dataplane::disposition::DropReason;
use dataplane::flow::{FlowTable, Limits, Timers};
use dataplane::fragment::{FragmentLimits, Fragments};
use dataplane::pipeline::{Parts, Pipeline, PortRules};
use dataplane::policy::PolicySlot;
use dataplane::sanity::{Networks, Sanity, SpecialPurpose};
use dataplane::worker::Worker;
use rtrb::{Consumer, RingBuffer};

use crate::craft::Connection;
use crate::policy::reference;

/// What a test says of its gate; by default what a user gets who says nothing.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) slots: usize,
    pub(crate) timers: Timers,
    pub(crate) limits: Limits,
    pub(crate) checks: Checks,
    /// What lives behind each port.
    pub(crate) networks: [Networks; 2],
    pub(crate) keep_on_policy_change: bool,
    pub(crate) random: RandomState,
    /// Wall-clock time when the test's clock was 0.
    pub(crate) wall_offset_ns: u64,
    pub(crate) policy: Option<Arc<Image>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            slots: 1 << 12,
            timers: Timers::default(),
            limits: Limits::default(),
            checks: Checks::default(),
            networks: Default::default(),
            keep_on_policy_change: false,
            random: RandomState::new(),
            wall_offset_ns: 1_700_000_000_000_000_000,
            policy: Some(reference(1)),
        }
    }
}

/// A gate: port A faces outside, port B inside.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) policy: PolicySlot,
    pub(crate) flows: Arc<FlowTable>,
    pub(crate) records: Consumer<FlowRecord>,
    worker: Worker<MemoryDevice, Pipeline>,
    published: Arc<CounterBlock>,
    now: Duration,
}

/// What became of a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// These frames left by the other port.
    Left(Vec<Vec<u8>>),
    /// So many frames were dropped for this reason.
    Dropped(DropReason, u64),
    /// Neither: it is held.
    Held,
}

impl Gate {
    /// Frames that a port takes until somebody takes them out.
    pub(crate) const TRANSMIT_RING: usize = 256;

    pub(crate) fn new(setup: Setup) -> Self {
        let policy = PolicySlot::of_ports(["outside", "inside"].map(str::to_owned));
        if let Some(image) = setup.policy {
            policy.publish(image);
        }
        let rules = |side| PortRules { side, pass_non_ip: false, pick_up: false };
        let flows =
            Arc::new(FlowTable::with(setup.slots, setup.random, setup.timers, setup.limits));
        let published = Arc::new(CounterBlock::new());
        let (producer, records) = RingBuffer::new(1 << 12);
        let pipeline = Pipeline::new(Parts {
            ports: [rules(Side::Outside), rules(Side::Inside)],
            policy: policy.reader(),
            flows: Arc::clone(&flows),
            fragments: Fragments::new(FragmentLimits::default(), RandomState::new()),
            sanity: Arc::new(Sanity::new(
                setup.checks,
                &SpecialPurpose::default(),
                &setup.networks,
            )),
            keep_on_policy_change: setup.keep_on_policy_change,
            counters: Arc::clone(&published),
            records: producer,
            wall_offset_ns: setup.wall_offset_ns,
        });
        let worker = Worker::new(MemoryDevice::new(512, 2048, Self::TRANSMIT_RING), pipeline);
        Self { policy, flows, records, worker, published, now: Duration::from_secs(100) }
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
        self.worker.round(self.now);
    }

    pub(crate) fn wait_s(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// Sends one frame and sees what becomes of it.
    pub(crate) fn send(&mut self, from: Port, frame: &[u8]) -> Fate {
        let before = self.counters();
        assert!(self.worker.device_mut().arrive(from, frame), "no room for a frame");
        self.worker.round(self.now);
        let mut left = Vec::new();
        self.worker.device_mut().drain(from.other(), |bytes| left.push(bytes.to_vec()));
        let back = self.worker.device_mut().drain(from, |_| ());
        assert_eq!(back, 0, "a frame goes back by the port it came from");
        if !left.is_empty() {
            return Fate::Left(left);
        }
        let mut counted = dropped(&before, &self.counters(), from).into_iter();
        let fate =
            counted.next().map_or(Fate::Held, |(reason, frames)| Fate::Dropped(reason, frames));
        assert_eq!(counted.next(), None, "one reason for all of it");
        fate
    }

    /// Sends frames at once, in as few batches as there can be; returns what left by the other port and what was dropped of
    /// those from this one.
    pub(crate) fn send_all(
        &mut self,
        from: Port,
        frames: &[&Vec<u8>],
    ) -> (Vec<Vec<u8>>, Vec<(DropReason, u64)>) {
        let before = self.counters();
        for frame in frames {
            assert!(self.worker.device_mut().arrive(from, frame), "no room for a frame");
        }
        while self.worker.round(self.now) > 0 {}
        let mut left = Vec::new();
        self.worker.device_mut().drain(from.other(), |bytes| left.push(bytes.to_vec()));
        (left, dropped(&before, &self.counters(), from))
    }

    /// Sends many frames, a batch at a time, `pause` after each batch; returns those that left by the other port.
    pub(crate) fn flood(
        &mut self,
        from: Port,
        frames: impl IntoIterator<Item = Vec<u8>>,
        pause: Duration,
    ) -> Vec<Vec<u8>> {
        let mut frames = frames.into_iter().peekable();
        let mut left = Vec::new();
        while frames.peek().is_some() {
            for frame in frames.by_ref().take(BATCH_FRAMES) {
                assert!(self.worker.device_mut().arrive(from, &frame), "no room for a frame");
            }
            self.worker.round(self.now);
            self.worker.device_mut().drain(from.other(), |bytes| left.push(bytes.to_vec()));
            self.now += pause;
        }
        left
    }

    /// Whether the frame passes as it is; it must not be held.
    #[track_caller]
    pub(crate) fn passes(&mut self, from: Port, frame: &[u8]) -> bool {
        match self.send(from, frame) {
            Fate::Left(left) => {
                assert_eq!(left, [frame], "it leaves as it came");
                true
            }
            Fate::Dropped(_, frames) => {
                assert_eq!(frames, 1);
                false
            }
            Fate::Held => panic!("it is held"),
        }
    }

    /// It must pass.
    #[track_caller]
    pub(crate) fn pass(&mut self, from: Port, frame: &[u8]) {
        assert_eq!(self.send(from, frame), Fate::Left(vec![frame.to_vec()]));
    }

    /// It must be dropped for this reason.
    #[track_caller]
    pub(crate) fn refuse(&mut self, from: Port, frame: &[u8], reason: DropReason) {
        assert_eq!(self.send(from, frame), Fate::Dropped(reason, 1));
    }

    /// Opens a connection.
    #[track_caller]
    pub(crate) fn open(&mut self, connection: &Connection) {
        self.open_with(connection, [&[], &[]]);
    }

    /// Opens a connection with these options on the SYNs of client and server.
    #[track_caller]
    pub(crate) fn open_with(&mut self, connection: &Connection, options: [&[u8]; 2]) {
        for (from, frame) in connection.handshake(options) {
            self.pass(from, &frame);
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.published.read()
    }

    /// Frames dropped for this reason, at both ports.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        let counters = self.counters();
        Port::BOTH.into_iter().map(|port| counters.port(port).dropped_for(reason).packets).sum()
    }
}

/// What the port counted as dropped between two readings.
fn dropped(before: &Counters, after: &Counters, port: Port) -> Vec<(DropReason, u64)> {
    let count = |counters: &Counters, reason| counters.port(port).dropped_for(reason).packets;
    let counted = |reason| (reason, count(after, reason) - count(before, reason));
    DropReason::ALL.into_iter().map(counted).filter(|(_, frames)| *frames > 0).collect()
}
