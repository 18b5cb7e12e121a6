//! CC-14, CC-15, CC-21 to CC-23: packets whose form is wrong, where policy allows everything, and within a session.

use std::net::IpAddr;

use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::{
    self, Checksum, ExtensionHeader, FragmentInvalid, FragmentOverlap, FragmentTimeout, IpOption,
    Land, Malformed, SourceRoute,
};

use crate::craft::{
    ACK, ETHERNET, PSH, SYN, TCP, Tcp, UDP, V4, V6, fragment_header, fragments, fragments_v6,
    frame, right_v4, udp,
};
use crate::family::Family;
use crate::gate::{Fate, Gate, Setup};
use crate::policy::open;

const DATA: u8 = PSH | ACK;
const MORE: u16 = 0x2000;
const DESTINATION: u8 = 60;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
/// Eight bytes of options that mean nothing.
const PADDED: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

fn permissive() -> Gate {
    Gate::new(Setup { policy: Some(open(1)), ..Setup::default() })
}

/// A packet with something wrong.
struct Defect {
    name: String,
    frame: Vec<u8>,
    reason: DropReason,
}

/// What a packet of either family is made of.
#[derive(Clone, Debug)]
enum Packet {
    V4(V4),
    V6(V6),
}

impl Packet {
    fn between(src: IpAddr, dst: IpAddr, protocol: u8, payload: Vec<u8>) -> Self {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Self::V4(V4::new(src, dst, protocol, payload)),
            (IpAddr::V6(src), IpAddr::V6(dst)) => Self::V6(V6::new(src, dst, protocol, payload)),
            _ => unreachable!("one family"),
        }
    }

    /// A question of the first client.
    fn question(family: Family, data: &[u8]) -> Self {
        let (src, dst) = (family.client(1), family.server(1));
        Self::between(src, dst, UDP, udp(src, dst, [5_353, 53], data))
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::V4(packet) => packet.bytes(),
            Self::V6(packet) => packet.bytes(),
        }
    }

    fn frame(&self) -> Vec<u8> {
        frame(A, &self.bytes())
    }

    /// A part of its data as a fragment.
    fn part(&self, id: u16, from: usize, to: usize, more: bool) -> Vec<u8> {
        match self {
            Self::V4(whole) => {
                let offset = u16::try_from(from / 8).unwrap();
                let fragment = offset | if more { MORE } else { 0 };
                let payload = whole.payload[from..to].to_vec();
                frame(A, &V4 { id, fragment, payload, ..whole.clone() }.bytes())
            }
            Self::V6(whole) => {
                let payload = whole.payload[from..to].to_vec();
                let part = V6 { payload, ..whole.clone() };
                frame(A, &part.behind(FRAGMENT, &fragment_header(id.into(), from, more)).bytes())
            }
        }
    }

    /// All of it in fragments that are cut here.
    fn cut(&self, id: u16, cuts: &[usize]) -> Vec<Vec<u8>> {
        let pieces: Vec<Vec<u8>> = match self {
            Self::V4(whole) => {
                let whole = V4 { id, ..whole.clone() };
                fragments(&whole, cuts).iter().map(V4::bytes).collect()
            }
            Self::V6(whole) => fragments_v6(whole, id.into(), cuts).iter().map(V6::bytes).collect(),
        };
        pieces.iter().map(|piece| frame(A, piece)).collect()
    }
}

/// CC-14: fragments that cannot be: beyond 65,535, with more to come but no multiple of eight, empty, too short a first one,
/// overlapping, and two that are the last.
pub(super) fn invalid_fragments_are_dropped(family: Family) {
    let mut gate = permissive();
    try_invalid_fragments(&mut gate, family, &Packet::question(family, &[b'x'; 64]), 0);
}

fn try_invalid_fragments(gate: &mut Gate, family: Family, whole: &Packet, id: u16) {
    gate.refuse(A, &whole.part(id + 1, 0, 20, true), FragmentInvalid);
    gate.refuse(A, &whole.part(id + 2, 24, 24, true), FragmentInvalid);
    gate.refuse(A, &beyond(whole, id + 3), FragmentInvalid);
    // Too short for the header that rules must see, and the piece that would hide behind it.
    let web = family.web(9);
    let (src, dst) = (web.ends[0], web.ends[1]);
    let syn = Tcp { data: vec![b'x'; 20], ..web.segment(A, SYN, 0, 0) };
    let syn = Packet::between(src, dst, TCP, syn.bytes(src, dst));
    gate.refuse(A, &syn.part(id + 4, 0, 16, true), FragmentInvalid);
    for (number, [from, to]) in (id + 10..).zip([[0, 40], [16, 40], [32, 56], [24, 48]]) {
        let ends_alike = [from, to] == [24, 48];
        let last = whole.part(number, 48, 72, false);
        assert_eq!(gate.send(A, &whole.part(number, 0, 24, true)), Fate::Held);
        assert_eq!(gate.send(A, &whole.part(number, 24, 48, true)), Fate::Held);
        let again = whole.part(number, from, to, true);
        if ends_alike {
            // The same once more is harmless.
            gate.refuse(A, &again, FragmentOverlap);
            assert!(matches!(gate.send(A, &last), Fate::Left(left) if left.len() == 3));
        } else {
            assert_eq!(gate.send(A, &again), Fate::Dropped(FragmentOverlap, 3));
            gate.refuse(A, &last, FragmentOverlap);
        }
    }
    assert_eq!(gate.send(A, &whole.part(id + 20, 24, 40, false)), Fate::Held);
    let Fate::Dropped(reason, 2) = gate.send(A, &whole.part(id + 20, 48, 72, false)) else {
        panic!("two that are the last");
    };
    assert!(matches!(reason, FragmentInvalid | FragmentOverlap));
    gate.refuse(A, &whole.part(id + 20, 0, 24, true), reason);
    // More behind the end that was said, an end before what is there already, and another end before the one that was said.
    let contradictions = [
        [(24, 40, false), (40, 56, true)],
        [(32, 48, true), (16, 24, false)],
        [(48, 72, false), (24, 40, false)],
    ];
    for (number, [first, then]) in (id + 21..).zip(contradictions) {
        let part = |(from, to, more)| whole.part(number, from, to, more);
        assert_eq!(gate.send(A, &part(first)), Fate::Held);
        let fate = gate.send(A, &part(then));
        let voids = matches!(fate, Fate::Dropped(FragmentInvalid | FragmentOverlap, 2));
        assert!(voids, "{first:?} {then:?}: {fate:?}");
    }
}

/// A last fragment that ends beyond the longest packet.
fn beyond(whole: &Packet, id: u16) -> Vec<u8> {
    match whole {
        Packet::V4(whole) => frame(A, &V4 { id, fragment: 0x1fff, ..whole.clone() }.bytes()),
        Packet::V6(whole) => {
            let header = fragment_header(id.into(), 0xfff8, false);
            frame(A, &whole.clone().behind(FRAGMENT, &header).bytes())
        }
    }
}

/// CC-15: fragments that never become a datagram: the first only, the last only, all but one. Nothing of them passes; they are
/// counted when their time is over.
pub(super) fn incomplete_datagrams_are_dropped(family: Family) {
    let whole = Packet::question(family, &[b'x'; 64]);
    for held in [&[0][..], &[2], &[0, 2], &[0, 1], &[1, 2]] {
        let mut gate = permissive();
        let pieces = whole.cut(15, &[24, 48]);
        for piece in held {
            assert_eq!(gate.send(A, &pieces[*piece]), Fate::Held);
        }
        gate.wait_s(if family == Family::V4 { 29 } else { 59 });
        assert_eq!(gate.dropped(FragmentTimeout), 0);
        gate.wait_s(2);
        assert_eq!(gate.dropped(FragmentTimeout), held.len() as u64);
        assert_eq!(gate.counters().port(A).held.packets, 0);
        assert_eq!(gate.counters().port(A).forwarded.packets, 0);
    }
}

/// CC-21: source routes and recorded routes, wherever among the options they stand, and with lengths that are wrong. IPv6 has
/// routing headers instead.
pub(super) fn source_routes_are_dropped(family: Family) {
    let mut gate = permissive();
    let question = Packet::question(family, b"x");
    let defects = match question {
        Packet::V4(packet) => routes(&packet),
        Packet::V6(packet) => routing_headers(&packet),
    };
    refuse(&mut gate, &defects);
}

/// CC-22: what else is dropped whatever rules say: lengths, versions and checksums that are wrong, LAND, headers nested or in
/// too long a chain.
pub(super) fn what_does_not_add_up_is_dropped(family: Family) {
    let mut gate = permissive();
    let dst = family.server(1);
    let land = Packet::between(dst, dst, UDP, udp(dst, dst, [53, 53], b"x"));
    gate.refuse(A, &land.frame(), Land);
    refuse(&mut gate, &defects(&Packet::question(family, b"who is there?"), 6));
}

/// CC-23: all of it within a session: packets that would belong to it but for their form are dropped, and it goes on.
pub(super) fn defects_are_dropped_within_a_session_too(family: Family) {
    let (mut gate, web) = (permissive(), family.web(1));
    gate.open(&web);
    let [src, dst] = web.ends;
    let segment = Tcp { data: vec![b'x'; 52], ..web.segment(A, DATA, 1, 1) };
    let packet = Packet::between(src, dst, TCP, segment.bytes(src, dst));
    refuse(&mut gate, &defects(&packet, 16));
    let routes = match &packet {
        Packet::V4(packet) => routes(packet),
        Packet::V6(packet) => routing_headers(packet),
    };
    refuse(&mut gate, &routes);
    try_invalid_fragments(&mut gate, family, &Packet::question(family, &[b'x'; 64]), 100);
    // A segment of the session, overlapping itself.
    assert_eq!(gate.send(A, &packet.part(99, 0, 40, true)), Fate::Held);
    assert_eq!(gate.send(A, &packet.part(99, 32, 72, false)), Fate::Dropped(FragmentOverlap, 2));
    assert_eq!(gate.counters().flows_ended, 0);
    gate.pass(A, &packet.frame());
    gate.pass(B, &web.send(B, DATA, 1, 53, b"answer"));
    // What is whole when it is put together is of the session.
    let segment = Tcp { data: vec![b'y'; 52], ..web.segment(A, DATA, 53, 7) };
    let pieces = Packet::between(src, dst, TCP, segment.bytes(src, dst)).cut(98, &[40]);
    assert_eq!(gate.send(A, &pieces[0]), Fate::Held);
    assert_eq!(gate.send(A, &pieces[1]), Fate::Left(pieces.clone()));
}

fn refuse(gate: &mut Gate, defects: &[Defect]) {
    assert!(!defects.is_empty());
    for Defect { name, frame, reason } in defects {
        assert_eq!(gate.send(A, frame), Fate::Dropped(*reason, 1), "{name}");
    }
}

fn routes(packet: &V4) -> Vec<Defect> {
    let mut defects = Vec::new();
    for (kind, reason) in [(131, SourceRoute), (137, SourceRoute), (7, IpOption)] {
        let route = [kind, 7, 4, 198, 19, 9, 9];
        let places: [Vec<u8>; 3] = [
            [&route[..], &[1; 5]].concat(),
            [&[1; 2][..], &route, &[1; 3]].concat(),
            [&[1; 5][..], &route].concat(),
        ];
        let mut add = |what: &str, options: Vec<u8>, reason| {
            let frame = frame(A, &V4 { options, ..packet.clone() }.bytes());
            defects.push(Defect { name: format!("option {kind} {what}"), frame, reason });
        };
        for (options, place) in places.into_iter().zip(["first", "in the middle", "last"]) {
            add(place, options.clone(), reason);
            let at = options.iter().position(|byte| *byte == kind && kind != 1).unwrap();
            for length in [0, 1, 40] {
                let mut options = options.clone();
                options[at + 1] = length;
                add(&format!("{place} of length {length}"), options, Malformed);
            }
        }
    }
    defects
}

fn routing_headers(packet: &V6) -> Vec<Defect> {
    let header = |kind, left| {
        let mut header = [0; 24];
        [header[1], header[2], header[3]] = [2, kind, left];
        header[8..24].copy_from_slice(&packet.dst.octets());
        header
    };
    [(0, 1, SourceRoute), (1, 1, SourceRoute), (3, 1, SourceRoute), (0, 0, ExtensionHeader)]
        .into_iter()
        .flat_map(|(kind, left, reason)| {
            let routed = packet.clone().behind(ROUTING, &header(kind, left));
            let late = routed.clone().behind(DESTINATION, &PADDED);
            [routed, late].map(|packet| Defect {
                name: format!("routing header of type {kind}, {left} left"),
                frame: frame(A, &packet.bytes()),
                reason,
            })
        })
        .collect()
}

/// What is wrong with a packet whose transport header has its checksum at `sum_at`.
fn defects(packet: &Packet, sum_at: usize) -> Vec<Defect> {
    let whole = packet.frame();
    let altered = |name: &str, at: usize, byte: u8, reason| {
        let mut frame = whole.clone();
        frame[ETHERNET + at] = byte;
        if matches!(packet, Packet::V4(_)) && at != 10 {
            right_v4(&mut frame[ETHERNET..]);
        }
        Defect { name: name.to_owned(), frame, reason }
    };
    let byte = |at: usize| whole[ETHERNET + at];
    match packet {
        Packet::V4(_) => vec![
            altered("version", 0, 0x55, Malformed),
            altered("header of four words", 0, 0x44, Malformed),
            altered("header beyond the packet", 0, 0x4f, Malformed),
            altered("length below the header", 3, 19, Malformed),
            altered("length beyond the frame", 3, byte(3) + 1, Malformed),
            altered("checksum of the header", 10, byte(10) ^ 0x40, Checksum),
            altered("checksum", 20 + sum_at, byte(20 + sum_at) ^ 0x40, Checksum),
        ],
        Packet::V6(packet) => {
            let chain =
                (0..9).fold(packet.clone(), |packet, _| packet.behind(DESTINATION, &PADDED));
            let nested = |packet: V6| packet.behind(FRAGMENT, &fragment_header(22, 0, false));
            let of = |name: &str, packet: &V6, reason| Defect {
                name: name.to_owned(),
                frame: frame(A, &packet.bytes()),
                reason,
            };
            // Of a protocol whose own header nobody looks at.
            let nothing = V6::new(packet.src, packet.dst, 47, Vec::new());
            vec![
                altered("version", 0, 0x50, Malformed),
                of("nothing at all", &nothing, Malformed),
                altered("no payload", 5, 0, Malformed),
                altered("length beyond the frame", 5, byte(5) + 1, Malformed),
                altered("checksum", 40 + sum_at, byte(40 + sum_at) ^ 0x40, Checksum),
                of("chain of nine headers", &chain, ExtensionHeader),
                of("nested fragment headers", &nested(nested(packet.clone())), FragmentInvalid),
            ]
        }
    }
}
