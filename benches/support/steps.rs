//! What a batch of packets meets step by step, for the benches of time and of instructions: the same frames, policy and
//! flows in both.

use std::hash::RandomState;
use std::sync::Arc;

use classifier::compile::{Limits, compile};
use classifier::image::Image;
use classifier::packet::{Crossing, PacketKey, Side};
use dataplane::counters::CounterBlock;
use dataplane::device::memory::MemoryDevice;
use dataplane::device::{BATCH_FRAMES, Port};
use dataplane::flow::{Admission, Connection, End, FlowKey, FlowTable, State};
use dataplane::fragment::{FragmentLimits, Fragments};
use dataplane::moment::Moment;
use dataplane::parse::{Parsed, parse};
use dataplane::pipeline::{Parts, Pipeline, PortRules};
use dataplane::policy::PolicySlot;
use dataplane::sanity::Sanity;
use dataplane::worker::Worker;
use etherparse::PacketBuilder;

use super::{ALLOWED_PORT, policy_set};

/// From outside to inside.
pub const INWARD: Crossing = Crossing::sides(Side::Outside, Side::Inside);
/// Of the two ports.
pub const SIDES: [Side; 2] = [Side::Outside, Side::Inside];

/// A 64-byte UDP frame to the port, as `flow` numbers its source.
///
/// # Panics
/// Never: a frame of this size can be written.
#[must_use]
pub fn frame(flow: u32, port: u16) -> Vec<u8> {
    let [_, high, middle, low] = flow.to_be_bytes();
    let source = [198, 18, high.wrapping_add(middle), low];
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source, [198, 19, 0, 1], 64);
    let mut bytes = Vec::new();
    let source_port = 1024 + u16::from_be_bytes([middle & 0x7F, low]);
    builder.udp(source_port, port).write(&mut bytes, &[0; 18]).expect("a frame");
    bytes
}

/// A batch of them, of flows that follow one another.
#[must_use]
pub fn frames(first: u32, port: u16) -> Vec<Vec<u8>> {
    (first..).take(BATCH_FRAMES).map(|flow| frame(flow, port)).collect()
}

/// What the classifier is asked of the frames.
#[must_use]
pub fn questions(frames: &[Vec<u8>]) -> Vec<(PacketKey, Crossing)> {
    packets(frames).into_iter().map(|packet| (packet.key, INWARD)).collect()
}

/// What the flow table is asked of them.
///
/// # Panics
/// When a frame is none of ours.
#[must_use]
pub fn keys(frames: &[Vec<u8>]) -> Vec<FlowKey> {
    let key = |packet| FlowKey::of(&packet, Port::A).expect("a flow").0;
    packets(frames).into_iter().map(key).collect()
}

fn packets(frames: &[Vec<u8>]) -> Vec<dataplane::parse::Packet> {
    let sanity = Sanity::default();
    let packet = |frame: &Vec<u8>| match parse(frame, &sanity, Port::A) {
        Ok(Parsed::Ip(packet)) => packet,
        other => panic!("a packet, not {other:?}"),
    };
    frames.iter().map(packet).collect()
}

/// The policy of so many rules, of which the last allows.
///
/// # Panics
/// When it does not compile.
#[must_use]
pub fn image(rules: u16) -> Arc<Image> {
    Arc::new(compile(&policy_set(rules), 1, &Limits::default()).expect("a policy that compiles"))
}

/// A table with room for `slots` flows, in which those of the keys are.
///
/// # Panics
/// When there is no room for them.
#[must_use]
pub fn table(keys: &[FlowKey], slots: usize) -> FlowTable {
    let table = FlowTable::new(slots, RandomState::new());
    let admission = Admission {
        opened_by: End::First,
        epoch: 1,
        state: State::UdpAnswered,
        connection: Connection::default(),
        is_limited: false,
    };
    for key in keys {
        table.admit(key, admission, Moment::default()).expect("room");
    }
    table
}

/// A worker on the device in memory.
#[must_use]
pub fn worker(rules: u16, slots: usize) -> Worker<MemoryDevice, Pipeline> {
    let slot = PolicySlot::new();
    slot.publish(image(rules));
    let port = |side| PortRules { side, pass_non_ip: false, pick_up: false };
    // Nobody drains the records here: a full queue is the costliest case, and the bench is of the packet path.
    let (records, _) = rtrb::RingBuffer::new(1024);
    let pipeline = Pipeline::new(Parts {
        ports: [port(Side::Outside), port(Side::Inside)],
        sanity: Arc::default(),
        keep_on_policy_change: false,
        policy: slot.reader(),
        flows: Arc::new(FlowTable::new(slots, RandomState::new())),
        fragments: Fragments::new(FragmentLimits::default(), RandomState::new()),
        counters: Arc::new(CounterBlock::new()),
        records,
        wall_offset_ns: 0,
    });
    Worker::new(MemoryDevice::new(4 * BATCH_FRAMES, 128, BATCH_FRAMES), pipeline)
}

/// Puts the frames where the worker finds them.
///
/// # Panics
/// When the device has no room for them.
pub fn offer(worker: &mut Worker<MemoryDevice, Pipeline>, frames: &[Vec<u8>]) {
    for frame in frames {
        assert!(worker.device_mut().arrive(Port::A, frame), "the device takes a batch");
    }
}

/// A destination port that no rule allows.
pub const DENIED_PORT: u16 = 1;
/// The destination port of allowed traffic.
pub const OPEN_PORT: u16 = ALLOWED_PORT;
