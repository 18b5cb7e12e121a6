//! A worker with everything around it, whose accounts are checked after every frame: port A faces outside.

use std::hash::RandomState;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use classifier::compile::{Limits, compile};
use classifier::image::Image;
use classifier::packet::{Side, protocol};
use classifier::record::FlowRecord;
use classifier::resource::{
    Action, IcmpMatch, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule,
};
use classifier::selector::Selector;
use dataplane::counters::CounterBlock;
use dataplane::device::Port;
use dataplane::device::memory::MemoryDevice;
use dataplane::flow::FlowTable;
use dataplane::fragment::{FragmentLimits, Fragments};
use dataplane::pipeline::{Parts, Pipeline, PortRules};
use dataplane::policy::PolicySlot;
use dataplane::sanity::Sanity;
use dataplane::worker::Worker;
use rtrb::{Consumer, RingBuffer};

/// The server behind the gateway.
pub(crate) const SERVER: [u8; 4] = [198, 18, 70, 9];

/// What is the same for all inputs, made once.
static REFERENCE: LazyLock<Arc<Image>> = LazyLock::new(reference);
static SANITY: LazyLock<Arc<Sanity>> = LazyLock::new(Arc::default);

pub(crate) struct Gate {
    pub(crate) worker: Worker<MemoryDevice, Pipeline>,
    flows: Arc<FlowTable>,
    published: Arc<CounterBlock>,
    now: Duration,
    /// Frames that came in and did not leave, by port.
    inside: [Vec<Vec<u8>>; 2],
    _slot: PolicySlot,
    _records: Consumer<FlowRecord>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let slot = PolicySlot::new();
        slot.publish(Arc::clone(&REFERENCE));
        let flows = Arc::new(FlowTable::new(64, RandomState::new()));
        let (records, consumer) = RingBuffer::new(16);
        let published = Arc::new(CounterBlock::new());
        let port = |side| PortRules { side, pass_non_ip: false, pick_up: false };
        let limits = FragmentLimits { bytes: 64 << 10, datagrams: 16, ..FragmentLimits::default() };
        let pipeline = Pipeline::new(Parts {
            ports: [port(Side::Outside), port(Side::Inside)],
            sanity: Arc::clone(&SANITY),
            keep_on_policy_change: false,
            policy: slot.reader(),
            flows: Arc::clone(&flows),
            fragments: Fragments::new(limits, RandomState::new()),
            counters: Arc::clone(&published),
            records,
            wall_offset_ns: 0,
        });
        let worker = Worker::new(MemoryDevice::new(64, 2_048, 48), pipeline);
        let now = Duration::from_secs(1);
        let inside = [Vec::new(), Vec::new()];
        Self { worker, flows, published, now, inside, _slot: slot, _records: consumer }
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// What leaves when this frame comes in by `port`: frames that came in by it, each once.
    pub(crate) fn send(&mut self, port: Port, frame: &[u8]) -> Vec<Vec<u8>> {
        assert!(self.worker.device_mut().arrive(port, frame), "no frame was lost before");
        self.inside[port.index()].push(frame.to_vec());
        self.worker.round(self.now);
        let mut left = Vec::new();
        self.worker.device_mut().drain(port.other(), |frame| left.push(frame.to_vec()));
        let mut sent_back = 0;
        self.worker.device_mut().drain(port, |_| sent_back += 1);
        assert_eq!(sent_back, 0, "nothing goes back where it came from");
        for frame in &left {
            let inside = &mut self.inside[port.index()];
            let known = inside.iter().position(|known| known == frame);
            inside.remove(known.expect("what leaves came in, once"));
        }
        let counters = self.published.read();
        assert!(counters.ports.iter().all(dataplane::counters::PortCounters::balances));
        let ended = counters.flows_cut + counters.flows_ended + self.flows.gave_way();
        assert_eq!(counters.flows_started, ended + self.flows.live());
        left
    }
}

/// Permits TCP 80, UDP 53 and echo towards the server, and nothing from it.
fn reference() -> Arc<Image> {
    let to = |number: u8, port: u16| Rule {
        protocol: Some(number),
        destination: Peer { ports: vec![PortRange { first: port, last: port }], ..Peer::default() },
        ..Rule::new(Action::Allow)
    };
    let echo = Rule {
        protocol: Some(protocol::ICMP),
        icmp: Some(IcmpMatch { kind: 8, code: None }),
        ..Rule::new(Action::Allow)
    };
    let mut set = PolicySet::new();
    set.objects.push(Object {
        kind: ObjectKind::GlobalNetworkSet,
        name: "rack".to_owned(),
        labels: [("role", "server")].into_iter().collect(),
        nets: vec!["198.18.70.0/24".parse().expect("a prefix")],
        ..Object::new(ObjectKind::GlobalNetworkSet, "")
    });
    set.policies.push(Policy {
        name: "rack".to_owned(),
        tier: "default".to_owned(),
        selector: Selector::parse("role == 'server'").expect("a selector"),
        applies_ingress: true,
        applies_egress: true,
        ingress: vec![to(protocol::TCP, 80), to(protocol::UDP, 53), echo],
        ..Policy::new("")
    });
    Arc::new(compile(&set, 1, &Limits::default()).expect("a policy that compiles"))
}
