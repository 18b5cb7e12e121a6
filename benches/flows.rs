//! What it costs to find the flow of a packet among a million live ones, in a batch and one by one. Repeat with
//! `cargo bench --bench flows`.
#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "benches stop at the first surprise and print what they saw"
)]

#[path = "support/table.rs"]
mod table;

use std::hint::black_box;

use dataplane::device::BATCH_FRAMES;
use dataplane::flow::{FlowKey, FlowTable};
use dataplane::moment::Moment;
use fastrand::Rng;
use ravelin::support::meter::cpu_seconds;
use ravelin::support::steps;
use table::{Bound, Row, Seen};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const LOOKUPS: usize = 1 << 19;

fn main() {
    let rows = [(1_000, 1 << 18), (1_000_000, 1 << 21)].map(|(live, slots)| of(live, slots));
    table::record("flows", rows.concat().as_slice());
}

/// A table with so many live flows, asked for any of them alike.
fn of(live: u32, slots: usize) -> Vec<Row> {
    let keys: Vec<FlowKey> = (0..live).map(key).collect();
    let table = steps::table(&keys, slots);
    let mut rng = Rng::with_seed(5);
    let asked: Vec<FlowKey> = (0..LOOKUPS).map(|_| key(rng.u32(..live))).collect();
    let (mut together, mut apart) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        together.push(time(&asked, |keys| in_batches(&table, keys)));
        apart.push(time(&asked, |keys| one_by_one(&table, keys)));
    }
    let bound = |at_most: f64| Bound {
        at_most: (live == 1_000_000).then_some(at_most),
        ..Bound::default()
    };
    let what = format!("established flow, {live} live, {slots} places, any alike");
    let (together, apart) = (Seen::of(together), Seen::of(apart));
    println!("{what}: {:.1} ns in batches, {:.1} one by one", together.median, apart.median);
    vec![Row {
        what,
        unit: "ns",
        ours: together,
        peer: Some(("one by one".to_owned(), apart)),
        bar: bound(25.0),
        goal: bound(12.0),
    }]
}

/// Each number is another flow: two bytes of the source address and fifteen bits of its port.
fn key(number: u32) -> FlowKey {
    let frame = steps::frame(number, steps::OPEN_PORT);
    *steps::keys(&[frame]).first().expect("a key")
}

fn in_batches(table: &FlowTable, keys: &[FlowKey]) {
    let mut found = [None; BATCH_FRAMES];
    for keys in keys.chunks(BATCH_FRAMES) {
        table.find_batch(black_box(keys), Moment::default(), &mut found);
        black_box(&found);
    }
}

fn one_by_one(table: &FlowTable, keys: &[FlowKey]) {
    for key in keys {
        black_box(table.find(black_box(key), Moment::default()));
    }
}

/// Nanoseconds of this thread's processor time for each key.
fn time(keys: &[FlowKey], find: impl Fn(&[FlowKey])) -> f64 {
    let started = cpu_seconds();
    find(keys);
    (cpu_seconds() - started) * 1e9 / keys.len() as f64
}
