//! The packet path neither allocates nor frees: a counting allocator says so.

#![expect(unsafe_code, reason = "an allocator that counts has to be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use classifier::image::Image;
use classifier::packet::protocol;
use classifier::resource::{Hook, Policy, StagedAction};
use dataplane::device::memory::MemoryDevice;
use dataplane::device::{BATCH_FRAMES, Port};
use dataplane::disposition::DropReason;
use dataplane::flow::FlowTable;
use dataplane::pipeline::Pipeline;
use dataplane::policy::PolicySlot;
use dataplane::worker::Worker;

use crate::support::frames::{ACK, ETHERNET, Layer, SYN, arp, frame, repair, tag};
use crate::support::gate::{RULES, pipeline};
use crate::support::pieces::pieces;
use crate::support::policy::{
    CLIENT, INTERFACES, SERVER, closed, compiled, guard_outer_port, ingress, rack, services,
    to_ports,
};

thread_local! {
    /// Allocations and releases of this thread: other tests run beside this one.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches a cell of this thread that needs
// neither initialisation nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller keeps the contract of `dealloc`, and the memory came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[test]
fn allocator_of_this_test_counts() {
    let before = CALLS.get();
    drop(std::hint::black_box(vec![1_u8; 100]));
    assert_eq!(CALLS.get() - before, 2);
}

#[test]
fn packets_of_every_kind_are_judged_without_allocating() {
    let slot = PolicySlot::of_ports(INTERFACES.map(str::to_owned));
    let flows = Arc::new(FlowTable::new(1 << 12, std::hash::RandomState::new()));
    let (pipeline, _, _records) = pipeline(RULES, &slot, &flows, 1 << 8);
    let device = MemoryDevice::new(4 * BATCH_FRAMES, 256, BATCH_FRAMES / 4);
    let mut worker = Worker::new(device, pipeline);
    let mut kinds = Kinds::new();
    slot.publish(ingress(1, services()));
    run(&mut worker, &mut kinds, 100);

    let mut judged = 0;
    for generation in 2..=8 {
        match generation {
            4 => slot.publish(untracked_and_staged(generation)),
            7 => slot.publish(closed(generation)),
            _ => slot.publish(ingress(generation, services())),
        }
        let before = CALLS.get();
        judged += run(&mut worker, &mut kinds, 600);
        assert_eq!(CALLS.get() - before, 0, "allocations or releases in generation {generation}");
    }
    assert!(judged >= 100_000, "{judged}");
    let counters = worker.judge().counters();
    assert!(counters.flows_started > 1_000 && flows.gave_way() > 1_000, "{counters:?}");
    assert!(counters.flows_cut > 0 && counters.pending_differs > 0, "{counters:?}");
    assert!(counters.records_queued > 0 && counters.records_lost > 0);
    let reached =
        |reason| Port::BOTH.iter().any(|p| counters.port(*p).dropped_for(reason).packets > 0);
    for reason in [
        DropReason::Malformed,
        DropReason::PolicyDenied,
        DropReason::TcpNotOpening,
        DropReason::SourceFlowLimit,
        DropReason::TransmitRingFull,
    ] {
        assert!(reached(reason), "{reason:?}");
    }
}

#[test]
fn fragments_wait_leave_and_give_way_without_allocating() {
    let slot = PolicySlot::of_ports(INTERFACES.map(str::to_owned));
    let flows = Arc::new(FlowTable::new(1 << 12, std::hash::RandomState::new()));
    let (pipeline, _, _records) = pipeline(RULES, &slot, &flows, 1 << 8);
    slot.publish(ingress(1, services()));
    let device = MemoryDevice::new(4 * BATCH_FRAMES, 256, BATCH_FRAMES / 4);
    let mut worker = Worker::new(device, pipeline);
    let mut rng = fastrand::Rng::with_seed(0x5eed_0507);
    let mut frames = Vec::new();
    for number in 0..400 {
        let family = usize::from(number % 2);
        let whole = frame(CLIENT[family], SERVER[family], Layer::Udp(number, 53 + number / 300));
        let mut some = pieces(&whole, number, &[8, 16, 24]);
        let again = some[rng.usize(..some.len())].clone();
        match number % 5 {
            0 => drop(some.pop()),
            1 => some.push(again),
            2 => some[1] = again,
            _ => {}
        }
        frames.extend(some);
    }
    // Near to each other, so that datagrams become whole, and far apart, so that memory is short and time is over.
    let mut far = frames.clone();
    rng.shuffle(&mut far);
    let (mut millis, mut before) = (0, 0);
    for round in 0..40 {
        if round == 4 {
            before = CALLS.get();
        }
        for frames in [&frames, &far] {
            for batch in frames.chunks(BATCH_FRAMES) {
                for frame in batch {
                    assert!(worker.device_mut().arrive(Port::A, frame));
                }
                millis += 700;
                worker.round(Duration::from_millis(millis));
                worker.device_mut().drain(Port::B, |_| ());
            }
        }
        millis += 31_000;
        worker.round(Duration::from_millis(millis));
    }
    assert_eq!(CALLS.get() - before, 0, "allocations or releases");
    let port = worker.judge().counters().port(Port::A);
    assert!(port.forwarded.packets > 1_000, "{port:?}");
    for reason in [
        DropReason::FragmentOverlap,
        DropReason::FragmentLimit,
        DropReason::FragmentTimeout,
        DropReason::PolicyDenied,
        DropReason::TransmitRingFull,
    ] {
        assert!(port.dropped_for(reason).packets > 0, "{reason:?}");
    }
}

/// Allows the services, one of them without state, and stages a policy that allows nothing.
fn untracked_and_staged(generation: u64) -> Arc<Image> {
    let mut set = rack(services(), Vec::new());
    guard_outer_port(&mut set, Hook::Untracked, vec![to_ports(protocol::UDP, [53])]);
    let staged = Policy { staged: Some(StagedAction::Set), ..set.policies[0].clone() };
    set.policies.push(Policy { ingress: Vec::new(), ..staged });
    compiled(&set, generation)
}

/// Lets this many batches of every kind pass; returns how many frames were judged.
fn run(worker: &mut Worker<MemoryDevice, Pipeline>, kinds: &mut Kinds, batches: u64) -> usize {
    let mut judged = 0;
    for _ in 0..batches {
        for index in 0..BATCH_FRAMES {
            let (port, bytes) = kinds.next(index);
            assert!(worker.device_mut().arrive(port, bytes));
        }
        kinds.millis += 200;
        judged += worker.round(Duration::from_millis(kinds.millis));
        for port in Port::BOTH {
            worker.device_mut().drain(port, |_| ());
        }
    }
    judged
}

/// Frames made before, so that making them is not counted.
struct Kinds {
    frames: Vec<(Port, Vec<u8>)>,
    fresh: [Vec<u8>; 2],
    count: u32,
    millis: u64,
}

impl Kinds {
    fn new() -> Self {
        let mut frames = vec![(Port::A, arp()), (Port::A, vec![1; 9])];
        for (client, server) in CLIENT.into_iter().zip(SERVER) {
            let there = [
                Layer::Tcp(9, 22, SYN),
                Layer::Tcp(9, 22, ACK),
                Layer::Udp(9, 53),
                Layer::Udp(9, 99),
                Layer::Ping(7),
                Layer::Tcp(8, 22, ACK),
                Layer::Icmp(3, 1),
            ];
            let back = [Layer::Tcp(22, 9, SYN | ACK), Layer::Udp(53, 9), Layer::Pong(7)];
            frames.extend(there.map(|layer| (Port::A, frame(client, server, layer))));
            frames.extend(back.map(|layer| (Port::B, frame(server, client, layer))));
            let bytes = frame(client, server, Layer::Udp(9, 53));
            frames.push((Port::A, tag(&bytes, 0x8100, 5)));
            frames.push((Port::A, bytes[..40].to_vec()));
        }
        let fresh = [0, 1].map(|family| frame(CLIENT[family], SERVER[family], Layer::Udp(1, 53)));
        Self { frames, fresh, count: 0, millis: 0 }
    }

    /// Every second frame opens a flow of its own.
    fn next(&mut self, index: usize) -> (Port, &[u8]) {
        self.count += 1;
        if index.is_multiple_of(2) {
            let (port, bytes) = &self.frames[(self.count / 2) as usize % self.frames.len()];
            return (*port, bytes);
        }
        let family = (self.count / 2) as usize % 2;
        let header = if family == 0 { 20 } else { 40 };
        let bytes = &mut self.fresh[family];
        // The source address's last bytes and the source port.
        let number = self.count.to_be_bytes();
        let source = ETHERNET + header - if family == 0 { 6 } else { 18 };
        bytes[source] = number[1];
        bytes[ETHERNET + header..ETHERNET + header + 2].copy_from_slice(&number[2..]);
        repair(bytes);
        (Port::A, bytes)
    }
}
