//! A01 to A49: addresses that nothing may come from or go to, options, and headers that do not add up.

use std::net::Ipv4Addr;

use dataplane::device::Port::A;
use dataplane::disposition::DropReason::{
    BogonDestination, BogonSource, Checksum, HopLimit, IpOption, Land, Malformed, PolicyDenied,
    SourceRoute, SpoofedSource,
};
use ravelin::craft::{ETHERNET, UDP, V4, frame, right_v4, udp};

use crate::scenario::{Place, Scenario, Script, row, row_of_networks};

const IP: usize = ETHERNET;
const UDP_AT: usize = ETHERNET + 20;

pub(crate) fn scenarios() -> Vec<Scenario> {
    sources().into_iter().chain(destinations()).chain(options()).chain(headers()).collect()
}

fn sources() -> Vec<Scenario> {
    let bogon = |id, address: [u8; 4]| {
        row(id, move |at: Place| {
            Script::new().drops(A, at.question_from(address.into()), BogonSource)
        })
    };
    let of_networks = |id, address: [u8; 4], reason| {
        row_of_networks(id, move |at: Place| {
            Script::new().drops(A, at.question_from(address.into()), reason)
        })
    };
    vec![
        bogon("A01", [127, 0, 0, 1]),
        bogon("A02", [224, 0, 0, 5]),
        bogon("A03", [255, 255, 255, 255]),
        of_networks("A04", [198, 18, 255, 255], BogonSource),
        of_networks("A05", [198, 18, 0, 0], BogonSource),
        bogon("A06", [0, 0, 0, 0]),
        bogon("A07", [0, 1, 2, 3]),
        bogon("A08", [240, 0, 0, 1]),
        bogon("A09", [169, 254, 3, 4]),
        // The router's address at this side, and at the other.
        bogon("A10", [198, 18, 0, 1]),
        bogon("A11", [198, 19, 0, 1]),
        of_networks("A12", [198, 19, 200, 9], SpoofedSource),
        bogon("A13", [192, 0, 2, 77]),
    ]
}

fn destinations() -> Vec<Scenario> {
    let bogon = |id, address: [u8; 4]| {
        row(id, move |at: Place| {
            let to = at.question_between(at.client().into(), Ipv4Addr::from(address).into());
            Script::new().drops(A, to, BogonDestination)
        })
    };
    vec![bogon("A20", [240, 0, 0, 1]), bogon("A21", [127, 0, 0, 1]), bogon("A22", [169, 254, 1, 1])]
}

fn options() -> Vec<Scenario> {
    let with = |at: Place, options: &[u8]| {
        frame(A, &V4 { options: options.to_vec(), ..question(at) }.bytes())
    };
    vec![
        // Length 7, pointer 4, one address, and the end of the list.
        row("A30", |at| {
            Script::new().drops(A, with(at, &[131, 7, 4, 198, 19, 9, 9, 0]), SourceRoute)
        }),
        row("A31", |at| {
            Script::new().drops(A, with(at, &[137, 7, 4, 198, 19, 9, 9, 0]), SourceRoute)
        }),
        row("A32", |at| Script::new().drops(A, with(at, &[7, 7, 4, 0, 0, 0, 0, 0]), IpOption)),
        row("A33", |at| Script::new().drops(A, with(at, &[68, 8, 5, 0, 0, 0, 0, 0]), IpOption)),
        row("A34", |at| Script::new().drops(A, with(at, &[7, 40, 4, 0]), Malformed)),
        row("A40", |at| Script::new().passes(A, with(at, &[1; 4]))),
    ]
}

fn headers() -> Vec<Scenario> {
    vec![
        row("A41", |at| Script::new().drops(A, altered(at, 0, 0x44), Malformed)),
        row("A42", |at| {
            // The frame says IPv4 all the same.
            Script::new().drops(A, altered(at, 0, 0x55), Malformed)
        }),
        row("A43", |at| Script::new().drops(A, altered(at, 8, 1), HopLimit)),
        row("A44", |at| Script::new().passes(A, altered(at, 6, 0x80))),
        row("A45", |at| {
            let land = at.question_between(at.server().into(), at.server().into());
            Script::new().drops(A, land, Land)
        }),
        row("A46", |at| {
            let mut question = at.question();
            question[UDP_AT + 5] += 8;
            Script::new().drops(A, question, Malformed)
        }),
        row("A47", |at| {
            let mut question = at.question();
            question[UDP_AT + 6] ^= 0x40;
            Script::new().drops(A, question, Checksum)
        }),
        row("A48", |at| {
            let unknown = V4 { protocol: 253, ..question(at) };
            Script::new().drops(A, frame(A, &unknown.bytes()), PolicyDenied)
        }),
        row("A49", |at| {
            let (src, dst) = (at.client(), at.server());
            let datagram = udp(src.into(), dst.into(), [0, 53], b"from nowhere");
            Script::new().passes(A, frame(A, &V4::new(src, dst, UDP, datagram).bytes()))
        }),
    ]
}

/// A question whose IP header has another byte at this position, and the checksum that belongs to it.
fn altered(at: Place, position: usize, byte: u8) -> Vec<u8> {
    let mut packet = at.question().split_off(IP);
    packet[position] = byte;
    right_v4(&mut packet);
    let mut out = at.question();
    out.truncate(IP);
    out.extend(packet);
    out
}

fn question(at: Place) -> V4 {
    let (src, dst) = (at.client(), at.server());
    let datagram = udp(src.into(), dst.into(), [at.port(), 53], b"who is there?");
    V4::new(src, dst, UDP, datagram)
}
