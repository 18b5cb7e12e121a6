//! Behind the IP header: ports, ICMP type and code, and what the packet says about its conversation.

use std::net::IpAddr;

use classifier::packet::{PacketKey, Transport, protocol};
use etherparse::{TcpHeaderSlice, TcpOptionElement, UdpHeaderSlice};

use super::network::is_icmp_of_family;
use super::{Packet, Parsed, Query, Segment, Signal, TcpFlags, Vlans};
use crate::disposition::DropReason;

/// Common header of SCTP (RFC 9260 section 3.1).
const SCTP_BYTES: usize = 12;
/// Every ICMP message is at least this long (RFC 792; the messages of RFC 4443 as well).
const ICMP_BYTES: usize = 8;
/// Hop limit of a packet that no router has forwarded (RFC 4861 section 6.1).
const FROM_THE_LINK: u8 = 255;

/// An IP packet without its headers.
pub(super) struct Datagram<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
    /// Whether extension headers stand between the IPv6 header and the payload.
    pub(super) extended: bool,
    pub(super) payload: &'a [u8],
    pub(super) vlans: Vlans,
}

/// Reads the transport header, which must be whole.
pub(super) fn read(datagram: &Datagram<'_>) -> Result<Parsed, DropReason> {
    let Datagram { src, dst, protocol, payload, vlans, .. } = *datagram;
    let (transport, signal) = match protocol {
        protocol::TCP => tcp(payload)?,
        protocol::UDP => udp(payload)?,
        protocol::SCTP => sctp(payload)?,
        _ if is_icmp_of_family(protocol, src) => {
            let message = Icmp::read(payload)?;
            if message.is_neighbour_discovery(src) {
                return neighbour_discovery(&message, datagram);
            }
            let Icmp { kind, code, .. } = message;
            (Transport::Icmp { kind, code }, message.signal(src))
        }
        _ => (Transport::Opaque, Signal::Datagram),
    };
    let key = PacketKey { src, dst, protocol, transport };
    Ok(Parsed::Ip(Packet { key, vlans, signal }))
}

/// etherparse refuses a data offset below five words or beyond the segment.
fn tcp(payload: &[u8]) -> Result<(Transport, Signal), DropReason> {
    let header = TcpHeaderSlice::from_slice(payload).map_err(|_| DropReason::Malformed)?;
    let ports = Transport::Ports { src: header.source_port(), dst: header.destination_port() };
    let flags = header.slice().get(13).copied().ok_or(DropReason::Malformed)?;
    let data_bytes = payload.len() - header.slice().len();
    let segment = Segment {
        flags: TcpFlags(flags),
        seq: header.sequence_number(),
        ack: header.acknowledgment_number(),
        window: header.window_size(),
        data_bytes: u16::try_from(data_bytes).map_err(|_| DropReason::Malformed)?,
        scale: TcpFlags(flags).syn().then(|| window_scale(&header)).flatten(),
    };
    Ok((ports, Signal::Tcp(segment)))
}

/// RFC 7323 section 2.3: a shift above 14 counts as 14.
fn window_scale(header: &TcpHeaderSlice<'_>) -> Option<u8> {
    header.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::WindowScale(shift)) => Some(shift.min(14)),
        _ => None,
    })
}

fn udp(payload: &[u8]) -> Result<(Transport, Signal), DropReason> {
    let header = UdpHeaderSlice::from_slice(payload).map_err(|_| DropReason::Malformed)?;
    let length = usize::from(header.length());
    if length < header.slice().len() || length > payload.len() {
        return Err(DropReason::Malformed);
    }
    let ports = Transport::Ports { src: header.source_port(), dst: header.destination_port() };
    Ok((ports, Signal::Datagram))
}

fn sctp(payload: &[u8]) -> Result<(Transport, Signal), DropReason> {
    let header = payload.first_chunk::<SCTP_BYTES>().ok_or(DropReason::Malformed)?;
    let [s0, s1, d0, d1, ..] = *header;
    let ports =
        Transport::Ports { src: u16::from_be_bytes([s0, s1]), dst: u16::from_be_bytes([d0, d1]) };
    Ok((ports, Signal::Datagram))
}

/// The first words of an ICMP message.
struct Icmp {
    kind: u8,
    code: u8,
    identifier: u16,
}

impl Icmp {
    fn read(payload: &[u8]) -> Result<Self, DropReason> {
        let header = payload.first_chunk::<ICMP_BYTES>().ok_or(DropReason::Malformed)?;
        let [kind, code, _, _, i0, i1, ..] = *header;
        Ok(Self { kind, code, identifier: u16::from_be_bytes([i0, i1]) })
    }

    /// Echo has code 0 and nothing else (RFC 792, RFC 4443 section 4): another code is no query that gets a reply.
    fn signal(&self, address: IpAddr) -> Signal {
        let (request, reply) = if address.is_ipv4() { (8, 0) } else { (128, 129) };
        let query = Query { kind: request, identifier: self.identifier };
        match (self.kind, self.code) {
            (kind, 0) if kind == request => Signal::Request(query),
            (kind, 0) if kind == reply => Signal::Reply(query),
            _ => Signal::Message,
        }
    }

    /// Router and neighbour solicitation and advertisement. A redirect (137) is judged by policy.
    fn is_neighbour_discovery(&self, address: IpAddr) -> bool {
        address.is_ipv6() && matches!(self.kind, 133..=136)
    }

    /// Least length of this neighbour discovery message (RFC 4861 sections 4.1 to 4.4).
    fn discovery_bytes(&self) -> usize {
        match self.kind {
            133 => 8,
            134 => 16,
            _ => 24,
        }
    }
}

/// These pass below policy, so they must be valid: whole, code 0, not forwarded (RFC 4861 sections 6.1 and 7.1), and with
/// nothing in front of them that a host would have to skip to see what they are (RFC 7113 section 3).
fn neighbour_discovery(message: &Icmp, datagram: &Datagram<'_>) -> Result<Parsed, DropReason> {
    let options = datagram.payload.get(message.discovery_bytes()..);
    let options = options.ok_or(DropReason::Malformed)?;
    if datagram.hop_limit != FROM_THE_LINK || datagram.extended || message.code != 0 {
        return Err(DropReason::NeighbourDiscovery);
    }
    if are_options_whole(options) {
        Ok(Parsed::NeighbourDiscovery)
    } else {
        Err(DropReason::Malformed)
    }
}

/// Options of neighbour discovery (RFC 4861 section 4.6): type, length in units of eight bytes, never 0.
fn are_options_whole(options: &[u8]) -> bool {
    let mut rest = options;
    while let [_, length @ 1..=u8::MAX, ..] = rest {
        let Some(following) = rest.get(usize::from(*length) * 8..) else { return false };
        rest = following;
    }
    rest.is_empty()
}
