//! Neighbour discovery (RFC 4861), which passes below policy and so must be valid.

use std::net::{IpAddr, Ipv6Addr};

use super::behind;
use super::inspection::Inspection;
use super::transport::Datagram;
use crate::disposition::DropReason;

/// Hop limit of a packet that no router has forwarded (RFC 4861 section 6.1).
const FROM_THE_LINK: u8 = 255;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Where a neighbour message has the address that it is about, and an advertisement its flags.
const TARGET_AT: usize = 8;
const FLAGS_AT: usize = 4;
const SOLICITED: u8 = 0x40;
/// Options with the link-layer address of the sender and of the target (RFC 4861 section 4.6.1).
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// Set in the first byte of an Ethernet address that is of a group.
const GROUP: u8 = 1;

/// Whether the message has its fixed part.
pub(super) fn has_fixed_part(payload: &[u8]) -> bool {
    payload.len() >= fixed_bytes(payload)
}

/// Options of neighbour discovery: type, length in units of eight bytes, never 0 (RFC 4861 section 4.6).
fn are_options_whole(options: &[u8]) -> bool {
    let mut rest = options;
    while let [_, length @ 1..=u8::MAX, ..] = rest {
        let Some(following) = rest.get(usize::from(*length) * 8..) else { return false };
        rest = following;
    }
    rest.is_empty()
}

/// Length of the fixed part (RFC 4861 sections 4.1 to 4.4).
fn fixed_bytes(payload: &[u8]) -> usize {
    match payload.first() {
        Some(&ROUTER_SOLICITATION) => 8,
        Some(&ROUTER_ADVERTISEMENT) => 16,
        _ => 24,
    }
}

/// Refuses a message that RFC 4861 tells its receivers to discard (sections 6.1 and 7.1), that stands behind something
/// which a switch would have to skip to see what it is (RFC 7113 section 3), or that speaks for an address of the other side.
pub(super) fn check(look: &mut Inspection<'_>, datagram: &Datagram<'_>) -> Result<(), DropReason> {
    let code = datagram.payload.get(1).copied();
    let is_of_the_link =
        datagram.hop_limit == FROM_THE_LINK && !datagram.extended && code == Some(0);
    if !is_of_the_link {
        look.refuse(DropReason::NeighbourDiscovery)?;
    }
    if !are_options_whole(behind(datagram.payload, fixed_bytes(datagram.payload))) {
        return Err(DropReason::Malformed);
    }
    if !is_consistent(datagram) || !are_options_plausible(datagram) {
        look.refuse(DropReason::NeighbourDiscovery)?;
    }
    if let (Some(&NEIGHBOUR_ADVERTISEMENT), Some(target)) =
        (datagram.payload.first(), target(datagram))
        && !target.is_unicast_link_local()
        && look.sanity.of_source(IpAddr::V6(target), look.in_port).has(DropReason::SpoofedSource)
    {
        look.refuse(DropReason::SpoofedSource)?;
    }
    Ok(())
}

/// Whether addresses and flags fit each other.
fn is_consistent(datagram: &Datagram<'_>) -> bool {
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (datagram.src, datagram.dst) else { return false };
    let flags = datagram.payload.get(FLAGS_AT).copied().unwrap_or_default();
    match datagram.payload.first().copied() {
        Some(ROUTER_ADVERTISEMENT) => src.is_unicast_link_local(),
        Some(NEIGHBOUR_SOLICITATION) => {
            let target = target(datagram).is_some_and(|target| !target.is_multicast());
            target && (!src.is_unspecified() || is_solicited_node(dst))
        }
        Some(NEIGHBOUR_ADVERTISEMENT) => {
            let target = target(datagram).is_some_and(|target| !target.is_multicast());
            target && !(dst.is_multicast() && flags & SOLICITED != 0)
        }
        _ => true,
    }
}

/// `ff02::1:ff00:0/104` (RFC 4291 section 2.7.1).
fn is_solicited_node(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xFF02, 0, 0, 0, 0, 1, node, _] if node >> 8 == 0xFF)
}

fn target(datagram: &Datagram<'_>) -> Option<Ipv6Addr> {
    let target = datagram.payload.get(TARGET_AT..)?.first_chunk::<16>()?;
    Some(Ipv6Addr::from(*target))
}

/// Whether every link-layer address is one of a single Ethernet station, and comes from somebody with an address.
fn are_options_plausible(datagram: &Datagram<'_>) -> bool {
    let mut rest = behind(datagram.payload, fixed_bytes(datagram.payload));
    while let [kind, length, address @ ..] = rest {
        let is_station = *length == 1 && address.first().is_some_and(|first| first & GROUP == 0);
        let plausible = match *kind {
            SOURCE_LINK_ADDRESS => is_station && !datagram.src.is_unspecified(),
            TARGET_LINK_ADDRESS => is_station,
            _ => true,
        };
        if !plausible {
            return false;
        }
        rest = behind(rest, usize::from(*length).max(1) * 8);
    }
    true
}
