//! V01 to V49: extension headers, fragments and addresses of IPv6.

use std::net::Ipv6Addr;

use dataplane::device::Port::A;
use dataplane::disposition::DropReason::{
    self, BogonDestination, BogonSource, Checksum, ExtensionHeader, FragmentInvalid,
    FragmentOverlap, HopLimit, Malformed, PolicyDenied, SourceRoute, SpoofedSource,
};
use ravelin::craft::{ETHERNET, UDP, V6, fragment_header, fragments_v6, frame, udp};

use crate::scenario::{Place, Scenario, Script, row, row_of_networks};

/// What a second copy of a fragment is counted as.
const REPEATED: DropReason = FragmentOverlap;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ESP: u8 = 50;
const AUTHENTICATION: u8 = 51;
const NO_NEXT: u8 = 59;
const DESTINATION: u8 = 60;

/// Eight bytes of options that mean nothing: one padding of six.
const PADDED: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];

pub(crate) fn scenarios() -> Vec<Scenario> {
    [headers(), upper_layers(), fragments(), bad_fragments(), sources(), fields()]
        .into_iter()
        .flatten()
        .collect()
}

fn headers() -> Vec<Scenario> {
    let with = |id, headers: &[(u8, &[u8])], reason: Option<DropReason>| {
        row(id, |at: Place| {
            let chained = headers
                .iter()
                .rev()
                .fold(question(at), |packet, (number, header)| packet.behind(*number, header));
            match reason {
                None => Script::new().passes(A, framed(&chained)),
                Some(reason) => Script::new().drops(A, framed(&chained), reason),
            }
        })
    };
    vec![
        with("V01", &[], None),
        with("V02", &[(HOP_BY_HOP, &PADDED)], None),
        with("V03", &[(DESTINATION, &PADDED)], None),
        // One address further on.
        with("V04", &[(ROUTING, &route(0, 1))], Some(SourceRoute)),
        with("V05", &[(ROUTING, &route(1, 1))], Some(SourceRoute)),
        with("V06", &[(ROUTING, &route(2, 0))], None),
        with("V07", &[(DESTINATION, &PADDED), (HOP_BY_HOP, &PADDED)], Some(ExtensionHeader)),
        // An option that nobody knows, which whoever does not know it must drop (RFC 8200 section 4.2).
        with("V08", &[(HOP_BY_HOP, &[0, 0, 0x9e, 4, 0, 0, 0, 0])], Some(ExtensionHeader)),
        with("V09", &[(DESTINATION, &PADDED as &[u8]); 20], Some(ExtensionHeader)),
        with("V10", &[(DESTINATION, &[0, 200, 1, 4, 0, 0, 0, 0])], Some(Malformed)),
        // Two fragment headers, and a header that rules cannot see through before a fragment.
        with(
            "V21",
            &[(FRAGMENT, &[0, 0, 0, 1, 0, 0, 0, 21]), (FRAGMENT, &[0, 0, 0, 1, 0, 0, 0, 22])],
            Some(FragmentInvalid),
        ),
        with(
            "V22",
            &[
                (AUTHENTICATION, &[0, 2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0]),
                (FRAGMENT, &[0, 0, 0, 1, 0, 0, 0, 22]),
            ],
            Some(FragmentInvalid),
        ),
    ]
}

/// A routing header with one address.
const fn route(kind: u8, left: u8) -> [u8; 24] {
    let mut header = [0; 24];
    header[1] = 2;
    header[2] = kind;
    header[3] = left;
    [header[8], header[9], header[10], header[11]] = [0x20, 1, 0, 2];
    header[15] = 0xb;
    header[23] = 0x77;
    header
}

fn upper_layers() -> Vec<Scenario> {
    let of = |id, next, reason| {
        row(id, move |at: Place| {
            let packet = V6::new(at.client_v6(), at.server_v6(), next, vec![0x42; 24]);
            Script::new().drops(A, framed(&packet), reason)
        })
    };
    vec![
        of("V11", NO_NEXT, ExtensionHeader),
        of("V12", 200, PolicyDenied),
        of("V13", ESP, PolicyDenied),
    ]
}

fn fragments() -> Vec<Scenario> {
    vec![
        row("V14", |at| Script::new().passes(A, framed(&atomic(at)))),
        row("V15", |at| {
            let [first, last] = two(at);
            Script::new().holds(first).completes(last, &[0, 1])
        }),
        row("V18", |at| {
            let [first, last] = two(at);
            Script::new()
                .holds(first.clone())
                .given_dropped(A, first, REPEATED)
                .completes(last, &[0, 2])
        }),
        row("V19", |at| {
            let [first, last] = two(at);
            Script::new().holds(first).passes(A, framed(&atomic(at))).completes(last, &[0, 2])
        }),
    ]
}

fn bad_fragments() -> Vec<Scenario> {
    vec![
        row("V16", |at| {
            let [first, last] = two(at);
            Script::new().holds(first).spoils(framed(&part(at, 8, 16)), FragmentOverlap, 2).drops(
                A,
                last,
                FragmentOverlap,
            )
        }),
        row("V17", |at| {
            let [first, second, last] = three(at);
            Script::new()
                .holds(first)
                .holds(second)
                .spoils(framed(&part(at, 40, 56)), FragmentOverlap, 3)
                .drops(A, last, FragmentOverlap)
        }),
        row("V20", |at| {
            // The first holds nothing but the header in front of the one that rules must see.
            let whole = question(at).behind(DESTINATION, &PADDED);
            let [first, last] = frames(&fragments_v6(&whole, id(at), &[8]));
            Script::new().drops(A, first, FragmentInvalid).holds(last)
        }),
    ]
}

fn sources() -> Vec<Scenario> {
    let from = |id, address: &str, reason| {
        let address: Ipv6Addr = address.parse().unwrap();
        row(id, move |at: Place| Script::new().drops(A, at.question_v6_from(address), reason))
    };
    vec![
        from("V30", "ff02::5", BogonSource),
        from("V31", "::1", BogonSource),
        from("V32", "::", BogonSource),
        from("V33", "::ffff:198.18.9.9", BogonSource),
        from("V34", "fec0::9", BogonSource),
        from("V35", "fe80::9", BogonSource),
        from("V36", "4000::1", BogonSource),
        row("V37", |at| {
            let local = at.question_v6_from("fd00:2::9".parse().unwrap());
            Script::new().passes(A, local).strictly(BogonSource)
        }),
        // The router's address at this side.
        from("V38", "2001:2:0:a::1", BogonSource),
        row_of_networks("V39", |at| {
            let theirs = at.question_v6_from("2001:2:0:b::9999".parse().unwrap());
            Script::new().drops(A, theirs, SpoofedSource)
        }),
        from("V40", "2001:db8::9", BogonSource),
    ]
}

fn fields() -> Vec<Scenario> {
    let to = |id, address: &str| {
        let address: Ipv6Addr = address.parse().unwrap();
        row(id, move |at: Place| {
            let question = at.question_between(at.client_v6().into(), address.into());
            Script::new().drops(A, question, BogonDestination)
        })
    };
    vec![
        to("V45", "fe80::9"),
        to("V46", "::1"),
        row("V47", |at| {
            let last_hop = V6 { hop_limit: 1, ..question(at) };
            Script::new().drops(A, framed(&last_hop), HopLimit)
        }),
        row("V48", |at| {
            let mut unsummed = framed(&question(at));
            unsummed[ETHERNET + 46..ETHERNET + 48].fill(0);
            Script::new().passes(A, unsummed).strictly(Checksum)
        }),
        row("V49", |at| {
            let mut nothing = framed(&question(at));
            nothing[ETHERNET + 4..ETHERNET + 6].fill(0);
            Script::new().drops(A, nothing, Malformed)
        }),
    ]
}

/// A question to the name server, long enough to be cut.
fn question(at: Place) -> V6 {
    let (src, dst) = (at.client_v6(), at.server_v6());
    V6::new(src, dst, UDP, udp(src.into(), dst.into(), [at.port(), 53], &[b'x'; 64]))
}

/// The identification of the scenario's fragments.
fn id(at: Place) -> u32 {
    0x5000_0000 + u32::from(at.port())
}

fn two(at: Place) -> [Vec<u8>; 2] {
    frames(&fragments_v6(&question(at), id(at), &[24]))
}

fn three(at: Place) -> [Vec<u8>; 3] {
    frames(&fragments_v6(&question(at), id(at), &[24, 48]))
}

/// A part of the datagram again.
fn part(at: Place, from: usize, to: usize) -> V6 {
    let whole = question(at);
    let part = V6 { payload: whole.payload[from..to].to_vec(), ..whole };
    part.behind(FRAGMENT, &fragment_header(id(at), from, true))
}

/// A whole datagram with the fragment header that the scenario's fragments have too (RFC 6946).
fn atomic(at: Place) -> V6 {
    question(at).behind(FRAGMENT, &fragment_header(id(at), 0, false))
}

fn framed(packet: &V6) -> Vec<u8> {
    frame(A, &packet.bytes())
}

fn frames<const N: usize>(pieces: &[V6]) -> [Vec<u8>; N] {
    let frames: Vec<_> = pieces.iter().map(framed).collect();
    frames.try_into().expect("as many as there are")
}
