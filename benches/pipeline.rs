//! What a frame costs from receive ring to transmit ring, on the device in memory: no kernel, all of our own code, and one
//! copy of each frame into the device's memory. Repeat with `cargo bench --bench pipeline`. Times are for a batch of 64
//! frames; the throughput line is for one.
#![expect(clippy::expect_used, reason = "benches stop at the first surprise")]

mod support;

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use classifier::compile::{Limits, compile};
use classifier::packet::Side;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::counters::CounterBlock;
use dataplane::device::memory::MemoryDevice;
use dataplane::device::{BATCH_FRAMES, Port};
use dataplane::flow::{FlowTable, SLOTS_DEFAULT};
use dataplane::pipeline::{Parts, Pipeline, PortRules};
use dataplane::policy::PolicySlot;
use dataplane::worker::Worker;
use etherparse::PacketBuilder;
use support::{ALLOWED_PORT, policy_set};

/// Longer than any UDP flow may be silent.
const EXPIRY: Duration = Duration::from_secs(400);

type Bench = Worker<MemoryDevice, Pipeline>;

fn worker(rules: u16) -> Bench {
    let slot = PolicySlot::new();
    slot.publish(Arc::new(compile(&policy_set(rules), 1, &Limits::default()).expect("a policy")));
    let port = |side| PortRules { side, pass_non_ip: false };
    // Nobody drains the records here: a full queue is the costliest case, and the bench is of the packet path.
    let (records, _) = rtrb::RingBuffer::new(1024);
    let pipeline = Pipeline::new(Parts {
        ports: [port(Side::Outside), port(Side::Inside)],
        policy: slot.reader(),
        flows: Arc::new(FlowTable::new(SLOTS_DEFAULT, RandomState::new())),
        counters: Arc::new(CounterBlock::new()),
        records,
        wall_offset_ns: 0,
    });
    Worker::new(MemoryDevice::new(4 * BATCH_FRAMES, 128, BATCH_FRAMES), pipeline)
}

/// A 64-byte UDP frame, as `flow` numbers its source.
fn frame(flow: u32, port: u16) -> Vec<u8> {
    let [_, high, middle, low] = flow.to_be_bytes();
    let source = [198, 18, high.wrapping_add(middle), low];
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source, [198, 19, 0, 1], 64);
    let mut bytes = Vec::new();
    let source_port = 1024 + u16::from_be_bytes([middle & 0x7F, low]);
    builder.udp(source_port, port).write(&mut bytes, &[0; 18]).expect("a frame");
    bytes
}

fn offer(worker: &mut Bench, frames: &[Vec<u8>]) {
    for frame in frames {
        assert!(worker.device_mut().arrive(Port::A, frame), "the device takes a batch");
    }
}

fn run(criterion: &mut Criterion, name: &str, rules: u16, port: u16, new_flows: bool) {
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(BATCH_FRAMES as u64));
    let mut worker = worker(rules);
    let mut flow = 0_u32;
    let mut batch = |new: bool| -> Vec<Vec<u8>> {
        let first = if new { flow } else { 0 };
        flow = flow.wrapping_add(u32::try_from(BATCH_FRAMES).unwrap_or_default());
        (first..).take(BATCH_FRAMES).map(|flow| frame(flow, port)).collect()
    };
    let (mut now, mut batches) = (Duration::ZERO, 0_u32);
    group.bench_function(format!("{name}/rules-{rules}"), |bench| {
        bench.iter_batched(
            || batch(new_flows),
            |frames| {
                offer(&mut worker, &frames);
                // New flows every time would fill the table: before it is half full, all of them expire.
                batches += 1;
                now += if new_flows && batches % 2_048 == 0 { EXPIRY } else { Duration::ZERO };
                worker.round(now);
                worker.device_mut().drain(Port::B, |_| ())
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn pipeline(criterion: &mut Criterion) {
    for rules in [1, 100, 1_000] {
        run(criterion, "established", rules, ALLOWED_PORT, false);
        run(criterion, "new-flow", rules, ALLOWED_PORT, true);
        run(criterion, "denied", rules, 1, false);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500));
    targets = pipeline
}
criterion_main!(benches);
