//! F01 to F16: datagrams in pieces.

use dataplane::device::Port::A;
use dataplane::disposition::DropReason::{self, FragmentInvalid, FragmentOverlap, PolicyDenied};
use ravelin::craft::{SYN, TCP, Tcp, UDP, V4, fragments, frame, udp};

use crate::scenario::{Place, Scenario, Script, row};

/// What a second copy of a fragment is counted as.
const REPEATED: DropReason = FragmentOverlap;
/// What a datagram is counted as whose last fragments do not agree on where it ends.
const TWO_ENDS: DropReason = FragmentInvalid;

pub(crate) fn scenarios() -> Vec<Scenario> {
    whole().into_iter().chain(incomplete()).chain(overlapping()).chain(invalid()).collect()
}

fn whole() -> Vec<Scenario> {
    let three = |at| framed(&fragments(&datagram(at), &[24, 48]));
    vec![
        row("F01", |at| {
            let [first, second, last] = three(at);
            Script::new().holds(first).holds(second).completes(last, &[0, 1, 2])
        }),
        row("F02", |at| {
            let [first, second, last] = three(at);
            Script::new().holds(last).holds(second).completes(first, &[2, 1, 0])
        }),
        row("F03", |at| {
            let [first, second, last] = three(at);
            // What has come once is not needed again; the datagram is as it was.
            Script::new()
                .holds(first)
                .holds(second.clone())
                .given_dropped(A, second, REPEATED)
                .completes(last, &[0, 1, 3])
        }),
        row("F12", |at| {
            // "Don't fragment" and "more fragments" at once: some hosts send it.
            let whole = V4 { fragment: 0x4000, ..datagram(at) };
            let [first, second, last] = framed(&fragments(&whole, &[24, 48]));
            Script::new().holds(first).holds(second).completes(last, &[0, 1, 2])
        }),
        row("F15", |at| {
            let whole = datagram_to(at, 54);
            let [first, second, last] = framed(&fragments(&whole, &[24, 48]));
            Script::new().holds(first).holds(second).spoils(last, PolicyDenied, 3)
        }),
    ]
}

fn incomplete() -> Vec<Scenario> {
    vec![
        row("F04", |at| {
            let [first, _] = two(at);
            Script::new().holds(first)
        }),
        row("F05", |at| {
            let [_, last] = two(at);
            Script::new().holds(last)
        }),
        row("F16", |at| {
            let whole = datagram(at);
            let [first, _] = two(at);
            let other = V4 { protocol: TCP, ..whole };
            let [_, last] = framed(&fragments(&other, &[24]));
            Script::new().holds(first).holds(last)
        }),
    ]
}

fn overlapping() -> Vec<Scenario> {
    vec![
        row("F06", |at| {
            // The second fragment says the header again, with another port, and goes further.
            let [first, _, last] = framed(&fragments(&datagram(at), &[24, 40]));
            let mut again = fragments(&datagram(at), &[40])[0].clone();
            again.payload[3] = 54;
            let again = frame(A, &again.bytes());
            Script::new().holds(first).spoils(again, FragmentOverlap, 2).drops(
                A,
                last,
                FragmentOverlap,
            )
        }),
        row("F07", |at| {
            let [first, last] = two(at);
            // Inside of the first, and the last of all.
            let whole = datagram(at);
            let inside = V4 { fragment: 1, payload: whole.payload[8..20].to_vec(), ..whole };
            Script::new().holds(first).spoils(frame(A, &inside.bytes()), FragmentOverlap, 2).drops(
                A,
                last,
                FragmentOverlap,
            )
        }),
        row("F14", |at| {
            let whole = datagram(at);
            let end = |fragment, from: usize, to: usize| {
                let payload = whole.payload[from..to].to_vec();
                frame(A, &V4 { fragment, payload, ..whole.clone() }.bytes())
            };
            let [first, _] = two(at);
            Script::new()
                .holds(end(3, 24, 40))
                .spoils(end(6, 48, 64), TWO_ENDS, 2)
                .drops(A, first, TWO_ENDS)
        }),
    ]
}

fn invalid() -> Vec<Scenario> {
    let alone = |id, fragment, payload: usize| {
        row(id, move |at: Place| {
            let payload = datagram(at).payload[..payload].to_vec();
            let piece = V4 { fragment, payload, ..datagram(at) };
            Script::new().drops(A, frame(A, &piece.bytes()), FragmentInvalid)
        })
    };
    vec![
        row("F08", |at| {
            let [tiny, rest] = framed(&fragments(&syn(at), &[8]));
            Script::new().drops(A, tiny, FragmentInvalid).drops(A, rest, FragmentInvalid)
        }),
        row("F09", |at| {
            let [_, rest] = framed(&fragments(&syn(at), &[8]));
            Script::new().drops(A, rest, FragmentInvalid)
        }),
        alone("F10", 0x2000, 20),
        alone("F11", 0x1fff, 64),
        alone("F13", 0x2000 | 3, 0),
    ]
}

/// A question to the name server that is long enough to be cut.
fn datagram(at: Place) -> V4 {
    datagram_to(at, 53)
}

fn datagram_to(at: Place, port: u16) -> V4 {
    let (src, dst) = (at.client(), at.server());
    let datagram = udp(src.into(), dst.into(), [at.port(), port], &[b'x'; 64]);
    V4 { id: at.port(), ..V4::new(src, dst, UDP, datagram) }
}

/// So many fragments as frames.
fn framed<const N: usize>(pieces: &[V4]) -> [Vec<u8>; N] {
    let frames: Vec<_> = pieces.iter().map(|piece| frame(A, &piece.bytes())).collect();
    frames.try_into().expect("as many as there are")
}

/// The frames of a datagram cut after the first 24 bytes.
fn two(at: Place) -> [Vec<u8>; 2] {
    framed(&fragments(&datagram(at), &[24]))
}

fn syn(at: Place) -> V4 {
    let web = at.web();
    let (src, dst) = (at.client(), at.server());
    let syn = Tcp { data: vec![b'x'; 12], ..web.segment(A, SYN, 0, 0) };
    V4 { id: at.port(), ..V4::new(src, dst, TCP, syn.bytes(src.into(), dst.into())) }
}
