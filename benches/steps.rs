//! What each step of a packet costs, a batch of 64 at a time: parse, the lookup of its flow, its classification; and what it
//! costs to publish a policy. Repeat with `cargo bench --bench steps`. The throughput line is for one packet.
#![expect(clippy::expect_used, reason = "benches stop at the first surprise")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use classifier::decision::Decision;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::device::{BATCH_FRAMES, Port};
use dataplane::flow::SLOTS_DEFAULT;
use dataplane::moment::Moment;
use dataplane::parse::parse;
use dataplane::policy::PolicySlot;
use dataplane::sanity::Sanity;
use ravelin::support::steps::{OPEN_PORT, frames, image, keys, questions, table};

fn parsing(criterion: &mut Criterion) {
    let sanity = Sanity::default();
    let frames = frames(0, OPEN_PORT);
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(BATCH_FRAMES as u64));
    group.bench_function("udp-v4/batch", |bench| {
        bench.iter(|| {
            for frame in &frames {
                let _ = black_box(parse(black_box(frame), &sanity, Port::A));
            }
        });
    });
    group.finish();
}

fn flows(criterion: &mut Criterion) {
    let frames = frames(0, OPEN_PORT);
    let (known, now) = (keys(&frames), Moment::default());
    let table = table(&known, SLOTS_DEFAULT);
    let mut found = [None; BATCH_FRAMES];
    let mut group = criterion.benchmark_group("flow");
    group.throughput(Throughput::Elements(BATCH_FRAMES as u64));
    group.bench_function("hit/one-by-one", |bench| {
        bench.iter(|| known.iter().filter(|key| table.find(key, now).is_some()).count());
    });
    group.bench_function("hit/batch", |bench| {
        bench.iter(|| {
            table.find_batch(black_box(&known), now, &mut found);
            black_box(&found);
        });
    });
    group.finish();
}

fn classification(criterion: &mut Criterion) {
    let questions = questions(&frames(0, OPEN_PORT));
    let mut decisions = [Decision::NOTHING_APPLIES; BATCH_FRAMES];
    let mut group = criterion.benchmark_group("classify");
    group.throughput(Throughput::Elements(BATCH_FRAMES as u64));
    for rules in [1, 10, 100, 1_000] {
        let image = image(rules);
        let view = image.view();
        group.bench_function(format!("v4/rules-{rules}/batch"), |bench| {
            bench.iter(|| {
                view.classify_batch(black_box(&questions), &mut decisions);
                black_box(&decisions);
            });
        });
    }
    group.finish();
}

/// To swap the pointer, and for a worker to notice.
fn publication(criterion: &mut Criterion) {
    let images = [image(10), image(100)];
    let slot = PolicySlot::new();
    let mut reader = slot.reader();
    let mut next = images.iter().cycle();
    criterion.bench_function("publish/to-one-worker", |bench| {
        bench.iter(|| {
            slot.publish(Arc::clone(next.next().expect("a cycle")));
            reader.refresh();
            black_box(reader.snapshot().is_some())
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500));
    targets = parsing, flows, classification, publication
}
criterion_main!(benches);
