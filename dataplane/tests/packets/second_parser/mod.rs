//! A parser written by hand from the RFCs, byte by byte, to hold against the one under test. It shares nothing with it.

mod addresses;
mod upper;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::checks::{Checks, Checksums, Profile};
use dataplane::device::Port;
use dataplane::disposition::{DropReason, Reasons};
use dataplane::parse::{Parsed, Piece, Vlans};

pub(crate) use self::addresses::Nets;

/// What is to be checked, as this parser sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) counted: Vec<DropReason>,
    pub(crate) strict: bool,
    pub(crate) checksums: Checksums,
    pub(crate) nets: [Nets; 2],
}

impl Rules {
    /// The same for the parser under test.
    pub(crate) fn checks(&self) -> Checks {
        Checks {
            profile: if self.strict { Profile::CcStrict } else { Profile::Default },
            checksums: self.checksums,
            counted_only: self.counted.iter().fold(Reasons::default(), |set, it| set.with(*it)),
        }
    }
}

/// What `parse` should say of `frame` with no settings, whatever port it came in by.
pub(crate) fn read(frame: &[u8]) -> Result<Parsed, DropReason> {
    read_by(&Rules::default(), frame, Port::A)
}

/// What `parse` should say of `frame`.
pub(crate) fn read_by(rules: &Rules, frame: &[u8], port: Port) -> Result<Parsed, DropReason> {
    Second { rules, frame, port, vlans: [None; 2], noticed: Reasons::default() }.ethernet()
}

struct Second<'a> {
    rules: &'a Rules,
    frame: &'a [u8],
    port: Port,
    vlans: Vlans,
    noticed: Reasons,
}

/// What stands behind the IP header and what is needed of that.
#[derive(Clone, Copy)]
struct Ip<'a> {
    src: IpAddr,
    dst: IpAddr,
    hops: u8,
    protocol: u8,
    /// Whether extension headers were passed.
    extended: bool,
    data: &'a [u8],
    /// Where in the frame the data begins.
    at: usize,
}

impl Second<'_> {
    /// Fails, or goes on if such failures are counted only.
    fn fail(&mut self, reason: DropReason) -> Result<(), DropReason> {
        if !self.rules.counted.contains(&reason) {
            return Err(reason);
        }
        self.noticed = self.noticed.with(reason);
        Ok(())
    }

    fn ethernet(mut self) -> Result<Parsed, DropReason> {
        let frame = self.frame;
        let mut at = 12;
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
            self.vlans[tags] = Some(word(frame, at + 2) & 0x0FFF);
            tags += 1;
            at += 4;
        }
        let body = &frame[at + 2..];
        match word(frame, at) {
            0x0800 => self.ipv4(at + 2),
            0x86DD => self.ipv6(at + 2),
            0x0806 => self.arp(body),
            0..0x0600 if wraps_ip(body) => Err(DropReason::NonIp),
            _ => Ok(Parsed::NonIp),
        }
    }

    fn arp(mut self, body: &[u8]) -> Result<Parsed, DropReason> {
        let addresses = |body: &[u8]| 8 + 2 * usize::from(body[4]) + 2 * usize::from(body[5]);
        if body.len() < 8 || body.len() < addresses(body) {
            return Err(DropReason::Malformed);
        }
        if body[..6] != [0, 1, 8, 0, 6, 4] {
            self.fail(DropReason::Arp)?;
            return Ok(Parsed::Arp(self.noticed));
        }
        if body[8..14] != self.frame[6..12] {
            self.fail(DropReason::Arp)?;
        }
        let sender = v4(&body[14..18]);
        if body[14..18] != [0; 4] && body[14..16] != [169, 254] {
            if addresses::is_bogon(sender, true, self.rules.strict) || self.is_no_host(sender) {
                self.fail(DropReason::BogonSource)?;
            }
            if self.is_elsewhere(sender) {
                self.fail(DropReason::SpoofedSource)?;
            }
        }
        Ok(Parsed::Arp(self.noticed))
    }

    fn ipv4(mut self, start: usize) -> Result<Parsed, DropReason> {
        let body = &self.frame[start..];
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
        if ones(&body[..header]) != 0xFFFF {
            self.fail(DropReason::Checksum)?;
        }
        if body[8] == 0 {
            self.fail(DropReason::HopLimit)?;
        }
        self.ipv4_options(&body[20..header])?;
        let data = &body[header..total];
        let ip = Ip {
            src: v4(&body[12..16]),
            dst: v4(&body[16..20]),
            hops: body[8],
            protocol: body[9],
            extended: false,
            data,
            at: start + header,
        };
        let (more, offset) = (body[6] & 0x20 != 0, usize::from(word(body, 6) & 0x1FFF) * 8);
        if !more && offset == 0 {
            return self.upper(&ip);
        }
        self.addresses(&ip, false)?;
        let first_and_short = offset == 0 && data.len() < upper::first_bytes(&ip);
        if data.is_empty()
            || more && !data.len().is_multiple_of(8)
            || header + offset + data.len() > 0xFFFF
            || ip.protocol == 6 && offset == 8
            || first_and_short
        {
            return Err(DropReason::FragmentInvalid);
        }
        let identification = word(body, 4).into();
        Ok(self.piece(&ip, start, identification, offset, more))
    }

    fn ipv4_options(&mut self, options: &[u8]) -> Result<(), DropReason> {
        let mut at = 0;
        while at < options.len() && options[at] != 0 {
            let kind = options[at];
            let size = match kind {
                1 => 1,
                _ if at + 1 == options.len() || options[at + 1] < 2 => {
                    return Err(DropReason::Malformed);
                }
                _ => usize::from(options[at + 1]),
            };
            at += size;
            if at > options.len() {
                return Err(DropReason::Malformed);
            }
            match kind {
                131 | 137 => self.fail(DropReason::SourceRoute)?,
                1 | 130 | 133 | 134 | 148 => {}
                _ => self.fail(DropReason::IpOption)?,
            }
        }
        Ok(())
    }

    fn piece(&self, ip: &Ip<'_>, start: usize, id: u32, offset: usize, more: bool) -> Parsed {
        let small = |number: usize| u16::try_from(number).unwrap();
        Parsed::Fragment(Piece {
            src: ip.src,
            dst: ip.dst,
            identification: id,
            protocol: ip.protocol,
            offset: small(offset),
            more,
            header_at: small(start),
            data_at: small(ip.at),
            data_bytes: small(ip.data.len()),
            vlans: self.vlans,
        })
    }

    fn ipv6(mut self, start: usize) -> Result<Parsed, DropReason> {
        let body = &self.frame[start..];
        if body.len() < 40 || body[0] >> 4 != 6 || word(body, 4) == 0 {
            return Err(DropReason::Malformed);
        }
        let end = 40 + usize::from(word(body, 4));
        let body = body.get(..end).ok_or(DropReason::Malformed)?;
        if body[7] == 0 {
            self.fail(DropReason::HopLimit)?;
        }
        let (src, dst) = (v6(&body[8..24]), v6(&body[24..40]));
        let mut walk = Walk { next: body[6], at: 40, count: 0, authenticated: false };
        self.walk(body, &mut walk)?;
        let ip = |walk: &Walk| Ip {
            src,
            dst,
            hops: body[7],
            protocol: walk.next,
            extended: walk.count > 0,
            data: &body[walk.at..],
            at: start + walk.at,
        };
        if walk.next == 44 {
            let header = body.get(walk.at..walk.at + 8).ok_or(DropReason::Malformed)?;
            if walk.authenticated {
                return Err(DropReason::FragmentInvalid);
            }
            let (offset, more) = (usize::from(word(header, 2)) / 8 * 8, header[3] & 1 == 1);
            let id = u32::from_be_bytes(header[4..8].try_into().unwrap());
            let piece = Ip { protocol: header[0], data: &body[walk.at + 8..], ..ip(&walk) };
            let piece = Ip { at: piece.at + 8, ..piece };
            if offset > 0 || more {
                self.addresses(&piece, false)?;
                let whole = walk.at - 40 + offset + piece.data.len();
                let odd = more && piece.data.len() & 7 > 0;
                if piece.data.is_empty() || odd || whole > 0xFFFF {
                    return Err(DropReason::FragmentInvalid);
                }
                if offset == 0 {
                    walk.pass(header[0], 8)?;
                    self.first(body, walk, &piece)?;
                }
                return Ok(self.piece(&piece, start, id, offset, more));
            }
            walk.pass(header[0], 8)?;
            self.walk(body, &mut walk)?;
            if walk.next == 44 {
                return Err(DropReason::FragmentInvalid);
            }
        }
        if [59, 253, 254].contains(&walk.next) {
            self.fail(DropReason::ExtensionHeader)?;
        }
        self.upper(&ip(&walk))
    }

    /// The first fragment, whose headers must all be there.
    fn first(&mut self, body: &[u8], mut walk: Walk, piece: &Ip<'_>) -> Result<(), DropReason> {
        match self.walk(body, &mut walk) {
            Err(DropReason::Malformed) => return Err(DropReason::FragmentInvalid),
            other => other?,
        }
        let ip = Ip { protocol: walk.next, data: &body[walk.at..], ..*piece };
        if walk.next == 44 || ip.data.len() < upper::first_bytes(&ip) {
            return Err(DropReason::FragmentInvalid);
        }
        if [59, 253, 254].contains(&walk.next) {
            self.fail(DropReason::ExtensionHeader)?;
        }
        if walk.next == 58 && (133..=137).contains(&ip.data[0]) {
            self.fail(DropReason::NeighbourDiscovery)?;
        }
        Ok(())
    }

    fn walk(&mut self, body: &[u8], walk: &mut Walk) -> Result<(), DropReason> {
        while [0, 43, 51, 60].contains(&walk.next) {
            let rest = &body[walk.at..];
            if rest.len() < 8 {
                return Err(DropReason::Malformed);
            }
            let units = usize::from(rest[1]);
            let size = if walk.next == 51 { (units + 2) * 4 } else { (units + 1) * 8 };
            let odd = walk.next == 51 && (size < 12 || !size.is_multiple_of(8));
            if odd || size > rest.len() {
                return Err(DropReason::Malformed);
            }
            match walk.next {
                0 if walk.count > 0 => self.fail(DropReason::ExtensionHeader)?,
                43 if rest[3] > 0 => self.fail(DropReason::SourceRoute)?,
                43 if [0, 1, 3].contains(&rest[2]) => self.fail(DropReason::ExtensionHeader)?,
                51 => walk.authenticated = true,
                _ => {}
            }
            if walk.next == 0 || walk.next == 60 {
                self.ipv6_options(&rest[2..size])?;
            }
            walk.pass(rest[0], size)?;
        }
        Ok(())
    }

    fn ipv6_options(&mut self, options: &[u8]) -> Result<(), DropReason> {
        let mut at = 0;
        while at < options.len() {
            if options[at] == 0 {
                at += 1;
                continue;
            }
            let length = usize::from(*options.get(at + 1).ok_or(DropReason::Malformed)?);
            if at + 2 + length > options.len() {
                return Err(DropReason::Malformed);
            }
            // Those that hosts must know, but for two that may pass.
            if options[at] >= 0x40 && options[at] != 0x6D && options[at] != 0x8B {
                self.fail(DropReason::ExtensionHeader)?;
            }
            at += 2 + length;
        }
        Ok(())
    }
}

/// How far the extension headers were walked.
struct Walk {
    next: u8,
    at: usize,
    count: usize,
    authenticated: bool,
}

impl Walk {
    fn pass(&mut self, next: u8, size: usize) -> Result<(), DropReason> {
        self.next = next;
        self.at += size;
        self.count += 1;
        if self.count > 8 || self.at > 1280 { Err(DropReason::ExtensionHeader) } else { Ok(()) }
    }
}

/// IP, ARP or a VLAN tag in an IEEE 802.3 frame: behind LLC with the number of IP, or behind SNAP.
fn wraps_ip(body: &[u8]) -> bool {
    let kinds = [0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8, 0x9100];
    let snap = body.len() >= 8 && body[0] == 0xAA && body[1] == 0xAA;
    body.iter().take(2).any(|sap| *sap == 6) || snap && kinds.contains(&word(body, 6))
}

fn v4(bytes: &[u8]) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
}

fn v6(bytes: &[u8]) -> IpAddr {
    let octets: [u8; 16] = bytes.try_into().unwrap();
    IpAddr::V6(Ipv6Addr::from(octets))
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// One's complement sum, word by word.
fn ones(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        sum = sum % 0x1_0000 + sum / 0x1_0000;
    }
    u16::try_from(sum).unwrap()
}
