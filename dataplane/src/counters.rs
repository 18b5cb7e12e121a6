//! What became of every frame. A worker counts in plain memory and publishes once a batch; others read and sum.
//!
//! For each port, received = forwarded + held + the sum of drops, exactly, in every reading.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::device::Port;
use crate::disposition::{DropReason, Reasons};

const REASONS: usize = DropReason::ALL.len();
/// Numbers of one port: packets and bytes of received, forwarded, held and each drop reason; packets of each check that they
/// failed and passed all the same.
const PORT_WORDS: usize = 2 * (3 + REASONS) + REASONS;
/// Numbers of one worker.
const WORDS: usize = 2 * PORT_WORDS + 6;
/// Attempts to read a block between two publications, which take well under a microsecond each.
const READ_SPINS: u32 = 64;
/// Further attempts, `READ_PAUSE` apart, when the worker was interrupted in the middle of one. The bound is there so
/// that no reader can hang; a reading after all of them may be of two batches.
const READ_PAUSES: u32 = 1_000;
const READ_PAUSE: Duration = Duration::from_millis(1);

/// A number of packets and the bytes in them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes from the first of the Ethernet header to the last of the frame, without checksum.
    pub bytes: u64,
}

impl Count {
    pub(crate) fn note(&mut self, length: usize) {
        self.packets += 1;
        self.bytes += length as u64;
    }

    pub(crate) fn retract(&mut self, length: usize) {
        self.packets = self.packets.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(length as u64);
    }

    fn add(&mut self, other: Self) {
        let Self { packets, bytes } = other;
        self.packets += packets;
        self.bytes += bytes;
    }
}

/// What became of the frames that one port received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortCounters {
    /// Every frame taken from the port.
    pub received: Count,
    /// Those handed to the transmit ring of the other port.
    pub forwarded: Count,
    /// Those of them, fragments all, that wait for the rest of their datagram now.
    pub held: Count,
    /// Those dropped, by `DropReason::index`.
    pub dropped: [Count; REASONS],
    /// Packets that failed a check which is set to count only, by `DropReason::index` of the check.
    pub noticed: [u64; REASONS],
}

impl Default for PortCounters {
    fn default() -> Self {
        let none = Count::default();
        let (dropped, noticed) = ([none; REASONS], [0; REASONS]);
        Self { received: none, forwarded: none, held: none, dropped, noticed }
    }
}

impl PortCounters {
    /// Frames dropped for this reason.
    #[must_use]
    pub fn dropped_for(&self, reason: DropReason) -> Count {
        self.dropped.get(reason.index()).copied().unwrap_or_default()
    }

    /// Packets that failed this check and passed all the same.
    #[must_use]
    pub fn noticed_for(&self, reason: DropReason) -> u64 {
        self.noticed.get(reason.index()).copied().unwrap_or_default()
    }

    /// Frames dropped for any reason.
    #[must_use]
    pub fn dropped_in_all(&self) -> Count {
        let mut sum = Count::default();
        self.dropped.iter().for_each(|count| sum.add(*count));
        sum
    }

    /// Whether every received frame is accounted for, in packets and in bytes.
    #[must_use]
    pub fn balances(&self) -> bool {
        let mut accounted = self.forwarded;
        accounted.add(self.held);
        accounted.add(self.dropped_in_all());
        accounted == self.received
    }

    fn add(&mut self, other: &Self) {
        let Self { received, forwarded, held, dropped, noticed } = other;
        self.received.add(*received);
        self.forwarded.add(*forwarded);
        self.held.add(*held);
        for (sum, count) in self.dropped.iter_mut().zip(dropped) {
            sum.add(*count);
        }
        for (sum, count) in self.noticed.iter_mut().zip(noticed) {
            *sum += count;
        }
    }
}

/// The counters of one worker, or the sum of several.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// By receiving port.
    pub ports: [PortCounters; 2],
    /// Flows admitted.
    pub flows_started: u64,
    /// Flows that lost their permission when policy changed. Started = cut + ended + killed by people + those in the table.
    pub flows_cut: u64,
    /// Flows that ended: silent for too long, or over and replaced by a new one of the same endpoints.
    pub flows_ended: u64,
    /// Judgements that staged policies would have made the other way.
    pub pending_differs: u64,
    /// Flow records handed to the reporter.
    pub records_queued: u64,
    /// Flow records lost because the queue to the reporter was full.
    pub records_lost: u64,
}

impl Counters {
    /// What became of the frames that `port` received.
    #[must_use]
    pub fn port(&self, port: Port) -> &PortCounters {
        let [a, b] = &self.ports;
        if port == Port::A { a } else { b }
    }

    /// Adds another worker's counters.
    pub fn add(&mut self, other: &Self) {
        let Self {
            ports,
            flows_started,
            flows_cut,
            flows_ended,
            pending_differs,
            records_queued,
            records_lost,
        } = other;
        for (sum, port) in self.ports.iter_mut().zip(ports) {
            sum.add(port);
        }
        self.flows_started += flows_started;
        self.flows_cut += flows_cut;
        self.flows_ended += flows_ended;
        self.pending_differs += pending_differs;
        self.records_queued += records_queued;
        self.records_lost += records_lost;
    }

    /// A frame of `length` bytes was taken from `port`.
    pub(crate) fn note_received(&mut self, port: Port, length: usize) {
        self.port_mut(port).received.note(length);
    }

    /// It left by the other port.
    pub(crate) fn note_forwarded(&mut self, port: Port, length: usize) {
        self.port_mut(port).forwarded.note(length);
    }

    /// It was dropped.
    pub(crate) fn note_dropped(&mut self, port: Port, reason: DropReason, length: usize) {
        if let Some(count) = self.port_mut(port).dropped.get_mut(reason.index()) {
            count.note(length);
        }
    }

    /// It waits for the rest of its datagram.
    pub fn note_held(&mut self, port: Port, length: usize) {
        self.port_mut(port).held.note(length);
    }

    /// It waits no longer.
    pub fn note_no_longer_held(&mut self, port: Port, length: usize) {
        self.port_mut(port).held.retract(length);
    }

    /// These wait no longer and are dropped.
    pub(crate) fn note_given_up(&mut self, port: Port, reason: DropReason, frames: Count) {
        let counters = self.port_mut(port);
        counters.held.packets = counters.held.packets.saturating_sub(frames.packets);
        counters.held.bytes = counters.held.bytes.saturating_sub(frames.bytes);
        if let Some(count) = counters.dropped.get_mut(reason.index()) {
            count.add(frames);
        }
    }

    /// A packet failed checks that are set to count only.
    pub fn note_noticed(&mut self, port: Port, reasons: Reasons) {
        for reason in reasons.iter() {
            if let Some(count) = self.port_mut(port).noticed.get_mut(reason.index()) {
                *count += 1;
            }
        }
    }

    /// A frame that was noted as forwarded found no room in the transmit ring.
    pub(crate) fn note_unsent(&mut self, port: Port, length: usize) {
        self.port_mut(port).forwarded.retract(length);
        self.note_dropped(port, DropReason::TransmitRingFull, length);
    }

    fn port_mut(&mut self, port: Port) -> &mut PortCounters {
        let [a, b] = &mut self.ports;
        if port == Port::A { a } else { b }
    }

    fn words(&self) -> [u64; WORDS] {
        let Self {
            ports,
            flows_started,
            flows_cut,
            flows_ended,
            pending_differs,
            records_queued,
            records_lost,
        } = *self;
        let of_ports = ports.iter().flat_map(|port| {
            let PortCounters { received, forwarded, held, dropped, noticed } = port;
            let counts = [received, forwarded, held].into_iter().chain(dropped);
            counts.flat_map(|count| [count.packets, count.bytes]).chain(*noticed)
        });
        let mut words = of_ports.chain([
            flows_started,
            flows_cut,
            flows_ended,
            pending_differs,
            records_queued,
            records_lost,
        ]);
        array::from_fn(|_| words.next().unwrap_or_default())
    }

    fn from_words(words: &[u64; WORDS]) -> Self {
        let mut words = words.iter().copied();
        let mut word = move || words.next().unwrap_or_default();
        let ports = array::from_fn(|_| {
            let mut count = || Count { packets: word(), bytes: word() };
            let (received, forwarded, held) = (count(), count(), count());
            let dropped = array::from_fn(|_| count());
            let noticed = array::from_fn(|_| word());
            PortCounters { received, forwarded, held, dropped, noticed }
        });
        Self {
            ports,
            flows_started: word(),
            flows_cut: word(),
            flows_ended: word(),
            pending_differs: word(),
            records_queued: word(),
            records_lost: word(),
        }
    }
}

/// Where one worker publishes its counters. One writer, any number of readers, no lock.
///
/// A version around the numbers (odd while they are written) lets a reader see those of one batch only.
#[derive(Debug)]
pub struct CounterBlock {
    block: CachePadded<Block>,
}

#[derive(Debug)]
struct Block {
    version: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl CounterBlock {
    /// A block of zeros.
    #[must_use]
    pub fn new() -> Self {
        let words = array::from_fn(|_| AtomicU64::new(0));
        Self { block: CachePadded::new(Block { version: AtomicU64::new(0), words }) }
    }

    /// The counters as of the end of the worker's last batch. Not for workers: it may pause.
    #[must_use]
    pub fn read(&self) -> Counters {
        let mut read = [0; WORDS];
        for attempt in 0..READ_SPINS + READ_PAUSES {
            let before = self.block.version.load(Ordering::Acquire);
            for (value, word) in read.iter_mut().zip(&self.block.words) {
                *value = word.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.block.version.load(Ordering::Relaxed) == before {
                break;
            }
            if attempt < READ_SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(READ_PAUSE);
            }
        }
        Counters::from_words(&read)
    }

    /// Publishes `counters`. Only the worker that owns the block calls this.
    pub(crate) fn publish(&self, counters: &Counters) {
        let version = self.block.version.load(Ordering::Relaxed);
        self.block.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.block.words.iter().zip(counters.words()) {
            word.store(value, Ordering::Relaxed);
        }
        self.block.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

impl Default for CounterBlock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn counters_are_read_as_they_were_published() {
        let mut counters = Counters::default();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            for port in Port::BOTH {
                for _ in 0..=index + port.index() {
                    counters.note_received(port, 60 + index);
                    counters.note_dropped(port, reason, 60 + index);
                }
            }
        }
        counters.note_received(Port::B, 1514);
        counters.note_forwarded(Port::B, 1514);
        counters.note_received(Port::A, 100);
        counters.note_held(Port::A, 100);
        counters.note_noticed(Port::A, Reasons::default().with(DropReason::Land));
        counters.flows_started = 1;
        counters.flows_cut = 2;
        counters.flows_ended = 3;
        counters.records_queued = 4;
        counters.records_lost = 5;
        counters.pending_differs = 6;
        let block = CounterBlock::new();
        block.publish(&counters);
        assert_eq!(block.read(), counters);
        assert!(Port::BOTH.iter().all(|port| counters.port(*port).balances()));
        let mut doubled = block.read();
        doubled.add(&counters);
        assert_eq!(doubled.port(Port::B).forwarded, Count { packets: 2, bytes: 3028 });
        assert_eq!(doubled.records_lost, 10);
    }

    #[test]
    fn frame_that_is_not_accounted_for_is_noticed() {
        let mut counters = Counters::default();
        counters.note_received(Port::A, 60);
        assert!(!counters.port(Port::A).balances());
        counters.note_dropped(Port::A, DropReason::NonIp, 61);
        assert!(!counters.port(Port::A).balances(), "a byte too many");
    }

    #[test]
    fn every_reading_balances_while_the_worker_publishes() {
        let block = CounterBlock::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut counters = Counters::default();
                for round in 0..20_000 {
                    for port in Port::BOTH {
                        counters.note_received(port, 60);
                        counters.note_received(port, 61);
                        let reason = DropReason::ALL[round % REASONS];
                        counters.note_dropped(port, reason, 60);
                        counters.note_forwarded(port, 61);
                    }
                    block.publish(&counters);
                }
            });
            let mut last = 0;
            while last < 40_000 {
                let read = block.read();
                assert!(read.ports.iter().all(PortCounters::balances), "{read:?}");
                assert!(read.port(Port::A).received.packets >= last);
                last = read.port(Port::A).received.packets;
            }
        });
    }
}
