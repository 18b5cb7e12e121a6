//! The parser: what it reads, what it refuses, and that nothing makes it panic or guess.

use std::net::IpAddr;

use classifier::packet::{PacketKey, Transport};
use dataplane::checks::Checksums;
use dataplane::device::Port;
use dataplane::disposition::{DropReason, Reasons};
use dataplane::parse::{Packet, Parsed, Query, Segment, Signal, TcpFlags};
use dataplane::sanity::{Networks, Sanity, SpecialPurpose};

use crate::second_parser::{self, Rules};
use crate::support::frames::{
    ACK, ETHERNET, FIN, Layer, RST, SYN, arp, discovery, error, extend, foreign, frame, parse,
    repair, tag, tagged,
};

const V4: [&str; 2] = ["198.18.0.1", "198.18.70.9"];
const V6: [&str; 2] = ["2001:2::1", "2001:2:0:70::9"];
const SEED: u64 = 0x5eed_0002;

/// As the frames of these tests are built.
fn tcp(flags: u8) -> Signal {
    let flags = TcpFlags(flags);
    let (seq, ack) = (if flags.syn() { 1 } else { 2 }, if flags.ack() { 2 } else { 0 });
    Signal::Tcp(Segment { flags, seq, ack, window: 4096, data_bytes: 24, scale: None })
}

/// Valid frames of every kind that policy judges, with what should be read.
fn judged() -> Vec<(Vec<u8>, Packet)> {
    let mut out = Vec::new();
    for [src, dst] in [V4, V6] {
        let icmp = if src == V4[0] { 1 } else { 58 };
        let (ping, pong) = if src == V4[0] { (8, 0) } else { (128, 129) };
        let asks = |identifier| Query { kind: ping, identifier };
        let rows = [
            (Layer::Tcp(40000, 22, SYN), 6, ports(40000, 22), tcp(SYN)),
            (Layer::Tcp(1, 65535, FIN | ACK), 6, ports(1, 65535), tcp(17)),
            (Layer::Tcp(9, 8, RST), 6, ports(9, 8), tcp(RST)),
            (Layer::Udp(5353, 53), 17, ports(5353, 53), Signal::Datagram),
            (Layer::Sctp(2905, 2906), 132, ports(2905, 2906), Signal::Datagram),
            (Layer::Ping(77), icmp, message(ping, 0), Signal::Request(asks(77))),
            (Layer::Pong(78), icmp, message(pong, 0), Signal::Reply(asks(78))),
            (Layer::Icmp(9, 1), icmp, message(9, 1), Signal::Message),
            (Layer::Icmp(ping, 1), icmp, message(ping, 1), Signal::Message),
            (Layer::Raw(136), 136, Transport::Opaque, Signal::Datagram),
            (Layer::Raw(47), 47, Transport::Opaque, Signal::Datagram),
        ];
        for (layer, protocol, transport, signal) in rows {
            for vlans in [&[][..], &[7], &[4094, 1]] {
                let bytes = tagged(vlans, src, dst, layer);
                let vlans = [vlans.first().copied(), vlans.get(1).copied()];
                let (src, dst) = (address(src), address(dst));
                let key = PacketKey { src, dst, protocol, transport };
                let (completion, noticed) = (None, Reasons::default());
                out.push((bytes, Packet { key, vlans, signal, completion, noticed }));
            }
        }
    }
    out
}

/// Valid frames of every kind.
fn valid() -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = judged().into_iter().map(|(bytes, _)| bytes).collect();
    out.extend((133..=136).map(discovery));
    out.push(arp());
    out.extend([with_options(&[1; 8]), with_extensions(1), with_extensions(8)]);
    out
}

#[test]
fn valid_frames_are_read_as_they_were_built() {
    let frames = judged();
    assert_eq!(frames.len(), 66);
    for (bytes, packet) in frames {
        assert_eq!(parse(&bytes), Ok(Parsed::Ip(packet)), "{bytes:02x?}");
    }
}

#[test]
fn every_truncation_of_a_valid_frame_is_malformed() {
    for bytes in valid() {
        assert!(parse(&bytes).is_ok());
        for length in 0..bytes.len() {
            let cut = parse(&bytes[..length]);
            assert_eq!(cut, Err(DropReason::Malformed), "{length} of {bytes:02x?}");
        }
    }
}

#[test]
fn padding_behind_the_packet_is_ignored() {
    for (mut bytes, packet) in judged() {
        bytes.extend_from_slice(&[0xEE; 17]);
        assert_eq!(parse(&bytes), Ok(Parsed::Ip(packet)));
    }
}

#[test]
fn tags_of_every_kind_are_looked_through_twice_and_not_thrice() {
    let inner = frame(V4[0], V4[1], Layer::Udp(1, 2));
    for tpid in [0x8100, 0x88A8, 0x9100] {
        let once = tag(&inner, tpid, 10);
        let twice = tag(&once, 0x88A8, 20);
        assert_eq!(vlans_of(&once), [Some(10), None]);
        assert_eq!(vlans_of(&twice), [Some(20), Some(10)]);
        assert_eq!(parse(&tag(&twice, tpid, 30)), Err(DropReason::VlanTags));
    }
    assert_eq!(parse(&tag(&arp(), 0x8100, 5)), Ok(Parsed::Arp(Reasons::default())));
}

#[test]
fn arp_of_another_kind_is_refused() {
    for (at, byte) in [(1, 6), (2, 0x86), (4, 8), (5, 16)] {
        let mut bytes = arp();
        bytes[ETHERNET + at] = byte;
        bytes.extend_from_slice(&[0; 64]);
        assert_eq!(parse(&bytes), Err(DropReason::Arp));
    }
}

#[test]
fn foreign_frames_are_non_ip() {
    for ether_type in [0x0026, 0x05DC, 0x8863, 0x88CC, 0x88E5, 0xFFFF] {
        assert_eq!(parse(&foreign(ether_type)), Ok(Parsed::NonIp));
        assert_eq!(parse(&tag(&foreign(ether_type), 0x8100, 1)), Ok(Parsed::NonIp));
    }
}

#[test]
fn extension_headers_are_walked_to_the_upper_layer() {
    let plain = parse(&frame(V6[0], V6[1], Layer::Tcp(5, 22, SYN)));
    for count in 1..=8 {
        assert_eq!(parse(&with_extensions(count)), plain, "{count}");
    }
    assert_eq!(parse(&with_extensions(9)), Err(DropReason::ExtensionHeader));
}

#[test]
fn extension_headers_out_of_form_are_malformed() {
    let base = frame(V6[0], V6[1], Layer::Tcp(5, 22, SYN));
    let late_hop_by_hop = extend(&extend(&base, 0, vec![0; 8]), 60, vec![0; 8]);
    assert_eq!(parse(&late_hop_by_hop), Err(DropReason::ExtensionHeader));
    let mut beyond = vec![0; 8];
    beyond[1] = 200;
    for number in [0, 43, 51, 60] {
        assert_eq!(parse(&extend(&base, number, beyond.clone())), Err(DropReason::Malformed));
    }
    for (length, words) in [(8, 0), (12, 1), (20, 3)] {
        let mut authentication = vec![0; length];
        authentication[1] = words;
        assert_eq!(parse(&extend(&base, 51, authentication)), Err(DropReason::Malformed));
    }
}

#[test]
fn icmp_of_the_other_family_is_only_a_number() {
    for ([src, dst], protocol) in [(V4, 58), (V6, 1)] {
        let Ok(Parsed::Ip(packet)) = parse(&frame(src, dst, Layer::Raw(protocol))) else {
            panic!("not judged")
        };
        assert_eq!((packet.key.transport, packet.signal), (Transport::Opaque, Signal::Datagram));
    }
}

#[test]
fn neighbour_discovery_that_was_forwarded_is_refused() {
    for kind in 133..=136 {
        assert_eq!(parse(&discovery(kind)), Ok(Parsed::NeighbourDiscovery(Reasons::default())));
        for hop_limit in [1, 64, 254] {
            let mut bytes = discovery(kind);
            bytes[ETHERNET + 7] = hop_limit;
            assert_eq!(parse(&bytes), Err(DropReason::NeighbourDiscovery));
        }
        let mut other_code = discovery(kind);
        other_code[ETHERNET + 41] = 1;
        repair(&mut other_code);
        assert_eq!(parse(&other_code), Err(DropReason::NeighbourDiscovery));
    }
    assert_eq!(parse(&discovery(137)), Err(DropReason::BogonSource), "a redirect is no exception");
}

#[test]
fn neighbour_discovery_behind_extension_headers_or_with_broken_options_is_refused() {
    for kind in 133..=136 {
        for (extension, routing) in [(0, 0), (43, 2), (60, 0), (44, 0)] {
            let hidden = extend(&discovery(kind), extension, vec![0, 0, routing, 0, 0, 0, 0, 0]);
            assert_eq!(parse(&hidden), Err(DropReason::NeighbourDiscovery));
        }
        for units in [0, 2, 255] {
            let mut bytes = discovery(kind);
            bytes[ETHERNET + 65] = units;
            repair(&mut bytes);
            assert_eq!(parse(&bytes), Err(DropReason::Malformed), "{kind}, {units}");
        }
        let mut bytes = discovery(kind);
        bytes[ETHERNET + 5] += 1;
        bytes.push(0);
        repair(&mut bytes);
        assert_eq!(parse(&bytes), Err(DropReason::Malformed), "half an option");
    }
}

#[test]
fn packet_with_a_route_of_its_own_is_refused() {
    for option in [131, 137] {
        for before in 0..4 {
            let mut options = vec![1; before];
            options.extend([option, 7, 4, 198, 18, 70, 1]);
            options.resize(12, 0);
            assert_eq!(parse(&with_options(&options)), Err(DropReason::SourceRoute));
        }
    }
    assert!(parse(&with_options(&[0, 131, 7, 4])).is_ok(), "behind the end there are none");
    assert!(parse(&with_options(&[134, 4, 131, 137])).is_ok(), "inside of another one");
    for broken in [[1, 1, 1, 7], [7, 0, 0, 0], [7, 1, 0, 0], [7, 5, 0, 0], [1, 1, 7, 3]] {
        assert_eq!(parse(&with_options(&broken)), Err(DropReason::Malformed), "{broken:?}");
    }
    let base = frame(V6[0], V6[1], Layer::Tcp(5, 22, SYN));
    for kind in [0, 2, 4, 253] {
        let mut routing = vec![0; 24];
        (routing[1], routing[2]) = (2, kind);
        let arrived = parse(&extend(&base, 43, routing.clone()));
        assert_eq!(arrived.is_ok(), kind != 0, "{kind}: {arrived:?}");
        routing[3] = 1;
        let routed = extend(&base, 43, routing);
        assert_eq!(parse(&routed), Err(DropReason::SourceRoute));
        assert_eq!(parse(&extend(&routed, 0, vec![0; 8])), Err(DropReason::SourceRoute));
    }
}

#[test]
fn ip_in_an_802_3_frame_is_not_taken_for_something_else() {
    let non_ip = Err(DropReason::NonIp);
    for inner in [0x0800_u16, 0x86DD, 0x0806, 0x8100, 0x88A8, 0x9100] {
        let mut bytes = foreign(46);
        for organisation in [[0, 0, 0], [0, 0, 0xF8]] {
            bytes[ETHERNET..ETHERNET + 3].copy_from_slice(&[0xAA, 0xAA, 3]);
            bytes[ETHERNET + 3..ETHERNET + 6].copy_from_slice(&organisation);
            bytes[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&inner.to_be_bytes());
            assert_eq!(parse(&bytes), non_ip);
            assert_eq!(parse(&tag(&bytes, 0x8100, 1)), non_ip);
        }
    }
    let mut bytes = foreign(46);
    bytes[ETHERNET..ETHERNET + 3].copy_from_slice(&[6, 6, 3]);
    assert_eq!(parse(&bytes), non_ip);
    bytes[ETHERNET..ETHERNET + 3].copy_from_slice(&[0x42, 0x42, 3]);
    assert_eq!(parse(&bytes), Ok(Parsed::NonIp), "spanning tree");
}

#[test]
fn lengths_that_do_not_add_up_are_malformed() {
    let tcp = frame(V4[0], V4[1], Layer::Tcp(5, 22, SYN));
    let udp = frame(V4[0], V4[1], Layer::Udp(5, 53));
    let udp6 = frame(V6[0], V6[1], Layer::Udp(5, 53));
    let tcp6 = frame(V6[0], V6[1], Layer::Tcp(5, 22, SYN));
    let bent = [
        ("version", &tcp, 0, 0x65),
        ("version of IPv6", &tcp6, 0, 0x40),
        ("header length four words", &tcp, 0, 0x44),
        ("header length beyond the packet", &udp, 0, 0x4F),
        ("total length below the header", &tcp, 3, 19),
        ("total length beyond the frame", &tcp, 3, 200),
        ("total length inside the TCP header", &tcp, 3, 39),
        ("data offset four words", &tcp, 32, 0x40),
        ("data offset beyond the segment", &tcp, 32, 0xF0),
        ("UDP length below the header", &udp, 25, 7),
        ("UDP length beyond the packet", &udp, 25, 33),
        ("UDP length zero", &udp6, 45, 0),
        ("payload length zero, as in a jumbogram", &udp6, 5, 0),
        ("payload length beyond the frame", &udp6, 5, 200),
    ];
    for (what, bytes, at, value) in bent {
        let mut bytes = bytes.clone();
        bytes[ETHERNET + at] = value;
        repair(&mut bytes);
        assert_eq!(parse(&bytes), Err(DropReason::Malformed), "{what}");
    }
}

#[test]
fn random_bytes_never_panic_and_the_second_parser_agrees() {
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    for _ in 0..20_000 {
        let mut bytes = vec![0; random.usize(..200)];
        random.fill(&mut bytes);
        if random.bool() && bytes.len() > ETHERNET + 1 {
            let kinds = [(0x0800_u16, 0x45), (0x86DD, 0x60), (0x8100, 0), (0x0806, 0)];
            let (ether_type, first) = random.choice(kinds).unwrap();
            bytes[12..14].copy_from_slice(&ether_type.to_be_bytes());
            bytes[14] = first;
        }
        assert_eq!(parse(&bytes), second_parser::read(&bytes), "{bytes:02x?}");
    }
}

#[test]
fn mutated_frames_are_read_as_the_second_parser_reads_them() {
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut frames = valid();
    frames.push(with_options(&[7, 7, 4, 198, 18, 0, 1, 1, 131, 3, 4, 0]));
    let udp = frame(V6[0], V6[1], Layer::Udp(1, 53));
    frames.push(extend(&udp, 43, vec![0, 0, 0, 1, 0, 0, 0, 0]));
    frames.push(extend(&udp, 44, vec![0; 8]));
    frames.extend(errors());
    frames.push(frame(V4[0], V4[0], Layer::Ping(1)));
    let mut outcomes = std::collections::BTreeMap::<String, u32>::new();
    let mut rules = Rules::default();
    let mut sanity = Sanity::default();
    for number in 0..400_000 {
        if number % 1_000 == 0 {
            (rules, sanity) = settings(&mut random);
        }
        let mut bytes = random.choice(&frames).unwrap().clone();
        mutate(&mut bytes, &mut random);
        let port = random.choice(Port::BOTH).unwrap();
        let read = dataplane::parse::parse(&bytes, &sanity, port);
        let second = second_parser::read_by(&rules, &bytes, port);
        assert_eq!(read, second, "{port:?} {rules:?} {bytes:02x?}");
        let outcome = match read {
            Ok(Parsed::Ip(packet)) if packet.completion.is_some() => "Completion".to_owned(),
            Ok(Parsed::Ip(packet)) => format!("{:?}", packet.signal),
            Ok(other) => format!("{other:?}"),
            Err(reason) => reason.name().to_owned(),
        };
        let outcome = outcome.split(['(', ' ']).next().unwrap().to_owned();
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}");
    assert_eq!(outcomes.len(), 28, "every outcome was reached: {outcomes:?}");
}

/// Errors about packets of every kind.
fn errors() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for ([src, dst], kinds) in [(V4, [3, 11, 12]), (V6, [1, 2, 4])] {
        for layer in [Layer::Tcp(1, 2, SYN), Layer::Udp(1, 2), Layer::Ping(1), Layer::Raw(47)] {
            out.extend(kinds.map(|kind| error(dst, kind, 0, &frame(src, dst, layer))));
        }
    }
    out.push(error(V4[1], 3, 1, &with_options(&[1; 8])));
    out.push(error(V6[1], 3, 0, &with_extensions(3)));
    out
}

/// Settings of both parsers: mostly the default, sometimes anything.
fn settings(random: &mut fastrand::Rng) -> (Rules, Sanity) {
    let mut rules = Rules::default();
    if random.bool() {
        let waivable = DropReason::ALL.into_iter().filter(|it| it.can_be_counted_only());
        rules.counted = waivable.filter(|_| random.u8(..4) == 0).collect();
        rules.strict = random.bool();
        let checksums = [Checksums::Complete, Checksums::Verify, Checksums::Ignore];
        rules.checksums = random.choice(checksums).unwrap();
        for (nets, net) in rules.nets.iter_mut().zip(["198.18.0.0/24 2001:2::/64", "::/0"]) {
            if random.bool() {
                *nets = net.split(' ').map(net_of).collect();
            }
        }
    }
    let networks = rules.nets.each_ref().map(|nets| {
        let nets: Vec<_> =
            nets.iter().map(|(address, length)| format!("{address}/{length}")).collect();
        if nets.is_empty() { Networks::default() } else { nets.join(",").parse().unwrap() }
    });
    let sanity = Sanity::new(rules.checks(), &SpecialPurpose::default(), &networks);
    (rules, sanity)
}

fn net_of(text: &str) -> (IpAddr, u32) {
    let (address, length) = text.split_once('/').unwrap();
    (address.parse().unwrap(), length.parse().unwrap())
}

/// Changes a few bytes, mostly to what means something, makes the checksums right or leaves one to hardware, or cuts it off.
fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(..4) {
        let at = random.usize(..bytes.len().min(110));
        bytes[at] = match random.u8(..3) {
            0 => random.u8(..),
            1 => random.choice(MEANINGFUL).unwrap(),
            _ => bytes[at] ^ (1 << random.u8(..8)),
        };
    }
    if random.u8(..4) > 0 {
        repair(bytes);
    }
    match random.u8(..12) {
        0..=2 => bytes.truncate(random.usize(..=bytes.len())),
        3 => leave_checksum_to_hardware(bytes),
        _ => {}
    }
}

/// Protocols, options, types and lengths.
const MEANINGFUL: [u8; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 17, 20, 32, 40, 43, 44, 51, 58, 59, 60, 64, 127,
    128, 130, 131, 135, 143, 255,
];

/// A TCP frame behind `count` extension headers of every walked kind.
fn with_extensions(count: usize) -> Vec<u8> {
    let mut authentication = vec![0; 24];
    authentication[1] = 4;
    let mut long = vec![0; 32];
    (long[1], long[2]) = (3, 4);
    let kinds = [(60, vec![0; 8]), (51, authentication), (43, long)];
    let mut bytes = frame(V6[0], V6[1], Layer::Tcp(5, 22, SYN));
    for index in 1..count {
        let (number, extension) = &kinds[index % kinds.len()];
        bytes = extend(&bytes, *number, extension.clone());
    }
    extend(&bytes, 0, vec![0; 8])
}

/// A UDP frame with these IPv4 options, a multiple of four bytes.
fn with_options(options: &[u8]) -> Vec<u8> {
    let length = u8::try_from(options.len()).unwrap();
    let mut bytes = frame(V4[0], V4[1], Layer::Udp(7, 8));
    bytes[ETHERNET] += length / 4;
    bytes[ETHERNET + 3] += length;
    bytes.splice(ETHERNET + 20..ETHERNET + 20, options.to_vec());
    repair(&mut bytes);
    bytes
}

fn vlans_of(bytes: &[u8]) -> [Option<u16>; 2] {
    match parse(bytes) {
        Ok(Parsed::Ip(packet)) => packet.vlans,
        other => panic!("not judged: {other:?}"),
    }
}

/// Puts the sum of the pseudo header into the checksum field of an untagged TCP or UDP frame without options, as Linux does.
fn leave_checksum_to_hardware(bytes: &mut [u8]) {
    let Some(first) = bytes.get(ETHERNET) else { return };
    let (header, protocol, addresses) =
        if first >> 4 == 4 { (20, 9, 12..20) } else { (40, 6, 8..40) };
    if bytes.len() < ETHERNET + header + 20 {
        return;
    }
    let protocol = bytes[ETHERNET + protocol];
    let field = if protocol == 6 { 16 } else { 6 };
    let length = u16::try_from(bytes.len() - ETHERNET - header).unwrap();
    let words = bytes[ETHERNET..][addresses].chunks(2);
    let mut sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    sum += u32::from(length) + u32::from(protocol);
    sum = (sum >> 16) + (sum & 0xFFFF);
    let sum = u16::try_from((sum >> 16) + (sum & 0xFFFF)).unwrap();
    bytes[ETHERNET + header + field..][..2].copy_from_slice(&sum.to_be_bytes());
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ports(src: u16, dst: u16) -> Transport {
    Transport::Ports { src, dst }
}

fn message(kind: u8, code: u8) -> Transport {
    Transport::Icmp { kind, code }
}
