//! Ports by number and by name, and services: what a rule asks of an address and a port together.

use std::net::IpAddr;

use crate::packet::{PacketKey, Transport, protocol};
use crate::resource::{Object, Peer, PolicySet, PortRange, Rule, ServiceEndpoint, ServiceName};

use super::covering;
use super::rules::selects;

/// Whether both ports are what the rule asks for.
pub(super) fn ports_match(set: &PolicySet, packet: &PacketKey, rule: &Rule) -> bool {
    let [source, destination] = sides(packet);
    let protocol = protocol_of_names(rule);
    peer_ports_match(set, &source, protocol, &rule.source)
        && peer_ports_match(set, &destination, protocol, &rule.destination)
}

/// Whether both ends are what the rule's services ask for.
pub(super) fn services_match(set: &PolicySet, packet: &PacketKey, rule: &Rule) -> bool {
    source_serves(set, packet.src, &rule.source) && is_served(set, packet, &rule.destination)
}

/// One end of a packet.
struct Side {
    address: IpAddr,
    protocol: u8,
    port: Option<u16>,
}

fn sides(packet: &PacketKey) -> [Side; 2] {
    let (src, dst) = match packet.transport {
        Transport::Ports { src, dst } => (Some(src), Some(dst)),
        Transport::Icmp { .. } | Transport::Opaque => (None, None),
    };
    let side = |address, port| Side { address, protocol: packet.protocol, port };
    [side(packet.src, src), side(packet.dst, dst)]
}

/// The protocol that a rule's named ports are of: its own when that has ports, else TCP (`rule_scanner.go`,
/// `ruleToParsedRule`).
fn protocol_of_names(rule: &Rule) -> u8 {
    match rule.protocol {
        Some(own @ (protocol::TCP | protocol::UDP | protocol::SCTP)) => own,
        Some(_) | None => protocol::TCP,
    }
}

/// In one of `ports` or named by one of `named_ports`; in none of `not_ports` and named by none of `not_named_ports`.
///
/// A rule about numbers is only about packets that have ports. Unwanted names are ports of one protocol: a packet of
/// another one has none of them, with ports or without; of one of that protocol whose ports are not there to be seen it
/// cannot be told.
fn peer_ports_match(set: &PolicySet, side: &Side, protocol: u8, peer: &Peer) -> bool {
    let is_in = |list: &[PortRange]| {
        side.port.is_some_and(|port| list.iter().any(|r| r.first <= port && port <= r.last))
    };
    let is_named = |names: &[String]| {
        names.iter().any(|name| {
            let given = |object: &&Object| gives_name(object, side, protocol, name);
            naming(set, side.address, peer).iter().any(given)
        })
    };
    let asks_for_some = !peer.ports.is_empty() || !peer.named_ports.is_empty();
    let wanted = !asks_for_some || is_in(&peer.ports) || is_named(&peer.named_ports);
    let unwanted = is_in(&peer.not_ports) || is_named(&peer.not_named_ports);
    let asks_of_any = !peer.not_ports.is_empty();
    let asks_of_protocol = !peer.not_named_ports.is_empty() && side.protocol == protocol;
    let can_be_told = side.port.is_some() || !(asks_of_any || asks_of_protocol);
    wanted && !unwanted && can_be_told
}

/// The objects that can name a port of the address for a peer: those that are what its positive selector asks for, which
/// is what `notSelector` excludes from it too (`rule_scanner.go:593-609`). `notSelector` alone keeps no name away, nor
/// does it matter here that a name is unwanted.
fn naming<'a>(set: &'a PolicySet, address: IpAddr, peer: &Peer) -> Vec<&'a Object> {
    let can_name = |object: &&Object| match (&peer.selector, &peer.not_selector) {
        (None, _) => true,
        (Some(yes), None) => selects(yes.expr(), &object.labels),
        (Some(yes), Some(no)) => {
            selects(yes.expr(), &object.labels) && !selects(no.expr(), &object.labels)
        }
    };
    covering(set, address).into_iter().filter(can_name).collect()
}

fn gives_name(object: &Object, side: &Side, protocol: u8, name: &str) -> bool {
    object.ports.iter().any(|named| {
        named.name == name
            && named.protocol == protocol
            && named.protocol == side.protocol
            && Some(named.port) == side.port
    })
}

/// As a source, a service is the addresses of its endpoints.
fn source_serves(set: &PolicySet, address: IpAddr, peer: &Peer) -> bool {
    let Some(name) = &peer.service else { return true };
    endpoints(set, name).any(|endpoint| endpoint.address == address)
}

/// As a destination, a service is address, protocol and port of its endpoints.
fn is_served(set: &PolicySet, packet: &PacketKey, peer: &Peer) -> bool {
    let Some(name) = &peer.service else { return true };
    let Transport::Ports { dst, .. } = packet.transport else { return false };
    endpoints(set, name).any(|endpoint| {
        endpoint.address == packet.dst && endpoint.ports.contains(&(packet.protocol, dst))
    })
}

/// None for a service that nobody knows.
fn endpoints<'a>(
    set: &'a PolicySet,
    name: &ServiceName,
) -> impl Iterator<Item = &'a ServiceEndpoint> {
    let of_name = set.services.iter().filter(move |service| service.name == *name);
    of_name.flat_map(|service| &service.endpoints)
}
