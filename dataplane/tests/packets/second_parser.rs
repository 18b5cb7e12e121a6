//! A parser written by hand from the RFCs, byte by byte, to hold against the one under test. It shares nothing with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use classifier::packet::{PacketKey, Transport};
use dataplane::disposition::DropReason;
use dataplane::parse::{Packet, Parsed, Query, Segment, Signal, TcpFlags};

/// What `parse` should say of `frame`.
pub(crate) fn read(frame: &[u8]) -> Result<Parsed, DropReason> {
    let mut at = 12;
    let mut vlans = [None, None];
    if frame.len() < 14 {
        return Err(DropReason::Malformed);
    }
    let mut tags = 0;
    loop {
        let kind = word(frame, at);
        if kind != 0x8100 && kind != 0x88A8 && kind != 0x9100 {
            break;
        }
        if tags == 2 {
            return Err(DropReason::VlanTags);
        }
        if frame.len() < at + 6 {
            return Err(DropReason::Malformed);
        }
        vlans[tags] = Some(word(frame, at + 2) & 0x0FFF);
        tags += 1;
        at += 4;
    }
    let body = &frame[at + 2..];
    match word(frame, at) {
        0x0800 => ipv4(body, vlans),
        0x86DD => ipv6(body, vlans),
        0x0806 if body.len() >= 28 && body[..6] == [0, 1, 8, 0, 6, 4] => Ok(Parsed::Arp),
        0x0806 => Err(DropReason::Malformed),
        0..0x0600 if wraps_ip(body) => Err(DropReason::NonIp),
        _ => Ok(Parsed::NonIp),
    }
}

/// IP, ARP or a VLAN tag in an IEEE 802.3 frame: behind LLC with the number of IP, or behind SNAP.
fn wraps_ip(body: &[u8]) -> bool {
    let kinds = [0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8, 0x9100];
    let snap = body.len() >= 8 && body[0] == 0xAA && body[1] == 0xAA;
    body.iter().take(2).any(|sap| *sap == 6) || snap && kinds.contains(&word(body, 6))
}

fn ipv4(body: &[u8], vlans: [Option<u16>; 2]) -> Result<Parsed, DropReason> {
    if body.len() < 20 {
        return Err(DropReason::Malformed);
    }
    let header = usize::from(body[0] & 15) * 4;
    let total = usize::from(word(body, 2));
    if body[0] >> 4 != 4
        || header < 20
        || body.len() < header
        || total < header
        || total > body.len()
    {
        return Err(DropReason::Malformed);
    }
    if word(body, 6) & 0x3FFF != 0 {
        return Err(DropReason::FragmentLimit);
    }
    let mut at = 20;
    while at < header && body[at] != 0 {
        let size = match body[at] {
            1 => 1,
            131 | 137 => return Err(DropReason::SourceRoute),
            _ if at + 1 == header => return Err(DropReason::Malformed),
            _ if body[at + 1] < 2 => return Err(DropReason::Malformed),
            _ => usize::from(body[at + 1]),
        };
        at += size;
        if at > header {
            return Err(DropReason::Malformed);
        }
    }
    let src = IpAddr::V4(Ipv4Addr::new(body[12], body[13], body[14], body[15]));
    let dst = IpAddr::V4(Ipv4Addr::new(body[16], body[17], body[18], body[19]));
    upper(src, dst, body[9], Some(body[8]), &body[header..total], vlans)
}

fn ipv6(body: &[u8], vlans: [Option<u16>; 2]) -> Result<Parsed, DropReason> {
    if body.len() < 40 || body[0] >> 4 != 6 || body.len() < 40 + usize::from(word(body, 4)) {
        return Err(DropReason::Malformed);
    }
    let address = |at: usize| {
        let octets: [u8; 16] = body[at..at + 16].try_into().unwrap();
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let mut rest = &body[40..40 + usize::from(word(body, 4))];
    let mut next = body[6];
    let mut walked = 0;
    while [0, 43, 44, 51, 60].contains(&next) {
        if next == 44 && walked <= 8 {
            return Err(DropReason::FragmentLimit);
        }
        let size = match (next, rest.len() >= 8) {
            (0, _) if walked > 0 => return Err(DropReason::Malformed),
            (_, false) => return Err(DropReason::Malformed),
            (51, true) => (usize::from(rest[1]) + 2) * 4,
            (_, true) => (usize::from(rest[1]) + 1) * 8,
        };
        let odd = next == 51 && (size < 12 || !size.is_multiple_of(8));
        if walked == 8 || odd || size > rest.len() {
            return Err(DropReason::Malformed);
        }
        if next == 43 && rest[3] != 0 {
            return Err(DropReason::SourceRoute);
        }
        next = rest[0];
        rest = &rest[size..];
        walked += 1;
    }
    let hops = (walked == 0).then_some(body[7]);
    upper(address(8), address(24), next, hops, rest, vlans)
}

/// `hops` is `None` behind extension headers.
fn upper(
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    hops: Option<u8>,
    data: &[u8],
    vlans: [Option<u16>; 2],
) -> Result<Parsed, DropReason> {
    let short = |least: usize| if data.len() < least { Err(DropReason::Malformed) } else { Ok(()) };
    let mut signal = Signal::Datagram;
    let mut transport = Transport::Opaque;
    match (protocol, src.is_ipv4()) {
        (6, _) => {
            short(20)?;
            let offset = usize::from(data[12] >> 4) * 4;
            if offset < 20 || offset > data.len() {
                return Err(DropReason::Malformed);
            }
            signal = Signal::Tcp(segment(data, offset));
        }
        (17, _) => {
            short(8)?;
            if word(data, 4) < 8 || usize::from(word(data, 4)) > data.len() {
                return Err(DropReason::Malformed);
            }
        }
        (132, _) => short(12)?,
        (1, true) | (58, false) => {
            short(8)?;
            let (kind, code) = (data[0], data[1]);
            if protocol == 58 && (133..=136).contains(&kind) {
                let mut at = [8, 16, 24, 24][usize::from(kind - 133)];
                short(at)?;
                if (hops, code) != (Some(255), 0) {
                    return Err(DropReason::NeighbourDiscovery);
                }
                while at < data.len() {
                    let units = data.get(at + 1).copied().unwrap_or_default();
                    at += usize::from(units) * 8;
                    if units == 0 || at > data.len() {
                        return Err(DropReason::Malformed);
                    }
                }
                return Ok(Parsed::NeighbourDiscovery);
            }
            transport = Transport::Icmp { kind, code };
            let identifier = word(data, 4);
            signal = match (protocol, kind, code) {
                (1, 8, 0) | (58, 128, 0) => Signal::Request(Query { kind, identifier }),
                (1, 0, 0) => Signal::Reply(Query { kind: 8, identifier }),
                (58, 129, 0) => Signal::Reply(Query { kind: 128, identifier }),
                _ => Signal::Message,
            };
        }
        _ => {}
    }
    if [6, 17, 132].contains(&protocol) {
        transport = Transport::Ports { src: word(data, 0), dst: word(data, 2) };
    }
    let key = PacketKey { src, dst, protocol, transport };
    Ok(Parsed::Ip(Packet { key, vlans, signal }))
}

fn segment(data: &[u8], header: usize) -> Segment {
    let flags = TcpFlags(data[13]);
    Segment {
        flags,
        seq: u32::from_be_bytes(data[4..8].try_into().unwrap()),
        ack: u32::from_be_bytes(data[8..12].try_into().unwrap()),
        window: word(data, 14),
        data_bytes: u16::try_from(data.len() - header).unwrap(),
        scale: if flags.syn() { window_scale(&data[20..header]) } else { None },
    }
}

fn window_scale(options: &[u8]) -> Option<u8> {
    let mut at = 0;
    while at < options.len() {
        match (options[at], options.get(at + 1), options.get(at + 2)) {
            (0, ..) => return None,
            (1, ..) => at += 1,
            (3, Some(3), Some(shift)) => return Some(14.min(*shift)),
            (_, Some(length @ 2..), _) => at += usize::from(*length),
            _ => return None,
        }
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
