//! Rules: one line of a policy, and what its fields may say together.

use classifier::packet::{IpVersion, protocol};
use classifier::resource::{Action, IcmpMatch, Rule};

use super::node::{Entry, Node};
use super::peer::{End, RuleScope, peer};
use super::reader::{Reader, Thing};
use super::rule_check;
use super::rule_value::protocol_number;
use super::{http, metadata};
use crate::diagnostic::Diagnostic;
use crate::resolve::Uses;

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
pub(super) fn rule(
    node: &Node,
    scope: RuleScope<'_>,
    uses: &mut Uses,
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
        source: peer(&fields, End::Source, action, scope, uses, reader),
        destination: peer(&fields, End::Destination, action, scope, uses, reader),
    };
    rule_check::check(&rule, &fields, reader);
    http::check(&rule, scope.direction, &fields, reader);
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

/// Whether packets of this protocol have ports that a rule can match.
pub(crate) fn has_ports(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP)
}
