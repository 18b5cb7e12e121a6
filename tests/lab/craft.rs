//! Frames made byte by byte: every field is right until a test says otherwise, and any field can be made wrong without the
//! others noticing.
//!
//! Port A faces outside, port B inside. Shares no code with the data plane's parser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::device::Port;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;

/// Control bits of TCP.
pub const FIN: u8 = 0x01;
/// See `FIN`.
pub const SYN: u8 = 0x02;
/// See `FIN`.
pub const RST: u8 = 0x04;
/// See `FIN`.
pub const PSH: u8 = 0x08;
/// See `FIN`.
pub const ACK: u8 = 0x10;
/// See `FIN`.
pub const URG: u8 = 0x20;

/// Protocol numbers.
pub const ICMP: u8 = 1;
/// See `ICMP`.
pub const TCP: u8 = 6;
/// See `ICMP`.
pub const UDP: u8 = 17;
/// See `ICMP`.
pub const ICMPV6: u8 = 58;

/// The hardware address of whoever sends at this port.
#[must_use]
pub fn mac(port: Port) -> [u8; 6] {
    [2, 0, 0, 0, 0x0e, if port == Port::A { 0x0a } else { 0x0b }]
}

/// The hardware address that hosts at this port send to: a router's, for where there is one.
#[must_use]
pub fn router_mac(port: Port) -> [u8; 6] {
    [2, 0, 0, 0, 0x0f, if port == Port::A { 0x0a } else { 0x0b }]
}

/// A frame that arrives at this port, with an IP packet in it.
#[must_use]
pub fn frame(port: Port, packet: &[u8]) -> Vec<u8> {
    let is_v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
    ethernet(port, if is_v6 { 0x86dd } else { 0x0800 }, packet)
}

/// A frame that arrives at this port, with anything in it.
#[must_use]
pub fn ethernet(port: Port, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&router_mac(port)[..], &mac(port), &ether_type.to_be_bytes(), payload].concat()
}

/// An IPv4 packet.
#[derive(Clone, Debug)]
pub struct V4 {
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset, as they stand in the header: 0x2000 is "more fragments".
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// What follows.
    pub payload: Vec<u8>,
}

impl V4 {
    /// A packet without options.
    #[must_use]
    pub fn new(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: Vec<u8>) -> Self {
        let options = Vec::new();
        Self { tos: 0, id: 0x1d, fragment: 0, ttl: 64, protocol, src, dst, options, payload }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let Self { tos, id, fragment, ttl, protocol, src, dst, options, payload } = self;
        let header = 20 + options.len();
        let mut out = vec![0x40 | low_byte(header / 4), *tos];
        out.extend(low_word(header + payload.len()).to_be_bytes());
        out.extend(id.to_be_bytes());
        out.extend(fragment.to_be_bytes());
        out.extend([*ttl, *protocol, 0, 0]);
        out.extend(src.octets());
        out.extend(dst.octets());
        out.extend(options);
        out.extend(payload);
        right_v4(&mut out);
        out
    }
}

/// Puts the right checksum into the header of an IPv4 packet, which is as long as its IHL says, 20 bytes at least.
pub fn right_v4(packet: &mut [u8]) {
    let header = usize::from(packet.first().copied().unwrap_or(0) & 0xf).max(5) * 4;
    write(packet, 10, &[0, 0]);
    let sum = checksum(&[packet.get(..header).unwrap_or_default()]);
    write(packet, 10, &sum.to_be_bytes());
}

/// An IPv6 packet.
#[derive(Clone, Debug)]
pub struct V6 {
    /// The number of the first extension header, or of what follows when there is none.
    pub next: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// Extension headers and what follows them.
    pub payload: Vec<u8>,
}

impl V6 {
    /// A packet without extension headers.
    #[must_use]
    pub fn new(src: Ipv6Addr, dst: Ipv6Addr, next: u8, payload: Vec<u8>) -> Self {
        Self { next, hop_limit: 64, src, dst, payload }
    }

    /// With an extension header in front of what there is; its first byte becomes the number of what follows it.
    #[must_use]
    pub fn behind(mut self, number: u8, header: &[u8]) -> Self {
        let mut payload = header.to_vec();
        write(&mut payload, 0, &[self.next]);
        payload.extend(&self.payload);
        self.next = number;
        self.payload = payload;
        self
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let Self { next, hop_limit, src, dst, payload } = self;
        let mut out = vec![0x60, 0, 0, 0];
        out.extend(low_word(payload.len()).to_be_bytes());
        out.extend([*next, *hop_limit]);
        out.extend(src.octets());
        out.extend(dst.octets());
        out.extend(payload);
        out
    }
}

/// The IP packet with this payload, of the family of its addresses.
///
/// # Panics
/// The addresses are of two families.
#[must_use]
pub fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: Vec<u8>) -> Vec<u8> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => V4::new(src, dst, protocol, payload).bytes(),
        (IpAddr::V6(src), IpAddr::V6(dst)) => V6::new(src, dst, protocol, payload).bytes(),
        _ => unreachable!("one family"),
    }
}

/// A TCP segment (RFC 9293 section 3.1).
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Length of the header in words, when it shall not be what it is.
    pub words: Option<u8>,
    /// Control bits.
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// Data.
    pub data: Vec<u8>,
}

impl Tcp {
    /// Its bytes between these addresses, with the right checksum.
    #[must_use]
    pub fn bytes(&self, src: IpAddr, dst: IpAddr) -> Vec<u8> {
        let Self { sport, dport, seq, ack, words, flags, window, urgent, options, data } = self;
        let words = words.unwrap_or_else(|| low_byte(5 + options.len() / 4));
        let mut out = Vec::new();
        out.extend(sport.to_be_bytes());
        out.extend(dport.to_be_bytes());
        out.extend(seq.to_be_bytes());
        out.extend(ack.to_be_bytes());
        out.extend([words << 4, *flags]);
        out.extend(window.to_be_bytes());
        out.extend([0, 0]);
        out.extend(urgent.to_be_bytes());
        out.extend(options);
        out.extend(data);
        right(&mut out, 16, src, dst, TCP);
        out
    }
}

/// A UDP datagram with the right length and checksum.
#[must_use]
pub fn udp(src: IpAddr, dst: IpAddr, [sport, dport]: [u16; 2], data: &[u8]) -> Vec<u8> {
    let length = low_word(8 + data.len());
    let mut out = [sport, dport, length, 0].map(u16::to_be_bytes).concat();
    out.extend(data);
    right(&mut out, 6, src, dst, UDP);
    out
}

/// An ICMP or `ICMPv6` message, by the family of the addresses: type and code, the next four bytes, and what follows.
#[must_use]
pub fn icmp(
    src: IpAddr,
    dst: IpAddr,
    [kind, code]: [u8; 2],
    rest: [u8; 4],
    data: &[u8],
) -> Vec<u8> {
    let mut out = vec![kind, code, 0, 0];
    out.extend(rest);
    out.extend(data);
    if src.is_ipv6() {
        right(&mut out, 2, src, dst, ICMPV6);
    } else {
        let sum = checksum(&[&out]);
        write(&mut out, 2, &sum.to_be_bytes());
    }
    out
}

/// Puts the right checksum, of the pseudo header too (RFC 9293 section 3.1, RFC 8200 section 8.1), at this position.
pub fn right(payload: &mut [u8], at: usize, src: IpAddr, dst: IpAddr, protocol: u8) {
    write(payload, at, &[0, 0]);
    let length = low_word(payload.len()).to_be_bytes();
    let ends = [src, dst].map(|address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    });
    let [src, dst] = &ends;
    let sum = checksum(&[src, dst, &[0, protocol], &length, payload]);
    write(payload, at, &sum.to_be_bytes());
}

/// The Internet checksum (RFC 1071) of these parts, all but the last of even length.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let [high, low] = [0, 1].map(|at| pair.get(at).copied().unwrap_or(0));
        sum += u32::from(u16::from_be_bytes([high, low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Overwrites bytes; what would be behind the end is left out.
pub fn write(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(with) {
        *place = *byte;
    }
}

/// The bytes with some of them overwritten.
#[must_use]
pub fn with(mut bytes: Vec<u8>, at: usize, with: &[u8]) -> Vec<u8> {
    write(&mut bytes, at, with);
    bytes
}

/// The two ends of a TCP connection and where their numbers begin. The client is behind port A. All sequence numbers are
/// relative, as in a protocol analyser: 0 is the SYN, 1 the first octet of data.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The addresses of client and server.
    pub ends: [IpAddr; 2],
    /// Their ports.
    pub ports: [u16; 2],
    /// Their initial sequence numbers.
    pub isn: [u32; 2],
    /// The windows that they announce when nothing else is said.
    pub windows: [u16; 2],
}

impl Connection {
    /// The segment that the end at `from` sends: sequence and acknowledgment number relative, the latter 0 without ACK.
    #[must_use]
    pub fn segment(&self, from: Port, flags: u8, seq: u32, ack: u32) -> Tcp {
        let [sport, dport] = turned(self.ports, from);
        let [own, others] = turned(self.isn, from);
        let [window, _] = turned(self.windows, from);
        let seq = own.wrapping_add(seq);
        let ack = if flags & ACK == 0 { 0 } else { others.wrapping_add(ack) };
        Tcp { sport, dport, seq, ack, flags, window, ..Tcp::default() }
    }

    /// The frame that carries a segment from the end at `from`.
    #[must_use]
    pub fn frame(&self, from: Port, segment: &Tcp) -> Vec<u8> {
        frame(from, &self.packet(from, segment))
    }

    /// The IP packet that carries a segment from the end at `from`.
    #[must_use]
    pub fn packet(&self, from: Port, segment: &Tcp) -> Vec<u8> {
        let [src, dst] = turned(self.ends, from);
        ip(src, dst, TCP, segment.bytes(src, dst))
    }

    /// The frame of a plain segment with data.
    #[must_use]
    pub fn send(&self, from: Port, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
        let segment = Tcp { data: data.to_vec(), ..self.segment(from, flags, seq, ack) };
        self.frame(from, &segment)
    }

    /// The three frames that open it, with the ports they arrive at. Options of the SYNs are given for client and server.
    #[must_use]
    pub fn handshake(&self, options: [&[u8]; 2]) -> [(Port, Vec<u8>); 3] {
        let [of_client, of_server] = options.map(<[u8]>::to_vec);
        let syn = Tcp { options: of_client, ..self.segment(Port::A, SYN, 0, 0) };
        let answer = Tcp { options: of_server, ..self.segment(Port::B, SYN | ACK, 0, 1) };
        let ack = self.segment(Port::A, ACK, 1, 1);
        [(Port::A, syn), (Port::B, answer), (Port::A, ack)]
            .map(|(from, segment)| (from, self.frame(from, &segment)))
    }
}

/// What belongs to client and server, as sender and receiver of what the end at `from` sends.
fn turned<T>([client, server]: [T; 2], from: Port) -> [T; 2] {
    if from == Port::A { [client, server] } else { [server, client] }
}

/// The option that scales windows (RFC 7323 section 2), padded.
#[must_use]
pub fn window_scale(shift: u8) -> [u8; 4] {
    [1, 3, 3, shift]
}

/// Cuts the payload of an IPv4 packet at these positions, multiples of eight, into fragments.
#[must_use]
pub fn fragments(whole: &V4, cuts: &[usize]) -> Vec<V4> {
    pieces(&whole.payload, cuts)
        .map(|(at, more, part)| {
            let flag = whole.fragment | if more { 0x2000 } else { 0 };
            V4 { fragment: flag | low_word(at / 8), payload: part.to_vec(), ..whole.clone() }
        })
        .collect()
}

/// Cuts the payload of an IPv6 packet, all of which can be fragmented, at these positions, multiples of eight.
#[must_use]
pub fn fragments_v6(whole: &V6, id: u32, cuts: &[usize]) -> Vec<V6> {
    pieces(&whole.payload, cuts)
        .map(|(at, more, part)| {
            let piece = V6 { payload: part.to_vec(), ..whole.clone() };
            piece.behind(44, &fragment_header(id, at, more))
        })
        .collect()
}

/// A fragment header (RFC 8200 section 4.5).
#[must_use]
pub fn fragment_header(id: u32, at: usize, more: bool) -> [u8; 8] {
    let [high, low] = (low_word(at) & 0xfff8 | u16::from(more)).to_be_bytes();
    let [a, b, c, d] = id.to_be_bytes();
    [0, 0, high, low, a, b, c, d]
}

/// The parts of `payload` between cuts, with their positions, and whether more follow.
fn pieces<'a>(payload: &'a [u8], cuts: &[usize]) -> impl Iterator<Item = (usize, bool, &'a [u8])> {
    let starts: Vec<usize> = [0].iter().chain(cuts).copied().collect();
    let ends: Vec<usize> = cuts.iter().copied().chain([payload.len()]).collect();
    starts.into_iter().zip(ends).map(move |(start, end)| {
        (start, end < payload.len(), payload.get(start..end).unwrap_or_default())
    })
}

fn low_byte(value: usize) -> u8 {
    u8::try_from(value & 0xff).unwrap_or(0)
}

fn low_word(value: usize) -> u16 {
    u16::try_from(value & 0xffff).unwrap_or(0)
}
