//! Every undefined ICMP type and code, every protocol and next header, and each header field in turn with chosen and random
//! values (`NDcPP` 2.2e, SD A.1.4), in and out of a session, both ways, under a policy that permits little and under one that permits
//! all: nothing is forwarded that no rule permits and no session explains, and whatever is dropped has the reason that a
//! second parser gives, if it is one of packets.

use std::collections::{BTreeMap, HashSet};

use classifier::packet::{PacketKey, Transport, protocol};
use classifier::resource::{Action, IcmpMatch, Rule};
use dataplane::device::Port;
use dataplane::disposition::{Disposition, DropReason};
use dataplane::parse::{Packet, Parsed, Query, Quoted, Signal};

use crate::second_parser;
use crate::support::frames::{ACK, ETHERNET, FIN, Layer, RST, SYN, error, frame, repair};
use crate::support::gate::Gate;
use crate::support::policy::{CLIENT, SERVER, image, of_protocol, to_ports};

const SEED: u64 = 0x5eed_00b3;
/// Values that have a meaning somewhere, cut to the width of the field.
const CHOSEN: [u32; 16] = [
    0,
    1,
    2,
    4,
    5,
    6,
    15,
    44,
    59,
    0x7F,
    0x80,
    0xFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFE,
    0xFFFF_FFFF,
];
const RANDOM: usize = 64;

/// A field: its name, the bit of the frame behind Ethernet where it begins, and its bits.
type Field = (&'static str, usize, usize);

const IPV4: [Field; 13] = [
    ("version", 0, 4),
    ("header length", 4, 4),
    ("service", 8, 8),
    ("total length", 16, 16),
    ("identification", 32, 16),
    ("flags", 48, 3),
    ("fragment offset", 51, 13),
    ("time to live", 64, 8),
    ("protocol", 72, 8),
    ("header checksum", 80, 16),
    ("source", 96, 32),
    ("destination", 128, 32),
    ("last of source", 120, 8),
];
const IPV6: [Field; 9] = [
    ("version", 0, 4),
    ("traffic class", 4, 8),
    ("flow label", 12, 20),
    ("payload length", 32, 16),
    ("next header", 48, 8),
    ("hop limit", 56, 8),
    ("first of source", 64, 32),
    ("first of destination", 192, 32),
    ("last of destination", 288, 32),
];
const TCP: [Field; 11] = [
    ("source port", 0, 16),
    ("destination port", 16, 16),
    ("sequence number", 32, 32),
    ("acknowledgment number", 64, 32),
    ("data offset", 96, 4),
    ("reserved", 100, 4),
    ("control bits", 104, 8),
    ("window", 112, 16),
    ("checksum", 128, 16),
    ("urgent pointer", 144, 16),
    ("data", 160, 32),
];
const UDP: [Field; 4] = [
    ("source port", 0, 16),
    ("destination port", 16, 16),
    ("length", 32, 16),
    ("checksum", 48, 16),
];
const ICMP: [Field; 5] = [
    ("type", 0, 8),
    ("code", 8, 8),
    ("checksum", 16, 16),
    ("identifier", 32, 16),
    ("sequence", 48, 16),
];

/// What the gates know of, and what becomes of frames there.
struct Sweep {
    /// Permits TCP 80, UDP 53 and echo from outside; without and with a session of each at the start.
    narrow: [Gate; 2],
    /// What crossed the gates from outside.
    known: [HashSet<Conversation>; 2],
    /// Permits all.
    wide: Gate,
    outcomes: BTreeMap<&'static str, u64>,
    frames: u64,
}

impl Sweep {
    fn new() -> Self {
        let all = || vec![Rule::new(Action::Allow)];
        let mut sweep = Self {
            narrow: [narrow(), narrow()],
            known: Default::default(),
            wide: Gate::with(image(1, all(), all())),
            outcomes: BTreeMap::new(),
            frames: 0,
        };
        sweep.open();
        sweep
    }

    /// A new second gate, with a connection, a query and a ping of each family.
    fn open(&mut self) {
        self.narrow[1] = narrow();
        self.known[1].clear();
        for family in 0..2 {
            for (port, bytes) in session(family) {
                assert!(self.narrow[1].passes(port, &bytes));
                self.learn(1, port, &second_parser::read(&bytes));
            }
        }
    }

    fn try_it(&mut self, port: Port, bytes: &[u8]) {
        let parsed = second_parser::read_by(&second_parser::Rules::default(), bytes, port);
        for number in 0..2 {
            let fate = self.narrow[number].send(port, bytes);
            let explained = parsed.is_ok_and(|parsed| match parsed {
                Parsed::Ip(packet) => {
                    permitted(&packet, port) || is_known(&packet, port, &self.known[number])
                }
                Parsed::Arp(_)
                | Parsed::NeighbourDiscovery(_)
                | Parsed::NonIp
                | Parsed::Fragment(_) => false,
            });
            self.check(parsed, fate, explained, (port, bytes));
            if fate == Disposition::Forward {
                self.learn(number, port, &parsed);
            }
        }
        let fate = self.wide.send(port, bytes);
        self.check(parsed, fate, true, (port, bytes));
        self.frames += 3;
    }

    /// What crossed from outside may be answered.
    fn learn(&mut self, number: usize, port: Port, parsed: &Result<Parsed, DropReason>) {
        let Ok(Parsed::Ip(packet)) = parsed else { return };
        let query = match packet.signal {
            Signal::Request(query) => Some(query),
            Signal::Datagram | Signal::Tcp(_) => None,
            Signal::Reply(_) | Signal::Error(_) | Signal::Message => return,
        };
        if port == Port::A {
            self.known[number].insert(conversation(packet.key, query));
        }
    }

    fn check(
        &mut self,
        parsed: Result<Parsed, DropReason>,
        fate: Disposition,
        explained: bool,
        (port, bytes): (Port, &[u8]),
    ) {
        let outcome = match (parsed, fate) {
            (Err(expected), Disposition::Drop(reason)) if reason == expected => reason.name(),
            (Ok(Parsed::Ip(_)), Disposition::Forward | Disposition::Complete { .. })
                if explained =>
            {
                "forwarded"
            }
            (Ok(Parsed::Ip(_) | Parsed::Fragment(_)), Disposition::Drop(reason)) => reason.name(),
            (Ok(Parsed::NonIp), Disposition::Drop(DropReason::NonIp)) => "non-ip",
            (Ok(Parsed::NeighbourDiscovery(_)), Disposition::Forward) => "neighbour discovery",
            (Ok(Parsed::Fragment(_)), Disposition::Hold) => "held",
            _ => panic!("{parsed:?} {fate:?} {port:?} {bytes:02x?}"),
        };
        *self.outcomes.entry(outcome).or_default() += 1;
    }
}

/// Permits TCP 80, UDP 53 and echo to the rack.
fn narrow() -> Gate {
    let echo =
        |number, kind| Rule { icmp: Some(IcmpMatch { kind, code: None }), ..of_protocol(number) };
    let rules = vec![
        to_ports(protocol::TCP, [80]),
        to_ports(protocol::UDP, [53]),
        echo(protocol::ICMP, 8),
        echo(protocol::ICMPV6, 128),
    ];
    Gate::with(image(1, rules, Vec::new()))
}

/// Whether a rule of the narrow policy permits it to begin something.
fn permitted(packet: &Packet, port: Port) -> bool {
    let PacketKey { dst, transport, .. } = packet.key;
    let rack = match dst {
        std::net::IpAddr::V4(dst) => dst.octets()[..3] == [198, 18, 70],
        std::net::IpAddr::V6(dst) => dst.segments()[..4] == [0x2001, 2, 0, 0x70],
    };
    let named = match (packet.signal, transport) {
        (Signal::Tcp(segment), Transport::Ports { dst: 80, .. }) => segment.flags.opens(),
        (Signal::Datagram, Transport::Ports { dst: 53, .. }) => packet.key.protocol == 17,
        // Echo requests with a code are permitted too, each by itself.
        (Signal::Request(_) | Signal::Message, Transport::Icmp { kind: 8, .. }) => dst.is_ipv4(),
        (Signal::Request(_) | Signal::Message, Transport::Icmp { kind: 128, .. }) => dst.is_ipv6(),
        _ => false,
    };
    port == Port::A && rack && named
}

/// A conversation, as its first packet went: addresses, protocol, and ports or the query twice.
type Conversation = (std::net::IpAddr, std::net::IpAddr, u8, [u32; 2]);

/// The conversation of a packet, as it goes itself.
fn conversation(key: PacketKey, query: Option<Query>) -> Conversation {
    let ends = match (key.transport, query) {
        (_, Some(Query { kind, identifier })) => [u32::from(kind) << 16 | u32::from(identifier); 2],
        (Transport::Ports { src, dst }, None) => [src.into(), dst.into()],
        _ => [0; 2],
    };
    (key.src, key.dst, key.protocol, ends)
}

/// Whether it goes on in a conversation that is known, is an answer in one, or an error about one.
fn is_known(packet: &Packet, port: Port, known: &HashSet<Conversation>) -> bool {
    let (about, query, is_error) = match packet.signal {
        Signal::Error(quote) => match quote.part {
            Quoted::Query(query) => (quote.key, Some(query), true),
            Quoted::Tcp(_) | Quoted::Datagram => (quote.key, None, true),
        },
        Signal::Request(query) | Signal::Reply(query) => (packet.key, Some(query), false),
        Signal::Message => return false,
        Signal::Datagram | Signal::Tcp(_) => (packet.key, None, false),
    };
    let (src, dst, number, [from, to]) = conversation(about, query);
    // All conversations begin outside; an error goes against what it is about.
    let is_from_outside = (port == Port::A) ^ is_error;
    let (src, dst, from, to) =
        if is_from_outside { (src, dst, from, to) } else { (dst, src, to, from) };
    known.contains(&(src, dst, number, [from, to]))
}

/// A TCP segment of the session, with its numbers.
fn segment(family: usize, port: Port, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let (from, to, ports) = match port {
        Port::A => (CLIENT, SERVER, (40_000, 80)),
        Port::B => (SERVER, CLIENT, (80, 40_000)),
    };
    let mut bytes = frame(from[family], to[family], Layer::Tcp(ports.0, ports.1, flags));
    let at = ETHERNET + transport_at(family);
    bytes[at + 4..at + 8].copy_from_slice(&seq.to_be_bytes());
    bytes[at + 8..at + 12].copy_from_slice(&ack.to_be_bytes());
    if flags & (SYN | RST | FIN) != 0 {
        bytes.truncate(at + 20);
        let [length_at, header] = if family == 0 { [2, 0] } else { [4, 40] };
        let length = u16::try_from(bytes.len() - ETHERNET - header).unwrap().to_be_bytes();
        bytes[ETHERNET + length_at..ETHERNET + length_at + 2].copy_from_slice(&length);
    }
    repair(&mut bytes);
    bytes
}

fn transport_at(family: usize) -> usize {
    if family == 0 { 20 } else { 40 }
}

/// What opens a session of every kind.
fn session(family: usize) -> Vec<(Port, Vec<u8>)> {
    let (client, server) = (CLIENT[family], SERVER[family]);
    vec![
        (Port::A, segment(family, Port::A, SYN, 1_000, 0)),
        (Port::B, segment(family, Port::B, SYN | ACK, 9_000, 1_001)),
        (Port::A, segment(family, Port::A, ACK, 1_001, 9_001)),
        (Port::A, frame(client, server, Layer::Udp(40_000, 53))),
        (Port::B, frame(server, client, Layer::Udp(53, 40_000))),
        (Port::A, frame(client, server, Layer::Ping(9))),
        (Port::B, frame(server, client, Layer::Pong(9))),
    ]
}

/// Frames whose fields are changed, with the fields of what is behind the IP header.
fn bases(family: usize) -> Vec<(Port, Vec<u8>, &'static [Field])> {
    let (client, server) = (CLIENT[family], SERVER[family]);
    let udp = frame(client, server, Layer::Udp(40_000, 53));
    let about = segment(family, Port::A, ACK, 1_001, 9_001);
    vec![
        (Port::A, segment(family, Port::A, SYN, 1_000, 0), &TCP),
        (Port::A, segment(family, Port::A, ACK, 1_025, 9_001), &TCP),
        (Port::B, segment(family, Port::B, ACK, 9_001, 1_025), &TCP),
        (Port::A, udp, &UDP),
        (Port::B, frame(server, client, Layer::Udp(53, 40_000)), &UDP),
        (Port::A, frame(client, server, Layer::Ping(9)), &ICMP),
        (Port::B, frame(server, client, Layer::Pong(9)), &ICMP),
        (Port::B, error(server, if family == 0 { 3 } else { 1 }, 0, &about), &ICMP),
    ]
}

/// Writes the low bits of a value into a field.
fn write_bits(bytes: &mut [u8], (_, begin, bits): Field, value: u32) {
    for bit in 0..bits {
        let is_set = value >> (bits - 1 - bit) & 1 != 0;
        let at = begin + bit;
        let mask = 0x80 >> (at % 8);
        let byte = &mut bytes[ETHERNET + at / 8];
        *byte = if is_set { *byte | mask } else { *byte & !mask };
    }
}

#[test]
fn every_icmp_type_and_code_needs_a_rule_or_a_session() {
    let mut sweep = Sweep::new();
    for family in 0..2 {
        let (client, server) = (CLIENT[family], SERVER[family]);
        let at = ETHERNET + transport_at(family);
        for kind in 0..=u8::MAX {
            for code in 0..=u8::MAX {
                for (port, src, dst) in [(Port::A, client, server), (Port::B, server, client)] {
                    let mut bytes = frame(src, dst, Layer::Ping(9));
                    (bytes[at], bytes[at + 1]) = (kind, code);
                    repair(&mut bytes);
                    sweep.try_it(port, &bytes);
                }
            }
        }
    }
    println!("{} judgements: {:?}", sweep.frames, sweep.outcomes);
    assert_eq!(sweep.frames, 2 * 65_536 * 2 * 3);
    assert!(
        ["forwarded", "icmp-type", "icmp-unmatched", "policy-denied"]
            .iter()
            .all(|name| sweep.outcomes.contains_key(name))
    );
}

#[test]
fn every_protocol_and_next_header_needs_a_rule_or_a_session() {
    let mut sweep = Sweep::new();
    for family in 0..2 {
        for (port, base, _) in bases(family) {
            for number in 0..=u8::MAX {
                let mut bytes = base.clone();
                bytes[ETHERNET + if family == 0 { 9 } else { 6 }] = number;
                sweep.try_it(port, &bytes);
                repair(&mut bytes);
                sweep.try_it(port, &bytes);
            }
        }
    }
    println!("{} judgements: {:?}", sweep.frames, sweep.outcomes);
    assert_eq!(sweep.frames, 2 * 8 * 256 * 2 * 3);
}

#[test]
fn every_header_field_may_have_any_value_and_nothing_unexplained_passes() {
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut sweep = Sweep::new();
    for family in 0..2 {
        let of_ip: &[Field] = if family == 0 { &IPV4 } else { &IPV6 };
        for (port, base, fields) in bases(family) {
            let shifted = fields
                .iter()
                .map(|(name, begin, bits)| (*name, begin + transport_at(family) * 8, *bits));
            let fields: Vec<Field> = of_ip.iter().copied().chain(shifted).collect();
            for field in fields {
                if field.1 + field.2 > (base.len() - ETHERNET) * 8 {
                    continue;
                }
                // Some values end the session.
                sweep.open();
                let values = CHOSEN.into_iter().chain((0..RANDOM).map(|_| random.u32(..)));
                for value in values.collect::<Vec<_>>() {
                    let mut bytes = base.clone();
                    write_bits(&mut bytes, field, value);
                    sweep.try_it(port, &bytes);
                    repair(&mut bytes);
                    sweep.try_it(port, &bytes);
                }
            }
        }
    }
    println!("{} judgements: {:?}", sweep.frames, sweep.outcomes);
    assert!(sweep.frames > 90_000, "{}", sweep.frames);
}
