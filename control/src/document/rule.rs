//! Rules: one line of a policy, and what its fields may say together.

use std::net::{Ipv4Addr, Ipv6Addr};

use classifier::packet::{IpVersion, protocol};
use classifier::resource::{Action, IcmpMatch, Peer, PortRange, Rule};
use classifier::selector::Selector;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::node::{Entry, Node};
use super::object::written;
use super::reader::{Fields, Reader, Thing, Unsupported};
use super::rule_check;
use super::rule_value::{port, protocol_number};
use super::selector;
use super::{http, metadata};
use crate::diagnostic::{Diagnostic, Severity};
use crate::resolve::{SelectorRole, SelectorUse};

static RULE: Thing = Thing {
    name: "a rule",
    fields: &[
        "action",
        "ipVersion",
        "protocol",
        "notProtocol",
        "icmp",
        "notICMP",
        "source",
        "destination",
        "http",
        "metadata",
    ],
    unsupported: &[],
};

static PEER: Thing = Thing {
    name: "a peer",
    fields: &["nets", "notNets", "selector", "notSelector", "ports", "notPorts"],
    unsupported: &[
        Unsupported {
            field: "namespaceSelector",
            severity: Severity::Error,
            help: "select by a label of your own in `selector`",
        },
        Unsupported {
            field: "services",
            severity: Severity::Error,
            help: "name the addresses by `selector` or `nets`, and the ports by `ports`",
        },
        Unsupported {
            field: "serviceAccounts",
            severity: Severity::Error,
            help: "select by a label of your own in `selector`",
        },
    ],
};

static ICMP: Thing = Thing { name: "an ICMP match", fields: &["type", "code"], unsupported: &[] };

static METADATA: Thing =
    Thing { name: "the metadata of a rule", fields: &["annotations"], unsupported: &[] };

const ACTIONS: &[(&str, Action)] = &[
    ("Allow", Action::Allow),
    ("Deny", Action::Deny),
    ("Log", Action::Log),
    ("Pass", Action::Pass),
];

/// Reads one element of `ingress` or `egress`.
pub(crate) fn rule(
    node: &Node,
    direction: &str,
    selectors: &mut Vec<SelectorUse>,
    reader: &mut Reader,
) -> Option<Rule> {
    let fields = reader.fields(node, &RULE)?;
    let action = fields
        .required("action", "action = \"Allow\"", reader)
        .and_then(|entry| reader.choice("action", &entry.node, ACTIONS));
    if let Some(entry) = fields.entry("metadata")
        && let Some(metadata) = reader.fields(&entry.node, &METADATA)
    {
        metadata::annotations(&metadata, reader);
    }
    let rule = Rule {
        action: action.unwrap_or(Action::Deny),
        ip_version: fields.entry("ipVersion").and_then(|entry| ip_version(entry, reader)),
        protocol: fields.entry("protocol").and_then(|entry| protocol_number(entry, reader)),
        not_protocol: fields.entry("notProtocol").and_then(|entry| protocol_number(entry, reader)),
        icmp: fields.entry("icmp").and_then(|entry| icmp(entry, reader)),
        not_icmp: fields.entry("notICMP").and_then(|entry| icmp(entry, reader)),
        source: peer(&fields, "source", action, selectors, reader),
        destination: peer(&fields, "destination", action, selectors, reader),
    };
    rule_check::check(&rule, &fields, reader);
    http::check(&rule, direction, &fields, reader);
    action.map(|_| rule)
}

fn ip_version(entry: &Entry, reader: &mut Reader) -> Option<IpVersion> {
    match reader.integer("ipVersion", &entry.node, 4..=6)? {
        4 => Some(IpVersion::V4),
        6 => Some(IpVersion::V6),
        other => {
            let finding =
                Diagnostic::error("field.value", format!("`ipVersion` cannot be {other}"))
                    .at(reader.place(&entry.node.span), "not an IP version")
                    .help("write 4 or 6");
            reader.report(finding);
            None
        }
    }
}

/// An ICMP type with an optional code. A table with neither says nothing, as in Calico.
fn icmp(entry: &Entry, reader: &mut Reader) -> Option<IcmpMatch> {
    let fields = reader.fields(&entry.node, &ICMP)?;
    let code = fields
        .entry("code")
        .and_then(|entry| reader.integer("code", &entry.node, 0..=255))
        .and_then(|code| u8::try_from(code).ok());
    let kind = match fields.entry("code") {
        Some(_) => fields.required("type", "type = 8", reader),
        None => fields.entry("type"),
    };
    let kind = reader.integer("type", &kind?.node, 0..=254)?;
    Some(IcmpMatch { kind: u8::try_from(kind).ok()?, code })
}

fn peer(
    rule: &Fields<'_>,
    side: &'static str,
    action: Option<Action>,
    selectors: &mut Vec<SelectorUse>,
    reader: &mut Reader,
) -> Peer {
    let Some(entry) = rule.entry(side) else { return Peer::default() };
    let Some(fields) = reader.fields(&entry.node, &PEER) else { return Peer::default() };
    let role = SelectorRole::Peer(action.unwrap_or(Action::Deny));
    Peer {
        nets: nets(&fields, "nets", reader),
        not_nets: nets(&fields, "notNets", reader),
        selector: peer_selector(&fields, "selector", role, selectors, reader),
        not_selector: peer_selector(
            &fields,
            "notSelector",
            SelectorRole::NotPeer,
            selectors,
            reader,
        ),
        ports: ports(&fields, "ports", reader),
        not_ports: ports(&fields, "notPorts", reader),
        ..Peer::default()
    }
}

/// A peer's selector; an empty string is the same as none, as in Calico.
fn peer_selector(
    fields: &Fields<'_>,
    field: &'static str,
    role: SelectorRole,
    selectors: &mut Vec<SelectorUse>,
    reader: &mut Reader,
) -> Option<Selector> {
    let entry = fields.entry(field)?;
    if reader.text(field, &entry.node)?.value.is_empty() {
        return None;
    }
    let selector = selector::read(field, &entry.node, reader)?;
    let at = reader.place(&entry.node.span);
    selectors.push(SelectorUse { selector: selector.clone(), at, role });
    Some(selector)
}

fn nets(fields: &Fields<'_>, field: &'static str, reader: &mut Reader) -> Vec<IpNet> {
    let Some(entry) = fields.entry(field) else { return Vec::new() };
    let nodes = reader.array(entry);
    warn_if_empty(entry, reader);
    let nets = nodes.iter().filter_map(|node| {
        let net = rule_net(field, node, reader)?;
        if field == "notNets" && (net == ALL_V4 || net == ALL_V6) {
            let finding =
                Diagnostic::error("net.everything", format!("`notNets` cannot hold `{net}`"))
                    .at(reader.place(&node.span), "leaves nothing that could match")
                    .help("remove the rule, or name a smaller network");
            reader.report(finding);
        }
        Some(net)
    });
    nets.collect()
}

const ALL_V4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
const ALL_V6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));

/// A network of a rule: with a prefix length and without host bits, unlike those of sets (Calico `scanNets`).
fn rule_net(field: &'static str, node: &Node, reader: &mut Reader) -> Option<IpNet> {
    let written = written(field, node, reader)?;
    let net = written.network();
    let finding = match written.prefix_len {
        Some(_) if net.addr() == written.address => return Some(net),
        Some(length) => Diagnostic::error(
            "net.host-bits",
            format!("`{}/{length}` has bits set behind its prefix", written.address),
        )
        .at(reader.place(&node.span), "not a network")
        .help(format!(
            "write `{net}` for the network, or `{}` for the one address",
            IpNet::from(written.address)
        )),
        None => Diagnostic::error(
            "net.no-prefix",
            format!("`{}` has no prefix length", written.address),
        )
        .at(reader.place(&node.span), "not a network")
        .help(format!("write `{net}`")),
    };
    reader.report(finding);
    Some(net)
}

fn ports(fields: &Fields<'_>, field: &'static str, reader: &mut Reader) -> Vec<PortRange> {
    let Some(entry) = fields.entry(field) else { return Vec::new() };
    let nodes = reader.array(entry);
    warn_if_empty(entry, reader);
    nodes.iter().filter_map(|node| port(field, node, reader)).collect()
}

/// An empty list is no condition at all, which is seldom what its author means.
fn warn_if_empty(entry: &Entry, reader: &mut Reader) {
    if !matches!(&entry.node.value, super::node::Value::Array(items) if items.is_empty()) {
        return;
    }
    let finding = Diagnostic::warning("rule.empty-list", format!("`{}` is empty", entry.key))
        .at(reader.place(&entry.node.span), "an empty list is no condition: everything matches it")
        .help("remove the field, or say what to match");
    reader.report(finding);
}

/// Whether packets of this protocol have ports that a rule can match.
pub(crate) fn has_ports(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP)
}
