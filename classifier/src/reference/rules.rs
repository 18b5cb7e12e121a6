//! When a rule matches a packet: every field that is present must.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::label::Labels;
use crate::packet::{IpVersion, PacketKey, Transport, protocol};
use crate::resource::{IcmpMatch, Peer, PolicySet, Rule};
use crate::selector::Expr;

use super::ports;

/// Whether every field of the rule that is present matches the packet.
pub(super) fn rule_matches(set: &PolicySet, packet: &PacketKey, rule: &Rule) -> bool {
    family_matches(packet.version(), rule)
        && rule.protocol.is_none_or(|protocol| packet.protocol == protocol)
        && rule.not_protocol.is_none_or(|protocol| packet.protocol != protocol)
        && rule.icmp.is_none_or(|icmp| icmp_matches(packet.transport, icmp))
        && rule.not_icmp.is_none_or(|icmp| !icmp_matches(packet.transport, icmp))
        && nets_match(packet.src, &rule.source)
        && nets_match(packet.dst, &rule.destination)
        && selectors_match(set, packet.src, &rule.source)
        && selectors_match(set, packet.dst, &rule.destination)
        && ports::ports_match(set, packet, rule)
        && ports::services_match(set, packet, rule)
}

/// A rule is about one family when it says so, by `ipVersion`, else by its ICMP protocol, and by the nets it names.
fn family_matches(family: IpVersion, rule: &Rule) -> bool {
    let said = rule.ip_version.or(match rule.protocol {
        Some(protocol::ICMP) => Some(IpVersion::V4),
        Some(protocol::ICMPV6) => Some(IpVersion::V6),
        _ => None,
    });
    let lists = [
        &rule.source.nets,
        &rule.source.not_nets,
        &rule.destination.nets,
        &rule.destination.not_nets,
    ];
    said.is_none_or(|said| said == family)
        && lists.iter().all(|list| list.is_empty() || list.iter().any(|net| is_of(net, family)))
}

/// A packet that is not ICMP is no ICMP message of any type.
fn icmp_matches(transport: Transport, icmp: IcmpMatch) -> bool {
    match transport {
        Transport::Icmp { kind, code } => {
            kind == icmp.kind && icmp.code.is_none_or(|expected| code == expected)
        }
        Transport::Ports { .. } | Transport::Opaque => false,
    }
}

/// In one of `nets`, in none of `not_nets`.
fn nets_match(address: IpAddr, peer: &Peer) -> bool {
    let inside = |list: &[IpNet]| list.iter().any(|net| net.contains(&address));
    (peer.nets.is_empty() || inside(&peer.nets)) && !inside(&peer.not_nets)
}

/// Each object that covers the address is asked alone, with its own labels; an address that none covers is like nobody,
/// so only a negation alone matches it.
fn selectors_match(set: &PolicySet, address: IpAddr, peer: &Peer) -> bool {
    let labels: Vec<&Labels> =
        super::covering(set, address).into_iter().map(|object| &object.labels).collect();
    match (&peer.selector, &peer.not_selector) {
        (None, None) => true,
        (Some(yes), None) => labels.iter().any(|labels| selects(yes.expr(), labels)),
        (None, Some(no)) => !labels.iter().any(|labels| selects(no.expr(), labels)),
        (Some(yes), Some(no)) => {
            labels.iter().any(|labels| selects(yes.expr(), labels) && !selects(no.expr(), labels))
        }
    }
}

/// Whether an object with these labels is selected.
pub(super) fn selects(expr: &Expr, labels: &Labels) -> bool {
    match expr {
        Expr::All | Expr::Global => true,
        Expr::Has(name) => labels.get(name).is_some(),
        Expr::Equal(name, value) => labels.get(name).is_some_and(|has| has == value),
        Expr::NotEqual(name, value) => labels.get(name).is_none_or(|has| has != value),
        Expr::Contains(name, part) => labels.get(name).is_some_and(|has| has.contains(part)),
        Expr::StartsWith(name, part) => labels.get(name).is_some_and(|has| has.starts_with(part)),
        Expr::EndsWith(name, part) => labels.get(name).is_some_and(|has| has.ends_with(part)),
        Expr::In(name, values) => labels.get(name).is_some_and(|has| values.contains(has)),
        Expr::NotIn(name, values) => labels.get(name).is_none_or(|has| !values.contains(has)),
        Expr::Not(operand) => !selects(operand, labels),
        Expr::And(operands) => operands.iter().all(|operand| selects(operand, labels)),
        Expr::Or(operands) => operands.iter().any(|operand| selects(operand, labels)),
    }
}

fn is_of(net: &IpNet, family: IpVersion) -> bool {
    IpVersion::of(net.addr()) == family
}
