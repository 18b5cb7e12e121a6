//! S-08, S-33 to S-37, S-50, S-52: what is sent by those who do not see what they attack, and by those who send anything.

use std::hash::RandomState;
use std::time::Duration;

use dataplane::checks::Checks;
use dataplane::device::Port::{self, A, B};
use dataplane::disposition::DropReason::{
    self, BogonDestination, FlowTableFull, IcmpUnmatched, Malformed, NonIp, TcpNotOpening,
    TcpWindow, VlanTags,
};
use dataplane::flow::{Limit, Limits};

use crate::craft::{
    ACK, Connection, ETHERNET, FIN, ICMP, ICMPV6, PSH, RST, SYN, Tcp, UDP, V4, V6, ethernet,
    fragments, fragments_v6, frame, icmp, ip, udp,
};
use crate::family::Family;
use crate::gate::{Fate, Gate, Setup};
use crate::policy::open;

const DATA: u8 = PSH | ACK;
const MILLISECOND: Duration = Duration::from_millis(1);

fn gate() -> Gate {
    Gate::new(Setup::default())
}

/// S-08: floods of segments that belong to nothing: none passes, and nothing is remembered of them.
pub(crate) fn floods_without_state_leave_nothing(family: Family) {
    const FRAMES: u32 = 50_000;
    let mut gate = gate();
    let mut random = fastrand::Rng::with_seed(8);
    let frames = (0..FRAMES).map(|number| {
        let flags = [ACK, RST, FIN | ACK, SYN | ACK][number as usize % 4];
        let isn = [random.u32(..), random.u32(..)];
        let attacker = Connection { isn, ..family.web(random.u32(..)) };
        attacker.send(A, flags, 0, 0, b"")
    });
    assert!(gate.flood(A, frames, MILLISECOND).is_empty());
    assert_eq!(gate.dropped(TcpNotOpening), u64::from(FRAMES));
    assert_eq!((gate.flows.live(), gate.counters().flows_started), (0, 0));
    assert_eq!(gate.counters().port(A).forwarded.packets, 0);
}

/// S-33: RSTs of all numbers in steps of a window, from somebody who knows all but them. Those within the window pass, so that
/// the receiver asks back; nothing ends that is not hit exactly.
pub(crate) fn blind_resets_end_nothing(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    gate.open(&web);
    gate.pass(A, &web.send(A, DATA, 1, 1, b"x"));
    gate.pass(B, &web.send(B, ACK, 1, 2, b""));
    // Neither 1 nor 2, which would be exact, is a multiple of the step.
    let resets = (0..1_u32 << 19).map(|step| web.send(A, RST, 77 + step * 8_192, 0, b""));
    let passed = gate.flood(A, resets, MILLISECOND).len();
    assert!(passed <= 1, "{passed} are in one window");
    assert_eq!(gate.dropped(TcpWindow), (1 << 19) - passed as u64);
    gate.pass(A, &web.send(A, DATA, 2, 1, b"still here"));
    gate.pass(B, &web.send(B, DATA, 1, 12, b"so are we"));
}

/// S-34: data with random numbers from somebody who knows the ends: what passes is chance. The chance of a hit is window times
/// range of acknowledgments in 2^64.
pub(crate) fn blind_data_passes_by_chance_only(family: Family) {
    const FRAMES: u32 = 1_000_000;
    let (mut gate, web) = (gate(), family.web(1));
    gate.open(&web);
    let mut random = fastrand::Rng::with_seed(34);
    let evil = |_| web.send(A, DATA, random.u32(..), random.u32(..), b"evil");
    // Some 16,384 of 2^32 times 8,192 of 2^32, a million times: nothing.
    assert!(gate.flood(A, (0..FRAMES).map(evil), MILLISECOND).is_empty());
    assert_eq!(gate.dropped(TcpWindow), u64::from(FRAMES));
    gate.pass(A, &web.send(A, DATA, 1, 1, b"honest"));
}

/// S-35: addresses and ports chosen so that they meet in a few places of one table are spread like any others in a table of
/// another key, and keys are random.
pub(crate) fn chosen_tuples_collide_under_one_key_only(family: Family) {
    const SLOTS: usize = 1 << 12;
    let none = Limits::default().with(Limit::HalfOpen, 0).with(Limit::FlowsPerSource, 0);
    let table = |random: &RandomState| {
        let random = random.clone();
        Gate::new(Setup { slots: SLOTS, limits: none, random, ..Setup::default() })
    };
    let (known, other) = (RandomState::new(), RandomState::new());
    // The attacker, if the key were known: takes what does not fit any more when the table is nearly full, as that is what
    // goes to the fullest places.
    let mut model = table(&known);
    let all = 0..u32::try_from(4 * SLOTS).unwrap();
    let chosen: Vec<u32> = all.filter(|client| !opens(&mut model, &family.web(*client))).collect();
    assert!(model.dropped(FlowTableFull) > 0, "the model was full");
    let mut attacked = table(&other);
    for client in chosen.get(..SLOTS / 2).expect("as many that did not fit") {
        assert!(opens(&mut attacked, &family.web(*client)), "client {client}");
    }
}

/// Opens a connection, if there is room for it.
pub(crate) fn opens(gate: &mut Gate, web: &Connection) -> bool {
    let [(_, syn), (_, answer), (_, ack)] = web.handshake([&[], &[]]);
    let has_room = gate.passes(A, &syn);
    if has_room {
        gate.pass(B, &answer);
        gate.pass(A, &ack);
    }
    has_room
}

/// S-36: an error about an error; an error in fragments, which is one when it is whole; errors that quote options and extension
/// headers, which are walked.
pub(crate) fn errors_are_about_what_they_quote(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    gate.open(&web);
    gate.pass(A, &web.send(A, DATA, 1, 1, &[b'x'; 100]));
    let segment = Tcp { data: vec![b'x'; 100], ..web.segment(A, DATA, 1, 1) };
    let quote = web.packet(A, &segment);
    let about = |quote: &[u8]| error(family, &web, quote);
    gate.pass(B, &frame(B, &about(&quote)));
    let twice = about(&about(&quote));
    gate.refuse(B, &frame(B, &twice), IcmpUnmatched);
    gate.pass(B, &frame(B, &about(&with_options(family, &web, &segment))));
    let [first, last] = halves(family, &web, &quote);
    assert_eq!(gate.send(B, &first), Fate::Held);
    assert_eq!(gate.send(B, &last), Fate::Left(vec![first.clone(), last.clone()]));
    // A part of one is none.
    assert_eq!(gate.send(B, &last), Fate::Dropped(DropReason::FragmentOverlap, 1));
}

/// S-37: a flood of errors about a live flow does nothing to it.
pub(crate) fn flood_of_errors_ends_nothing(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    gate.open(&web);
    gate.pass(A, &web.send(A, DATA, 1, 1, &[b'x'; 100]));
    let segment = Tcp { data: vec![b'x'; 100], ..web.segment(A, DATA, 1, 1) };
    let error = frame(B, &error(family, &web, &web.packet(A, &segment)));
    gate.flood(B, (0..20_000).map(|_| error.clone()), MILLISECOND);
    gate.pass(A, &web.send(A, DATA, 101, 1, b"still here"));
    gate.pass(B, &web.send(B, DATA, 1, 111, b"so are we"));
    // Errors keep nothing alive either.
    gate.wait_s(7_400);
    gate.passes(B, &error);
    gate.wait_s(100);
    gate.refuse(A, &web.send(A, DATA, 111, 10, b"x"), TcpNotOpening);
}

/// S-50: what comes from the wire for addresses of this host itself reaches nobody, whatever policy says.
pub(crate) fn nothing_goes_to_loopback(family: Family) {
    let mut gate = Gate::new(Setup { policy: Some(open(1)), ..Setup::default() });
    let (own, theirs): ([&str; 2], _) = match family {
        Family::V4 => (["127.0.0.1", "127.255.255.254"], family.client(1)),
        Family::V6 => (["::1", "::1"], family.client(1)),
    };
    for (own, port) in own.into_iter().flat_map(|own| [22, 53, 80, 443].map(|port| (own, port))) {
        let dst = own.parse().unwrap();
        let datagram = udp(theirs, dst, [4_000, port], b"knock knock");
        for from in Port::BOTH {
            gate.refuse(
                from,
                &frame(from, &ip(theirs, dst, UDP, datagram.clone())),
                BogonDestination,
            );
            let ports = [4_000, port];
            let knock = Connection { ends: [theirs, dst], ports, ..family.web(1) };
            let syn = knock.packet(A, &knock.segment(A, SYN, 0, 0));
            gate.refuse(from, &frame(from, &syn), BogonDestination);
        }
    }
}

/// S-52: frames too short for anything, cut ARP, up to five VLAN tags, a priority tag, foreign frames, and as long as they get.
pub(crate) fn frames_of_all_kinds_are_counted(family: Family) {
    let mut gate = gate();
    for length in 0..ETHERNET {
        gate.refuse(A, &vec![0x42; length], Malformed);
    }
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0xe, 0xa, 198, 18, 0, 1];
    for length in 0..arp.len() {
        let cut = ethernet(A, 0x0806, &arp[..length]);
        let fate = gate.send(A, &cut);
        assert!(
            matches!(fate, Fate::Dropped(Malformed | DropReason::Arp, 1)),
            "{length}: {fate:?}"
        );
    }
    let question = family.datagram(1, A, b"question");
    let tagged = |tags: &[u16]| {
        let tags = tags.iter().flat_map(|tag| [[0x81, 0x00], tag.to_be_bytes()]);
        [&question[..12], &tags.collect::<Vec<_>>().concat(), &question[12..]].concat()
    };
    // Priority alone is VLAN 0.
    for tags in [&[0xe000][..], &[100], &[100, 200]] {
        gate.pass(A, &tagged(tags));
    }
    for tags in 3..=5 {
        gate.refuse(A, &tagged(&vec![100; tags]), VlanTags);
    }
    gate.refuse(A, &ethernet(A, 0x88b5, &[0x42; 46]), NonIp);
    // As long as a frame of this device can be, in small steps; and every cut of a good one.
    for length in (0..1_990).step_by(7) {
        gate.passes(A, &ethernet(A, 0x86dd, &vec![0x60; length]));
        gate.pass(A, &family.datagram(1, A, &vec![b'x'; length.min(1_900)]));
    }
    for length in ETHERNET..question.len() {
        gate.refuse(A, &question[..length], Malformed);
    }
    for port in Port::BOTH {
        assert!(gate.counters().port(port).balances());
    }
    assert_eq!(Checks::default(), Setup::default().checks, "as it is without settings");
}

/// An error about this packet, from the server: no such port.
fn error(family: Family, web: &Connection, quote: &[u8]) -> Vec<u8> {
    let [client, server] = web.ends;
    ip(server, client, protocol(family), message(family, web, quote))
}

fn message(family: Family, web: &Connection, quote: &[u8]) -> Vec<u8> {
    let [client, server] = web.ends;
    let kind = if family == Family::V4 { [3, 3] } else { [1, 4] };
    icmp(server, client, kind, [0; 4], quote)
}

fn protocol(family: Family) -> u8 {
    if family == Family::V4 { ICMP } else { ICMPV6 }
}

/// The client's segment in a packet with options, or extension headers, that pass.
fn with_options(family: Family, web: &Connection, segment: &Tcp) -> Vec<u8> {
    let [src, dst] = web.ends;
    let payload = segment.bytes(src, dst);
    match (family, src, dst) {
        (Family::V4, std::net::IpAddr::V4(src), std::net::IpAddr::V4(dst)) => {
            V4 { options: vec![1; 8], ..V4::new(src, dst, 6, payload) }.bytes()
        }
        (Family::V6, std::net::IpAddr::V6(src), std::net::IpAddr::V6(dst)) => {
            V6::new(src, dst, 6, payload).behind(60, &[0, 0, 1, 4, 0, 0, 0, 0]).bytes()
        }
        _ => unreachable!("one family"),
    }
}

/// An error in two fragments.
fn halves(family: Family, web: &Connection, quote: &[u8]) -> [Vec<u8>; 2] {
    let payload = message(family, web, quote);
    let pieces: Vec<Vec<u8>> = match (web.ends[1], web.ends[0]) {
        (std::net::IpAddr::V4(src), std::net::IpAddr::V4(dst)) => {
            let whole = V4::new(src, dst, ICMP, payload);
            fragments(&whole, &[64]).iter().map(V4::bytes).collect()
        }
        (std::net::IpAddr::V6(src), std::net::IpAddr::V6(dst)) => {
            let whole = V6::new(src, dst, ICMPV6, payload);
            fragments_v6(&whole, 36, &[64]).iter().map(V6::bytes).collect()
        }
        _ => unreachable!("one family"),
    };
    let frames: Vec<_> = pieces.iter().map(|piece| frame(B, piece)).collect();
    frames.try_into().expect("two")
}
