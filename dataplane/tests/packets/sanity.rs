//! The checks of packets, row by row: what is refused and why, what passes, and that each can be counted only.

mod addresses;
mod counted;
mod fragments;
mod headers;
mod icmp;
mod transport;

use dataplane::checks::{Checks, Checksums, Profile};
use dataplane::device::Port;
use dataplane::disposition::{DropReason, Reasons};
use dataplane::parse::{Packet, Parsed, parse};
use dataplane::sanity::{Networks, Sanity, SpecialPurpose};

use crate::support::frames::{ETHERNET, Layer, frame, repair};

const V4: [&str; 2] = ["198.18.0.1", "198.18.70.9"];
const V6: [&str; 2] = ["2001:2::1", "2001:2:0:70::9"];

/// The checks with these settings and no networks.
fn sanity(checks: Checks) -> Sanity {
    Sanity::new(checks, &SpecialPurpose::default(), &Default::default())
}

fn strict() -> Sanity {
    sanity(Checks { profile: Profile::CcStrict, ..Checks::default() })
}

fn with_checksums(checksums: Checksums) -> Sanity {
    sanity(Checks { checksums, ..Checks::default() })
}

/// The checks with networks behind both ports; an empty text for none.
fn with_networks(networks: [&str; 2]) -> Sanity {
    let networks = networks.map(|text| match text {
        "" => Networks::default(),
        text => text.parse().unwrap(),
    });
    Sanity::new(Checks::default(), &SpecialPurpose::default(), &networks)
}

/// What a frame from a port is refused for.
fn refused(frame: &[u8], sanity: &Sanity, port: Port) -> Option<DropReason> {
    parse(frame, sanity, port).err()
}

/// A packet that passes every check.
fn packet(frame: &[u8], sanity: &Sanity) -> Packet {
    match parse(frame, sanity, Port::A) {
        Ok(Parsed::Ip(packet)) => packet,
        other => panic!("{other:?} of {frame:02x?}"),
    }
}

fn one(reason: DropReason) -> Reasons {
    Reasons::default().with(reason)
}

/// A frame with these bytes in place of others, checksums right.
fn changed(frame: &[u8], changes: &[(usize, u8)]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for (at, byte) in changes {
        frame[ETHERNET + at] = *byte;
    }
    repair(&mut frame);
    frame
}

/// A UDP frame with these IPv4 options, a multiple of four bytes.
fn with_ipv4_options(options: &[u8]) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4));
    let length = u8::try_from(options.len()).unwrap();
    let mut bytes = frame(V4[0], V4[1], Layer::Udp(7, 8));
    bytes[ETHERNET] += length / 4;
    bytes[ETHERNET + 3] += length;
    bytes.splice(ETHERNET + 20..ETHERNET + 20, options.to_vec());
    repair(&mut bytes);
    bytes
}
