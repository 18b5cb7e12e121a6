//! What is no mistake in one document but looks like one in the whole set. Warnings only.

use std::collections::{BTreeSet, HashMap};

use classifier::label::Labels;
use classifier::resource::{Action, PolicySet};
use classifier::selector::{Expr, Selector};

use crate::diagnostic::Diagnostic;
use crate::resolve::{
    Content, Gateway, NetworkSet, PolicyContent, Resource, Resources, SelectorRole, SelectorUse,
};

/// Most times a selector is asked about labels; beyond, the rest of the selectors is not looked at.
const EVALUATIONS_MAX: usize = 5_000_000;

/// Everything that is worth a look.
pub(super) fn findings(
    resources: &Resources,
    set: &PolicySet,
    _gateway: &Gateway,
) -> Vec<Diagnostic> {
    let mut findings: Vec<Diagnostic> = Vec::new();
    for resource in resources.iter() {
        if let Content::NetworkSet(set) = &resource.content {
            findings.extend(of_network_set(resource, set));
        }
        if let Content::Policy(policy) = &resource.content {
            findings.extend(unknown_tier(policy, set));
        }
    }
    findings.extend(of_selectors(resources, set));
    findings
}

fn of_network_set(resource: &Resource, set: &NetworkSet) -> Vec<Diagnostic> {
    let name = &resource.key.name;
    let mut findings = Vec::new();
    if set.nets.is_empty() {
        let finding = Diagnostic::warning("object.empty", format!("`{name}` covers no address"))
            .at(resource.at.clone(), "no address")
            .help(
                "add `nets` or a `list`; until then it protects nothing and rules never match it",
            );
        findings.push(finding);
    }
    if let Some(net) = set.nets.iter().find(|net| net.prefix_len() == 0) {
        let message = format!("`{name}` covers every address of its family: it holds `{net}`");
        let finding = Diagnostic::warning("object.everything", message)
            .at(resource.at.clone(), "covers everything")
            .help("if any address is meant, a rule without `selector` says so too");
        findings.push(finding);
    }
    findings
}

/// Calico enforces such a policy after all tiers and denies at its end (policy model, Q2).
fn unknown_tier(policy: &PolicyContent, set: &PolicySet) -> Option<Diagnostic> {
    let at = policy.tier_at.as_ref()?;
    let name = &policy.policy.tier;
    if set.tiers.iter().any(|tier| tier.name == *name) {
        return None;
    }
    let message = format!("there is no tier `{name}`");
    let finding = Diagnostic::warning("tier.unknown", message)
        .at(at.clone(), "enforced after all tiers, and what it does not decide is denied")
        .help(format!("add a tier `{name}` with its `order`, or correct the name"));
    Some(finding)
}

/// What selectors do with the objects and interfaces that there are.
fn of_selectors(resources: &Resources, set: &PolicySet) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let carriers = carriers(set);
    let mut known: HashMap<&Selector, Seen<'_>> = HashMap::new();
    for used in resources.contents_of_policies().flat_map(|policy| &policy.selectors) {
        if known.len().saturating_mul(carriers.len()) > EVALUATIONS_MAX {
            let message = "the policy is too large to look at every selector";
            let help = "selectors that match nothing are not all reported";
            findings.push(Diagnostic::warning("selector.not-looked-at", message).help(help));
            break;
        }
        let seen =
            known.entry(&used.selector).or_insert_with(|| Seen::of(&used.selector, &carriers));
        findings.extend(seen.finding(used));
    }
    findings
}

/// Something that a selector can match.
#[derive(Clone, Copy, Debug)]
struct Carrier<'a> {
    name: &'a str,
    labels: &'a Labels,
}

/// Everything that a selector can match. What is an interface and a peer has the same labels as both.
fn carriers(set: &PolicySet) -> Vec<Carrier<'_>> {
    let objects = set.objects.iter().filter(|object| !object.peer_only);
    let objects = objects.map(|object| Carrier { name: &object.name, labels: &object.labels });
    let interfaces = set.interfaces.iter();
    let interfaces = interfaces.map(|own| Carrier { name: &own.name, labels: &own.labels });
    objects.chain(interfaces).collect()
}

/// What one selector does with the objects of the set.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    matches_any: bool,
    /// A label that the selector compares with `!=` or `not in`, and an object that matches without having it.
    unlabelled: Option<(&'a str, &'a str)>,
}

impl<'a> Seen<'a> {
    fn of(selector: &'a Selector, carriers: &[Carrier<'a>]) -> Self {
        let mut negated = BTreeSet::new();
        negated_labels(selector.expr(), &mut negated);
        let mut matching = carriers.iter().filter(|carrier| selector.matches(carrier.labels));
        if negated.is_empty() {
            return Self { matches_any: matching.next().is_some(), unlabelled: None };
        }
        let mut seen = Self { matches_any: false, unlabelled: None };
        for carrier in matching {
            seen.matches_any = true;
            let missing = negated.iter().find(|label| carrier.labels.get(label).is_none());
            if let Some(label) = missing {
                seen.unlabelled = Some((label, carrier.name));
                break;
            }
        }
        seen
    }

    fn finding(&self, used: &SelectorUse) -> Option<Diagnostic> {
        if !self.matches_any {
            return Some(matches_nothing(used));
        }
        let (label, object) = self.unlabelled?;
        let message = format!("the selector also matches objects without the label `{label}`");
        let finding = Diagnostic::warning("selector.unlabelled", message)
            .at(used.at.clone(), format!("matches `{object}`, which has no `{label}`"))
            .help(format!("add `has({label}) &&` if that is not meant"));
        Some(finding)
    }
}

fn matches_nothing(used: &SelectorUse) -> Diagnostic {
    let (message, help) = match used.role {
        SelectorRole::Protects => (
            "the policy protects nothing",
            "no object has such labels: correct the selector or the labels, unless the label comes later",
        ),
        SelectorRole::Peer(Action::Deny) => (
            "this deny rule denies nothing",
            "no object has such labels, so what it should deny goes on to the next rule: correct it first",
        ),
        SelectorRole::Peer(Action::Allow | Action::Log | Action::Pass) => (
            "this rule matches nothing",
            "no object has such labels: correct the selector or the labels",
        ),
        SelectorRole::NotPeer => (
            "this `notSelector` leaves nothing out",
            "no object has such labels, so every address passes this condition: correct it first",
        ),
    };
    Diagnostic::warning("selector.matches-nothing", message)
        .at(used.at.clone(), "matches no object")
        .help(help)
}

/// Labels that the expression compares with `!=` or `not in`.
fn negated_labels<'a>(expr: &'a Expr, labels: &mut BTreeSet<&'a str>) {
    match expr {
        Expr::NotEqual(label, _) | Expr::NotIn(label, _) => {
            labels.insert(label);
        }
        Expr::Not(inner) => negated_labels(inner, labels),
        Expr::And(operands) | Expr::Or(operands) => {
            for operand in operands {
                negated_labels(operand, labels);
            }
        }
        Expr::All
        | Expr::Global
        | Expr::Has(_)
        | Expr::Equal(..)
        | Expr::Contains(..)
        | Expr::StartsWith(..)
        | Expr::EndsWith(..)
        | Expr::In(..) => {}
    }
}
