//! What is no mistake in one document but looks like one in the whole set. Warnings only.

use std::collections::{BTreeSet, HashMap};

use classifier::resource::{Action, Tier};
use classifier::selector::{Expr, Selector};

use crate::diagnostic::Diagnostic;
use crate::document::{DocumentObject, DocumentPolicy, SelectorRole, SelectorUse};

/// Most times a selector is asked about an object; beyond, the rest of the selectors is not looked at.
const EVALUATIONS_MAX: usize = 5_000_000;

/// Everything that is worth a look.
pub(super) fn findings(
    policies: &[DocumentPolicy],
    objects: &[DocumentObject],
    tiers: &[Tier],
) -> Vec<Diagnostic> {
    let mut findings: Vec<Diagnostic> = objects.iter().flat_map(of_object).collect();
    findings.extend(policies.iter().filter_map(|policy| unknown_tier(policy, tiers)));
    let mut known: HashMap<&Selector, Seen<'_>> = HashMap::new();
    for used in policies.iter().flat_map(|policy| &policy.selectors) {
        if known.len().saturating_mul(objects.len()) > EVALUATIONS_MAX {
            let message = "the policy is too large to look at every selector";
            let help = "selectors that match nothing are not all reported";
            findings.push(Diagnostic::warning("selector.not-looked-at", message).help(help));
            break;
        }
        let seen = known.entry(&used.selector).or_insert_with(|| Seen::of(&used.selector, objects));
        findings.extend(seen.finding(used));
    }
    findings
}

fn of_object(object: &DocumentObject) -> Vec<Diagnostic> {
    let name = &object.object.name;
    let mut findings = Vec::new();
    if object.object.nets.is_empty() {
        let finding = Diagnostic::warning("object.empty", format!("`{name}` covers no address"))
            .at(object.name_at.clone(), "no address")
            .help(
                "add `nets` or a `list`; until then it protects nothing and rules never match it",
            );
        findings.push(finding);
    }
    if let Some(net) = object.object.nets.iter().find(|net| net.prefix_len() == 0) {
        let message = format!("`{name}` covers every address of its family: it holds `{net}`");
        let finding = Diagnostic::warning("object.everything", message)
            .at(object.name_at.clone(), "covers everything")
            .help("if any address is meant, a rule without `selector` says so too");
        findings.push(finding);
    }
    findings
}

/// Calico enforces such a policy after all tiers and denies at its end (policy model, Q2).
fn unknown_tier(policy: &DocumentPolicy, tiers: &[Tier]) -> Option<Diagnostic> {
    let at = policy.tier_at.as_ref()?;
    let name = &policy.policy.tier;
    if tiers.iter().any(|tier| tier.name == *name) {
        return None;
    }
    let message = format!("there is no tier `{name}`");
    let finding = Diagnostic::warning("tier.unknown", message)
        .at(at.clone(), "enforced after all tiers, and what it does not decide is denied")
        .help(format!("add a tier `{name}` with its `order`, or correct the name"));
    Some(finding)
}

/// What one selector does with the objects of the set.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    matches_any: bool,
    /// A label that the selector compares with `!=` or `not in`, and an object that matches without having it.
    unlabelled: Option<(&'a str, &'a str)>,
}

impl<'a> Seen<'a> {
    fn of(selector: &'a Selector, objects: &'a [DocumentObject]) -> Self {
        let mut negated = BTreeSet::new();
        negated_labels(selector.expr(), &mut negated);
        let mut matching =
            objects.iter().map(|object| &object.object).filter(|o| selector.matches(&o.labels));
        if negated.is_empty() {
            return Self { matches_any: matching.next().is_some(), unlabelled: None };
        }
        let mut seen = Self { matches_any: false, unlabelled: None };
        for object in matching {
            seen.matches_any = true;
            let missing = negated.iter().find(|label| object.labels.get(label).is_none());
            if let Some(label) = missing {
                seen.unlabelled = Some((label, &object.name));
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
