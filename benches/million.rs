//! A million TCP connections: what they take of memory and time, coming, being used, being found and going away, beside a
//! thousand; and whether tuples that someone chose cost more than tuples at random. Repeat with `cargo bench --bench million`.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "benches stop at the first surprise and print what they saw"
)]

#[path = "support/table.rs"]
mod table;

use std::hash::RandomState;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use classifier::compile::{Limits, compile};
use classifier::packet::protocol;
use dataplane::counters::CounterBlock;
use dataplane::device::{BATCH_FRAMES, Port};
use dataplane::disposition::{Disposition, DropReason};
use dataplane::flow::{Admission, Connection, End, FlowKey, FlowTable, State};
use dataplane::fragment::{FragmentLimits, Fragments};
use dataplane::moment::Moment;
use dataplane::pipeline::{Parts, Pipeline, PortRules};
use dataplane::policy::PolicySlot;
use dataplane::worker::Judge;
use etherparse::PacketBuilder;
use fastrand::Rng;
use ravelin::support::meter::{Memory, cpu_seconds};
use ravelin::support::{ALLOWED_PORT, policy_set, steps};
use table::{Bound, Row, Seen};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SLOTS: usize = 1 << 21;
const FEW: u32 = 1_000;
const MANY: u32 = 1_000_000;
const PACKETS: usize = 1 << 18;
const ROUNDS: usize = 5;
const SYN: u8 = 2;
const ACK: u8 = 16;
const BEGINNING: Duration = Duration::from_secs(10);

/// A pipeline in memory, and the frames of a batch.
struct Gate {
    pipeline: Pipeline,
    flows: Arc<FlowTable>,
    now: Duration,
}

fn main() {
    // First, so that its memory is not that of the other.
    let many = of(MANY);
    let few = of(FEW);
    let per_flow = Row {
        what: format!("{MANY} TCP connections: memory of the table, for each"),
        unit: "B",
        ours: many.memory,
        bar: Bound { at_most: Some(512.0), ..Bound::default() },
        ..Row::default()
    };
    println!("{}: {:.0} B", per_flow.what, per_flow.ours.median);
    let mut rows = vec![per_flow];
    let mut add = |what: &str, unit, seen: [Seen; 2], bar: Bound| {
        let [ours, peer] = seen;
        let what = format!("{MANY} TCP connections: {what}");
        println!("{what}: {:.1} {unit}, with {FEW} {:.1}", ours.median, peer.median);
        let peer = Some((format!("{FEW} of them"), peer));
        rows.push(Row { what, unit, ours, peer, bar, goal: Bound::default() });
    };
    let times = |times_peer: f64| Bound { times_peer: Some(times_peer), ..Bound::default() };
    add("open one, three packets", "ns", [many.open, few.open], Bound::default());
    add("a packet of any of them alike", "ns", [many.packet, few.packet], times(1.5));
    add("lookup alone, any of them alike", "ns", [many.lookup, few.lookup], times(1.5));
    add("sweep, nothing due", "µs/s", [many.idle, few.idle], Bound::default());
    add("expiry of each", "ns", [many.expiry, few.expiry], Bound::default());
    rows.push(attack());
    table::record("million", &rows);
}

/// What so many connections cost.
struct Costs {
    memory: Seen,
    open: Seen,
    packet: Seen,
    lookup: Seen,
    idle: Seen,
    expiry: Seen,
}

fn of(connections: u32) -> Costs {
    let before = Memory::Resident.of_this_process();
    let mut gate = Gate::new();
    let open = gate.open_all(connections);
    let memory = (Memory::Resident.of_this_process() - before) * 1e6 / f64::from(connections);
    assert_eq!(gate.flows.live(), u64::from(connections), "each is there");
    let mut rng = Rng::with_seed(5);
    let (mut packet, mut lookup) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let asked: Vec<u32> = (0..PACKETS).map(|_| rng.u32(..connections)).collect();
        packet.push(gate.use_each(&asked));
        lookup.push(gate.find_each(&asked));
    }
    let idle = gate.sweep(Duration::from_secs(1)) * 1e6;
    gate.now += Duration::from_secs(7_441);
    let mut expiry = 0.0;
    while gate.flows.live() > 0 {
        expiry += gate.sweep(Duration::from_millis(100));
    }
    let one = |figure: f64| Seen::of(vec![figure]);
    Costs {
        memory: one(memory),
        open: one(open),
        packet: Seen::of(packet),
        lookup: Seen::of(lookup),
        idle: one(idle),
        expiry: one(expiry * 1e9 / f64::from(connections)),
    }
}

impl Gate {
    fn new() -> Self {
        let mut set = policy_set(10);
        for rule in set.policies.iter_mut().flat_map(|policy| &mut policy.ingress) {
            rule.protocol = Some(protocol::TCP);
        }
        let slot = PolicySlot::new();
        let image = compile(&set, 1, &Limits::default()).expect("a policy that compiles");
        slot.publish(Arc::new(image));
        let [outside, inside] = steps::SIDES;
        let port = |side| PortRules { side, pass_non_ip: false, pick_up: false };
        let flows = Arc::new(FlowTable::new(SLOTS, RandomState::new()));
        let pipeline = Pipeline::new(Parts {
            ports: [port(outside), port(inside)],
            sanity: Arc::default(),
            keep_on_policy_change: false,
            policy: slot.reader(),
            flows: Arc::clone(&flows),
            fragments: Fragments::new(FragmentLimits::default(), RandomState::new()),
            counters: Arc::new(CounterBlock::new()),
            records: rtrb::RingBuffer::new(1024).0,
            wall_offset_ns: 0,
        });
        Self { pipeline, flows, now: BEGINNING }
    }

    /// Nanoseconds for each connection.
    fn open_all(&mut self, connections: u32) -> f64 {
        let mut seconds = 0.0;
        for first in (0..connections).step_by(BATCH_FRAMES) {
            let batch = first..connections.min(first + BATCH_FRAMES as u32);
            let frames = |flags, reply| batch.clone().map(move |of| frame(of, flags, reply, 0));
            seconds += self.judge(Port::A, &frames(SYN, false).collect::<Vec<_>>());
            seconds += self.judge(Port::B, &frames(SYN | ACK, true).collect::<Vec<_>>());
            seconds += self.judge(Port::A, &frames(ACK, false).collect::<Vec<_>>());
        }
        seconds * 1e9 / f64::from(connections)
    }

    /// Nanoseconds for a packet with data of each.
    fn use_each(&mut self, connections: &[u32]) -> f64 {
        let mut seconds = 0.0;
        for batch in connections.chunks(BATCH_FRAMES) {
            let frames: Vec<_> = batch.iter().map(|of| frame(*of, ACK, false, 6)).collect();
            seconds += self.judge(Port::A, &frames);
        }
        seconds * 1e9 / connections.len() as f64
    }

    /// Nanoseconds to find each.
    fn find_each(&self, connections: &[u32]) -> f64 {
        let frames = |batch: &[u32]| batch.iter().map(|of| frame(*of, ACK, false, 0)).collect();
        let batches = connections.chunks(BATCH_FRAMES);
        let keys: Vec<Vec<FlowKey>> =
            batches.map(|batch| steps::keys(&Vec::from_iter::<Vec<_>>(frames(batch)))).collect();
        time_lookups(&self.flows, &keys, self.now.into()).iter().sum::<f64>()
            / connections.len() as f64
    }

    /// Seconds of processor time; every frame must pass.
    fn judge(&mut self, port: Port, frames: &[Vec<u8>]) -> f64 {
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let mut dispositions = vec![Disposition::Drop(DropReason::Internal); frames.len()];
        let started = cpu_seconds();
        self.pipeline.begin_batch(self.now);
        self.pipeline.judge_batch(port, &frames, &mut dispositions);
        self.pipeline.end_batch();
        let seconds = cpu_seconds() - started;
        assert!(dispositions.iter().all(|fate| *fate == Disposition::Forward), "{dispositions:?}");
        seconds
    }

    /// Seconds of processor time for so much time in steps of a millisecond without a frame.
    fn sweep(&mut self, duration: Duration) -> f64 {
        let end = self.now + duration;
        let started = cpu_seconds();
        while self.now < end {
            self.now += Duration::from_millis(1);
            self.pipeline.begin_batch(self.now);
            self.pipeline.end_batch();
        }
        cpu_seconds() - started
    }
}

/// Nanoseconds of processor time for each batch.
fn time_lookups(flows: &FlowTable, batches: &[Vec<FlowKey>], now: Moment) -> Vec<f64> {
    let mut found = [None; BATCH_FRAMES];
    let time = |keys: &Vec<FlowKey>| {
        let started = cpu_seconds();
        flows.find_batch(black_box(keys), now, &mut found);
        let nanos = (cpu_seconds() - started) * 1e9;
        assert!(found.iter().take(keys.len()).all(Option::is_some), "each is there");
        nanos
    };
    batches.iter().map(time).collect()
}

/// A frame of the connection with this number: client, port and the sequence numbers are its own.
fn frame(connection: u32, flags: u8, reply: bool, data: usize) -> Vec<u8> {
    let [_, above, high, low] = connection.to_be_bytes();
    let (client, server) = ([198, 18, high, low], [198, 19, 0, 1]);
    let (client_port, server_port) = (1024 + u16::from(above), ALLOWED_PORT);
    let (seq, ack) = (connection.wrapping_mul(77), connection.wrapping_mul(99));
    let opens = flags & SYN != 0;
    let (seq, ack) = match (reply, opens) {
        (false, true) => (seq, 0),
        (true, _) => (ack, seq.wrapping_add(1)),
        (false, false) => (seq.wrapping_add(1), ack.wrapping_add(1)),
    };
    let ends = [(client, client_port), (server, server_port)];
    let [(src, sport), (dst, dport)] = if reply { [ends[1], ends[0]] } else { ends };
    let tcp =
        PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(src, dst, 64).tcp(sport, dport, seq, 4_096);
    let tcp = if opens { tcp.syn() } else { tcp };
    let tcp = if flags & ACK != 0 { tcp.ack(ack) } else { tcp };
    let mut bytes = Vec::new();
    tcp.write(&mut bytes, &vec![7; data]).expect("a frame");
    bytes
}

/// Two hundred thousand flows whose tuples collide in all that can be seen of them (addresses and ports have one sum and one
/// difference), beside as many at random: 99th percentile of a batch's lookup.
fn attack() -> Row {
    const FLOWS: u32 = 200_000;
    let mut rng = Rng::with_seed(11);
    let chosen =
        (0..FLOWS).map(|number| udp(number.rotate_left(12), 0x7FFF - (number as u16 & 0xFFF)));
    let chosen = p99(&chosen.collect::<Vec<_>>());
    let random: Vec<_> = (0..FLOWS).map(|_| udp(rng.u32(..), rng.u16(1..))).collect();
    let random = p99(&random);
    let what = "chosen tuples: 99th percentile of a batch of 64 lookups".to_owned();
    println!("{what}: {:.0} ns, at random {:.0}", chosen.median, random.median);
    Row {
        what,
        unit: "ns",
        ours: chosen,
        peer: Some(("tuples at random".to_owned(), random)),
        bar: Bound { times_peer: Some(2.0), ..Bound::default() },
        goal: Bound::default(),
    }
}

fn p99(keys: &[FlowKey]) -> Seen {
    let flows = FlowTable::new(1 << 19, RandomState::new());
    let admission = Admission {
        opened_by: End::First,
        epoch: 1,
        state: State::UdpAnswered,
        connection: Connection::default(),
        is_limited: false,
    };
    for key in keys {
        flows.admit(key, admission, Moment::default()).expect("room");
    }
    let mut batches: Vec<_> = keys.chunks(BATCH_FRAMES).map(<[FlowKey]>::to_vec).collect();
    Rng::with_seed(3).shuffle(&mut batches);
    let round = |_| {
        let mut nanos = time_lookups(&flows, &batches, Moment::default());
        nanos.sort_by(f64::total_cmp);
        nanos.get(nanos.len() * 99 / 100).copied().expect("a batch")
    };
    Seen::of((0..ROUNDS).map(round).collect())
}

/// Of a source in 10.0.0.0/8.
fn udp(source: u32, port: u16) -> FlowKey {
    let source = (10 << 24) | (source & 0xFF_FFFF);
    let builder =
        PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source.to_be_bytes(), [198, 19, 0, 1], 64);
    let mut bytes = Vec::new();
    builder.udp(port, 53).write(&mut bytes, &[0; 18]).expect("a frame");
    *steps::keys(&[bytes]).first().expect("a key")
}
