//! Source and destination of an IP packet against what may be forwarded.

use std::net::{IpAddr, Ipv4Addr};

use classifier::packet::protocol;

use super::icmp;
use super::inspection::Inspection;
use super::transport::Datagram;
use crate::disposition::{DropReason, Reasons};

/// In the order in which they name the reason.
const ORDER: [DropReason; 4] = [
    DropReason::Land,
    DropReason::BogonSource,
    DropReason::BogonDestination,
    DropReason::SpoofedSource,
];
/// Ports of DHCP (RFC 2131 section 4.1) and `DHCPv6` (RFC 8415 section 7.2), client and server.
const DHCP: (u16, u16) = (68, 67);
const DHCP6: (u16, u16) = (546, 547);

/// Refuses addresses that cannot be, unless they belong to a protocol of the link that needs them.
#[inline]
pub(super) fn check(look: &mut Inspection<'_>, datagram: &Datagram<'_>) -> Result<(), DropReason> {
    let wrong = look.sanity.of_addresses(datagram.src, datagram.dst, look.in_port);
    if wrong.is_empty() { Ok(()) } else { refuse(look, wrong, exempt(look, datagram)) }
}

/// The same for a fragment, which no protocol of the link needs.
pub(super) fn check_of_fragment(
    look: &mut Inspection<'_>,
    datagram: &Datagram<'_>,
) -> Result<(), DropReason> {
    let wrong = look.sanity.of_addresses(datagram.src, datagram.dst, look.in_port);
    refuse(look, wrong, Reasons::default())
}

#[cold]
fn refuse(look: &mut Inspection<'_>, wrong: Reasons, exempt: Reasons) -> Result<(), DropReason> {
    for reason in ORDER {
        if wrong.has(reason) && !exempt.has(reason) {
            look.refuse(reason)?;
        }
    }
    Ok(())
}

/// The checks that a packet need not pass: a bridge stands within links, and their protocols have addresses of the link.
#[cold]
fn exempt(look: &Inspection<'_>, datagram: &Datagram<'_>) -> Reasons {
    match (datagram.src, datagram.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => exempt_dhcp(datagram, src, dst),
        _ if is_of_the_link(look, datagram) => exempt_link_local(datagram),
        _ => Reasons::default(),
    }
}

/// Who has no address yet asks all, and all are told (RFC 2131 section 4.1). Policy judges it.
fn exempt_dhcp(datagram: &Datagram<'_>, src: Ipv4Addr, dst: Ipv4Addr) -> Reasons {
    let ports = udp_ports(datagram);
    let (client, server) = DHCP;
    let none = Reasons::default();
    if !dst.is_broadcast() {
        return none;
    }
    if ports == Some((client, server)) && src.is_unspecified() {
        none.with(DropReason::BogonSource)
            .with(DropReason::BogonDestination)
            .with(DropReason::SpoofedSource)
    } else if ports == Some((server, client)) {
        none.with(DropReason::BogonDestination)
    } else {
        none
    }
}

/// Neighbour discovery (checked further on), multicast listener discovery (RFC 2710, RFC 3810: it is never routed, so its hop
/// limit is 1), and, where the Common Criteria profile does not exclude it, `DHCPv6`.
fn is_of_the_link(look: &Inspection<'_>, datagram: &Datagram<'_>) -> bool {
    let (client, server) = DHCP6;
    icmp::is_discovery(datagram)
        || icmp::is_link_scoped(datagram)
        || !look.sanity.is_strict()
            && udp_ports(datagram)
                .is_some_and(|ports| ports == (client, server) || ports == (server, client))
}

fn exempt_link_local(datagram: &Datagram<'_>) -> Reasons {
    let mut exempt = Reasons::default();
    if is_of_no_network(datagram.src) {
        exempt = exempt.with(DropReason::BogonSource).with(DropReason::SpoofedSource);
    }
    if is_link_local(datagram.dst) {
        exempt = exempt.with(DropReason::BogonDestination);
    }
    exempt
}

/// Link-local, or not there yet (RFC 4862 section 5.4).
fn is_of_no_network(address: IpAddr) -> bool {
    address.is_unspecified() || is_link_local(address)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn udp_ports(datagram: &Datagram<'_>) -> Option<(u16, u16)> {
    let [a, b, c, d] = *datagram.payload.first_chunk()?;
    (datagram.protocol == protocol::UDP)
        .then_some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}
