//! Selectors that match nothing, or more than their author may think.

use std::collections::{BTreeSet, HashMap};

use classifier::resource::{Action, Hook, PolicySet};
use classifier::selector::{Expr, Selector};

use super::carriers::{Audience, Carriers};
use super::uses;
use crate::diagnostic::Diagnostic;
use crate::resolve::{Content, Resource, Resources, SelectorRole, SelectorUse};

/// Most times that selectors are asked about labels; beyond, the rest of the selectors is not looked at.
const EVALUATIONS_MAX: usize = 5_000_000;
/// Far more findings than are shown: who has that many has one mistake many times.
const FLOOD: usize = 2_000;

/// What selectors do with the objects and interfaces that there are.
pub(super) fn findings(resources: &Resources, set: &PolicySet) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let carriers = Carriers::of(set);
    let mut known: HashMap<(&Selector, Audience), Seen<'_>> = HashMap::new();
    let mut evaluations = 0;
    for resource in resources.iter() {
        for used in uses(resource).into_iter().flat_map(|uses| &uses.selectors) {
            let audience = audience(resource, used.role);
            let seen = known
                .entry((&used.selector, audience))
                .or_insert_with(|| Seen::of(&used.selector, audience, &carriers, &mut evaluations));
            findings.extend(seen.finding(used, audience));
            if findings.len() >= FLOOD {
                return findings;
            }
            if evaluations > EVALUATIONS_MAX {
                let message = "the policy is too large to look at every selector";
                let help = "selectors that match nothing are not all reported";
                findings.push(Diagnostic::warning("selector.not-looked-at", message).help(help));
                return findings;
            }
        }
    }
    findings
}

/// Whom a selector of the resource is asked about. What is judged before its way is known is judged at interfaces only.
fn audience(resource: &Resource, role: SelectorRole) -> Audience {
    let Content::Policy(policy) = &resource.content else { return Audience::Peers };
    match (role, policy.policy.hook) {
        (SelectorRole::Peer(_) | SelectorRole::NotPeer, _) => Audience::Peers,
        (SelectorRole::Protects, Hook::PreDnat | Hook::Untracked) => Audience::Interfaces,
        (SelectorRole::Protects, Hook::Forward | Hook::Normal) => Audience::Protected,
    }
}

/// What one selector does with those it is asked about.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    matches_any: bool,
    /// A label that the selector compares with `!=` or `not in`, and an object that matches without having it.
    unlabelled: Option<(&'a str, &'a str)>,
}

impl<'a> Seen<'a> {
    fn of(
        selector: &'a Selector,
        audience: Audience,
        carriers: &Carriers<'a>,
        evaluations: &mut usize,
    ) -> Self {
        let mut negated = BTreeSet::new();
        negated_labels(selector.expr(), &mut negated);
        let mut seen = Self { matches_any: false, unlabelled: None };
        for carrier in carriers.candidates(selector.expr()) {
            *evaluations += 1;
            if !carrier.is_in(audience) || !selector.matches(carrier.labels) {
                continue;
            }
            seen.matches_any = true;
            let missing = negated.iter().find(|label| carrier.labels.get(label).is_none());
            seen.unlabelled = missing.map(|label| (*label, carrier.name));
            if negated.is_empty() || seen.unlabelled.is_some() {
                break;
            }
        }
        seen
    }

    fn finding(&self, used: &SelectorUse, audience: Audience) -> Option<Diagnostic> {
        if !self.matches_any {
            return Some(matches_nothing(used, audience));
        }
        let (label, object) = self.unlabelled?;
        let message = format!("the selector also matches objects without the label `{label}`");
        let finding = Diagnostic::warning("selector.unlabelled", message)
            .at(used.at.clone(), format!("matches `{object}`, which has no `{label}`"))
            .help(format!("add `has({label}) &&` if that is not meant"));
        Some(finding)
    }
}

fn matches_nothing(used: &SelectorUse, audience: Audience) -> Diagnostic {
    let (message, help) = match (used.role, audience) {
        (SelectorRole::Protects, Audience::Interfaces) => (
            "the policy protects nothing",
            "`preDNAT` and `doNotTrack` judge at interfaces of the gateway itself: it needs a host endpoint with such \
             labels whose `node` is the name in `[gateway]` of `ravelin.toml`",
        ),
        (SelectorRole::Protects, Audience::Peers | Audience::Protected) => (
            "the policy protects nothing",
            "no object has such labels: correct the selector or the labels, unless the label comes later",
        ),
        (SelectorRole::Peer(Action::Deny), _) => (
            "this deny rule denies nothing",
            "no object has such labels, so what it should deny goes on to the next rule: correct it first",
        ),
        (SelectorRole::Peer(Action::Allow | Action::Log | Action::Pass), _) => (
            "this rule matches nothing",
            "no object has such labels: correct the selector or the labels",
        ),
        (SelectorRole::NotPeer, _) => (
            "this `notSelector` leaves nothing out",
            "no object has such labels, so every address passes this condition: correct it first",
        ),
    };
    let label = match audience {
        Audience::Interfaces => "matches no interface of the gateway",
        Audience::Peers | Audience::Protected => "matches no object",
    };
    Diagnostic::warning("selector.matches-nothing", message).at(used.at.clone(), label).help(help)
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
        | Expr::Contains(..)
        | Expr::EndsWith(..)
        | Expr::Equal(..)
        | Expr::Global
        | Expr::Has(_)
        | Expr::In(..)
        | Expr::StartsWith(..) => {}
    }
}
