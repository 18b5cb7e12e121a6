//! Behind the IP header.

use std::net::IpAddr;

use classifier::packet::{PacketKey, Transport};
use dataplane::checks::Checksums;
use dataplane::disposition::DropReason;
use dataplane::parse::{
    Completion, Packet, Parsed, Query, Quote, Quoted, Segment, Signal, TcpFlags,
};

use super::{Ip, Second, ones, v4, v6, word};

/// Bytes of the transport header that the first fragment must have.
pub(super) fn first_bytes(ip: &Ip<'_>) -> usize {
    match (ip.protocol, ip.src.is_ipv4()) {
        (6, _) if ip.data.len() < 20 => 20,
        (6, _) => 20.max(usize::from(ip.data[12] >> 4) * 4),
        (17, _) | (1, true) | (58, false) => 8,
        (132, _) => 12,
        _ => 1,
    }
}

impl Second<'_> {
    pub(super) fn upper(mut self, ip: &Ip<'_>) -> Result<Parsed, DropReason> {
        self.addresses(ip, true)?;
        let data = ip.data;
        let short =
            |least: usize| if data.len() < least { Err(DropReason::Malformed) } else { Ok(()) };
        let mut signal = Signal::Datagram;
        let mut transport = Transport::Opaque;
        let mut completion = None;
        match (ip.protocol, ip.src.is_ipv4()) {
            (6, _) => {
                short(20)?;
                let offset = usize::from(data[12] >> 4) * 4;
                if offset < 20 || offset > data.len() {
                    return Err(DropReason::Malformed);
                }
                let scale = tcp_options(&data[20..offset])?;
                completion = self.checksum(ip, data.len(), 16)?;
                signal = Signal::Tcp(segment(data, offset, scale));
            }
            (17, is_v4) => {
                short(8)?;
                let length = usize::from(word(data, 4));
                if length < 8 || length > data.len() {
                    return Err(DropReason::Malformed);
                }
                match (word(data, 6), is_v4) {
                    (0, false) if self.rules.checksums != Checksums::Ignore => {
                        if self.rules.strict {
                            self.fail(DropReason::Checksum)?;
                        }
                        self.noticed = self.noticed.with(DropReason::Checksum);
                    }
                    (0, _) => {}
                    _ => completion = self.checksum(ip, length, 6)?,
                }
            }
            (132, _) => short(12)?,
            (1, true) | (58, false) => {
                short(8)?;
                if ip.protocol == 58 && (133..=136).contains(&data[0]) {
                    return self.discovery(ip);
                }
                self.checksum(ip, data.len(), 2)?;
                if self.is_dead(ip) {
                    self.fail(DropReason::IcmpType)?;
                }
                transport = Transport::Icmp { kind: data[0], code: data[1] };
                signal = self.message(ip)?;
            }
            _ => {}
        }
        if [6, 17, 132].contains(&ip.protocol) {
            transport = Transport::Ports { src: word(data, 0), dst: word(data, 2) };
        }
        let key = PacketKey { src: ip.src, dst: ip.dst, protocol: ip.protocol, transport };
        let (vlans, noticed) = (self.vlans, self.noticed);
        Ok(Parsed::Ip(Packet { key, vlans, signal, completion, noticed }))
    }

    /// The pseudo header as it would be written, then all words one by one.
    fn checksum(
        &mut self,
        ip: &Ip<'_>,
        length: usize,
        field: usize,
    ) -> Result<Option<Completion>, DropReason> {
        let is_routed = self.noticed.has(DropReason::SourceRoute);
        if self.rules.checksums == Checksums::Ignore || is_routed {
            return Ok(None);
        }
        let mut pseudo = Vec::new();
        if ip.protocol != 1 {
            for address in [ip.src, ip.dst] {
                match address {
                    IpAddr::V4(address) => pseudo.extend(address.octets()),
                    IpAddr::V6(address) => pseudo.extend(address.octets()),
                }
            }
            pseudo.extend(u32::try_from(length).unwrap().to_be_bytes());
            pseudo.extend([0, 0, 0, ip.protocol]);
        }
        let mut whole = pseudo.clone();
        whole.extend_from_slice(&ip.data[..length]);
        if ones(&whole) == 0xFFFF {
            return Ok(None);
        }
        let left = self.rules.checksums == Checksums::Complete
            && (ip.protocol == 6 || ip.protocol == 17)
            && word(ip.data, field) == ones(&pseudo);
        if !left {
            self.fail(DropReason::Checksum)?;
            return Ok(None);
        }
        whole[pseudo.len() + field..][..2].fill(0);
        let mut value = !ones(&whole);
        if ip.protocol == 17 && value == 0 {
            value = 0xFFFF;
        }
        let at = u16::try_from(ip.at + field).unwrap();
        Ok(Some(Completion { at, value: value.to_be_bytes() }))
    }

    /// Neighbour discovery: whole, right, of the link, consistent, and not for an address of the other side.
    fn discovery(mut self, ip: &Ip<'_>) -> Result<Parsed, DropReason> {
        let data = ip.data;
        let kind = data[0];
        let mut at = [8, 16, 24, 24][usize::from(kind - 133)];
        if data.len() < at {
            return Err(DropReason::Malformed);
        }
        self.checksum(ip, data.len(), 2)?;
        if ip.hops != 255 || ip.extended || data[1] != 0 {
            self.fail(DropReason::NeighbourDiscovery)?;
        }
        let mut plausible = true;
        let unspecified = ip.src.is_unspecified();
        while at < data.len() {
            let units = usize::from(data.get(at + 1).copied().unwrap_or_default());
            if units == 0 || at + units * 8 > data.len() {
                return Err(DropReason::Malformed);
            }
            if data[at] == 1 || data[at] == 2 {
                plausible &= units == 1 && data[at + 2] & 1 == 0;
                plausible &= data[at] == 2 || !unspecified;
            }
            at += units * 8;
        }
        let prefix = |address: IpAddr| match address {
            IpAddr::V6(address) => address.segments(),
            IpAddr::V4(_) => unreachable!("of IPv6"),
        };
        let (src, dst) = (prefix(ip.src), prefix(ip.dst));
        let solicited_node = dst[..6] == [0xFF02, 0, 0, 0, 0, 1] && dst[6] >> 8 == 0xFF;
        let consistent = match kind {
            134 => src[0] & 0xFFC0 == 0xFE80,
            135 => data[8] != 0xFF && (!unspecified || solicited_node),
            136 => data[8] != 0xFF && !(dst[0] >> 8 == 0xFF && data[4] & 0x40 != 0),
            _ => true,
        };
        if !consistent || !plausible {
            self.fail(DropReason::NeighbourDiscovery)?;
        }
        if kind == 136 {
            let target = v6(&data[8..24]);
            if prefix(target)[0] & 0xFFC0 != 0xFE80 && self.is_elsewhere(target) {
                self.fail(DropReason::SpoofedSource)?;
            }
        }
        Ok(Parsed::NeighbourDiscovery(self.noticed))
    }

    /// Messages that nobody forwards.
    fn is_dead(&self, ip: &Ip<'_>) -> bool {
        let kind = ip.data[0];
        if ip.protocol == 1 {
            return [4, 5, 6, 15, 16, 17, 18].contains(&kind) || (30..40).contains(&kind);
        }
        let from_link = match ip.src {
            IpAddr::V6(src) => src.is_unspecified() || src.segments()[0] & 0xFFC0 == 0xFE80,
            IpAddr::V4(_) => false,
        };
        match kind {
            100 | 101 | 127 | 137..=142 | 200 | 201 | 255 => true,
            130..=132 | 143 | 151..=153 => !(from_link && ip.hops == 1),
            148 | 149 => !(from_link && ip.hops == 255),
            2 => self.rules.strict && ip.data[4..6] == [0, 0] && word(ip.data, 6) < 1280,
            _ => false,
        }
    }

    fn message(&mut self, ip: &Ip<'_>) -> Result<Signal, DropReason> {
        let (kind, is_v4) = (ip.data[0], ip.protocol == 1);
        if let Some((query, asks)) = query(ip.data, is_v4) {
            return Ok(if asks { Signal::Request(query) } else { Signal::Reply(query) });
        }
        let is_error = if is_v4 { [3, 11, 12].contains(&kind) } else { (1..5).contains(&kind) };
        if !is_error {
            return Ok(Signal::Message);
        }
        let quoted = if is_v4 { self.quoted4(&ip.data[8..])? } else { quoted6(&ip.data[8..]) };
        match quoted.and_then(|quoted| quote(&quoted)) {
            Some(quote) => Ok(Signal::Error(quote)),
            None => self.fail(DropReason::IcmpUnmatched).map(|()| Signal::Message),
        }
    }

    fn quoted4<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Ip<'a>>, DropReason> {
        if bytes.len() < 20 {
            return Ok(None);
        }
        let header = usize::from(bytes[0] % 16) * 4;
        if bytes[0] / 16 != 4 || header < 20 || bytes.len() < header {
            return Ok(None);
        }
        if ones(&bytes[..header]) != 0xFFFF {
            self.fail(DropReason::Checksum)?;
        }
        let (src, dst) = (v4(&bytes[12..16]), v4(&bytes[16..20]));
        let later = word(bytes, 6) & 0x1FFF != 0;
        let data = &bytes[header..];
        let ip = Ip { src, dst, hops: 0, protocol: bytes[9], extended: false, data, at: 0 };
        Ok((!later).then_some(ip))
    }
}

fn quoted6(bytes: &[u8]) -> Option<Ip<'_>> {
    if bytes.len() < 40 || bytes[0] / 16 != 6 {
        return None;
    }
    let (mut protocol, mut data) = (bytes[6], &bytes[40..]);
    let mut walked = 0;
    while [0, 43, 44, 51, 60].contains(&protocol) {
        if walked == 9 || data.len() < 8 || protocol == 44 && word(data, 2) >= 8 {
            return None;
        }
        let units = usize::from(data[1]);
        let size = match protocol {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        (protocol, data) = (data[0], data.get(size..)?);
        walked += 1;
    }
    let (src, dst) = (v6(&bytes[8..24]), v6(&bytes[24..40]));
    let ip = Ip { src, dst, hops: 0, protocol, extended: false, data, at: 0 };
    (walked < 9).then_some(ip)
}

fn quote(ip: &Ip<'_>) -> Option<Quote> {
    let data = ip.data;
    if data.len() < 8 {
        return None;
    }
    let ports = Transport::Ports { src: word(data, 0), dst: word(data, 2) };
    let (transport, part) = match (ip.protocol, ip.src.is_ipv4()) {
        (6, _) => (ports, Quoted::Tcp(u32::from_be_bytes(data[4..8].try_into().unwrap()))),
        (17 | 132, _) => (ports, Quoted::Datagram),
        (1, true) | (58, false) => {
            let (query, _) = query(data, ip.protocol == 1)?;
            (Transport::Icmp { kind: data[0], code: data[1] }, Quoted::Query(query))
        }
        _ => (Transport::Opaque, Quoted::Datagram),
    };
    let key = PacketKey { src: ip.src, dst: ip.dst, protocol: ip.protocol, transport };
    Some(Quote { key, part })
}

/// The query of a message that asks or answers, and whether it asks.
fn query(data: &[u8], is_v4: bool) -> Option<(Query, bool)> {
    let pairs: &[(u8, u8)] = if is_v4 { &[(8, 0), (13, 14)] } else { &[(128, 129)] };
    let (kind, _) = pairs.iter().find(|(asks, answers)| [*asks, *answers].contains(&data[0]))?;
    let query = Query { kind: *kind, identifier: word(data, 4) };
    (data[1] == 0).then_some((query, data[0] == *kind))
}

fn segment(data: &[u8], header: usize, scale: Option<u8>) -> Segment {
    let flags = TcpFlags(data[13]);
    Segment {
        flags,
        seq: u32::from_be_bytes(data[4..8].try_into().unwrap()),
        ack: u32::from_be_bytes(data[8..12].try_into().unwrap()),
        window: word(data, 14),
        data_bytes: u16::try_from(data.len() - header).unwrap(),
        scale: if flags.syn() { scale } else { None },
    }
}

/// The window scale; an error for options that cannot be walked, or two of it.
fn tcp_options(options: &[u8]) -> Result<Option<u8>, DropReason> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < options.len() && options[at] != 0 {
        let size = match (options[at], options.get(at + 1)) {
            (1, _) => 1,
            (_, Some(length)) if *length >= 2 => usize::from(*length),
            _ => return Err(DropReason::Malformed),
        };
        let option = options.get(at..at + size).ok_or(DropReason::Malformed)?;
        if option[0] == 3 {
            found.push(*option.get(2).filter(|_| size == 3).ok_or(DropReason::Malformed)?);
        }
        at += size;
    }
    if found.len() > 1 {
        return Err(DropReason::Malformed);
    }
    Ok(found.first().map(|shift| 14.min(*shift)))
}
