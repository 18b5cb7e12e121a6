//! What the fields of one rule may say together (Calico `validator.go:1012-1102`, CEL of `policy_common.go`).

use std::ops::Range;

use classifier::packet::{IpVersion, protocol};
use classifier::resource::Rule;

use super::net::Written;
use super::node::{Entry, Node, Value};
use super::reader::{Fields, Reader};
use super::rule::has_ports;
use super::rule_value::{is_port_name, protocol_name};
use crate::diagnostic::{Diagnostic, Place};

/// Reports what does not go together.
pub(crate) fn check(rule: &Rule, fields: &Fields<'_>, reader: &mut Reader) {
    check_ports(rule, fields, reader);
    check_icmp(rule, fields, reader);
    let families = families(rule, fields, reader);
    check_families(&families, reader);
}

/// Ports need a protocol that has them.
fn check_ports(rule: &Rule, fields: &Fields<'_>, reader: &mut Reader) {
    if rule.protocol.is_some_and(has_ports) || protocol_is_broken(rule, fields) {
        return;
    }
    for (side, field) in [
        ("source", "ports"),
        ("source", "notPorts"),
        ("destination", "ports"),
        ("destination", "notPorts"),
    ] {
        let Some(entry) = peer_list(fields, side, field) else { continue };
        if rule.protocol.is_none() && !has_numbers(entry) {
            continue;
        }
        let (message, label, help) = match rule.protocol {
            Some(number) => (
                format!("protocol `{}` has no ports to match", protocol_name(number)),
                "no such ports",
                "write `protocol = \"TCP\"`, `\"UDP\"` or `\"SCTP\"`; ICMP is matched by `icmp`",
            ),
            None => (
                format!("`{field}` needs a protocol that has ports"),
                "of which protocol?",
                "add `protocol = \"TCP\"`, `\"UDP\"` or `\"SCTP\"` to the rule",
            ),
        };
        let finding = Diagnostic::error("rule.ports-without-protocol", message)
            .at(reader.place(&entry.key_span), label)
            .help(help);
        reader.report(finding);
        return;
    }
}

/// Whether a port of the list is a number or a range; ports by name bring their protocol along.
fn has_numbers(entry: &Entry) -> bool {
    let Value::Array(nodes) = &entry.node.value else { return false };
    nodes.iter().any(|node| match &node.value {
        Value::Integer(_) => true,
        Value::Text(text) => {
            text.value.starts_with(|c: char| c.is_ascii_digit()) && !is_port_name(&text.value)
        }
        Value::Array(_)
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Null
        | Value::Other(_)
        | Value::Table(_) => false,
    })
}

/// An ICMP match needs an ICMP protocol, and ICMP its own IP family.
fn check_icmp(rule: &Rule, fields: &Fields<'_>, reader: &mut Reader) {
    let is_icmp = |number: u8| number == protocol::ICMP || number == protocol::ICMPV6;
    if let Some(entry) = fields.entry("icmp")
        && !rule.protocol.is_some_and(is_icmp)
        && !protocol_is_broken(rule, fields)
    {
        let finding =
            Diagnostic::error("rule.icmp-without-protocol", "`icmp` needs an ICMP protocol")
                .at(reader.place(&entry.key_span), "of which protocol?")
                .help("add `protocol = \"ICMP\"` for IPv4 or `protocol = \"ICMPv6\"` for IPv6");
        reader.report(finding);
    }
    for (field, number) in [("protocol", rule.protocol), ("notProtocol", rule.not_protocol)] {
        let (Some(number), Some(version)) = (number, rule.ip_version) else { continue };
        let (Some(entry), Some(version_entry)) = (fields.entry(field), fields.entry("ipVersion"))
        else {
            continue;
        };
        let other = match (number, version) {
            (protocol::ICMP, IpVersion::V6) => "ICMPv6",
            (protocol::ICMPV6, IpVersion::V4) => "ICMP",
            _ => continue,
        };
        let message = format!("`{}` does not exist in {}", protocol_name(number), words(version));
        let finding = Diagnostic::error("rule.icmp-family", message)
            .at(reader.place(&entry.node.span), "of the other IP family")
            .help(format!("write `{field} = \"{other}\"`, or change `ipVersion`"))
            .related(reader.place(&version_entry.node.span), "the family is set here");
        reader.report(finding);
    }
}

/// One thing that ties a rule to an IP family.
struct Family {
    version: IpVersion,
    at: Place,
    label: String,
    /// Whether the protocol implies it. Calico takes a conflict with such a one: the rule then matches nothing.
    implied: bool,
}

fn families(rule: &Rule, fields: &Fields<'_>, reader: &Reader) -> Vec<Family> {
    let mut families = Vec::new();
    let mut stated = |version: IpVersion, span: &Range<usize>| {
        let label = words(version).to_owned();
        families.push(Family { version, at: reader.place(span), label, implied: false });
    };
    if let (Some(version), Some(entry)) = (rule.ip_version, fields.entry("ipVersion")) {
        stated(version, &entry.node.span);
    }
    for (side, field) in LISTS_OF_NETS {
        for (version, span) in versions_of(peer_list(fields, side, field)) {
            stated(version, &span);
        }
    }
    let of_protocol = match rule.protocol {
        Some(protocol::ICMP) => Some(IpVersion::V4),
        Some(protocol::ICMPV6) => Some(IpVersion::V6),
        Some(_) | None => None,
    };
    if let (Some(version), None, Some(entry)) =
        (of_protocol, rule.ip_version, fields.entry("protocol"))
    {
        let label = format!("exists in {} only", words(version));
        let at = reader.place(&entry.node.span);
        families.push(Family { version, at, label, implied: true });
    }
    families
}

const LISTS_OF_NETS: [(&str, &str); 4] = [
    ("source", "nets"),
    ("source", "notNets"),
    ("destination", "nets"),
    ("destination", "notNets"),
];

fn versions_of(list: Option<&Entry>) -> Vec<(IpVersion, Range<usize>)> {
    let Some(Value::Array(nodes)) = list.map(|entry| &entry.node.value) else { return Vec::new() };
    let version = |node: &Node| {
        let Value::Text(text) = &node.value else { return None };
        let written = Written::parse(&text.value).ok()?;
        Some((IpVersion::of(written.address), node.span.clone()))
    };
    nodes.iter().filter_map(version).collect()
}

/// A rule has one IP family. One finding is enough for a rule.
fn check_families(families: &[Family], reader: &mut Reader) {
    let Some(first) = families.first() else { return };
    let Some(other) = families.iter().find(|family| family.version != first.version) else {
        return;
    };
    let finding = if other.implied {
        Diagnostic::warning("rule.never-matches", "the rule matches no packet")
    } else {
        Diagnostic::error("rule.mixed-families", "a rule cannot mix IPv4 and IPv6")
    };
    reader.report(
        finding
            .at(other.at.clone(), other.label.clone())
            .help("write one rule for each IP family")
            .related(first.at.clone(), first.label.clone()),
    );
}

/// A list of a peer that is there and not empty.
fn peer_list<'a>(fields: &Fields<'a>, side: &'static str, field: &str) -> Option<&'a Entry> {
    let Value::Table(table) = &fields.entry(side)?.node.value else { return None };
    let entry = table.entry(field)?;
    match &entry.node.value {
        Value::Array(items) if items.is_empty() => None,
        Value::Null => None,
        Value::Array(_)
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Integer(_)
        | Value::Other(_)
        | Value::Table(_)
        | Value::Text(_) => Some(entry),
    }
}

/// Whether a protocol is written that could not be read: it has its finding already.
fn protocol_is_broken(rule: &Rule, fields: &Fields<'_>) -> bool {
    rule.protocol.is_none() && fields.entry("protocol").is_some()
}

fn words(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "IPv4",
        IpVersion::V6 => "IPv6",
    }
}
