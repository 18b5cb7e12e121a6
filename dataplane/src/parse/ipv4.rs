//! IPv4 headers and their options (RFC 791).

use std::net::IpAddr;

use classifier::packet::protocol;
use etherparse::Ipv4HeaderSlice;

use super::inspection::Inspection;
use super::transport::{self, Datagram};
use super::{Parsed, Piece, addresses, behind, position};
use crate::checksum::Sum;
use crate::disposition::DropReason;
use crate::sanity::passes_ipv4_option;

/// Longest IPv4 packet, with its header.
const PACKET_MAX: usize = 65_535;
/// Length of a header without options.
const HEADER_BYTES: usize = 20;
/// IPv4 options (RFC 791 section 3.1): one byte each, or with a length.
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// Reads the IPv4 packet at `at`.
///
/// etherparse checks version and header length; total length is checked here, because its own slices of whole packets
/// are made for reading, not for refusing.
pub(super) fn read(look: &mut Inspection<'_>, at: usize) -> Result<Parsed, DropReason> {
    let bytes = behind(look.frame, at);
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| DropReason::Malformed)?;
    let header_bytes = header.slice().len();
    let packet = bytes.get(..usize::from(header.total_len())).ok_or(DropReason::Malformed)?;
    let payload = packet.get(header_bytes..).ok_or(DropReason::Malformed)?;
    if !Sum::of(header.slice()).is_right() {
        look.refuse(DropReason::Checksum)?;
    }
    if header.ttl() == 0 {
        look.refuse(DropReason::HopLimit)?;
    }
    if header_bytes > HEADER_BYTES {
        check_options(look, header.options())?;
    }
    let datagram = Datagram {
        src: IpAddr::V4(header.source_addr()),
        dst: IpAddr::V4(header.destination_addr()),
        protocol: header.protocol().0,
        hop_limit: header.ttl(),
        extended: false,
        payload,
        at: at + header_bytes,
    };
    if header.is_fragmenting_payload() {
        return fragment(look, &header, at, &datagram);
    }
    transport::read(look, &datagram)
}

/// Refuses what RFC 7126 advises to drop. A source route has a reason of its own: a host that follows it sends the packet on,
/// behind our back, to where policy may not let it.
fn check_options(look: &mut Inspection<'_>, options: &[u8]) -> Result<(), DropReason> {
    let mut rest = options;
    loop {
        let kind = match rest {
            [] | [END_OF_OPTIONS, ..] => return Ok(()),
            [NO_OPERATION, following @ ..] => {
                rest = following;
                continue;
            }
            [kind, length @ 2..=u8::MAX, ..] => {
                rest = rest.get(usize::from(*length)..).ok_or(DropReason::Malformed)?;
                *kind
            }
            _ => return Err(DropReason::Malformed),
        };
        match kind {
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => look.refuse(DropReason::SourceRoute)?,
            kind if passes_ipv4_option(kind) => {}
            _ => look.refuse(DropReason::IpOption)?,
        }
    }
}

/// A fragment, refused when its own header shows that it cannot be part of a packet.
fn fragment(
    look: &mut Inspection<'_>,
    header: &Ipv4HeaderSlice<'_>,
    at: usize,
    datagram: &Datagram<'_>,
) -> Result<Parsed, DropReason> {
    addresses::check_of_fragment(look, datagram)?;
    let data = datagram.payload;
    let offset = usize::from(header.fragments_offset().value()) * 8;
    let more = header.more_fragments();
    let end = header.slice().len() + offset + data.len();
    let is_tcp = datagram.protocol == protocol::TCP;
    let invalid = data.is_empty()
        || more && !data.len().is_multiple_of(8)
        || end > PACKET_MAX
        // What passed as the first fragment must not be overwritten by the next (RFC 3128).
        || is_tcp && offset == 8
        || offset == 0 && !transport::is_header_whole(datagram);
    if invalid {
        return Err(DropReason::FragmentInvalid);
    }
    Ok(Parsed::Fragment(Piece {
        src: datagram.src,
        dst: datagram.dst,
        identification: header.identification().into(),
        protocol: datagram.protocol,
        offset: position(offset)?,
        more,
        header_at: position(at)?,
        data_at: position(datagram.at)?,
        data_bytes: position(data.len())?,
        vlans: look.vlans,
    }))
}
