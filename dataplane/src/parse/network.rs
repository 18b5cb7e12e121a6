//! IPv4 and IPv6 headers, with IPv6 extension headers walked.

use std::net::IpAddr;

use classifier::packet::protocol;
use etherparse::{IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice};

use super::transport::{self, Datagram};
use super::{Parsed, Vlans, behind};
use crate::disposition::DropReason;

/// Most IPv6 extension headers that are walked. RFC 8200 section 4.1 knows seven in one packet.
const EXTENSIONS_MAX: usize = 8;
/// Extension headers by IANA's protocol numbers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
/// IPv4 options (RFC 791 section 3.1): one byte each, or with a length.
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// Reads an IPv4 packet.
///
/// etherparse checks version and header length; total length is checked here, because its own slices of whole packets
/// are made for reading, not for refusing.
pub(super) fn ipv4(bytes: &[u8], vlans: Vlans) -> Result<Parsed, DropReason> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| DropReason::Malformed)?;
    let packet = bytes.get(..usize::from(header.total_len())).ok_or(DropReason::Malformed)?;
    let payload = packet.get(header.slice().len()..).ok_or(DropReason::Malformed)?;
    if header.is_fragmenting_payload() {
        return Err(DropReason::FragmentLimit);
    }
    check_options(header.options())?;
    transport::read(&Datagram {
        src: IpAddr::V4(header.source_addr()),
        dst: IpAddr::V4(header.destination_addr()),
        protocol: header.protocol().0,
        hop_limit: header.ttl(),
        extended: false,
        payload,
        vlans,
    })
}

/// Reads an IPv6 packet. A payload length of 0 means 0, never "to the end of the frame": no jumbograms on Ethernet.
pub(super) fn ipv6(bytes: &[u8], vlans: Vlans) -> Result<Parsed, DropReason> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| DropReason::Malformed)?;
    let payload = behind(bytes, header.slice().len());
    let payload =
        payload.get(..usize::from(header.payload_length())).ok_or(DropReason::Malformed)?;
    let (protocol, payload) = walk_extensions(header.next_header().0, payload)?;
    transport::read(&Datagram {
        src: IpAddr::V6(header.source_addr()),
        dst: IpAddr::V6(header.destination_addr()),
        protocol,
        hop_limit: header.hop_limit(),
        extended: protocol != header.next_header().0,
        payload,
        vlans,
    })
}

/// Refuses a source route (RFC 7126 sections 4.3 and 4.4): a host that follows it sends the packet on, behind our back, to
/// where policy may not let it.
fn check_options(options: &[u8]) -> Result<(), DropReason> {
    let mut rest = options;
    loop {
        rest = match rest {
            [] | [END_OF_OPTIONS, ..] => return Ok(()),
            [NO_OPERATION, rest @ ..] => rest,
            [LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, ..] => return Err(DropReason::SourceRoute),
            [_, length @ 2..=u8::MAX, ..] => {
                rest.get(usize::from(*length)..).ok_or(DropReason::Malformed)?
            }
            _ => return Err(DropReason::Malformed),
        };
    }
}

/// The upper-layer protocol and its bytes. Any fragment header ends the walk, an atomic one (RFC 6946) too.
///
/// ESP, Mobility, HIP, Shim6 and unknown numbers are upper layers to us: a rule can only match their number.
fn walk_extensions(first: u8, payload: &[u8]) -> Result<(u8, &[u8]), DropReason> {
    let (mut next, mut rest) = (first, payload);
    for count in 0..=EXTENSIONS_MAX {
        let (following, length) = match next {
            HOP_BY_HOP if count == 0 => generic_extension(rest)?,
            ROUTING => routing(rest)?,
            DESTINATION_OPTIONS => generic_extension(rest)?,
            AUTHENTICATION => authentication(rest)?,
            FRAGMENT => return Err(DropReason::FragmentLimit),
            // RFC 8200 section 4.3: only directly behind the IPv6 header.
            HOP_BY_HOP => return Err(DropReason::Malformed),
            protocol => return Ok((protocol, rest)),
        };
        next = following;
        rest = behind(rest, length);
    }
    Err(DropReason::Malformed)
}

/// Next header and length of an extension header in the common form (RFC 6564).
fn generic_extension(bytes: &[u8]) -> Result<(u8, usize), DropReason> {
    let header = Ipv6RawExtHeaderSlice::from_slice(bytes).map_err(|_| DropReason::Malformed)?;
    Ok((header.next_header().0, header.slice().len()))
}

/// Next header and length of a routing header. One with segments left is a source route (RFC 5095 for type 0): a host that
/// follows it sends the packet on to an address that no rule has seen.
fn routing(bytes: &[u8]) -> Result<(u8, usize), DropReason> {
    let extension = generic_extension(bytes)?;
    match bytes {
        [_, _, _, 0, ..] => Ok(extension),
        _ => Err(DropReason::SourceRoute),
    }
}

/// Next header and length of an authentication header (RFC 4302), in IPv6 a multiple of eight bytes.
fn authentication(bytes: &[u8]) -> Result<(u8, usize), DropReason> {
    let header = IpAuthHeaderSlice::from_slice(bytes).map_err(|_| DropReason::Malformed)?;
    let length = header.slice().len();
    if length.is_multiple_of(8) {
        Ok((header.next_header().0, length))
    } else {
        Err(DropReason::Malformed)
    }
}

/// Whether ICMP means ICMP here: `ICMPv6` in IPv4, or the other way round, is only a protocol number.
pub(super) fn is_icmp_of_family(protocol: u8, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => protocol == protocol::ICMP,
        IpAddr::V6(_) => protocol == protocol::ICMPV6,
    }
}
