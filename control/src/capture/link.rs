//! What stands before the IP header: Ethernet with its tags, Linux cooked headers, or nothing.

use etherparse::{EtherType, ether_type};

use super::{Packet, Rest, Unjudged, Vlans, network};

/// A tag that stacked before IEEE 802.1ad gave stacking its own number, still common.
const VLAN_STACKED: EtherType = ether_type::VLAN_DOUBLE_TAGGED_FRAME;
/// Both addresses of an Ethernet frame.
const ETHERNET_ADDRESSES: usize = 12;
/// A Linux cooked header up to the `EtherType` that ends it (`LINKTYPE_LINUX_SLL`).
const SLL_BEFORE_TYPE: usize = 14;
/// The rest of a Linux cooked header of version 2, which begins with the `EtherType` (`LINKTYPE_LINUX_SLL2`).
const SLL2_BEHIND_TYPE: usize = 18;
/// From here on the number is an `EtherType`; below, it is the length of an IEEE 802.3 frame.
const ETHER_TYPE_MIN: u16 = 0x0600;

/// The kinds of links whose packets are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Link {
    /// Ethernet, with VLAN tags or without.
    Ethernet,
    /// IP without anything before it.
    Ip,
    /// Linux cooked capture, as `tcpdump -i any` used to write it.
    LinuxSll,
    /// Linux cooked capture, version 2.
    LinuxSll2,
    /// Anything else, by its number.
    Other(u32),
}

impl Link {
    /// The kind behind a `LINKTYPE_` number (<https://www.tcpdump.org/linktypes.html>).
    #[must_use]
    pub fn of(number: u32) -> Self {
        match number {
            1 => Self::Ethernet,
            // 12 and 14 are what some systems write for 101.
            12 | 14 | 101 | 228 | 229 => Self::Ip,
            113 => Self::LinuxSll,
            276 => Self::LinuxSll2,
            other => Self::Other(other),
        }
    }
}

/// Reads the headers of a recorded packet that was `length` bytes long, as strictly as the data plane does.
///
/// # Errors
/// The reason why policy does not judge it. Never panics.
pub fn packet(link: Link, bytes: &[u8], length: usize) -> Result<Packet, Unjudged> {
    let rest = Rest::of(bytes, length);
    match link {
        Link::Ethernet => behind_type(rest.without(ETHERNET_ADDRESSES)?),
        Link::LinuxSll => behind_type(rest.without(SLL_BEFORE_TYPE)?),
        Link::LinuxSll2 => {
            let [high, low] = *rest.array()?;
            let rest = rest.without(2 + SLL2_BEHIND_TYPE)?;
            tagged(EtherType(u16::from_be_bytes([high, low])), rest)
        }
        Link::Ip => match rest.array()? {
            [0x40..=0x4F] => network::ipv4(rest, Vlans::default()),
            [0x60..=0x6F] => network::ipv6(rest, Vlans::default()),
            [_] => Err(Unjudged::Malformed),
        },
        Link::Other(number) => Err(Unjudged::Link(number)),
    }
}

fn behind_type(rest: Rest<'_>) -> Result<Packet, Unjudged> {
    let [high, low] = *rest.array()?;
    tagged(EtherType(u16::from_be_bytes([high, low])), rest.without(2)?)
}

/// Looks through as many tags as the data plane does.
fn tagged(mut kind: EtherType, mut rest: Rest<'_>) -> Result<Packet, Unjudged> {
    let mut vlans = Vlans::default();
    for vlan in &mut vlans {
        if !is_tag(kind) {
            break;
        }
        let [tag_high, tag_low, high, low] = *rest.array()?;
        *vlan = Some(u16::from_be_bytes([tag_high, tag_low]) & 0x0FFF);
        kind = EtherType(u16::from_be_bytes([high, low]));
        rest = rest.without(4)?;
    }
    match kind {
        ether_type::ARP => Err(Unjudged::Arp),
        ether_type::IPV4 => network::ipv4(rest, vlans),
        ether_type::IPV6 => network::ipv6(rest, vlans),
        kind if is_tag(kind) => Err(Unjudged::VlanTags),
        EtherType(_) => Err(Unjudged::NonIp),
    }
}

fn is_tag(kind: EtherType) -> bool {
    kind.0 >= ETHER_TYPE_MIN
        && matches!(
            kind,
            ether_type::VLAN_TAGGED_FRAME | ether_type::PROVIDER_BRIDGING | VLAN_STACKED
        )
}
