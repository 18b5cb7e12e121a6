//! C01 to C33: `ICMPv6` errors, messages that belong to one link, and echo.

use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::{
    self, IcmpType, IcmpUnmatched, NeighbourDiscovery, PolicyDenied,
};
use ravelin::craft::{ACK, Connection, ICMPV6, PSH, Tcp, frame, icmp, ip};

use crate::scenario::{Place, Scenario, Script, row};
use crate::tcp::opened;

const DATA: u8 = PSH | ACK;
const TOO_BIG: [u8; 2] = [2, 0];
/// The next hop takes 1,400 bytes.
const MTU: [u8; 4] = [0, 0, 0x05, 0x78];

pub(crate) fn scenarios() -> Vec<Scenario> {
    errors().into_iter().chain(of_the_link()).chain(echo()).collect()
}

fn errors() -> Vec<Scenario> {
    let about_live = |id, kind, rest: [u8; 4]| {
        row(id, move |at: Place| in_flight(at).passes(B, error(at, kind, rest)))
    };
    vec![
        about_live("C01", [1, 4], [0; 4]),
        about_live("C02", TOO_BIG, MTU),
        about_live("C03", [3, 0], [0; 4]),
        about_live("C04", [4, 1], [0, 0, 0, 6]),
        about_live("C05", [4, 2], [0, 0, 0, 40]),
        row("C06", |at| {
            // No link takes less than 1,280 bytes (RFC 8200 section 5).
            in_flight(at).passes(B, error(at, TOO_BIG, [0, 0, 4, 0])).strictly(IcmpType)
        }),
        row("C10", |at| Script::new().drops(B, error(at, TOO_BIG, MTU), IcmpUnmatched)),
        row("C33", |at| {
            in_flight(at)
                .given(B, error(at, [1, 4], [0; 4]))
                .given(B, error(at, TOO_BIG, MTU))
                .given(B, error(at, [3, 0], [0; 4]))
                .passes(A, data(&at.web_v6(), 1 + 100))
                .passes(B, at.web_v6().send(B, DATA, 1, 1 + 200, b"still here"))
        }),
    ]
}

/// Messages that no router forwards, and such that no rule permits, from far away: hop limit 64, addresses of hosts.
fn of_the_link() -> Vec<Scenario> {
    let of = |id, kind: u8, reason: DropReason| {
        row(id, move |at: Place| {
            let (src, dst) = (at.client_v6().into(), at.server_v6().into());
            let message = icmp(src, dst, [kind, 0], [0; 4], &vec![0; body(kind)]);
            Script::new().drops(A, frame(A, &ip(src, dst, ICMPV6, message)), reason)
        })
    };
    vec![
        of("C11", 133, NeighbourDiscovery),
        of("C12", 134, NeighbourDiscovery),
        of("C13", 135, NeighbourDiscovery),
        of("C14", 136, NeighbourDiscovery),
        of("C15", 137, IcmpType),
        of("C16", 139, IcmpType),
        of("C17", 140, IcmpType),
        of("C18", 138, IcmpType),
        of("C19", 100, IcmpType),
        of("C20", 127, IcmpType),
        of("C21", 200, IcmpType),
        of("C22", 255, IcmpType),
        of("C23", 150, PolicyDenied),
        of("C24", 160, PolicyDenied),
    ]
}

/// Bytes that a message of this type has behind its first eight (RFC 4861 section 4).
fn body(kind: u8) -> usize {
    match kind {
        133 => 0,
        134 => 8,
        135 | 136 => 16,
        _ => 32,
    }
}

fn echo() -> Vec<Scenario> {
    let query = |at: Place, asks: bool| {
        let [high, low] = at.port().to_be_bytes();
        let ends = [at.client_v6().into(), at.server_v6().into()];
        let (from, [src, dst], kind) =
            if asks { (A, ends, 128) } else { (B, [ends[1], ends[0]], 129) };
        let message = icmp(src, dst, [kind, 0], [high, low, 0, 1], b"anyone?!");
        frame(from, &ip(src, dst, ICMPV6, message))
    };
    vec![
        row("C30", |at| Script::new().passes(A, query(at, true))),
        row("C31", |at| Script::new().given(A, query(at, true)).passes(B, query(at, false))),
        row("C32", |at| Script::new().drops(B, query(at, false), IcmpUnmatched)),
    ]
}

/// An open connection with a hundred octets on their way to the server.
fn in_flight(at: Place) -> Script {
    let web = at.web_v6();
    opened(&web).given(A, data(&web, 1))
}

fn data(web: &Connection, seq: u32) -> Vec<u8> {
    web.send(A, DATA, seq, 1, &[b'x'; 100])
}

/// An error that quotes the whole of the segment on its way.
fn error(at: Place, kind: [u8; 2], rest: [u8; 4]) -> Vec<u8> {
    let web = at.web_v6();
    let segment = Tcp { data: vec![b'x'; 100], ..web.segment(A, DATA, 1, 1) };
    let (src, dst) = (at.server_v6().into(), at.client_v6().into());
    let message = icmp(src, dst, kind, rest, &web.packet(A, &segment));
    frame(B, &ip(src, dst, ICMPV6, message))
}
