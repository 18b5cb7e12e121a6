//! Which addresses may be where.

use std::net::IpAddr;
use std::sync::OnceLock;

use dataplane::disposition::DropReason;

use super::{Ip, Second};

/// Prefixes behind a port: address and length.
pub(crate) type Nets = Vec<(IpAddr, u32)>;

/// RFC 6890 and IANA's registries, as this test has them; `s` refused as source, `d` as destination, `-` an exception.
const BOGONS: &str = "
    0.0.0.0/8 sd  127.0.0.0/8 sd  169.254.0.0/16 sd  192.0.0.0/24 sd  192.0.0.0/29 -  192.0.0.9/32 -
    192.0.0.10/32 -  192.0.2.0/24 sd  198.51.100.0/24 sd  203.0.113.0/24 sd  224.0.0.0/4 s  240.0.0.0/4 sd
    ::/0 sd  64:ff9b::/96 -  64:ff9b:1::/48 -  100::/64 -  fc00::/7 -  ff00::/8 s  2000::/3 -  2001::/23 sd
    2001::/32 -  2001:1::1/128 -  2001:1::2/128 -  2001:2::/48 -  2001:3::/32 -  2001:4:112::/48 -
    2001:30::/28 -  2001:db8::/32 sd  3fff::/20 sd  2001:10::/28 sd  2001:20::/28 sd";

struct Bogon {
    net: (IpAddr, u32),
    source: bool,
    destination: bool,
}

fn bogons() -> &'static [Bogon] {
    static TABLE: OnceLock<Vec<Bogon>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let words: Vec<_> = BOGONS.split_whitespace().collect();
        let row = |pair: &[&str]| {
            let (address, length) = pair[0].split_once('/').unwrap();
            Bogon {
                net: (address.parse().unwrap(), length.parse().unwrap()),
                source: pair[1].contains('s'),
                destination: pair[1].contains('d'),
            }
        };
        words.chunks(2).map(row).collect()
    })
}

/// Left-aligned, so that prefixes of both families are compared alike.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn holds((net, length): (IpAddr, u32), address: IpAddr) -> bool {
    let differing = bits(net) ^ bits(address);
    net.is_ipv4() == address.is_ipv4() && (length == 0 || differing >> (128 - length) == 0)
}

pub(super) fn is_bogon(address: IpAddr, as_source: bool, strict: bool) -> bool {
    let outside = |address: IpAddr| address.is_ipv6() && bits(address) >> 125 != 1;
    if strict && outside(address) && !address.is_multicast() {
        return true;
    }
    let found = bogons().iter().filter(|bogon| holds(bogon.net, address));
    let longest = found.max_by_key(|bogon| bogon.net.1);
    longest.is_some_and(|bogon| if as_source { bogon.source } else { bogon.destination })
}

impl Second<'_> {
    /// The first or last address of an IPv4 network.
    pub(super) fn is_no_host(&self, address: IpAddr) -> bool {
        let ends = |(net, length): (IpAddr, u32)| {
            let host = (1_u128 << (32 - length)) - 1;
            let first = bits(net) >> 96;
            net.is_ipv4() && length < 31 && [first, first + host].contains(&(bits(address) >> 96))
        };
        let v4 = |net: &&(IpAddr, u32)| net.0.is_ipv4() && address.is_ipv4();
        self.rules.nets.iter().flatten().filter(v4).any(|net| ends(*net))
    }

    /// Whether it lives behind the other port, or not behind this one.
    pub(super) fn is_elsewhere(&self, address: IpAddr) -> bool {
        let (this, other) = (self.port.index(), self.port.other().index());
        let longest = |nets: &[(IpAddr, u32)]| {
            let holding = nets.iter().filter(|net| holds(**net, address));
            holding.map(|net| i64::from(net.1)).max().unwrap_or(-1)
        };
        let [here, there] = [this, other].map(|port| longest(&self.rules.nets[port]));
        if here < 0 && there < 0 { !self.rules.nets[this].is_empty() } else { here < there }
    }

    /// The checks of both addresses; `whole` is false for a fragment.
    pub(super) fn addresses(&mut self, ip: &Ip<'_>, whole: bool) -> Result<(), DropReason> {
        let strict = self.rules.strict;
        let [of_link, no_source, everyone] = if whole { self.exceptions(ip) } else { [false; 3] };
        if ip.src == ip.dst {
            self.fail(DropReason::Land)?;
        }
        if !no_source && (is_bogon(ip.src, true, strict) || self.is_no_host(ip.src)) {
            self.fail(DropReason::BogonSource)?;
        }
        if !of_link && !everyone && is_bogon(ip.dst, false, strict) {
            self.fail(DropReason::BogonDestination)?;
        }
        if !no_source && self.is_elsewhere(ip.src) {
            self.fail(DropReason::SpoofedSource)?;
        }
        Ok(())
    }

    /// Whether the destination may be of the link, the source be none or of the link, and the destination be everyone.
    fn exceptions(&self, ip: &Ip<'_>) -> [bool; 3] {
        let link = |address: IpAddr| address.is_ipv6() && bits(address) >> 118 == 0x3FA;
        let port = |at: usize| {
            let both = ip.data.get(at..at + 2).filter(|_| ip.protocol == 17 && ip.data.len() >= 4);
            both.map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        let ports = (port(0), port(2));
        if ip.src.is_ipv4() {
            let everyone = bits(ip.dst) >> 96 == 0xFFFF_FFFF;
            let asks = everyone && ports == (68, 67) && bits(ip.src) == 0;
            return [false, asks, asks || everyone && ports == (67, 68)];
        }
        let from_link = link(ip.src) || bits(ip.src) == 0;
        let kind = ip.data.first().copied().filter(|_| ip.protocol == 58).unwrap_or(0);
        let control = match kind {
            133..=136 => true,
            130..=132 | 143 | 151..=153 => ip.hops == 1 && from_link,
            148 | 149 => ip.hops == 255 && from_link,
            _ => !self.rules.strict && (ports == (546, 547) || ports == (547, 546)),
        };
        [control && link(ip.dst), control && from_link, false]
    }
}
