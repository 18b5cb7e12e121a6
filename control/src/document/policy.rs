//! `GlobalNetworkPolicy`.

use classifier::decision::Direction;
use classifier::resource::{Policy, Rule, Tier};
use classifier::selector::Selector;

use super::Kind;
use super::metadata::{self, NameRule};
use super::node::{Entry, Node};
use super::reader::{Fields, Reader, Thing, Unsupported};
use super::rule;
use super::selector;
use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::resolve::{Content, Key, PolicyContent, Resource, SelectorRole, SelectorUse};

/// Calico's own limit on the rules of one direction; larger is taken, but would not load there.
const CALICO_RULES_MAX: usize = 1024;

static POLICY: Thing = Thing {
    name: "a global network policy",
    fields: &[
        "name",
        "labels",
        "annotations",
        "tier",
        "order",
        "selector",
        "types",
        "ingress",
        "egress",
    ],
    unsupported: &[
        Unsupported {
            field: "namespaceSelector",
            severity: Severity::Error,
            help: "select by a label of your own in `selector`",
        },
        Unsupported {
            field: "serviceAccountSelector",
            severity: Severity::Error,
            help: "select by a label of your own in `selector`",
        },
        Unsupported {
            field: "doNotTrack",
            severity: Severity::Error,
            help: "remove it: every flow is tracked",
        },
        Unsupported {
            field: "preDNAT",
            severity: Severity::Error,
            help: "remove it: this gateway translates no addresses",
        },
        Unsupported {
            field: "applyOnForward",
            severity: Severity::Warning,
            help: "remove it: what is behind the gateway is always judged, and only that",
        },
        Unsupported {
            field: "performanceHints",
            severity: Severity::Warning,
            help: "remove it, or leave it for Calico",
        },
    ],
};

const DIRECTIONS: &[(&str, Direction)] =
    &[("Ingress", Direction::Ingress), ("Egress", Direction::Egress)];

/// Reads one element of `globalNetworkPolicies`.
pub(crate) fn policy(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &POLICY)?;
    let name = metadata::name(&fields, NameRule::Policy, reader);
    metadata::labels(&fields, reader);
    metadata::annotations(&fields, reader);
    let (tier, tier_at) = tier(&fields, reader);
    let order = fields.entry("order").and_then(|entry| reader.number(entry));
    let mut selectors = Vec::new();
    let protects = own_selector(&fields, name.as_ref().map(|(_, at)| at), &mut selectors, reader);
    let ingress = rules(&fields, "ingress", &mut selectors, reader);
    let egress = rules(&fields, "egress", &mut selectors, reader);
    let (applies_ingress, applies_egress) = types(&fields, &ingress, &egress, reader);
    let (name, at) = name?;
    let policy = Policy {
        name: name.clone(),
        tier,
        order,
        selector: protects?,
        applies_ingress,
        applies_egress,
        ingress,
        egress,
        ..Policy::new("")
    };
    let key = Key { kind: Kind::GlobalNetworkPolicy, namespace: None, name };
    let content = Content::Policy(Box::new(PolicyContent { policy, tier_at, selectors }));
    Some(Resource { key, at, content })
}

fn tier(fields: &Fields<'_>, reader: &mut Reader) -> (String, Option<Place>) {
    let default = (Tier::DEFAULT.to_owned(), None);
    let Some(entry) = fields.entry("tier") else { return default };
    let Some(text) = reader.text("tier", &entry.node) else { return default };
    metadata::check_name("tier", text, &entry.node, NameRule::Label, reader);
    (text.value.clone(), Some(reader.place(&entry.node.span)))
}

/// The policy's selector; absent or empty means `all()`, as in Calico.
fn own_selector(
    fields: &Fields<'_>,
    name_at: Option<&Place>,
    selectors: &mut Vec<SelectorUse>,
    reader: &mut Reader,
) -> Option<Selector> {
    let (selector, at) = if let Some(entry) = fields.entry("selector") {
        let selector = selector::read("selector", &entry.node, reader)?;
        (selector, reader.place(&entry.node.span))
    } else {
        let at = name_at.cloned().unwrap_or_else(|| reader.place(&fields.span));
        (Selector::parse("").ok()?, at)
    };
    selectors.push(SelectorUse { selector: selector.clone(), at, role: SelectorRole::Protects });
    Some(selector)
}

fn rules(
    fields: &Fields<'_>,
    direction: &'static str,
    selectors: &mut Vec<SelectorUse>,
    reader: &mut Reader,
) -> Vec<Rule> {
    let Some(entry) = fields.entry(direction) else { return Vec::new() };
    let nodes = reader.array(entry);
    if nodes.len() > CALICO_RULES_MAX {
        let message = format!("`{direction}` has {} rules", nodes.len());
        let finding = Diagnostic::warning("size.calico", message)
            .at(reader.place(&entry.key_span), "more than Calico takes")
            .help(format!("Calico refuses more than {CALICO_RULES_MAX}; split it to use it there"));
        reader.report(finding);
    }
    nodes.iter().filter_map(|node| rule::rule(node, direction, selectors, reader)).collect()
}

/// Whether the policy applies to ingress and to egress. Without `types`: egress if there are egress rules, ingress
/// unless there are only egress rules (Calico `api/pkg/defaults`).
fn types(
    fields: &Fields<'_>,
    ingress: &[Rule],
    egress: &[Rule],
    reader: &mut Reader,
) -> (bool, bool) {
    let written = fields.entry("types").map(|entry| directions(entry, reader)).unwrap_or_default();
    if written.is_empty() {
        return (egress.is_empty() || !ingress.is_empty(), !egress.is_empty());
    }
    let applies = |direction| written.contains(&direction);
    for (direction, field, word) in
        [(Direction::Ingress, "ingress", "Ingress"), (Direction::Egress, "egress", "Egress")]
    {
        let Some(entry) = fields.entry(field) else { continue };
        if !applies(direction) {
            let finding = Diagnostic::warning(
                "policy.unread-rules",
                format!("the `{field}` rules are never read"),
            )
            .at(reader.place(&entry.key_span), format!("`types` does not name `{word}`"))
            .help(format!("add `\"{word}\"` to `types`, or remove the rules"));
            reader.report(finding);
        }
    }
    (applies(Direction::Ingress), applies(Direction::Egress))
}

fn directions(entry: &Entry, reader: &mut Reader) -> Vec<Direction> {
    let mut directions = Vec::new();
    for node in reader.array(entry) {
        let Some(direction) = reader.choice("types", node, DIRECTIONS) else { continue };
        if directions.contains(&direction) {
            let finding = Diagnostic::error("field.value", "`types` names a direction twice")
                .at(reader.place(&node.span), "named before")
                .help("name each direction once");
            reader.report(finding);
        }
        directions.push(direction);
    }
    directions
}
