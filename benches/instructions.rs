//! How many instructions the steps of a packet take, a batch of 64 at a time: unlike times, these do not depend on what else
//! the machine does. Repeat with `cargo bench --bench instructions`; it needs valgrind and gungraun's runner, which
//! `make setup-bench` installs, and compares with the run before.
#![expect(missing_docs, unused_qualifications, reason = "the macros of the bench write them")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use classifier::decision::Decision;
use classifier::image::Image;
use classifier::packet::{Crossing, PacketKey};
use dataplane::device::memory::MemoryDevice;
use dataplane::device::{BATCH_FRAMES, Port};
use dataplane::flow::{FlowKey, FlowTable, SLOTS_MIN};
use dataplane::moment::Moment;
use dataplane::parse::parse;
use dataplane::pipeline::Pipeline;
use dataplane::sanity::Sanity;
use dataplane::worker::Worker;
use gungraun::{library_benchmark, library_benchmark_group, main};
use ravelin::support::steps::{
    DENIED_PORT, OPEN_PORT, frames, image, keys, offer, questions, table, worker,
};

type Frames = Vec<Vec<u8>>;
/// Room enough that every flow is in its first bucket.
const SLOTS: usize = 512 * SLOTS_MIN;

fn open_frames() -> Frames {
    frames(0, OPEN_PORT)
}

fn frames_and_checks() -> (Frames, Sanity) {
    (open_frames(), Sanity::default())
}

#[library_benchmark]
#[bench::udp_v4(setup = frames_and_checks)]
fn parse_batch((frames, sanity): (Frames, Sanity)) -> (Frames, Sanity) {
    for frame in &frames {
        let _ = black_box(parse(black_box(frame), &sanity, Port::A));
    }
    (frames, sanity)
}

fn asked(rules: u16) -> (Arc<Image>, Vec<(PacketKey, Crossing)>) {
    (image(rules), questions(&open_frames()))
}

#[library_benchmark]
#[bench::rules_1(args = (1), setup = asked)]
#[bench::rules_1000(args = (1_000), setup = asked)]
fn classify_batch(
    (image, questions): (Arc<Image>, Vec<(PacketKey, Crossing)>),
) -> (Arc<Image>, Vec<(PacketKey, Crossing)>) {
    let mut decisions = [Decision::NOTHING_APPLIES; BATCH_FRAMES];
    image.view().classify_batch(black_box(&questions), &mut decisions);
    black_box(&decisions);
    (image, questions)
}

fn known() -> (FlowTable, Vec<FlowKey>) {
    let keys = keys(&open_frames());
    (table(&keys, SLOTS), keys)
}

#[library_benchmark]
#[bench::hit(setup = known)]
fn flow_batch((table, keys): (FlowTable, Vec<FlowKey>)) -> (FlowTable, Vec<FlowKey>) {
    let mut found = [None; BATCH_FRAMES];
    table.find_batch(black_box(&keys), Moment::default(), &mut found);
    black_box(&found);
    (table, keys)
}

/// A worker with a batch at its door; it has seen the same flows before when `known`.
fn waiting(port: u16, known: bool) -> Worker<MemoryDevice, Pipeline> {
    let mut worker = worker(1_000, SLOTS);
    let frames = frames(0, port);
    if known {
        offer(&mut worker, &frames);
        worker.round(Duration::ZERO);
        worker.device_mut().drain(Port::B, |_| ());
    }
    offer(&mut worker, &frames);
    worker
}

#[library_benchmark]
#[bench::established(args = (OPEN_PORT, true), setup = waiting)]
#[bench::new_flow(args = (OPEN_PORT, false), setup = waiting)]
#[bench::denied(args = (DENIED_PORT, false), setup = waiting)]
fn pipeline_batch(mut worker: Worker<MemoryDevice, Pipeline>) -> Worker<MemoryDevice, Pipeline> {
    black_box(worker.round(Duration::ZERO));
    worker
}

library_benchmark_group!(
    name = steps;
    benchmarks = parse_batch, classify_batch, flow_batch, pipeline_batch
);

main!(library_benchmark_groups = steps);
