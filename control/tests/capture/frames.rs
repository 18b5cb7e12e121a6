//! Packets, byte by byte.

use std::net::IpAddr;

pub(crate) const SYN: u8 = 2;
pub(crate) const SYN_ACK: u8 = 18;
pub(crate) const ACK: u8 = 16;

pub(crate) fn tcp(src: &str, dst: &str, flags: u8) -> Vec<u8> {
    let (src, src_port) = end(src);
    let (dst, dst_port) = end(dst);
    let mut segment = vec![0; 20];
    segment[0..2].copy_from_slice(&src_port.to_be_bytes());
    segment[2..4].copy_from_slice(&dst_port.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = flags;
    ip(src, dst, 6, &segment)
}

pub(crate) fn udp(src: &str, dst: &str, payload: usize) -> Vec<u8> {
    let (src, src_port) = end(src);
    let (dst, dst_port) = end(dst);
    let mut datagram = vec![0; 8 + payload];
    let length = u16::try_from(datagram.len()).unwrap();
    datagram[0..2].copy_from_slice(&src_port.to_be_bytes());
    datagram[2..4].copy_from_slice(&dst_port.to_be_bytes());
    datagram[4..6].copy_from_slice(&length.to_be_bytes());
    ip(src, dst, 17, &datagram)
}

pub(crate) fn echo(src: &str, dst: &str, kind: u8, identifier: u16) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 1];
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    let src: IpAddr = src.parse().unwrap();
    ip(src, dst.parse().unwrap(), if src.is_ipv4() { 1 } else { 58 }, &message)
}

pub(crate) fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut packet = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
            header[2..4].copy_from_slice(&(length + 20).to_be_bytes());
            header.extend(src.octets());
            header.extend(dst.octets());
            header
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
            header[4..6].copy_from_slice(&length.to_be_bytes());
            header.extend(src.octets());
            header.extend(dst.octets());
            header
        }
        _ => panic!("two families"),
    };
    packet.extend(payload);
    packet
}

/// Behind Ethernet, with these VLAN tags, outer first.
pub(crate) fn ethernet(packet: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (kind, identifier) in tags {
        frame.extend(kind.to_be_bytes());
        frame.extend(identifier.to_be_bytes());
    }
    frame.extend(kind_of(packet).to_be_bytes());
    frame.extend(packet);
    frame
}

/// Behind a Linux cooked header.
pub(crate) fn sll(packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    frame.extend(kind_of(packet).to_be_bytes());
    frame.extend(packet);
    frame
}

/// Behind a Linux cooked header of version 2.
pub(crate) fn sll2(packet: &[u8]) -> Vec<u8> {
    let mut frame = kind_of(packet).to_be_bytes().to_vec();
    frame.extend([0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
    frame.extend(packet);
    frame
}

fn kind_of(packet: &[u8]) -> u16 {
    if packet[0] >> 4 == 4 { 0x0800 } else { 0x86DD }
}

fn end(text: &str) -> (IpAddr, u16) {
    let end: std::net::SocketAddr = text.parse().unwrap();
    (end.ip(), end.port())
}
