//! What a frame costs from receive ring to transmit ring, on the device in memory: no kernel, all of our own code, and one
//! copy of each frame into the device's memory. Repeat with `cargo bench --bench pipeline`. Times are for a batch of 64
//! frames; the throughput line is for one.

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::device::{BATCH_FRAMES, Port};
use dataplane::flow::SLOTS_DEFAULT;
use ravelin::support::steps::{DENIED_PORT, OPEN_PORT, frames, offer, worker};

/// Longer than any UDP flow may be silent.
const EXPIRY: Duration = Duration::from_secs(400);

fn run(criterion: &mut Criterion, name: &str, rules: u16, port: u16, new_flows: bool) {
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(BATCH_FRAMES as u64));
    let mut worker = worker(rules, SLOTS_DEFAULT);
    let mut flow = 0_u32;
    let mut batch = |new: bool| -> Vec<Vec<u8>> {
        let first = if new { flow } else { 0 };
        flow = flow.wrapping_add(u32::try_from(BATCH_FRAMES).unwrap_or_default());
        frames(first, port)
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
        run(criterion, "established", rules, OPEN_PORT, false);
        run(criterion, "new-flow", rules, OPEN_PORT, true);
        run(criterion, "denied", rules, DENIED_PORT, false);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500));
    targets = pipeline
}
criterion_main!(benches);
