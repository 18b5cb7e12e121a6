//! `GlobalNetworkPolicy` and `NetworkPolicy`, and the staged kinds of both.

use classifier::decision::Direction;
use classifier::resource::{Hook, Policy, PolicyKind, Rule, StagedAction, Tier};
use classifier::selector::Selector;

use super::Kind;
use super::metadata::{self, NameRule};
use super::node::{Entry, Node, Value};
use super::peer::{RuleScope, effective_selector};
use super::policy_check;
use super::reader::{Fields, Reader, Thing};
use super::rule;
use super::scope::PolicySelectors;
use super::selector::{self, Global};
use crate::diagnostic::{Diagnostic, Place};
use crate::resolve::{Content, Key, PolicyContent, Resource, SelectorRole, SelectorUse, Uses};

/// Calico's own limit on the rules of one direction; larger is taken, but would not load there.
const CALICO_RULES_MAX: usize = 1024;

static GLOBAL: Thing = Thing {
    name: "a global network policy",
    fields: &[
        "name",
        "labels",
        "annotations",
        "tier",
        "order",
        "selector",
        "namespaceSelector",
        "serviceAccountSelector",
        "types",
        "ingress",
        "egress",
        "doNotTrack",
        "preDNAT",
        "applyOnForward",
        "performanceHints",
    ],
    unsupported: &[],
};

static STAGED_GLOBAL: Thing = Thing {
    name: "a staged global network policy",
    fields: &[
        "name",
        "labels",
        "annotations",
        "stagedAction",
        "tier",
        "order",
        "selector",
        "namespaceSelector",
        "serviceAccountSelector",
        "types",
        "ingress",
        "egress",
        "doNotTrack",
        "preDNAT",
        "applyOnForward",
        "performanceHints",
    ],
    unsupported: &[],
};

static NAMESPACED: Thing = Thing {
    name: "a network policy",
    fields: &[
        "name",
        "namespace",
        "labels",
        "annotations",
        "tier",
        "order",
        "selector",
        "serviceAccountSelector",
        "types",
        "ingress",
        "egress",
        "performanceHints",
    ],
    unsupported: &[],
};

static STAGED_NAMESPACED: Thing = Thing {
    name: "a staged network policy",
    fields: &[
        "name",
        "namespace",
        "labels",
        "annotations",
        "stagedAction",
        "tier",
        "order",
        "selector",
        "serviceAccountSelector",
        "types",
        "ingress",
        "egress",
        "performanceHints",
    ],
    unsupported: &[],
};

const DIRECTIONS: &[(&str, Direction)] =
    &[("Ingress", Direction::Ingress), ("Egress", Direction::Egress)];

/// What `stagedAction` asks; nothing where the policy is not even evaluated.
const STAGED_ACTIONS: &[(&str, Option<StagedAction>)] = &[
    ("Set", Some(StagedAction::Set)),
    ("Delete", Some(StagedAction::Delete)),
    ("Learn", None),
    ("Ignore", None),
];

/// Reads a policy of one of the four kinds.
pub(crate) fn policy(kind: Kind, node: &Node, reader: &mut Reader) -> Option<Resource> {
    let is_staged = matches!(kind, Kind::StagedGlobalNetworkPolicy | Kind::StagedNetworkPolicy);
    let is_global = matches!(kind, Kind::GlobalNetworkPolicy | Kind::StagedGlobalNetworkPolicy);
    let (thing, name_rule) = match (is_global, is_staged) {
        (true, false) => (&GLOBAL, NameRule::GlobalPolicy),
        (true, true) => (&STAGED_GLOBAL, NameRule::GlobalPolicy),
        (false, false) => (&NAMESPACED, NameRule::Policy),
        (false, true) => (&STAGED_NAMESPACED, NameRule::Policy),
    };
    let fields = reader.fields(node, thing)?;
    let name = metadata::name(&fields, name_rule, reader);
    let namespace = if is_global { None } else { Some(metadata::namespace(&fields, reader)) };
    metadata::labels(&fields, reader);
    metadata::annotations(&fields, reader);
    let staged = if is_staged { Some(staged_action(&fields, reader)) } else { None };
    let content = if staged == Some(Some(StagedAction::Delete)) {
        policy_check::check_deletes_only(&fields, reader);
        let (tier, tier_at) = tier(&fields, reader);
        let policy = Policy { tier, ..Policy::new("") };
        Some(PolicyContent { policy, tier_at, uses: Uses::default() })
    } else {
        let at = name.as_ref().map(|(_, at)| at);
        spec(&fields, is_global, namespace.as_deref(), at, reader)
    };
    let (name, at) = name?;
    let mut content = content?;
    let policy = &mut content.policy;
    policy.kind =
        if is_global { PolicyKind::GlobalNetworkPolicy } else { PolicyKind::NetworkPolicy };
    policy.name.clone_from(&name);
    policy.namespace.clone_from(&namespace);
    policy.staged = staged.flatten();
    let content = match staged {
        Some(None) => Content::Idle,
        Some(Some(_)) | None => Content::Policy(Box::new(content)),
    };
    Some(Resource { key: Key { kind, namespace, name }, at, content })
}

/// What a staged policy does; without the field it is set.
fn staged_action(fields: &Fields<'_>, reader: &mut Reader) -> Option<StagedAction> {
    let entry = fields.entry("stagedAction").filter(|entry| !entry.node.is_unset());
    entry
        .and_then(|entry| reader.choice("stagedAction", &entry.node, STAGED_ACTIONS))
        .unwrap_or(Some(StagedAction::Set))
}

/// Everything but names.
fn spec(
    fields: &Fields<'_>,
    is_global: bool,
    namespace: Option<&str>,
    name_at: Option<&Place>,
    reader: &mut Reader,
) -> Option<PolicyContent> {
    let (tier, tier_at) = tier(fields, reader);
    let order = fields.entry("order").and_then(|entry| reader.number(entry));
    let mut uses = Uses::default();
    let protects = own_selector(fields, is_global, namespace, name_at, &mut uses, reader);
    let ingress = rules(fields, Direction::Ingress, namespace, &mut uses, reader);
    let egress = rules(fields, Direction::Egress, namespace, &mut uses, reader);
    let (applies_ingress, applies_egress) = types(fields, &ingress, &egress, reader);
    let hook = if is_global { policy_check::hook(fields, reader) } else { Hook::Normal };
    policy_check::check_performance_hints(fields, reader);
    let policy = Policy {
        hook,
        tier,
        order,
        selector: protects?,
        applies_ingress,
        applies_egress,
        ingress,
        egress,
        ..Policy::new("")
    };
    Some(PolicyContent { policy, tier_at, uses })
}

fn tier(fields: &Fields<'_>, reader: &mut Reader) -> (String, Option<Place>) {
    let default = (Tier::DEFAULT.to_owned(), None);
    let Some(entry) = fields.entry("tier").filter(|entry| !entry.node.is_unset()) else {
        return default;
    };
    let Some(text) = reader.text("tier", &entry.node) else { return default };
    metadata::check_name("tier", text, &entry.node, NameRule::Label, reader);
    (text.value.clone(), Some(reader.place(&entry.node.span)))
}

/// What the policy selects; nothing said, or nothing in it, means `all()` that it can select, as in Calico.
fn own_selector(
    fields: &Fields<'_>,
    is_global: bool,
    namespace: Option<&str>,
    name_at: Option<&Place>,
    uses: &mut Uses,
    reader: &mut Reader,
) -> Option<Selector> {
    let mut at = None;
    let mut text = |field| {
        let Some(entry) = fields.entry(field) else { return Some("") };
        let text = selector::text(field, &entry.node, Global::Refused, reader)?;
        if !text.is_empty() && at.is_none() {
            at = Some(reader.place(&entry.node.span));
        }
        Some(text)
    };
    let selector = text("selector");
    let namespaces = if is_global { text("namespaceSelector") } else { Some("") };
    let service_accounts = text("serviceAccountSelector");
    let written = PolicySelectors {
        selector: selector?,
        namespaces: namespaces?,
        service_accounts: service_accounts?,
    };
    let effective = match namespace {
        Some(namespace) => written.of_namespace(namespace),
        None => written.global(),
    };
    let at = at.or_else(|| name_at.cloned()).unwrap_or_else(|| reader.place(&fields.span));
    let selector = if effective.is_empty() {
        Selector::default()
    } else {
        effective_selector(&effective, "selector", &at, reader)?
    };
    let role = SelectorRole::Protects;
    uses.selectors.push(SelectorUse { selector: selector.clone(), at, role });
    Some(selector)
}

/// The rules of one direction.
pub(super) fn rules(
    fields: &Fields<'_>,
    direction: Direction,
    namespace: Option<&str>,
    uses: &mut Uses,
    reader: &mut Reader,
) -> Vec<Rule> {
    let field = match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let Some(entry) = fields.entry(field) else { return Vec::new() };
    let nodes = reader.array(entry);
    if nodes.len() > CALICO_RULES_MAX {
        let message = format!("`{field}` has {} rules", nodes.len());
        let finding = Diagnostic::warning("size.calico", message)
            .at(reader.place(&entry.key_span), "more than Calico takes")
            .help(format!("Calico refuses more than {CALICO_RULES_MAX}; split it to use it there"));
        reader.report(finding);
    }
    let scope = RuleScope { direction, namespace };
    let mut rules = Vec::new();
    for node in nodes {
        let Some(rule) = rule::rule(node, scope, uses, reader) else { continue };
        rules.push(rule);
        let at = reader.place(&place_of_rule(node).span);
        match direction {
            Direction::Ingress => uses.ingress_at.push(at),
            Direction::Egress => uses.egress_at.push(at),
        }
    }
    rules
}

/// What of a rule findings about the whole of it point to: its action.
fn place_of_rule(rule: &Node) -> &Node {
    let Value::Table(table) = &rule.value else { return rule };
    table.entry("action").map_or(rule, |entry| &entry.node)
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
        let Some(entry) = fields.entry(field).filter(|entry| !entry.node.is_unset()) else {
            continue;
        };
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
