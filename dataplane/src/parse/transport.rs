//! Behind the IP header: ports, checksums, and what the packet says about its conversation.

use std::net::IpAddr;

use classifier::packet::{PacketKey, Transport, protocol};
use etherparse::UdpHeaderSlice;

use super::inspection::Inspection;
use super::{Completion, Packet, Parsed, Signal, addresses, icmp, position, tcp};
use crate::checks::Checksums;
use crate::checksum::Sum;
use crate::disposition::DropReason;

/// Common header of SCTP (RFC 9260 section 3.1).
const SCTP_BYTES: usize = 12;
/// Header of UDP, and the position in it of the checksum (RFC 768).
const UDP_BYTES: usize = 8;
const UDP_CHECKSUM_AT: usize = 6;

/// An IP packet without its headers.
#[derive(Clone, Copy)]
pub(super) struct Datagram<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
    /// Whether extension headers stand between the IPv6 header and the payload.
    pub(super) extended: bool,
    pub(super) payload: &'a [u8],
    /// Position of the payload in the frame.
    pub(super) at: usize,
}

/// What the transport header says.
pub(super) struct Read {
    pub(super) transport: Transport,
    pub(super) signal: Signal,
    pub(super) completion: Option<Completion>,
}

/// Reads the transport header, which must be whole.
pub(super) fn read(
    look: &mut Inspection<'_>,
    datagram: &Datagram<'_>,
) -> Result<Parsed, DropReason> {
    addresses::check(look, datagram)?;
    let Datagram { src, dst, protocol, .. } = *datagram;
    let Read { transport, signal, completion } = match protocol {
        protocol::TCP => tcp::read(look, datagram)?,
        protocol::UDP => udp(look, datagram)?,
        protocol::SCTP => sctp(datagram)?,
        _ if icmp::is_of_family(datagram) => return icmp::read(look, datagram),
        _ => Read { transport: Transport::Opaque, signal: Signal::Datagram, completion: None },
    };
    let key = PacketKey { src, dst, protocol, transport };
    let (vlans, noticed) = (look.vlans, look.noticed);
    Ok(Parsed::Ip(Packet { key, vlans, signal, completion, noticed }))
}

/// Whether the transport header, with all its options, is in this first fragment (RFC 1858 section 3.2). Of a protocol that we
/// look no further into, one byte.
pub(super) fn is_header_whole(datagram: &Datagram<'_>) -> bool {
    let least = match datagram.protocol {
        protocol::TCP => tcp::header_bytes(datagram.payload),
        protocol::UDP => UDP_BYTES,
        protocol::SCTP => SCTP_BYTES,
        _ if icmp::is_of_family(datagram) => icmp::HEADER_BYTES,
        _ => 1,
    };
    datagram.payload.len() >= least
}

fn udp(look: &mut Inspection<'_>, datagram: &Datagram<'_>) -> Result<Read, DropReason> {
    let payload = datagram.payload;
    let header = UdpHeaderSlice::from_slice(payload).map_err(|_| DropReason::Malformed)?;
    let length = usize::from(header.length());
    if length < UDP_BYTES {
        return Err(DropReason::Malformed);
    }
    let covered = payload.get(..length).ok_or(DropReason::Malformed)?;
    let transport = Transport::Ports { src: header.source_port(), dst: header.destination_port() };
    let completion = match header.checksum() {
        0 => without_checksum(look, datagram)?,
        _ => verify(look, datagram, covered, UDP_CHECKSUM_AT)?,
    };
    Ok(Read { transport, signal: Signal::Datagram, completion })
}

/// UDP may do without a checksum in IPv4 (RFC 768), in IPv6 only tunnels may (RFC 6935): there it is noted at least.
fn without_checksum(
    look: &mut Inspection<'_>,
    datagram: &Datagram<'_>,
) -> Result<Option<Completion>, DropReason> {
    if datagram.src.is_ipv6() && look.sanity.checks().checksums != Checksums::Ignore {
        if look.sanity.is_strict() {
            look.refuse(DropReason::Checksum)?;
        } else {
            look.notice(DropReason::Checksum);
        }
    }
    Ok(None)
}

fn sctp(datagram: &Datagram<'_>) -> Result<Read, DropReason> {
    let header = datagram.payload.first_chunk::<SCTP_BYTES>().ok_or(DropReason::Malformed)?;
    let [s0, s1, d0, d1, ..] = *header;
    let transport =
        Transport::Ports { src: u16::from_be_bytes([s0, s1]), dst: u16::from_be_bytes([d0, d1]) };
    Ok(Read { transport, signal: Signal::Datagram, completion: None })
}

/// Checks the checksum of `covered`, whose field is at `field`. One that was left to hardware comes back completed.
pub(super) fn verify(
    look: &mut Inspection<'_>,
    datagram: &Datagram<'_>,
    covered: &[u8],
    field: usize,
) -> Result<Option<Completion>, DropReason> {
    let checksums = look.sanity.checks().checksums;
    // Of a source route that passes, the checksum covers where it ends, not the destination (RFC 8200 section 8.1).
    if checksums == Checksums::Ignore || look.noticed.has(DropReason::SourceRoute) {
        return Ok(None);
    }
    let Datagram { src, dst, protocol, at, .. } = *datagram;
    let pseudo = match protocol {
        protocol::ICMP => Sum::default(),
        _ => Sum::of_pseudo_header(src, dst, protocol, covered.len()),
    };
    let sum = pseudo.and(Sum::of(covered));
    if sum.is_right() {
        return Ok(None);
    }
    let written = covered.get(field..).and_then(<[u8]>::first_chunk::<2>);
    let written = *written.ok_or(DropReason::Malformed)?;
    let is_left_to_hardware = checksums == Checksums::Complete
        && matches!(protocol, protocol::TCP | protocol::UDP)
        && written == pseudo.folded();
    if !is_left_to_hardware {
        look.refuse(DropReason::Checksum)?;
        return Ok(None);
    }
    // One's complement: adding the complement takes the field out of the sum.
    let value = match sum.and(Sum::of(&written.map(|byte| !byte))).checksum() {
        // In UDP a zero means that there is none (RFC 768).
        [0, 0] if protocol == protocol::UDP => [0xFF, 0xFF],
        value => value,
    };
    Ok(Some(Completion { at: position(at + field)?, value }))
}
