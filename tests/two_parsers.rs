//! `trace --pcap` reads headers by itself, because `control` and `dataplane` do not know each other: it must see of a frame
//! what the data plane sees.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

use std::collections::BTreeMap;

use control::capture::{self, Link, Unjudged};
use dataplane::checks::{Checks, Checksums};
use dataplane::device::Port;
use dataplane::disposition::{DropReason, Reasons};
use dataplane::parse::{self, Parsed, TcpFlags};
use dataplane::sanity::{Sanity, SpecialPurpose};
use etherparse::PacketBuilder;
use fastrand::Rng;

const FRAMES: usize = 400_000;

#[test]
fn a_capture_is_read_as_the_data_plane_reads_the_wire() {
    let seed = std::env::var("RAVELIN_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("two parsers: RAVELIN_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let sanity = headers_only();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..FRAMES {
        let frame = frame(&mut rng);
        let wire = parse::parse(&frame, &sanity, Port::A);
        let read = capture::packet(Link::Ethernet, &frame, frame.len());
        assert!(agree(wire, read), "seed {seed}: {wire:?} but {read:?} of {frame:02x?}");
        let name = match wire {
            Ok(Parsed::Ip(packet)) => format!("protocol {}", packet.key.protocol),
            Ok(other) => format!("{other:?}").split(['(', ' ']).next().unwrap().to_owned(),
            Err(reason) => format!("Err({reason:?})"),
        };
        *seen.entry(name).or_default() += 1;
    }
    for name in [
        "protocol 1",
        "protocol 6",
        "protocol 17",
        "protocol 58",
        "protocol 132",
        "Arp",
        "Fragment",
        "NeighbourDiscovery",
        "NonIp",
        "Err(FragmentInvalid)",
        "Err(Malformed)",
        "Err(NeighbourDiscovery)",
        "Err(SourceRoute)",
        "Err(VlanTags)",
    ] {
        assert!(seen.get(name).is_some_and(|count| *count > 50), "{name} in {seen:?}");
    }
}

/// A capture says what policy would see, so nothing that a setting may let pass is refused but what it refuses too.
fn headers_only() -> Sanity {
    let refused = [DropReason::SourceRoute, DropReason::NeighbourDiscovery];
    let waivable = DropReason::ALL
        .into_iter()
        .filter(|reason| reason.can_be_counted_only() && !refused.contains(reason));
    let counted_only = waivable.fold(Reasons::default(), Reasons::with);
    let checks = Checks { counted_only, checksums: Checksums::Ignore, ..Checks::default() };
    Sanity::new(checks, &SpecialPurpose::default(), &Default::default())
}

/// A capture does not look at what ARP and neighbour discovery carry, which no policy judges.
fn agree(wire: Result<Parsed, DropReason>, read: Result<capture::Packet, Unjudged>) -> bool {
    match (wire, read) {
        (Ok(Parsed::Ip(wire)), Ok(read)) => {
            (wire.key, wire.vlans) == (read.key, read.vlans)
                && is_same_signal(wire.signal, read.signal)
        }
        (Err(reason), Err(unjudged)) => matches!(
            (reason, unjudged),
            (
                DropReason::Malformed,
                Unjudged::Malformed
                    | Unjudged::Arp
                    | Unjudged::NeighbourDiscovery
                    | Unjudged::FalseDiscovery
                    // The data plane walks all of the options and extension headers first.
                    | Unjudged::SourceRoute
                    | Unjudged::Fragment
            ) | (
                DropReason::NeighbourDiscovery,
                Unjudged::FalseDiscovery | Unjudged::NeighbourDiscovery | Unjudged::Fragment
            ) | (DropReason::NonIp, Unjudged::NonIp)
                | (DropReason::FragmentInvalid, Unjudged::Fragment)
                | (DropReason::ExtensionHeader, Unjudged::Malformed | Unjudged::Fragment)
                | (DropReason::SourceRoute, Unjudged::SourceRoute | Unjudged::Fragment)
                | (DropReason::VlanTags, Unjudged::VlanTags)
        ),
        (Ok(passed), Err(unjudged)) => matches!(
            (passed, unjudged),
            (Parsed::Arp(_), Unjudged::Arp)
                | (Parsed::NeighbourDiscovery(_), Unjudged::NeighbourDiscovery)
                | (Parsed::Fragment(_), Unjudged::Fragment)
                | (Parsed::NonIp, Unjudged::NonIp)
        ),
        // The options of TCP may be missing in a capture, so nobody looks at them there.
        (Err(DropReason::Malformed), Ok(read)) => read.key.protocol == 6,
        (_, Ok(_)) => false,
    }
}

fn is_same_signal(wire: parse::Signal, read: capture::Signal) -> bool {
    use capture::Signal as Read;
    let expected = match wire {
        // Of queries, a capture knows echo.
        parse::Signal::Request(query) | parse::Signal::Reply(query) if query.kind == 13 => {
            Read::Message
        }
        parse::Signal::Request(query) => Read::EchoRequest(query.identifier),
        parse::Signal::Reply(query) => Read::EchoReply(query.identifier),
        parse::Signal::Error(_) | parse::Signal::Message => Read::Message,
        parse::Signal::Datagram => Read::Datagram,
        parse::Signal::Tcp(segment) => of_flags(segment.flags),
    };
    expected == read
}

fn of_flags(flags: TcpFlags) -> capture::Signal {
    match (flags.syn(), flags.ack(), flags.rst() || flags.fin()) {
        (true, false, false) => capture::Signal::Opening,
        (true, true, false) => capture::Signal::Answer,
        _ => capture::Signal::Segment,
    }
}

/// A whole frame, and now and then one with a few wrong bytes or without its end.
fn frame(rng: &mut Rng) -> Vec<u8> {
    let mut frame = tagged(&whole(rng), rng);
    for _ in 0..[0, 0, 1, 3][rng.usize(..4)] {
        // Headers, not padding, are what parsers differ about.
        let at = rng.usize(12..frame.len().min(90));
        frame[at] = [0, 1, 6, 43, 44, 51, 60, 131, 135, 137, 255, rng.u8(..)][rng.usize(..12)];
    }
    if rng.u8(..8) == 0 {
        frame.truncate(rng.usize(14..=frame.len()));
    }
    frame
}

fn whole(rng: &mut Rng) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let (v4, v6) = (([198, 18, 0, 1], [198, 18, 0, 2]), ([0x20; 16], [0x21; 16]));
    let hops = if rng.bool() { 255 } else { 64 };
    let (builder, is_v4) = match rng.u8(..8) {
        0 => return arp(),
        1..4 => (builder.ipv4(v4.0, v4.1, hops), true),
        _ => (builder.ipv6(v6.0, v6.1, hops), false),
    };
    let payload = vec![0; rng.usize(..40)];
    let mut frame = Vec::new();
    match rng.u8(..8) {
        0..2 => {
            let mut tcp = builder.tcp(rng.u16(..), rng.u16(..), 1, 1);
            tcp = if rng.bool() { tcp.syn() } else { tcp };
            tcp = if rng.bool() { tcp.ack(1) } else { tcp };
            tcp = if rng.u8(..6) == 0 { tcp.rst() } else { tcp };
            tcp.write(&mut frame, &payload).unwrap();
        }
        2..4 => builder.udp(rng.u16(..), rng.u16(..)).write(&mut frame, &payload).unwrap(),
        4..7 if is_v4 => {
            builder.icmpv4_echo_request(rng.u16(..), 1).write(&mut frame, &payload).unwrap();
        }
        4..6 => builder.icmpv6_echo_reply(rng.u16(..), 1).write(&mut frame, &payload).unwrap(),
        6 => {
            let solicitation = [vec![0, 0, 0, 0], vec![9; 16]].concat();
            builder.icmpv6_raw(135, 0, [0; 4]).write(&mut frame, &solicitation[4..]).unwrap();
        }
        _ => {
            builder.write(&mut frame, 253.into(), &extension(rng)).unwrap();
            // The builder writes no extension headers of its own: their number is put in afterwards.
            frame[if is_v4 { 23 } else { 20 }] = [0, 43, 44, 51, 60, 132][rng.usize(..6)];
        }
    }
    frame
}

/// What may be an extension header before UDP, or an SCTP header.
fn extension(rng: &mut Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = vec![17, rng.u8(..3), 0, rng.u8(..2), 0, 0, 0, 0];
    bytes.resize(8 + rng.usize(..4) * 4, 0);
    bytes.extend([0, 53, 0, 53, 0, 8, 0, 0]);
    bytes
}

fn arp() -> Vec<u8> {
    let mut frame = [[2; 6], [4; 6]].concat();
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.resize(60, 1);
    frame
}

fn tagged(frame: &[u8], rng: &mut Rng) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let mut tagged = addresses.to_vec();
    for _ in 0..[0, 0, 0, 1, 2, 3][rng.usize(..6)] {
        tagged.extend([[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00]][rng.usize(..3)]);
        tagged.extend(rng.u16(..).to_be_bytes());
    }
    tagged.extend(rest);
    tagged
}
