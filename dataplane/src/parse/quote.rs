//! The packet that an ICMP error quotes (RFC 792, RFC 4443 section 3): enough of it to find its conversation.

use std::net::IpAddr;

use classifier::packet::{PacketKey, Transport, protocol};
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::icmp::Message;
use super::inspection::Inspection;
use super::{Quote, Quoted, behind};
use crate::checksum::Sum;
use crate::disposition::DropReason;

/// What an error quotes of the transport header at least (RFC 792): ports and sequence number, or an ICMP header.
const TRANSPORT_BYTES: usize = 8;
const IPV6_BYTES: usize = 40;
/// Most extension headers that are walked, as of packets.
const EXTENSIONS_MAX: usize = 8;
/// The part of the fragment header that is the offset (RFC 8200 section 4.5).
const OFFSET_MASK: u16 = 0xFFF8;

/// What is quoted; `None` if it cannot be the packet of a conversation. Its transport checksum is not looked at, which is not
/// of what is quoted but of the whole packet (RFC 5508 REQ-3).
///
/// # Errors
/// When the checksum of a quoted IPv4 header is wrong (RFC 5508 REQ-3), and that is a reason to drop.
pub(super) fn read(
    look: &mut Inspection<'_>,
    bytes: &[u8],
    is_v4: bool,
) -> Result<Option<Quote>, DropReason> {
    if !is_v4 {
        return Ok(of_ipv6(bytes));
    }
    let Ok(header) = Ipv4HeaderSlice::from_slice(bytes) else { return Ok(None) };
    if !Sum::of(header.slice()).is_right() {
        look.refuse(DropReason::Checksum)?;
    }
    if header.fragments_offset().value() != 0 {
        return Ok(None);
    }
    let rest = behind(bytes, header.slice().len());
    let [src, dst] = [header.source_addr(), header.destination_addr()].map(IpAddr::V4);
    Ok(of_transport(src, dst, header.protocol().0, rest))
}

fn of_ipv6(bytes: &[u8]) -> Option<Quote> {
    let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
    let (mut next, mut rest) = (header.next_header().0, behind(bytes, IPV6_BYTES));
    for _ in 0..=EXTENSIONS_MAX {
        let unit = match next {
            0 | 43 | 60 => 8,
            51 => 4,
            // A later fragment has no transport header.
            44 if is_first_fragment(rest)? => 0,
            44 => return None,
            protocol => {
                let [src, dst] = [header.source_addr(), header.destination_addr()].map(IpAddr::V6);
                return of_transport(src, dst, protocol, rest);
            }
        };
        let [following, units, ..] = *rest.first_chunk::<TRANSPORT_BYTES>()?;
        let length = match unit {
            8 => (usize::from(units) + 1) * 8,
            4 => (usize::from(units) + 2) * 4,
            _ => 8,
        };
        (next, rest) = (following, rest.get(length..)?);
    }
    None
}

fn is_first_fragment(header: &[u8]) -> Option<bool> {
    let [_, _, high, low, ..] = *header.first_chunk::<8>()?;
    Some(u16::from_be_bytes([high, low]) & OFFSET_MASK == 0)
}

fn of_transport(src: IpAddr, dst: IpAddr, number: u8, bytes: &[u8]) -> Option<Quote> {
    let bytes = bytes.first_chunk::<TRANSPORT_BYTES>()?;
    let [s0, s1, d0, d1, seq @ ..] = *bytes;
    let ports =
        Transport::Ports { src: u16::from_be_bytes([s0, s1]), dst: u16::from_be_bytes([d0, d1]) };
    let (transport, part) = match number {
        protocol::TCP => (ports, Quoted::Tcp(u32::from_be_bytes(seq))),
        protocol::UDP | protocol::SCTP => (ports, Quoted::Datagram),
        protocol::ICMP | protocol::ICMPV6 if (number == protocol::ICMP) == src.is_ipv4() => {
            // An error about an error is never sent (RFC 1122 section 3.2.2, RFC 4443 section 2.4), and nothing but queries has a
            // conversation.
            let message = Message::read(bytes)?;
            let (query, _) = message.query(src.is_ipv4())?;
            let transport = Transport::Icmp { kind: message.kind, code: message.code };
            (transport, Quoted::Query(query))
        }
        _ => (Transport::Opaque, Quoted::Datagram),
    };
    Some(Quote { key: PacketKey { src, dst, protocol: number, transport }, part })
}
