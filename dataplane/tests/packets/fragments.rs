//! Fragments through a whole worker: a datagram passes as the packet that it is, or not at all.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use classifier::image::Image;
use classifier::packet::protocol;
use classifier::record::FlowRecord;
use dataplane::counters::{Count, CounterBlock, PortCounters};
use dataplane::device::Port;
use dataplane::device::memory::MemoryDevice;
use dataplane::disposition::DropReason;
use dataplane::flow::FlowTable;
use dataplane::fragment::{FragmentLimits, Fragments};
use dataplane::pipeline::{Parts, Pipeline};
use dataplane::policy::PolicySlot;
use dataplane::worker::Worker;
use etherparse::PacketBuilder;
use rtrb::Consumer;

use crate::support::frames::{ACK, ETHERNET, Layer, SYN, discovery, frame, repair, tagged};
use crate::support::gate::{RULES, pipeline};
use crate::support::pieces::pieces;
use crate::support::policy::{CLIENT, INTERFACES, SERVER, closed, ingress, services, to_ports};

/// A worker, and what it is told.
struct Bench {
    worker: Worker<MemoryDevice, Pipeline>,
    slot: PolicySlot,
    flows: Arc<FlowTable>,
    published: Arc<CounterBlock>,
    records: Consumer<FlowRecord>,
    now: Duration,
}

impl Bench {
    fn new(image: Arc<Image>) -> Self {
        let slot = PolicySlot::of_ports(INTERFACES.map(str::to_owned));
        let flows = Arc::new(FlowTable::new(1 << 13, RandomState::new()));
        let (pipeline, published, records) = pipeline(RULES, &slot, &flows, 1 << 13);
        slot.publish(image);
        let worker = Worker::new(MemoryDevice::new(512, 2048, 256), pipeline);
        Self { worker, slot, flows, published, records, now: Duration::from_secs(100) }
    }

    /// Sends frames in one round; returns those that leave by the other port.
    fn send(&mut self, port: Port, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        for frame in frames {
            assert!(self.worker.device_mut().arrive(port, frame));
        }
        self.worker.round(self.now);
        let device = self.worker.device_mut();
        assert_eq!((device.outstanding(), device.drain(port, |_| ())), (0, 0));
        let mut left = Vec::new();
        device.drain(port.other(), |bytes| left.push(bytes.to_vec()));
        assert!(self.published.read().ports.iter().all(PortCounters::balances));
        left
    }

    /// The same, each in a round of its own.
    fn send_each(&mut self, port: Port, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        frames.iter().flat_map(|frame| self.send(port, std::slice::from_ref(frame))).collect()
    }

    fn dropped(&self, port: Port, reason: DropReason) -> u64 {
        self.published.read().port(port).dropped_for(reason).packets
    }

    fn held(&self) -> u64 {
        let counters = self.published.read();
        Port::BOTH.iter().map(|port| counters.port(*port).held.packets).sum()
    }
}

/// A DNS query of that many bytes, from this port.
fn query(family: usize, from: u16, bytes: usize) -> Vec<u8> {
    udp(CLIENT[family], SERVER[family], [from, 53], bytes)
}

fn udp(src: &str, dst: &str, [from, to]: [u16; 2], bytes: usize) -> Vec<u8> {
    let mut out = frame(src, dst, Layer::Udp(from, to));
    lengthen(&mut out, bytes);
    let header = if src.contains(':') { 40 } else { 20 };
    let length = u16::try_from(out.len() - ETHERNET - header).unwrap();
    out[ETHERNET + header + 4..ETHERNET + header + 6].copy_from_slice(&length.to_be_bytes());
    repair(&mut out);
    out
}

/// Puts bytes behind an untagged packet.
fn lengthen(frame: &mut Vec<u8>, bytes: usize) {
    frame.extend((0..bytes).map(|byte| u8::try_from(byte % 251).unwrap()));
    let total = frame.len() - ETHERNET;
    let (at, length) = if frame[ETHERNET] >> 4 == 4 { (2, total) } else { (4, total - 40) };
    let length = u16::try_from(length).unwrap();
    frame[ETHERNET + at..ETHERNET + at + 2].copy_from_slice(&length.to_be_bytes());
    repair(frame);
}

/// A TCP segment with 100 bytes of data.
fn segment(client_to_server: bool, family: usize, flags: u8, [seq, ack]: [u32; 2]) -> Vec<u8> {
    let ends = if client_to_server { [CLIENT, SERVER] } else { [SERVER, CLIENT] };
    let [src, dst] = ends.map(|end| end[family]);
    let (from, to) = if client_to_server { (4000, 22) } else { (22, 4000) };
    let template = frame(src, dst, Layer::Tcp(from, to, flags));
    let header = if family == 0 { 20 } else { 40 };
    let mut out = template;
    let tcp = ETHERNET + header;
    out[tcp + 4..tcp + 8].copy_from_slice(&seq.to_be_bytes());
    out[tcp + 8..tcp + 12].copy_from_slice(&ack.to_be_bytes());
    if flags & SYN == 0 {
        lengthen(&mut out, 100);
    } else {
        out.truncate(tcp + 20);
        lengthen(&mut out, 0);
    }
    out
}

#[test]
fn fragments_leave_together_in_order_and_as_they_came() {
    for family in [0, 1] {
        let mut bench = Bench::new(ingress(1, services()));
        let whole = query(family, 7, 1000);
        let mut sent = pieces(&whole, 9, &[400, 800]);
        // Padding of the frame stays too.
        sent[2].extend_from_slice(&[0; 7]);
        let mixed = [sent[2].clone(), sent[0].clone()];
        assert_eq!(bench.send(Port::A, &mixed), Vec::<Vec<u8>>::new());
        assert_eq!(bench.held(), 2);
        assert_eq!(bench.flows.live(), 0, "nothing is decided yet");
        assert_eq!(bench.send(Port::A, &sent[1..2]), sent);
        assert_eq!((bench.held(), bench.flows.live()), (0, 1));
        let record = bench.records.pop().unwrap();
        assert_eq!(usize::from(record.length), whole.len() + if family == 0 { 0 } else { 8 });
        let counted = bench.published.read().port(Port::A).forwarded;
        let bytes: usize = sent.iter().map(Vec::len).sum();
        assert_eq!(counted, Count { packets: 3, bytes: bytes as u64 });
    }
}

#[test]
fn shuffled_fragments_of_a_thousand_datagrams_are_all_delivered() {
    let mut rng = fastrand::Rng::with_seed(0x5eed_0506);
    for in_flight in [4, 1000] {
        let mut bench = Bench::new(ingress(1, services()));
        bench.worker = roomy(&bench);
        let datagrams: Vec<Vec<Vec<u8>>> = (0..1000)
            .map(|number| {
                let whole = query(usize::from(number % 2), 1000 + number, 200);
                pieces(&whole, number, &[8 * rng.usize(1..12), 8 * rng.usize(12..25)])
            })
            .collect();
        let mut left = Vec::new();
        for some in datagrams.chunks(in_flight) {
            let mut frames: Vec<_> = some.iter().flatten().cloned().collect();
            rng.shuffle(&mut frames);
            for batch in frames.chunks(64) {
                left.extend(bench.send(Port::A, batch));
            }
        }
        let mut expected: Vec<_> = datagrams.into_iter().flatten().collect();
        left.sort();
        expected.sort();
        assert!(left == expected, "{} of {}", left.len(), expected.len());
        assert_eq!((bench.held(), bench.flows.live()), (0, 1000));
    }
}

/// A worker with the usual room for fragments.
fn roomy(bench: &Bench) -> Worker<MemoryDevice, Pipeline> {
    let (records, _) = rtrb::RingBuffer::new(1 << 12);
    let pipeline = Pipeline::new(Parts {
        ports: RULES,
        sanity: Arc::default(),
        keep_on_policy_change: false,
        policy: bench.slot.reader(),
        flows: Arc::clone(&bench.flows),
        fragments: Fragments::new(FragmentLimits::default(), RandomState::new()),
        counters: Arc::clone(&bench.published),
        records,
        wall_offset_ns: 0,
    });
    Worker::new(MemoryDevice::new(512, 2048, 256), pipeline)
}

#[test]
fn policy_in_force_at_the_last_fragment_decides_all_of_them() {
    for family in [0, 1] {
        let sent = pieces(&query(family, 7, 1000), 9, &[400, 800]);
        let mut bench = Bench::new(ingress(1, services()));
        bench.send(Port::A, &sent[..2]);
        bench.slot.publish(closed(2));
        assert_eq!(bench.send(Port::A, &sent[2..]), Vec::<Vec<u8>>::new());
        assert_eq!(bench.dropped(Port::A, DropReason::PolicyDenied), 3);

        let mut bench = Bench::new(closed(1));
        bench.send(Port::A, &sent[..2]);
        bench.slot.publish(ingress(2, services()));
        assert_eq!(bench.send(Port::A, &sent[2..]), sent);
    }
}

#[test]
fn denied_datagram_is_dropped_whole_and_recorded_once() {
    for family in [0, 1] {
        let mut bench = Bench::new(ingress(1, vec![to_ports(protocol::UDP, [99])]));
        let sent = pieces(&query(family, 7, 1000), 9, &[400, 800]);
        assert_eq!(bench.send_each(Port::A, &sent), Vec::<Vec<u8>>::new());
        assert_eq!(bench.dropped(Port::A, DropReason::PolicyDenied), 3);
        assert!(bench.records.pop().is_ok() && bench.records.pop().is_err());
        assert_eq!(bench.flows.live(), 0);
    }
}

#[test]
fn datagrams_belong_to_their_flow_in_both_directions() {
    for family in [0, 1] {
        let mut bench = Bench::new(ingress(1, services()));
        let reply = udp(SERVER[family], CLIENT[family], [53, 7], 1000);
        let replied = pieces(&reply, 1, &[640]);
        assert_eq!(bench.send_each(Port::B, &replied), Vec::<Vec<u8>>::new(), "no flow yet");
        bench.now += Duration::from_secs(1);
        let asked = pieces(&query(family, 7, 1000), 1, &[640]);
        assert_eq!(bench.send_each(Port::A, &asked), asked);
        for round in 0..10 {
            // Each answer renews the flow; half of them come in one piece.
            bench.now += Duration::from_mins(4);
            if round % 2 == 0 {
                assert_eq!(bench.send_each(Port::B, &replied), replied, "round {round}");
            } else {
                assert_eq!(
                    bench.send(Port::B, std::slice::from_ref(&reply)),
                    std::slice::from_ref(&reply)
                );
            }
        }
        assert_eq!(bench.flows.live(), 1);
        bench.now += Duration::from_mins(6);
        assert_eq!(bench.send_each(Port::B, &replied), Vec::<Vec<u8>>::new(), "it is over");
    }
}

#[test]
fn tcp_segments_in_fragments_are_followed_like_others() {
    for family in [0, 1] {
        let mut bench = Bench::new(ingress(1, services()));
        let syn = segment(true, family, SYN, [1000, 0]);
        let syn_ack = segment(false, family, SYN | ACK, [5000, 1001]);
        assert_eq!(bench.send(Port::A, std::slice::from_ref(&syn)), [syn]);
        assert_eq!(bench.send(Port::B, std::slice::from_ref(&syn_ack)), [syn_ack]);
        let data = pieces(&segment(true, family, ACK, [1001, 5001]), 1, &[40, 80]);
        assert_eq!(bench.send_each(Port::A, &data), data);
        let far = pieces(&segment(true, family, ACK, [1001 + 1_000_000, 5001]), 2, &[40, 80]);
        assert_eq!(bench.send_each(Port::A, &far), Vec::<Vec<u8>>::new());
        assert_eq!(bench.dropped(Port::A, DropReason::TcpWindow), 3);
        // And one that belongs to nothing.
        let mut stray = segment(true, family, ACK, [1001, 5001]);
        stray[ETHERNET + if family == 0 { 20 } else { 40 } + 1] ^= 1;
        repair(&mut stray);
        let stray = pieces(&stray, 3, &[40, 80]);
        assert_eq!(bench.send_each(Port::A, &stray), Vec::<Vec<u8>>::new());
        assert_eq!(bench.dropped(Port::A, DropReason::TcpNotOpening), 3);
    }
}

#[test]
fn icmp_error_in_fragments_is_judged_by_what_it_quotes() {
    let mut bench = Bench::new(ingress(1, services()));
    let asked = query(0, 7, 100);
    assert_eq!(bench.send(Port::A, std::slice::from_ref(&asked)).len(), 1);
    let error = |about: &[u8]| {
        let builder = PacketBuilder::ethernet2([2; 6], [2; 6]);
        let addresses =
            [SERVER[0], CLIENT[0]].map(|end| end.parse::<std::net::Ipv4Addr>().unwrap());
        let [src, dst] = addresses.map(|address| address.octets());
        let step = builder.ipv4(src, dst, 64).icmpv4_raw(3, 3, [0; 4]);
        let mut out = Vec::new();
        step.write(&mut out, &about[ETHERNET..]).unwrap();
        out
    };
    let matched = pieces(&error(&asked), 1, &[64]);
    assert_eq!(bench.send_each(Port::B, &matched), matched);
    let stray = pieces(&error(&query(0, 8, 100)), 2, &[64]);
    assert_eq!(bench.send_each(Port::B, &stray), Vec::<Vec<u8>>::new());
    assert_eq!(bench.dropped(Port::B, DropReason::IcmpUnmatched), 2);
}

#[test]
fn checksum_of_the_whole_must_be_right_and_nobody_completes_it() {
    for family in [0, 1] {
        let header = if family == 0 { 20 } else { 40 };
        let checksum = ETHERNET + header + 6;
        let mut bench = Bench::new(ingress(1, services()));
        // A byte that changed on the way, in the last fragment.
        let mut sent = pieces(&query(family, 7, 1000), 1, &[640]);
        *sent[1].last_mut().unwrap() ^= 1;
        assert_eq!(bench.send_each(Port::A, &sent), Vec::<Vec<u8>>::new());
        assert_eq!(bench.dropped(Port::A, DropReason::Checksum), 2);
        // The sum of the pseudo header only, as senders leave it to hardware: fine in one piece, not in several.
        let mut partial = query(family, 8, 1000);
        let (addresses, end) = (ETHERNET + header - if family == 0 { 8 } else { 32 }, header);
        let length = u32::try_from(partial.len() - ETHERNET - end).unwrap();
        let words = partial[addresses..ETHERNET + end].chunks(2);
        let mut sum = words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum::<u32>();
        sum += length + 17;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let sum = u16::try_from(sum).unwrap().to_be_bytes();
        partial[checksum..checksum + 2].copy_from_slice(&sum);
        let right = query(family, 8, 1000);
        assert_eq!(bench.send(Port::A, std::slice::from_ref(&partial)), [right]);
        let sent = pieces(&partial, 2, &[640]);
        assert_eq!(bench.send_each(Port::A, &sent), Vec::<Vec<u8>>::new());
        assert_eq!(bench.dropped(Port::A, DropReason::Checksum), 4);
    }
}

#[test]
fn neighbour_discovery_in_fragments_never_passes() {
    let mut bench = Bench::new(ingress(1, vec![crate::support::policy::anything()]));
    let sent = pieces(&discovery(135), 1, &[24]);
    assert_eq!(bench.send_each(Port::A, &sent), Vec::<Vec<u8>>::new());
    assert_eq!(bench.send_each(Port::B, &sent), Vec::<Vec<u8>>::new());
}

#[test]
fn fragments_of_other_networks_and_sides_stay_apart() {
    let mut bench = Bench::new(ingress(1, services()));
    for family in [0, 1] {
        let of = |tags: &[u16]| {
            let frame = tagged(tags, CLIENT[family], SERVER[family], Layer::Udp(7, 53));
            pieces(&frame, 1, &[16])
        };
        let [plain, five, stacked] = [of(&[]), of(&[5]), of(&[5, 6])];
        for other in [&plain, &five, &stacked] {
            assert_eq!(bench.send(Port::A, &other[..1]), Vec::<Vec<u8>>::new());
        }
        assert_eq!(bench.send(Port::B, &five[1..]), Vec::<Vec<u8>>::new(), "another side");
        for own in [&stacked, &plain, &five] {
            assert_eq!(bench.send(Port::A, &own[1..]), own[..]);
        }
    }
    bench.now += Duration::from_mins(2);
    bench.send(Port::A, &[]);
    assert_eq!(bench.dropped(Port::B, DropReason::FragmentTimeout), 2);
    assert_eq!(bench.held(), 0);
}

#[test]
fn without_a_policy_nothing_waits() {
    let slot = PolicySlot::of_ports(INTERFACES.map(str::to_owned));
    let flows = Arc::new(FlowTable::new(1 << 8, RandomState::new()));
    let (pipeline, published, records) = pipeline(RULES, &slot, &flows, 1 << 8);
    let worker = Worker::new(MemoryDevice::new(512, 2048, 256), pipeline);
    let now = Duration::from_secs(100);
    let mut bench = Bench { worker, slot, flows, published, records, now };
    let sent = pieces(&query(0, 7, 1000), 9, &[400, 800]);
    assert_eq!(bench.send(Port::A, &sent), Vec::<Vec<u8>>::new());
    assert_eq!(bench.dropped(Port::A, DropReason::NoPolicy), 3);
    assert_eq!(bench.held(), 0);
}

#[test]
fn longest_datagrams_pass() {
    // What an IPv6 header can say, less the fragment header, which stays to be judged.
    for (family, longest) in [(0, 65_515), (1, 65_527)] {
        let mut bench = Bench::new(ingress(1, services()));
        bench.worker = roomy(&bench);
        let whole = query(family, 7, longest - 24 - 8);
        let cuts: Vec<usize> =
            (1..60).map(|number| number * 1232).take_while(|at| *at < longest).collect();
        let sent = pieces(&whole, 1, &cuts);
        assert_eq!(bench.send_each(Port::A, &sent), sent, "{family}");
    }
}
