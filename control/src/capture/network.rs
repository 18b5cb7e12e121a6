//! IPv4 and IPv6 headers, with IPv6 extension headers walked.

use std::net::IpAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::transport::{self, Datagram};
use super::{Packet, Rest, Unjudged, Vlans};

/// Most IPv6 extension headers that are walked, as many as in the data plane.
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

pub(super) fn ipv4(rest: Rest<'_>, vlans: Vlans) -> Result<Packet, Unjudged> {
    let header = Ipv4HeaderSlice::from_slice(rest.bytes).map_err(|_| rest.unreadable())?;
    let payload = rest.first(header.total_len().into())?.without(header.slice().len())?;
    if header.is_fragmenting_payload() {
        return Err(Unjudged::Fragment);
    }
    check_options(header.options())?;
    transport::read(&Datagram {
        src: IpAddr::V4(header.source_addr()),
        dst: IpAddr::V4(header.destination_addr()),
        protocol: header.protocol().0,
        from_link: false,
        payload,
        vlans,
    })
}

/// A payload length of 0 means 0, as in the data plane: there is nothing in it.
pub(super) fn ipv6(rest: Rest<'_>, vlans: Vlans) -> Result<Packet, Unjudged> {
    let header = Ipv6HeaderSlice::from_slice(rest.bytes).map_err(|_| rest.unreadable())?;
    let payload = rest.without(header.slice().len())?.first(header.payload_length().into())?;
    if payload.length == 0 {
        return Err(Unjudged::Malformed);
    }
    let (protocol, payload) = walk_extensions(header.next_header().0, payload)?;
    let extended = protocol != header.next_header().0;
    transport::read(&Datagram {
        src: IpAddr::V6(header.source_addr()),
        dst: IpAddr::V6(header.destination_addr()),
        protocol,
        from_link: header.hop_limit() == u8::MAX && !extended,
        payload,
        vlans,
    })
}

fn check_options(options: &[u8]) -> Result<(), Unjudged> {
    let mut rest = options;
    loop {
        rest = match rest {
            [] | [END_OF_OPTIONS, ..] => return Ok(()),
            [NO_OPERATION, rest @ ..] => rest,
            [LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, ..] => return Err(Unjudged::SourceRoute),
            [_, length @ 2..=u8::MAX, ..] => {
                rest.get(usize::from(*length)..).ok_or(Unjudged::Malformed)?
            }
            _ => return Err(Unjudged::Malformed),
        };
    }
}

/// The upper-layer protocol and its bytes. A fragment header ends the walk unless it is of an atomic fragment (RFC 6946), the only
/// one, and not behind an authentication header.
fn walk_extensions(first: u8, payload: Rest<'_>) -> Result<(u8, Rest<'_>), Unjudged> {
    let (mut next, mut rest) = (first, payload);
    let (mut fragmented, mut authenticated) = (false, false);
    for _ in 0..=EXTENSIONS_MAX {
        let unit = match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8,
            AUTHENTICATION => 4,
            FRAGMENT if fragmented || authenticated => return Err(Unjudged::Fragment),
            FRAGMENT => {
                let [following, _, high, low, ..] = *rest.array::<8>()?;
                // The bits between offset and flag are reserved.
                if u16::from_be_bytes([high, low]) & 0xFFF9 != 0 {
                    return Err(Unjudged::Fragment);
                }
                fragmented = true;
                (next, rest) = (following, rest.without(8)?);
                continue;
            }
            protocol => return Ok((protocol, rest)),
        };
        let [following, units, _, segments_left] = *rest.array()?;
        // RFC 4302 section 2.2 counts in words of four bytes, less two; RFC 8200 in eight, less one.
        let length =
            if unit == 4 { (usize::from(units) + 2) * 4 } else { (usize::from(units) + 1) * 8 };
        // An authentication header is never shorter than its fixed part, twelve bytes (RFC 4302 section 2).
        let least = if unit == 4 { 12 } else { 8 };
        if length % 8 != 0 || length < least || length > rest.length {
            return Err(Unjudged::Malformed);
        }
        if next == ROUTING && segments_left != 0 {
            return Err(Unjudged::SourceRoute);
        }
        // All options of the header, if the capture holds them.
        let options =
            rest.bytes.get(2..length).filter(|_| matches!(next, HOP_BY_HOP | DESTINATION_OPTIONS));
        if options.is_some_and(|options| !are_options_whole(options)) {
            return Err(Unjudged::Malformed);
        }
        authenticated |= next == AUTHENTICATION;
        (next, rest) = (following, rest.without(length)?);
    }
    Err(Unjudged::Malformed)
}

/// RFC 8200 section 4.2: one byte of padding, or a type and a length.
fn are_options_whole(options: &[u8]) -> bool {
    let mut rest = options;
    loop {
        rest = match rest {
            [] => return true,
            [0, following @ ..] => following,
            [_, length, following @ ..] => match following.get(usize::from(*length)..) {
                Some(following) => following,
                None => return false,
            },
            [_] => return false,
        };
    }
}
