//! Two complementary policies swapped a thousand times under traffic: every packet is judged by one of them, whole.

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use classifier::image::Image;
use classifier::packet::protocol;
use classifier::resource::{Peer, PortRange, Rule};
use dataplane::device::Port;
use dataplane::disposition::Disposition;
use dataplane::flow::FlowTable;
use dataplane::pipeline::Pipeline;
use dataplane::policy::PolicySlot;
use dataplane::worker::Judge;

use crate::support::frames::{ETHERNET, Layer, frame, repair};
use crate::support::gate::{RULES, pipeline};
use crate::support::policy::{CLIENT, SERVER, anything, ingress};

const SWAPS: u64 = 1_000;
const BATCH: usize = 32;
const SEED: u64 = 0x5eed_0005;
/// Ports 0 to 31 are used; both policies deny from this one on.
const DENIED_BY_BOTH: u16 = 24;

/// What the policy of a generation says: source and destination port both odd, or both even. A mixture of the two
/// policies would let a packet with one odd and one even port through.
fn allows(generation: u64, source: u16, destination: u16) -> bool {
    let wanted = u16::from(!generation.is_multiple_of(2));
    source % 2 == wanted && destination % 2 == wanted && destination < DENIED_BY_BOTH
}

fn policy(generation: u64) -> Arc<Image> {
    let odd = u16::from(!generation.is_multiple_of(2));
    let every_second = |end: u16| {
        (odd..end).step_by(2).map(|port| PortRange { first: port, last: port }).collect()
    };
    let source = Peer { ports: every_second(32), ..Peer::default() };
    let destination = Peer { ports: every_second(DENIED_BY_BOTH), ..Peer::default() };
    let rule = Rule { protocol: Some(protocol::UDP), source, destination, ..anything() };
    ingress(generation, vec![rule])
}

/// Publishes each generation after some packets were judged in the one before. `ticks` has one for each batch, but keeps
/// one only: the first may be old, the second may come from a batch that began before.
fn swap(slot: &PolicySlot, images: Vec<Arc<Image>>, ticks: &Receiver<()>) {
    for image in images {
        slot.publish(image);
        for _ in 0..3 {
            ticks.recv().unwrap();
        }
    }
}

struct Traffic {
    random: fastrand::Rng,
    templates: [Vec<u8>; 2],
}

impl Traffic {
    fn new(seed: u64) -> Self {
        let templates =
            [0, 1].map(|family| frame(CLIENT[family], SERVER[family], Layer::Udp(1, 1)));
        Self { random: fastrand::Rng::with_seed(seed), templates }
    }

    /// A packet of a few hundred flows, its ports, and what became of it.
    fn send(&mut self, pipeline: &mut Pipeline) -> (u16, u16, bool) {
        let (source, destination) = (self.random.u16(..32), self.random.u16(..32));
        let family = self.random.usize(..2);
        let at = ETHERNET + if family == 0 { 20 } else { 40 };
        let bytes = &mut self.templates[family];
        bytes[at..at + 2].copy_from_slice(&source.to_be_bytes());
        bytes[at + 2..at + 4].copy_from_slice(&destination.to_be_bytes());
        repair(bytes);
        let passed = pipeline.judge(Port::A, bytes) == Disposition::Forward;
        (source, destination, passed)
    }
}

#[test]
fn every_batch_is_explained_by_exactly_one_generation() {
    println!("seed {SEED:#x}");
    let slot = PolicySlot::new();
    let flows = Arc::new(FlowTable::new(1 << 12, RandomState::new()));
    let (mut pipeline, _, mut records) = pipeline(RULES, &slot, &flows, 1 << 10);
    let images: Vec<_> = (1..=SWAPS).map(policy).collect();
    let (tick, ticks) = sync_channel(1);
    let done = AtomicBool::new(false);
    let mut seen = 0;
    let mut passed = 0;
    thread::scope(|scope| {
        let (slot, done) = (&slot, &done);
        scope.spawn(move || {
            swap(slot, images, &ticks);
            done.store(true, Ordering::Release);
        });
        let mut traffic = Traffic::new(SEED);
        let mut generation = 0;
        for number in 0.. {
            if done.load(Ordering::Acquire) {
                break;
            }
            pipeline.begin_batch(Duration::from_millis(number));
            let judged: Vec<_> = (0..BATCH).map(|_| traffic.send(&mut pipeline)).collect();
            pipeline.end_batch();
            let _ = tick.try_send(());
            let before = generation;
            while let Ok(record) = records.pop() {
                assert!(record.generation >= generation, "generations only go up");
                generation = record.generation;
            }
            if generation == 0 {
                assert!(judged.iter().all(|(_, _, passed)| !passed), "no policy, no packet");
                continue;
            }
            for (source, destination, passed_it) in judged {
                let expected = allows(generation, source, destination);
                assert_eq!(passed_it, expected, "{source} to {destination} in {generation}");
                passed += u64::from(passed_it);
            }
            seen += u64::from(generation > before);
        }
    });
    println!("{seen} generations judged, {passed} packets passed");
    assert!(seen >= SWAPS / 2 && passed > 1_000);
    pipeline.begin_batch(Duration::ZERO);
    assert_eq!(slot.reclaim(), 0, "every replaced image is freed");
}

#[test]
fn two_workers_with_one_flow_table_never_mix_policies() {
    println!("seed {SEED:#x}");
    let slot = PolicySlot::new();
    let flows = Arc::new(FlowTable::new(1 << 12, RandomState::new()));
    let images: Vec<_> = (1..=SWAPS).map(policy).collect();
    let (tick, ticks) = sync_channel(1);
    let done = AtomicBool::new(false);
    let work = |seed: u64| {
        let (mut pipeline, counters, _records) = pipeline(RULES, &slot, &flows, 1);
        let mut traffic = Traffic::new(seed);
        let mut passed = 0;
        for number in 0.. {
            if done.load(Ordering::Acquire) {
                break;
            }
            pipeline.begin_batch(Duration::from_millis(number));
            for _ in 0..BATCH {
                let (source, destination, passed_it) = traffic.send(&mut pipeline);
                let by_one = (1..=2).any(|generation| allows(generation, source, destination));
                assert!(by_one || !passed_it, "{source} to {destination} passed");
                passed += u64::from(passed_it);
            }
            pipeline.end_batch();
            let _ = tick.try_send(());
        }
        (passed, counters.read())
    };
    let outcomes = thread::scope(|scope| {
        let workers = [scope.spawn(|| work(SEED)), scope.spawn(|| work(SEED + 1))];
        swap(&slot, images, &ticks);
        done.store(true, Ordering::Release);
        workers.map(|worker| worker.join().unwrap())
    });
    let [(first, a), (second, b)] = outcomes;
    assert!(first > 1_000 && second > 1_000, "{first} and {second} passed");
    let mut sum = a;
    sum.add(&b);
    assert!(sum.port(Port::A).balances());
    assert_eq!(
        sum.flows_started,
        sum.flows_cut + sum.flows_ended + flows.gave_way() + flows.live()
    );
}
