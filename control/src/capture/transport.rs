//! Behind the IP header: ports, ICMP type and code, and what the packet says about its conversation.

use std::net::IpAddr;

use classifier::packet::{PacketKey, Transport, protocol};

use super::{Packet, Rest, Signal, Unjudged, Vlans};

/// Control bits of a TCP segment (RFC 9293 section 3.1).
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// Least length of a TCP header, bytes.
const TCP_BYTES: usize = 20;
/// Length of a UDP header, bytes.
const UDP_BYTES: usize = 8;

/// An IP packet without its headers.
pub(super) struct Datagram<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: u8,
    /// An IPv6 packet that no router has forwarded, with nothing between its header and the payload.
    pub(super) from_link: bool,
    pub(super) payload: Rest<'a>,
    pub(super) vlans: Vlans,
}

pub(super) fn read(datagram: &Datagram<'_>) -> Result<Packet, Unjudged> {
    let Datagram { src, dst, protocol, payload, vlans, .. } = *datagram;
    let (transport, signal) = match protocol {
        protocol::TCP => tcp(payload)?,
        protocol::UDP => udp(payload)?,
        protocol::SCTP => (ports(payload.array::<12>()?), Signal::Datagram),
        protocol::ICMP if src.is_ipv4() => icmp(datagram)?,
        protocol::ICMPV6 if src.is_ipv6() => icmp(datagram)?,
        _ => (Transport::Opaque, Signal::Datagram),
    };
    Ok(Packet { key: PacketKey { src, dst, protocol, transport }, vlans, signal })
}

/// The header's options may be missing in the capture; nothing of them is looked at.
fn tcp(payload: Rest<'_>) -> Result<(Transport, Signal), Unjudged> {
    let header = payload.array::<14>()?;
    let [.., offset, flags] = *header;
    let length = usize::from(offset >> 4) * 4;
    if length < TCP_BYTES || length > payload.length {
        return Err(Unjudged::Malformed);
    }
    let signal = match flags & (SYN | ACK | RST | FIN) {
        SYN => Signal::Opening,
        bits if bits == SYN | ACK => Signal::Answer,
        _ => Signal::Segment,
    };
    Ok((ports(header), signal))
}

fn udp(payload: Rest<'_>) -> Result<(Transport, Signal), Unjudged> {
    let header = payload.array::<UDP_BYTES>()?;
    let [_, _, _, _, high, low, ..] = *header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < UDP_BYTES || length > payload.length {
        return Err(Unjudged::Malformed);
    }
    Ok((ports(header), Signal::Datagram))
}

fn ports(header: &[u8]) -> Transport {
    let number = |at: usize| {
        header.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_be_bytes)
    };
    Transport::Ports { src: number(0), dst: number(2) }
}

/// Echo has code 0 and nothing else (RFC 792, RFC 4443 section 4): another code is no query that gets a reply.
fn icmp(datagram: &Datagram<'_>) -> Result<(Transport, Signal), Unjudged> {
    let [kind, code, _, _, high, low, ..] = *datagram.payload.array::<8>()?;
    let v6 = datagram.src.is_ipv6();
    if v6 && matches!(kind, 133..=136) {
        // RFC 4861 sections 6.1 and 7.1.
        let valid = datagram.from_link && code == 0;
        return Err(if valid { Unjudged::NeighbourDiscovery } else { Unjudged::FalseDiscovery });
    }
    let (request, reply) = if v6 { (128, 129) } else { (8, 0) };
    let identifier = u16::from_be_bytes([high, low]);
    let signal = match (kind, code) {
        (kind, 0) if kind == request => Signal::EchoRequest(identifier),
        (kind, 0) if kind == reply => Signal::EchoReply(identifier),
        _ => Signal::Message,
    };
    Ok((Transport::Icmp { kind, code }, signal))
}
