//! A million mixed frames through worker, pipeline and the device in memory: every one is accounted for, exactly.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use dataplane::counters::{Count, CounterBlock};
use dataplane::device::Port;
use dataplane::device::memory::MemoryDevice;
use dataplane::disposition::DropReason;
use dataplane::flow::{FlowTable, Limit, Limits, Timers};
use dataplane::parse::Parsed;
use dataplane::pipeline::Pipeline;
use dataplane::policy::PolicySlot;
use dataplane::worker::Worker;

use crate::second_parser;
use crate::support::frames::{
    ACK, ETHERNET, FIN, Layer, RST, SYN, arp, discovery, extend, foreign, frame, repair, tag,
    tagged,
};
use crate::support::gate::{RULES, pipeline};
use crate::support::policy::{CLIENT, SERVER, closed, ingress, services};

const FRAMES: u64 = 1_000_000;
const SEED: u64 = 0x5eed_0004;
/// Rounds before the first policy, and between two.
const ROUNDS_UNCONFIGURED: u64 = 40;
const ROUNDS_OF_A_POLICY: u64 = 1_000;

/// What the test itself put in and took out.
struct Tally {
    arrived: [Count; 2],
    left: [Count; 2],
    /// By reason, for those that the second parser can tell.
    unreadable: [[u64; DropReason::ALL.len()]; 2],
    unconfigured: [u64; 2],
}

#[test]
fn every_one_of_a_million_mixed_frames_is_accounted_for() {
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let slot = PolicySlot::new();
    let limits = Limits::default().with(Limit::FlowsPerSource, 40);
    let flows = Arc::new(FlowTable::with(1 << 9, RandomState::new(), Timers::default(), limits));
    let (pipeline, published, mut records) = pipeline(RULES, &slot, &flows, 1 << 8);
    let mut worker = Worker::new(MemoryDevice::new(512, 256, 40), pipeline);
    let mut tally = Tally::new();
    let templates = templates();
    let mut sent = 0;
    for round in 0_u64.. {
        if sent >= FRAMES {
            break;
        }
        if round >= ROUNDS_UNCONFIGURED
            && (round - ROUNDS_UNCONFIGURED).is_multiple_of(ROUNDS_OF_A_POLICY)
        {
            let generation = round / ROUNDS_OF_A_POLICY + 1;
            let closes = generation.is_multiple_of(5);
            slot.publish(if closes { closed(generation) } else { ingress(generation, services()) });
        }
        for _ in 0..random.u64(1..100) {
            let (port, bytes) = next_frame(&templates, &mut random);
            assert!(worker.device_mut().arrive(port, &bytes));
            tally.note_arrival(port, &bytes, round < ROUNDS_UNCONFIGURED);
            sent += 1;
        }
        while worker.round(Duration::from_millis(round * 50)) > 0 {}
        if random.bool() {
            tally.drain(worker.device_mut());
        }
        if random.u8(..8) == 0 {
            while records.pop().is_ok() {}
        }
    }
    tally.drain(worker.device_mut());
    assert_eq!(worker.device_mut().outstanding(), 0);
    check(&tally, &worker, &published, &flows);
}

fn check(
    tally: &Tally,
    worker: &Worker<MemoryDevice, Pipeline>,
    published: &CounterBlock,
    flows: &FlowTable,
) {
    let counters = published.read();
    assert_eq!(&counters, worker.judge().counters());
    for port in Port::BOTH {
        let (this, other) = (port.index(), port.other().index());
        let counted = counters.port(port);
        assert!(counted.balances());
        assert_eq!(counted.received, tally.arrived[this]);
        assert_eq!(counted.forwarded, tally.left[other]);
        let no_policy = counted.dropped_for(DropReason::NoPolicy).packets;
        assert_eq!(no_policy, tally.unconfigured[this]);
        for reason in REASONS.into_iter().filter(|reason| !BY_STATE.contains(reason)) {
            let dropped = counted.dropped_for(reason).packets;
            assert_eq!(dropped, tally.unreadable[this][reason.index()], "{reason:?}");
        }
    }
    for reason in DropReason::ALL {
        let dropped = Port::BOTH.map(|port| counters.port(port).dropped_for(reason).packets);
        let expected = REASONS.contains(&reason) || reason == DropReason::TransmitRingFull;
        assert_eq!(dropped.iter().sum::<u64>() > 0, expected, "{reason:?}: {dropped:?}");
    }
    let ended = counters.flows_cut + counters.flows_ended + flows.gave_way();
    assert_eq!(counters.flows_started, ended + flows.live(), "flows are accounted for too");
    assert!(counters.flows_cut > 0 && counters.flows_ended > 0 && counters.records_lost > 0);
}

/// What comes to pass here; the others have tests of their own.
const REASONS: [DropReason; 25] = [
    DropReason::NoPolicy,
    DropReason::Malformed,
    DropReason::VlanTags,
    DropReason::NonIp,
    DropReason::Checksum,
    DropReason::HopLimit,
    DropReason::IpOption,
    DropReason::ExtensionHeader,
    DropReason::SourceRoute,
    DropReason::BogonSource,
    DropReason::BogonDestination,
    DropReason::Land,
    DropReason::Arp,
    DropReason::NeighbourDiscovery,
    DropReason::FragmentInvalid,
    DropReason::FragmentOverlap,
    DropReason::FragmentTimeout,
    DropReason::IcmpType,
    DropReason::IcmpUnmatched,
    DropReason::TcpFlags,
    DropReason::TcpNotOpening,
    DropReason::TcpWindow,
    DropReason::TcpClosed,
    DropReason::PolicyDenied,
    DropReason::SourceFlowLimit,
];
/// Those of them that the second parser does not tell, or not all of.
const BY_STATE: [DropReason; 12] = [
    DropReason::NoPolicy,
    DropReason::FragmentInvalid,
    DropReason::FragmentOverlap,
    DropReason::FragmentTimeout,
    DropReason::FragmentLimit,
    DropReason::IcmpUnmatched,
    DropReason::TcpFlags,
    DropReason::TcpNotOpening,
    DropReason::TcpWindow,
    DropReason::TcpClosed,
    DropReason::PolicyDenied,
    DropReason::SourceFlowLimit,
];

impl Tally {
    fn new() -> Self {
        Self {
            arrived: Default::default(),
            left: Default::default(),
            unreadable: [[0; DropReason::ALL.len()]; 2],
            unconfigured: [0; 2],
        }
    }

    fn note_arrival(&mut self, port: Port, bytes: &[u8], unconfigured: bool) {
        let port = port.index();
        self.arrived[port].packets += 1;
        self.arrived[port].bytes += bytes.len() as u64;
        if unconfigured {
            self.unconfigured[port] += 1;
            return;
        }
        match second_parser::read(bytes) {
            Err(reason) => self.unreadable[port][reason.index()] += 1,
            Ok(Parsed::NonIp) => self.unreadable[port][DropReason::NonIp.index()] += 1,
            Ok(
                Parsed::Arp(_)
                | Parsed::NeighbourDiscovery(_)
                | Parsed::Fragment(_)
                | Parsed::Ip(_),
            ) => {}
        }
    }

    fn drain(&mut self, device: &mut MemoryDevice) {
        for port in Port::BOTH {
            let left = &mut self.left[port.index()];
            device.drain(port, |bytes| {
                left.packets += 1;
                left.bytes += bytes.len() as u64;
            });
        }
    }
}

/// One of the templates, sometimes with other ports, sometimes bent, sometimes cut, or random bytes.
fn next_frame(templates: &[Vec<u8>], random: &mut fastrand::Rng) -> (Port, Vec<u8>) {
    let port = Port::BOTH[random.usize(..2)];
    if random.u8(..50) == 0 {
        let mut bytes = vec![0; random.usize(..200)];
        random.fill(&mut bytes);
        return (port, bytes);
    }
    let mut bytes = random.choice(templates).unwrap().clone();
    match random.u8(..16) {
        0 => {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            if random.bool() {
                repair(&mut bytes);
            }
        }
        1 => bytes.truncate(random.usize(..=bytes.len())),
        // The low byte of the source port or of the identifier's neighbourhood: other flows.
        2..=7 if bytes.len() > ETHERNET + 21 => {
            bytes[ETHERNET + 21] = random.u8(..);
            repair(&mut bytes);
        }
        _ => {}
    }
    (port, bytes)
}

fn templates() -> Vec<Vec<u8>> {
    let mut out = vec![arp(), foreign(0x88CC), foreign(0x0026), discovery(133), discovery(135)];
    let mut routed = discovery(136);
    routed[ETHERNET + 7] = 64;
    out.push(routed);
    for (client, server) in CLIENT.into_iter().zip(SERVER) {
        let there = [
            Layer::Tcp(40_000, 22, SYN),
            Layer::Tcp(40_000, 22, ACK),
            Layer::Tcp(40_000, 22, FIN | ACK),
            Layer::Tcp(40_000, 22, RST),
            Layer::Tcp(40_000, 23, SYN),
            Layer::Udp(40_000, 53),
            Layer::Udp(40_000, 54),
            Layer::Sctp(40_000, 2905),
            Layer::Ping(1),
            Layer::Icmp(3, 3),
            Layer::Raw(47),
            Layer::Raw(89),
        ];
        let back = [
            Layer::Tcp(22, 40_000, SYN | ACK),
            Layer::Tcp(22, 40_000, FIN | ACK),
            Layer::Udp(53, 40_000),
            Layer::Pong(1),
            Layer::Raw(47),
        ];
        for tags in [&[][..], &[100], &[100, 200]] {
            out.extend(there.map(|layer| tagged(tags, client, server, layer)));
            out.extend(back.map(|layer| tagged(tags, server, client, layer)));
        }
        let thrice = tagged(&[1, 2, 3], client, server, Layer::Udp(1, 53));
        out.extend([tag(&thrice, 0x88A8, 4), thrice]);
    }
    let mut fragment = frame(CLIENT[0], SERVER[0], Layer::Udp(1, 53));
    fragment[ETHERNET + 6] = 0x20;
    repair(&mut fragment);
    out.extend(insane());
    let whole = frame(CLIENT[1], SERVER[1], Layer::Udp(1, 53));
    out.push(extend(&whole, 43, vec![0, 0, 0, 1, 0, 0, 0, 0]));
    out.extend([fragment, extend(&whole, 44, vec![0; 8]), extend(&whole, 60, vec![0; 8])]);
    out
}

/// Frames that fail checks which few random changes make fail.
fn insane() -> Vec<Vec<u8>> {
    let udp = |src, dst| frame(src, dst, Layer::Udp(1, 53));
    let mut no_hops = udp(CLIENT[0], SERVER[0]);
    no_hops[ETHERNET + 8] = 0;
    repair(&mut no_hops);
    let mut other_sender = arp();
    other_sender[7] = 9;
    let mut routed = udp(CLIENT[0], SERVER[0]);
    routed[ETHERNET] += 1;
    routed[ETHERNET + 3] += 4;
    routed.splice(ETHERNET + 20..ETHERNET + 20, [7, 3, 4, 0]);
    repair(&mut routed);
    let line_identification = vec![0, 0, 0x8C, 4, 0, 0, 0, 0];
    vec![
        no_hops,
        other_sender,
        routed,
        extend(&udp(CLIENT[1], SERVER[1]), 60, line_identification),
        udp("127.0.0.1", SERVER[0]),
        udp(CLIENT[1], "2001:db8::1"),
        udp(SERVER[0], SERVER[0]),
        frame(CLIENT[0], SERVER[0], Layer::Icmp(5, 1)),
    ]
}
