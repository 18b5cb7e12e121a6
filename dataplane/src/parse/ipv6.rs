//! IPv6 headers, with extension headers walked (RFC 8200).

use std::net::IpAddr;

use etherparse::{IpAuthHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice};

use super::inspection::Inspection;
use super::transport::{self, Datagram};
use super::{Parsed, Piece, addresses, behind, icmp, position};
use crate::disposition::DropReason;
use crate::sanity::{passes_ipv6_header, passes_ipv6_option, passes_routing_type};

/// Length of the IPv6 header.
const HEADER_BYTES: usize = 40;
/// Longest payload, extension headers included.
const PAYLOAD_MAX: usize = 65_535;
/// Most extension headers that are walked. RFC 8200 section 4.1 knows seven in one packet.
const EXTENSIONS_MAX: usize = 8;
/// Longest chain of them with the IPv6 header: what every link carries in one piece (RFC 7112 section 5).
const CHAIN_BYTES_MAX: usize = 1_280;
/// Extension headers by IANA's protocol numbers.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
/// The option that is one byte (RFC 8200 section 4.2).
const PAD1: u8 = 0;

/// Reads the IPv6 packet at `at`. A payload length of 0 means 0, never "to the end of the frame": no jumbograms on Ethernet, so
/// there is nothing in it.
pub(super) fn read(look: &mut Inspection<'_>, at: usize) -> Result<Parsed, DropReason> {
    let bytes = behind(look.frame, at);
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| DropReason::Malformed)?;
    let length = usize::from(header.payload_length());
    let payload = behind(bytes, HEADER_BYTES).get(..length).ok_or(DropReason::Malformed)?;
    if payload.is_empty() {
        return Err(DropReason::Malformed);
    }
    if header.hop_limit() == 0 {
        look.refuse(DropReason::HopLimit)?;
    }
    let mut chain = Chain::new(header.next_header().0, payload);
    chain.walk(look)?;
    let mut datagram = Datagram {
        src: IpAddr::V6(header.source_addr()),
        dst: IpAddr::V6(header.destination_addr()),
        protocol: chain.next,
        hop_limit: header.hop_limit(),
        extended: chain.count > 0,
        payload: chain.rest,
        at: at + HEADER_BYTES + chain.bytes,
    };
    if chain.next == FRAGMENT {
        let fragment = FragmentHeader::read(&chain)?;
        if !fragment.is_atomic() {
            return piece(look, &fragment, at, &datagram, chain);
        }
        chain.skip(fragment.next, FRAGMENT_BYTES)?;
        chain.walk(look)?;
        if chain.next == FRAGMENT {
            return Err(DropReason::FragmentInvalid);
        }
        (datagram.protocol, datagram.payload) = (chain.next, chain.rest);
        (datagram.at, datagram.extended) = (at + HEADER_BYTES + chain.bytes, true);
    }
    if !passes_ipv6_header(datagram.protocol) {
        look.refuse(DropReason::ExtensionHeader)?;
    }
    transport::read(look, &datagram)
}

/// A walk along the extension headers.
///
/// ESP, Mobility, HIP, Shim6 and unknown numbers are upper layers to us: a rule can only match their number.
#[derive(Clone, Copy)]
struct Chain<'a> {
    /// What comes next, and all that is left.
    next: u8,
    rest: &'a [u8],
    /// Headers and bytes walked.
    count: usize,
    bytes: usize,
    /// Whether an authentication header was among them.
    authenticated: bool,
}

impl<'a> Chain<'a> {
    fn new(next: u8, rest: &'a [u8]) -> Self {
        Self { next, rest, count: 0, bytes: 0, authenticated: false }
    }

    /// Up to the upper layer or a fragment header.
    #[inline]
    fn walk(&mut self, look: &mut Inspection<'_>) -> Result<(), DropReason> {
        while is_walked(self.next) {
            self.step(look)?;
        }
        Ok(())
    }

    fn step(&mut self, look: &mut Inspection<'_>) -> Result<(), DropReason> {
        if self.next == AUTHENTICATION {
            self.authenticated = true;
            let (next, length) = authentication(self.rest)?;
            return self.skip(next, length);
        }
        let header =
            Ipv6RawExtHeaderSlice::from_slice(self.rest).map_err(|_| DropReason::Malformed)?;
        let bytes = header.slice();
        if self.next == ROUTING {
            check_routing(look, bytes)?;
        } else {
            // RFC 8200 section 4.3: hop-by-hop options only directly behind the IPv6 header.
            if self.next == HOP_BY_HOP && self.count > 0 {
                look.refuse(DropReason::ExtensionHeader)?;
            }
            check_options(look, behind(bytes, 2))?;
        }
        self.skip(header.next_header().0, bytes.len())
    }

    /// Counts a header. A chain that is too long hides what is behind it: no setting lets it pass.
    fn skip(&mut self, next: u8, length: usize) -> Result<(), DropReason> {
        self.next = next;
        self.rest = behind(self.rest, length);
        self.count += 1;
        self.bytes += length;
        if self.count > EXTENSIONS_MAX || HEADER_BYTES + self.bytes > CHAIN_BYTES_MAX {
            return Err(DropReason::ExtensionHeader);
        }
        Ok(())
    }
}

fn is_walked(number: u8) -> bool {
    matches!(number, HOP_BY_HOP | ROUTING | AUTHENTICATION | DESTINATION_OPTIONS)
}

/// One with segments left is a source route (RFC 5095 for type 0): a host that follows it sends the packet on to an address
/// that no rule has seen.
fn check_routing(look: &mut Inspection<'_>, header: &[u8]) -> Result<(), DropReason> {
    match header {
        [_, _, kind, 0, ..] if passes_routing_type(*kind) => Ok(()),
        [_, _, _, 0, ..] => look.refuse(DropReason::ExtensionHeader),
        _ => look.refuse(DropReason::SourceRoute),
    }
}

/// Options of a hop-by-hop or destination options header (RFC 8200 section 4.2).
fn check_options(look: &mut Inspection<'_>, options: &[u8]) -> Result<(), DropReason> {
    let mut rest = options;
    loop {
        match rest {
            [] => return Ok(()),
            [PAD1, following @ ..] => rest = following,
            [kind, length, following @ ..] => {
                rest = following.get(usize::from(*length)..).ok_or(DropReason::Malformed)?;
                if !passes_ipv6_option(*kind) {
                    look.refuse(DropReason::ExtensionHeader)?;
                }
            }
            [_] => return Err(DropReason::Malformed),
        }
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

/// Length of a fragment header.
const FRAGMENT_BYTES: usize = 8;

/// RFC 8200 section 4.5.
struct FragmentHeader {
    next: u8,
    offset: usize,
    more: bool,
    identification: u32,
}

impl FragmentHeader {
    /// Nobody can authenticate a packet before it is whole: a fragment header behind an authentication header is a trick
    /// (CVE-2019-5597).
    fn read(chain: &Chain<'_>) -> Result<Self, DropReason> {
        let bytes = chain.rest.first_chunk::<FRAGMENT_BYTES>().ok_or(DropReason::Malformed)?;
        if chain.authenticated {
            return Err(DropReason::FragmentInvalid);
        }
        let [next, _, high, low, identification @ ..] = *bytes;
        let offset = u16::from_be_bytes([high, low]);
        Ok(Self {
            next,
            offset: usize::from(offset & !7),
            more: offset & 1 != 0,
            identification: u32::from_be_bytes(identification),
        })
    }

    fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// A fragment, refused when its own header shows that it cannot be part of a packet. `chain` has come to its header.
fn piece(
    look: &mut Inspection<'_>,
    fragment: &FragmentHeader,
    at: usize,
    datagram: &Datagram<'_>,
    mut chain: Chain<'_>,
) -> Result<Parsed, DropReason> {
    addresses::check_of_fragment(look, datagram)?;
    let before = chain.bytes;
    let data = behind(chain.rest, FRAGMENT_BYTES);
    let FragmentHeader { next, offset, more, identification } = *fragment;
    let invalid = data.is_empty()
        || more && !data.len().is_multiple_of(8)
        || before + offset + data.len() > PAYLOAD_MAX;
    if invalid {
        return Err(DropReason::FragmentInvalid);
    }
    if offset == 0 {
        chain.skip(next, FRAGMENT_BYTES)?;
        check_first(look, datagram, chain)?;
    }
    Ok(Parsed::Fragment(Piece {
        src: datagram.src,
        dst: datagram.dst,
        identification,
        protocol: next,
        offset: position(offset)?,
        more,
        header_at: position(at)?,
        data_at: position(datagram.at + FRAGMENT_BYTES)?,
        data_bytes: position(data.len())?,
        vlans: look.vlans,
    }))
}

/// The first fragment must hold all headers (RFC 7112 section 5), none of them a fragment header again (CVE-2023-4809), and no
/// neighbour discovery (RFC 6980 section 5).
fn check_first(
    look: &mut Inspection<'_>,
    datagram: &Datagram<'_>,
    mut chain: Chain<'_>,
) -> Result<(), DropReason> {
    chain.walk(look).map_err(|reason| {
        if reason == DropReason::Malformed { DropReason::FragmentInvalid } else { reason }
    })?;
    let upper = Datagram { protocol: chain.next, payload: chain.rest, ..*datagram };
    if chain.next == FRAGMENT || !transport::is_header_whole(&upper) {
        return Err(DropReason::FragmentInvalid);
    }
    if !passes_ipv6_header(upper.protocol) {
        look.refuse(DropReason::ExtensionHeader)?;
    }
    if icmp::is_neighbour_discovery(&upper) {
        look.refuse(DropReason::NeighbourDiscovery)?;
    }
    Ok(())
}
