//! What the policies of a whole cluster share: subject, rules and peers, and how a rule that cannot be translated closes.

use classifier::resource::{Action, Hook, Peer, Policy, PolicyKind, Rule};

use super::label_selector::{self, LabelSelector};
use super::network_policy::network;
use super::ports::{Port, Protocol, gathered};
use super::rules::{self, Direction, peers_of};
use crate::diagnostic::{Diagnostic, Place};
use crate::document::metadata::{self, NameRule};
use crate::document::{Entry, Fields, Kind, Node, Reader, Thing};
use crate::resolve::{Content, Key, PolicyContent, Resource, SelectorRole, SelectorUse, Uses};

static SUBJECT: Thing =
    Thing { name: "a subject", fields: &["namespaces", "pods"], unsupported: &[] };
static PODS: Thing = Thing {
    name: "a selection of pods",
    fields: &["namespaceSelector", "podSelector"],
    unsupported: &[],
};
static SOURCE: Thing =
    Thing { name: "a source", fields: &["namespaces", "pods"], unsupported: &[] };
static DESTINATION: Thing = Thing {
    name: "a destination",
    fields: &["namespaces", "pods", "networks", "nodes", "domainNames"],
    unsupported: &[],
};

/// What a kind of policy calls things, and how it writes ports.
#[derive(Debug)]
pub(super) struct Grammar {
    pub(super) ingress_rule: Thing,
    pub(super) egress_rule: Thing,
    pub(super) actions: &'static [(&'static str, Action)],
    /// The field of a rule that holds its ports.
    pub(super) ports: &'static str,
    /// Reads one of these.
    pub(super) port: fn(&Node, &mut Reader) -> Read<(Protocol, Port)>,
    /// Most rules of a direction, and most peers of a rule, that Kubernetes takes.
    pub(super) items_max: usize,
}

/// What came of reading a part of a rule.
#[derive(Debug)]
pub(super) enum Read<T> {
    Translated(T),
    /// Understood, but not to be said in Calico's rules.
    Untranslated(Untranslated),
    /// Wrong, and reported: the document is refused.
    Refused,
}

/// A part of a rule that Calico's rules cannot say.
#[derive(Debug)]
pub(super) struct Untranslated {
    pub(super) what: String,
    pub(super) at: Place,
    pub(super) help: &'static str,
}

/// Reads a policy of the cluster; the caller has read what is special of its kind.
pub(super) fn policy(
    fields: &Fields<'_>,
    grammar: &'static Grammar,
    (kind, policy_kind): (Kind, PolicyKind),
    (tier, order): (&str, f64),
    reader: &mut Reader,
) -> Option<Resource> {
    let name = metadata::name(fields, NameRule::Subdomain, reader);
    metadata::labels(fields, reader);
    metadata::annotations(fields, reader);
    let mut read = Reading { grammar, selectors: Vec::new() };
    let subject = subject(fields, reader);
    let ingress = read.rules(fields, Direction::Ingress, reader);
    let egress = read.rules(fields, Direction::Egress, reader);
    let (name, at) = name?;
    let ((pods, namespaces), subject_at) = subject?;
    let selector = label_selector::protected_anywhere(&pods, &namespaces)?;
    let role = SelectorRole::Protects;
    read.selectors.push(SelectorUse { selector: selector.clone(), at: subject_at, role });
    let policy = Policy {
        kind: policy_kind,
        namespace: None,
        name: name.clone(),
        staged: None,
        hook: Hook::Normal,
        tier: tier.to_owned(),
        order: Some(order),
        selector,
        // The tiers of these policies pass at their end: without rules there is nothing to apply.
        applies_ingress: !ingress.is_empty(),
        applies_egress: !egress.is_empty(),
        ingress,
        egress,
    };
    let key = Key { kind, namespace: None, name };
    let content = PolicyContent {
        policy,
        tier_at: None,
        uses: Uses { selectors: read.selectors, ..Uses::default() },
    };
    Some(Resource { key, at, content: Content::Policy(Box::new(content)) })
}

/// The `priority` of a policy.
pub(super) fn priority(fields: &Fields<'_>, reader: &mut Reader) -> Option<f64> {
    let entry = fields.required("priority", "priority = 100", reader)?;
    let number = reader.integer("priority", &entry.node, 0..=1000)?;
    i32::try_from(number).ok().map(f64::from)
}

/// The pods and namespaces that the policy protects, with its place.
fn subject(
    policy: &Fields<'_>,
    reader: &mut Reader,
) -> Option<((LabelSelector, LabelSelector), Place)> {
    let example = "subject = { namespaces = {} }";
    let entry = policy.required("subject", example, reader)?;
    let at = reader.place(&entry.node.span);
    let fields = reader.fields(&entry.node, &SUBJECT)?;
    match (fields.entry("namespaces"), fields.entry("pods")) {
        (Some(namespaces), None) => {
            let namespaces = label_selector::read(&namespaces.node, reader);
            Some(((LabelSelector::default(), namespaces), at))
        }
        (None, Some(entry)) => Some((pods(entry, reader)?, at)),
        (Some(_), Some(second)) => {
            one_of_two("subject", second, SUBJECT_HELP, reader);
            None
        }
        (None, None) => {
            let finding =
                Diagnostic::error("field.missing", "a subject needs `namespaces` or `pods`")
                    .at(at, "selects nothing")
                    .help("write `namespaces = {}` for all pods of the cluster");
            reader.report(finding);
            None
        }
    }
}

fn pods(entry: &Entry, reader: &mut Reader) -> Option<(LabelSelector, LabelSelector)> {
    let fields = reader.fields(&entry.node, &PODS)?;
    let mut read = |field| match fields.entry(field) {
        Some(entry) => label_selector::read(&entry.node, reader),
        None => LabelSelector::default(),
    };
    Some((read("podSelector"), read("namespaceSelector")))
}

const SUBJECT_HELP: &str = "`pods` has a `namespaceSelector` of its own; write either field";

fn one_of_two(what: &str, second: &Entry, help: &str, reader: &mut Reader) {
    let finding = Diagnostic::error("kubernetes.peer", format!("a {what} has exactly one field"))
        .at(reader.place(&second.key_span), "a second one")
        .help(help);
    reader.report(finding);
}

/// What the rules of one policy share while they are read.
struct Reading {
    grammar: &'static Grammar,
    selectors: Vec<SelectorUse>,
}

impl Reading {
    fn rules(
        &mut self,
        fields: &Fields<'_>,
        direction: Direction,
        reader: &mut Reader,
    ) -> Vec<Rule> {
        let Some(entry) = fields.entry(direction.field()) else { return Vec::new() };
        let nodes = reader.array(entry);
        self.warn_if_many(entry, nodes.len(), reader);
        nodes.iter().flat_map(|node| self.rule(node, direction, reader)).collect()
    }

    fn rule(&mut self, node: &Node, direction: Direction, reader: &mut Reader) -> Vec<Rule> {
        let thing = match direction {
            Direction::Ingress => &self.grammar.ingress_rule,
            Direction::Egress => &self.grammar.egress_rule,
        };
        let Some(fields) = reader.fields(node, thing) else { return Vec::new() };
        if let Some(entry) = fields.entry("name") {
            reader.text("name", &entry.node);
        }
        let action = fields
            .required("action", "action = \"Deny\"", reader)
            .and_then(|entry| reader.choice("action", &entry.node, self.grammar.actions));
        let (peers, mut untranslated) = self.peers(&fields, direction, action, reader);
        let ports = self.ports(&fields, &mut untranslated, reader);
        let Some(action) = action else { return Vec::new() };
        if untranslated.is_empty() {
            return rules::rules(action, direction, &peers, &gathered(ports));
        }
        for part in untranslated {
            warn_of_closing(part, action, reader);
        }
        closed(action)
    }

    fn peers(
        &mut self,
        fields: &Fields<'_>,
        direction: Direction,
        action: Option<Action>,
        reader: &mut Reader,
    ) -> (Vec<Peer>, Vec<Untranslated>) {
        let (mut peers, mut untranslated) = (Vec::new(), Vec::new());
        let field = direction.peers();
        let example = format!("{field} = [{{ namespaces = {{}} }}]");
        let Some(entry) = fields.required(field, &example, reader) else {
            return (peers, untranslated);
        };
        let nodes = reader.array(entry);
        self.warn_if_many(entry, nodes.len(), reader);
        if nodes.is_empty() && entry.node.is_unset() {
            // Calico makes no rule of it, so that a Deny would be silently gone.
            let finding = Diagnostic::error("field.value", format!("`{field}` is empty"))
                .at(reader.place(&entry.node.span), "the rule would match nothing")
                .help(format!("name a peer, such as `{example}`"));
            reader.report(finding);
        }
        for node in nodes {
            match self.peer(node, direction, action, reader) {
                Read::Translated(read) => peers.extend(read),
                Read::Untranslated(part) => untranslated.push(part),
                Read::Refused => {}
            }
        }
        (peers, untranslated)
    }

    fn peer(
        &mut self,
        node: &Node,
        direction: Direction,
        action: Option<Action>,
        reader: &mut Reader,
    ) -> Read<Vec<Peer>> {
        let thing = match direction {
            Direction::Ingress => &SOURCE,
            Direction::Egress => &DESTINATION,
        };
        let Some(fields) = reader.fields(node, thing) else { return Read::Refused };
        let present: Vec<&'static str> =
            thing.fields.iter().copied().filter(|field| fields.entry(field).is_some()).collect();
        let at = reader.place(&node.span);
        let field = match *present.as_slice() {
            [field] => field,
            [] => {
                let what = "a peer without a field".to_owned();
                let help = "write `namespaces`, `pods` or, in an egress rule, `networks`";
                return Read::Untranslated(Untranslated { what, at, help });
            }
            [_, second, ..] => {
                if let Some(second) = fields.entry(second) {
                    one_of_two("peer", second, "write a peer for each", reader);
                }
                return Read::Refused;
            }
        };
        let Some(entry) = fields.entry(field) else { return Read::Refused };
        let selector = match field {
            "namespaces" => label_selector::anything_in(&label_selector::read(&entry.node, reader)),
            "pods" => pods(entry, reader)
                .and_then(|(pods, namespaces)| label_selector::pods_in(&pods, &namespaces)),
            "networks" => return networks(entry, reader),
            other => {
                let at = reader.place(&entry.key_span);
                let help = "name the addresses in `networks`";
                return Read::Untranslated(Untranslated { what: format!("`{other}`"), at, help });
            }
        };
        let Some(selector) = selector else { return Read::Refused };
        let role = SelectorRole::Peer(action.unwrap_or(Action::Deny));
        self.selectors.push(SelectorUse { selector: selector.clone(), at, role });
        Read::Translated(vec![Peer { selector: Some(selector), ..Peer::default() }])
    }

    fn ports(
        &self,
        fields: &Fields<'_>,
        untranslated: &mut Vec<Untranslated>,
        reader: &mut Reader,
    ) -> Vec<(Protocol, Port)> {
        let Some(entry) = fields.entry(self.grammar.ports) else { return Vec::new() };
        let mut ports = Vec::new();
        let nodes = reader.array(entry);
        self.warn_if_many(entry, nodes.len(), reader);
        for node in nodes {
            match (self.grammar.port)(node, reader) {
                Read::Translated(port) => ports.push(port),
                Read::Untranslated(part) => untranslated.push(part),
                Read::Refused => {}
            }
        }
        ports
    }

    fn warn_if_many(&self, entry: &Entry, count: usize, reader: &mut Reader) {
        let max = self.grammar.items_max;
        if count <= max {
            return;
        }
        let finding =
            Diagnostic::warning("size.kubernetes", format!("`{}` has {count} items", entry.key))
                .at(reader.place(&entry.key_span), "more than Kubernetes takes")
                .help(format!("Kubernetes refuses more than {max}; split it to use it there"));
        reader.report(finding);
    }
}

fn networks(entry: &Entry, reader: &mut Reader) -> Read<Vec<Peer>> {
    let mut nets = Vec::new();
    for node in reader.array(entry) {
        nets.extend(network("networks", node, reader));
    }
    if entry.node.is_unset() {
        let finding = Diagnostic::error("field.value", "`networks` is empty")
            .at(reader.place(&entry.node.span), "the rule would match nothing")
            .help("name a network, such as `198.18.0.0/16`");
        reader.report(finding);
    }
    Read::Translated(peers_of(&nets))
}

/// What stands for a rule that cannot be translated: one that denies or passes denies everything, one that allows is
/// left out (Calico `k8sClusterNetPolHandleFailedRules`).
fn closed(action: Action) -> Vec<Rule> {
    match action {
        Action::Deny | Action::Pass => vec![Rule::new(Action::Deny)],
        Action::Allow | Action::Log => Vec::new(),
    }
}

fn warn_of_closing(part: Untranslated, action: Action, reader: &mut Reader) {
    let Untranslated { what, at, help } = part;
    let (message, label) = match action {
        Action::Deny | Action::Pass => {
            (format!("{what} cannot be translated"), "so the rule denies everything, as in Calico")
        }
        Action::Allow | Action::Log => {
            (format!("{what} cannot be translated"), "so the rule allows nothing, as in Calico")
        }
    };
    reader.report(Diagnostic::warning("kubernetes.untranslated", message).at(at, label).help(help));
}
