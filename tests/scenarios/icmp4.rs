//! I01 to I15: ICMP errors about packets of a connection, and queries.

use std::net::Ipv4Addr;

use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::{Checksum, IcmpType, IcmpUnmatched, PolicyDenied};
use ravelin::craft::{ACK, Connection, ETHERNET, ICMP, PSH, Tcp, frame, icmp, ip};

use crate::scenario::{Place, Scenario, Script, row};
use crate::tcp::opened;

const DATA: u8 = PSH | ACK;
const ICMP_AT: usize = ETHERNET + 20;
/// Destination unreachable, fragmentation needed; the next hop takes 1,300 bytes.
const FRAGMENTATION_NEEDED: [u8; 2] = [3, 4];
const MTU: [u8; 4] = [0, 0, 0x05, 0x14];
/// An IPv4 header and the eight bytes behind it that every error quotes.
const QUOTE: usize = 28;
const ECHO: [u8; 2] = [8, 0];
const ECHO_REPLY: [u8; 2] = [0, 0];

pub(crate) fn scenarios() -> Vec<Scenario> {
    errors().into_iter().chain(false_errors()).chain(queries()).collect()
}

fn errors() -> Vec<Scenario> {
    vec![
        row("I01", |at| {
            in_flight(at).passes(B, error(at, at.server(), FRAGMENTATION_NEEDED, &quote(at)))
        }),
        row("I02", |at| {
            let router = at.other_server(254);
            in_flight(at).passes(B, error(at, router, FRAGMENTATION_NEEDED, &quote(at)))
        }),
        row("I08", |at| {
            in_flight(at)
                .given(B, error(at, at.server(), FRAGMENTATION_NEEDED, &quote(at)))
                .given(B, error(at, at.server(), [3, 1], &quote(at)))
                .given(B, error(at, at.server(), [11, 0], &quote(at)))
                .passes(A, data(&at.web(), 1 + 100))
                .passes(B, at.web().send(B, DATA, 1, 1 + 200, b"still here"))
        }),
    ]
}

fn false_errors() -> Vec<Scenario> {
    vec![
        row("I03", |at| {
            let other = Connection { ports: [at.port(), 443], ..at.web() };
            let quote = quoted(&other, 1);
            let error = error(at, at.server(), FRAGMENTATION_NEEDED, &quote);
            in_flight(at).drops(B, error, IcmpUnmatched)
        }),
        row("I04", |at| {
            let quote = quoted(&at.web(), 1 + 1_000_000);
            let error = error(at, at.server(), FRAGMENTATION_NEEDED, &quote);
            in_flight(at).drops(B, error, IcmpUnmatched)
        }),
        row("I05", |at| {
            let elsewhere = at.other_client(9);
            let error = message(at.server(), elsewhere, FRAGMENTATION_NEEDED, MTU, &quote(at));
            in_flight(at).drops(B, frame(B, &error), IcmpUnmatched)
        }),
        row("I06", |at| {
            let short = &quote(at)[..24];
            let error = error(at, at.server(), FRAGMENTATION_NEEDED, short);
            in_flight(at).drops(B, error, IcmpUnmatched)
        }),
        row("I07", |at| {
            let mut error = error(at, at.server(), FRAGMENTATION_NEEDED, &quote(at));
            error[ICMP_AT + 2] ^= 0x40;
            in_flight(at).drops(B, error, Checksum)
        }),
        row("I13", |at| {
            let gateway = at.other_server(66).octets();
            let redirect = message(at.server(), at.client(), [5, 1], gateway, &quote(at));
            in_flight(at).drops(B, frame(B, &redirect), IcmpType)
        }),
        row("I15", |at| {
            let quench = message(at.server(), at.client(), [4, 0], [0; 4], &quote(at));
            in_flight(at).drops(B, frame(B, &quench), IcmpType)
        }),
    ]
}

fn queries() -> Vec<Scenario> {
    let ask = |at: Place| query(at, true, ECHO, at.port());
    let answer = |at: Place, identifier| query(at, false, ECHO_REPLY, identifier);
    vec![
        row("I09", |at| Script::new().drops(B, answer(at, at.port()), IcmpUnmatched)),
        row("I10", |at| Script::new().passes(A, ask(at))),
        row("I11", |at| Script::new().given(A, ask(at)).passes(B, answer(at, at.port()))),
        row("I12", |at| {
            Script::new().given(A, ask(at)).drops(B, answer(at, at.port() ^ 0x100), IcmpUnmatched)
        }),
        row("I14", |at| Script::new().drops(A, query(at, true, [13, 0], at.port()), PolicyDenied)),
    ]
}

/// An open connection with a hundred octets on their way to the server.
fn in_flight(at: Place) -> Script {
    let web = at.web();
    opened(&web).given(A, data(&web, 1))
}

fn data(web: &Connection, seq: u32) -> Vec<u8> {
    web.send(A, DATA, seq, 1, &[b'x'; 100])
}

/// What an error quotes of the segment on its way.
fn quote(at: Place) -> Vec<u8> {
    quoted(&at.web(), 1)
}

fn quoted(web: &Connection, seq: u32) -> Vec<u8> {
    let segment = Tcp { data: vec![b'x'; 100], ..web.segment(A, DATA, seq, 1) };
    let mut packet = web.packet(A, &segment);
    packet.truncate(QUOTE);
    packet
}

/// An error that arrives at port B, for the client.
fn error(at: Place, src: Ipv4Addr, kind: [u8; 2], quote: &[u8]) -> Vec<u8> {
    frame(B, &message(src, at.client(), kind, MTU, quote))
}

fn message(src: Ipv4Addr, dst: Ipv4Addr, kind: [u8; 2], rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let [src, dst] = [src, dst].map(Into::into);
    ip(src, dst, ICMP, icmp(src, dst, kind, rest, data))
}

/// A query of the client, or an answer of the server.
fn query(at: Place, asks: bool, kind: [u8; 2], identifier: u16) -> Vec<u8> {
    let [high, low] = identifier.to_be_bytes();
    let (from, src, dst) =
        if asks { (A, at.client(), at.server()) } else { (B, at.server(), at.client()) };
    // Longer than the time stamps that the other kind of query carries.
    frame(from, &message(src, dst, kind, [high, low, 0, 1], &[0; 12]))
}
