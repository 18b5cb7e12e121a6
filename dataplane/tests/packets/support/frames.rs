//! Valid frames, built with etherparse's own writer, and the ways to bend them.

use std::net::IpAddr;
use std::sync::LazyLock;

use classifier::packet::PacketKey;
use dataplane::device::Port;
use dataplane::disposition::{DropReason, Reasons};
use dataplane::parse::{Packet, Parsed, Signal};
use dataplane::sanity::Sanity;
use etherparse::{IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header};
use etherparse::{Ipv6Extensions, Ipv6FlowLabel, Ipv6Header};
use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};

/// Bytes of an Ethernet II header without tags.
pub(crate) const ETHERNET: usize = 14;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// What stands behind the IP header.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer {
    /// Source port, destination port, flags.
    Tcp(u16, u16, u8),
    Udp(u16, u16),
    Sctp(u16, u16),
    /// Echo request with this identifier.
    Ping(u16),
    /// Echo reply.
    Pong(u16),
    /// Type and code.
    Icmp(u8, u8),
    /// Protocol number.
    Raw(u8),
}

/// A packet without a frame.
pub(crate) fn packet(key: PacketKey, signal: Signal) -> Packet {
    Packet { key, vlans: [None; 2], signal, completion: None, noticed: Reasons::default() }
}

/// An untagged frame.
pub(crate) fn frame(src: &str, dst: &str, layer: Layer) -> Vec<u8> {
    frame_between(src.parse().unwrap(), dst.parse().unwrap(), layer)
}

/// A frame with these VLAN identifiers, outer first, in 0x8100 tags.
pub(crate) fn tagged(vlans: &[u16], src: &str, dst: &str, layer: Layer) -> Vec<u8> {
    vlans.iter().rev().fold(frame(src, dst, layer), |inner, vlan| tag(&inner, 0x8100, *vlan))
}

/// An untagged frame between two addresses of one family.
pub(crate) fn frame_between(src: IpAddr, dst: IpAddr, layer: Layer) -> Vec<u8> {
    let builder = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let mut bytes = Vec::new();
    let payload = [0xAB; 24];
    let ip = |protocol| builder().ip(ip_headers(src, dst, protocol));
    match layer {
        Layer::Tcp(from, to, flags) => {
            let header = tcp_header(from, to, flags);
            ip(6).tcp_header(header).write(&mut bytes, &payload).unwrap();
        }
        Layer::Udp(from, to) => ip(17).udp(from, to).write(&mut bytes, &payload).unwrap(),
        Layer::Sctp(from, to) => {
            let mut payload = payload;
            payload[..2].copy_from_slice(&from.to_be_bytes());
            payload[2..4].copy_from_slice(&to.to_be_bytes());
            raw(ip(132), 132, &payload, &mut bytes);
        }
        Layer::Ping(id) => echo(ip(1), src, if src.is_ipv4() { 8 } else { 128 }, id, &mut bytes),
        Layer::Pong(id) => echo(ip(1), src, if src.is_ipv4() { 0 } else { 129 }, id, &mut bytes),
        Layer::Icmp(kind, code) => icmp(ip(1), src, [kind, code], [0; 4], &mut bytes),
        Layer::Raw(protocol) => raw(ip(protocol), protocol, &payload, &mut bytes),
    }
    bytes
}

/// A segment with these numbers, and so many octets of data.
pub(crate) fn segment(
    [src, dst]: [&str; 2],
    [from, to]: [u16; 2],
    flags: u8,
    [seq, ack]: [u32; 2],
    data_bytes: usize,
) -> Vec<u8> {
    let mut header = tcp_header(from, to, flags);
    header.sequence_number = seq;
    header.acknowledgment_number = ack;
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let headers = ip_headers(src.parse().unwrap(), dst.parse().unwrap(), 6);
    let mut bytes = Vec::new();
    let payload = vec![0xCD; data_bytes];
    builder.ip(headers).tcp_header(header).write(&mut bytes, &payload).unwrap();
    bytes
}

/// Puts a VLAN tag in front of what the frame already has.
pub(crate) fn tag(frame: &[u8], tpid: u16, vlan: u16) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    out.extend_from_slice(&tpid.to_be_bytes());
    out.extend_from_slice(&(vlan | 0x2000).to_be_bytes());
    out.extend_from_slice(&frame[12..]);
    out
}

/// Puts an extension header (its own next-header byte is filled in here) behind the IPv6 header of an untagged frame.
pub(crate) fn extend(frame: &[u8], number: u8, mut extension: Vec<u8>) -> Vec<u8> {
    let mut out = frame.to_vec();
    extension[0] = out[ETHERNET + 6];
    out[ETHERNET + 6] = number;
    let length = u16::from_be_bytes([out[ETHERNET + 4], out[ETHERNET + 5]]);
    let length = length + u16::try_from(extension.len()).unwrap();
    out[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
    out.splice(ETHERNET + 40..ETHERNET + 40, extension);
    out
}

/// An ARP request for IPv4 over Ethernet.
pub(crate) fn arp() -> Vec<u8> {
    let mut out = vec![0xFF; 6];
    out.extend_from_slice(&[2, 0, 0, 0, 0, 1, 0x08, 0x06]);
    out.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    out.extend_from_slice(&[2, 0, 0, 0, 0, 1, 198, 18, 0, 1]);
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 198, 18, 0, 2]);
    out
}

/// A neighbour discovery message of this type, long enough for every one of them, with hop limit 255.
pub(crate) fn discovery(kind: u8) -> Vec<u8> {
    let mut out = frame("fe80::1", "ff02::1", Layer::Icmp(kind, 0));
    out[ETHERNET + 7] = 255;
    // What follows the fixed part of the shorter ones is options of eight bytes each.
    for option in [48, 56, 64] {
        out[ETHERNET + option + 1] = 1;
    }
    repair(&mut out);
    out
}

/// An ICMP error of this type and code about an untagged frame, back to who sent it, with its first bytes quoted.
pub(crate) fn error(router: &str, kind: u8, code: u8, about: &[u8]) -> Vec<u8> {
    let quoted = &about[ETHERNET..];
    let is_v4 = quoted[0] >> 4 == 4;
    let sender = if is_v4 {
        IpAddr::from(*quoted[12..].first_chunk::<4>().unwrap())
    } else {
        IpAddr::from(*quoted[8..].first_chunk::<16>().unwrap())
    };
    let mut out = frame_between(router.parse().unwrap(), sender, Layer::Icmp(kind, code));
    let (header, length_at) = if is_v4 { (20, 2) } else { (40, 4) };
    out.truncate(ETHERNET + header + 8);
    out.extend_from_slice(quoted);
    let length = out.len() - ETHERNET - if is_v4 { 0 } else { header };
    let length = u16::try_from(length).unwrap().to_be_bytes();
    out[ETHERNET + length_at..][..2].copy_from_slice(&length);
    repair(&mut out);
    out
}

/// Makes the checksums right of a frame that was changed, as far as its headers lead.
pub(crate) fn repair(frame: &mut [u8]) {
    let _ = repair_ip(frame);
}

fn repair_ip(frame: &mut [u8]) -> Option<()> {
    let mut at = 12;
    while matches!(word(frame, at)?, 0x8100 | 0x88A8 | 0x9100) {
        at += 4;
    }
    let version = word(frame, at)?;
    let ip = frame.get_mut(at + 2..)?;
    if version == 0x0800 {
        let header = usize::from(*ip.first()? & 15) * 4;
        write_checksum(ip.get_mut(..header)?, 0, 10)?;
        let end = usize::from(word(ip, 2)?);
        if word(ip, 6)? & 0x3FFF != 0 {
            return None;
        }
        let (protocol, addresses) = (*ip.get(9)?, sum(ip.get(12..20)?));
        return repair_transport(ip.get_mut(header..end)?, protocol, addresses);
    }
    let end = 40 + usize::from(word(ip, 4)?);
    let (mut next, mut at) = (*ip.get(6)?, 40);
    while matches!(next, 0 | 43 | 44 | 51 | 60) {
        let units = usize::from(*ip.get(at + 1)?);
        let length = match next {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        next = *ip.get(at)?;
        at += length;
    }
    let addresses = sum(ip.get(8..40)?);
    repair_transport(ip.get_mut(at..end)?, next, addresses)
}

fn repair_transport(data: &mut [u8], protocol: u8, addresses: u32) -> Option<()> {
    let length = if protocol == 17 { usize::from(word(data, 4)?) } else { data.len() };
    let field = match protocol {
        6 => 16,
        17 => 6,
        1 | 58 => 2,
        _ => return None,
    };
    let length_and_protocol = u32::try_from(length).unwrap() + u32::from(protocol);
    let pseudo = if protocol == 1 { 0 } else { addresses + length_and_protocol };
    write_checksum(data.get_mut(..length)?, pseudo, field)
}

fn write_checksum(bytes: &mut [u8], pseudo: u32, field: usize) -> Option<()> {
    bytes.get_mut(field..field + 2)?.fill(0);
    let mut whole = sum(bytes) + pseudo;
    while whole > 0xFFFF {
        whole = (whole >> 16) + (whole & 0xFFFF);
    }
    let checksum = !u16::try_from(whole).unwrap();
    bytes.get_mut(field..field + 2)?.copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

fn sum(bytes: &[u8]) -> u32 {
    let high = bytes.iter().step_by(2).map(|byte| u32::from(*byte) << 8);
    let low = bytes.iter().skip(1).step_by(2).map(|byte| u32::from(*byte));
    high.sum::<u32>() + low.sum::<u32>()
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads a frame from port A with no settings.
pub(crate) fn parse(frame: &[u8]) -> Result<Parsed, DropReason> {
    static SANITY: LazyLock<Sanity> = LazyLock::new(Sanity::default);
    dataplane::parse::parse(frame, &SANITY, Port::A)
}

/// A frame that is neither IP nor ARP.
pub(crate) fn foreign(ether_type: u16) -> Vec<u8> {
    let mut out = vec![2; 12];
    out.extend_from_slice(&ether_type.to_be_bytes());
    out.extend_from_slice(&[0x42; 46]);
    out
}

fn ip_headers(src: IpAddr, dst: IpAddr, protocol: u8) -> IpHeaders {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let header = Ipv4Header::new(0, 64, IpNumber(protocol), src.octets(), dst.octets());
            IpHeaders::Ipv4(header.unwrap(), Ipv4Extensions::default())
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = Ipv6Header {
                flow_label: Ipv6FlowLabel::ZERO,
                hop_limit: 64,
                next_header: IpNumber(protocol),
                source: src.octets(),
                destination: dst.octets(),
                ..Default::default()
            };
            IpHeaders::Ipv6(header, Ipv6Extensions::default())
        }
        _ => unreachable!("one family"),
    }
}

/// A segment of a connection in which both sides begin at 1: their SYNs have that number, all else follows at 2 and
/// acknowledges the other's SYN. All carry the same octets.
fn tcp_header(from: u16, to: u16, flags: u8) -> TcpHeader {
    let seq = if flags & SYN == 0 { 2 } else { 1 };
    let mut header = TcpHeader::new(from, to, seq, 4096);
    header.fin = flags & FIN != 0;
    header.syn = flags & SYN != 0;
    header.rst = flags & RST != 0;
    header.ack = flags & ACK != 0;
    header.acknowledgment_number = if header.ack { 2 } else { 0 };
    header
}

fn echo(
    step: PacketBuilderStep<IpHeaders>,
    src: IpAddr,
    kind: u8,
    identifier: u16,
    out: &mut Vec<u8>,
) {
    let [high, low] = identifier.to_be_bytes();
    icmp(step, src, [kind, 0], [high, low, 0, 1], out);
}

fn icmp(
    step: PacketBuilderStep<IpHeaders>,
    src: IpAddr,
    [kind, code]: [u8; 2],
    rest: [u8; 4],
    out: &mut Vec<u8>,
) {
    let payload = [0; 24];
    if src.is_ipv4() {
        step.icmpv4_raw(kind, code, rest).write(out, &payload).unwrap();
    } else {
        step.icmpv6_raw(kind, code, rest).write(out, &payload).unwrap();
    }
}

fn raw(step: PacketBuilderStep<IpHeaders>, protocol: u8, payload: &[u8], out: &mut Vec<u8>) {
    step.write(out, IpNumber(protocol), payload).unwrap();
}
