//! What the image says otherwise than the reference.

use classifier::decision::{Decision, Direction, Half, Reason, RuleRef};
use classifier::image::{Trace, View};
use classifier::packet::{Crossing, PacketKey};
use classifier::reference;
use classifier::resource::{Action, Policy, PolicySet, Rule, StagedAction};

use crate::visit::{Visit, visits};

/// Which of the two evaluations.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Plane {
    Enforced,
    Pending,
}

impl Plane {
    pub(crate) const ALL: [Self; 2] = [Self::Enforced, Self::Pending];

    pub(crate) fn expected(
        self,
        set: &PolicySet,
        packet: &PacketKey,
        crossing: Crossing,
    ) -> Decision {
        match self {
            Self::Enforced => reference::evaluate(set, packet, crossing),
            Self::Pending => reference::evaluate_pending(set, packet, crossing),
        }
    }

    pub(crate) fn decided(
        self,
        view: &View<'_>,
        packet: &PacketKey,
        crossing: Crossing,
    ) -> Decision {
        match self {
            Self::Enforced => view.classify(packet, crossing),
            Self::Pending => view.classify_pending(packet, crossing),
        }
    }

    fn trace<'a>(self, view: &View<'a>, packet: &PacketKey, crossing: Crossing) -> Trace<'a> {
        match self {
            Self::Enforced => view.trace(packet, crossing),
            Self::Pending => view.trace_pending(packet, crossing),
        }
    }

    /// Whether the policy is there in this evaluation.
    pub(crate) fn has(self, set: &PolicySet, policy: &Policy) -> bool {
        match (self, policy.staged) {
            (Self::Enforced, staged) => staged.is_none(),
            (Self::Pending, Some(action)) => action == StagedAction::Set,
            (Self::Pending, None) => staged_twin(set, policy).is_none(),
        }
    }
}

/// The staged policy that takes the place of this enforced one.
pub(crate) fn staged_twin<'a>(set: &'a PolicySet, policy: &Policy) -> Option<&'a Policy> {
    let key = |policy: &Policy| (policy.kind, policy.namespace.clone(), policy.name.clone());
    let mut staged = set.policies.iter().filter(|other| other.staged.is_some());
    staged.find(|other| key(other) == key(policy))
}

/// A decision that is right, and what was visited for it.
pub(crate) struct Judged<'a> {
    pub(crate) decision: Decision,
    pub(crate) visits: Vec<Visit<'a>>,
}

/// One evaluation of one packet.
pub(crate) fn compare<'a>(
    set: &'a PolicySet,
    view: &View<'_>,
    packet: &PacketKey,
    crossing: Crossing,
    plane: Plane,
) -> Result<Judged<'a>, String> {
    let decision = plane.expected(set, packet, crossing);
    let decided = plane.decided(view, packet, crossing);
    if decided != decision {
        return Err(format!("another {plane:?} decision"));
    }
    let trace = plane.trace(view, packet, crossing);
    if trace.decision != decision {
        return Err(format!("another {plane:?} decision in the trace"));
    }
    let halves = trace.halves.iter().map(|half| (half.at, half.half));
    if !halves.eq(decision.halves()) {
        return Err(format!("other {plane:?} checkpoints in the trace"));
    }
    for (_, half) in decision.halves() {
        if !names_half(set, view, half) {
            return Err(format!("wrong names for {half:?}"));
        }
    }
    if !view.has_pending() && view.classify(packet, crossing) != decision {
        return Err("nothing is pending, and what is differs".to_owned());
    }
    let visits = visits(set, plane, &trace)?;
    for Visit { rule, matched, .. } in &visits {
        if *matched != reference::rule_matches(set, packet, rule) {
            return Err(format!("the {plane:?} trace says matched: {matched} of {rule:?}"));
        }
    }
    Ok(Judged { decision, visits })
}

fn names_half(set: &PolicySet, view: &View<'_>, half: Half) -> bool {
    let named = match half.reason {
        Reason::Rule(rule) => names_rule(set, view, rule),
        Reason::EndOfTier(tier) => {
            view.tier_name(tier) == set.tier_names().get(tier as usize).copied()
        }
        Reason::NoTierDecided
        | Reason::Unselected
        | Reason::Uncovered
        | Reason::NoForwardPolicy
        | Reason::NoProfile => true,
    };
    named && half.logged.is_none_or(|rule| names_rule(set, view, rule))
}

/// Whether the image calls the rule what the policy set calls it.
fn names_rule(set: &PolicySet, view: &View<'_>, rule: RuleRef) -> bool {
    let Some(info) = view.rule(rule) else { return false };
    let Some((named, found)) = find_rule(set, rule) else { return false };
    let staged = |policy: &Policy| if policy.staged.is_some() { "Staged" } else { "" };
    let name = match named {
        Named::Policy(policy) => {
            let kind = format!("{}{}", staged(policy), policy.kind.name());
            info.tier == policy.tier
                && info.kind == kind
                && info.namespace == policy.namespace.as_deref()
                && info.policy == policy.name
                && info.action == found.action
        }
        // A profile that passes denies, and is said to.
        Named::Profile(name) => {
            info.kind == "Profile"
                && info.namespace.is_none()
                && info.policy == name
                && (info.action == found.action || found.action == Action::Pass)
        }
    };
    name && (info.direction, info.rule) == (rule.direction, rule.rule)
}

/// Whose a rule is.
#[derive(Clone, Copy)]
pub(crate) enum Named<'a> {
    Policy(&'a Policy),
    Profile(&'a str),
}

/// The rule that a decision points to.
pub(crate) fn find_rule(set: &PolicySet, rule: RuleRef) -> Option<(Named<'_>, &Rule)> {
    let position = rule.policy as usize;
    if let Some(policy) = set.policies.get(position) {
        let rules = rules_in(&policy.ingress, &policy.egress, rule.direction);
        return Some((Named::Policy(policy), rules.get(rule.rule as usize)?));
    }
    let profile = set.profiles.get(position - set.policies.len())?;
    let rules = rules_in(&profile.ingress, &profile.egress, rule.direction);
    Some((Named::Profile(&profile.name), rules.get(rule.rule as usize)?))
}

/// The list of a direction.
pub(crate) fn rules_in<'a>(
    ingress: &'a [Rule],
    egress: &'a [Rule],
    direction: Direction,
) -> &'a [Rule] {
    match direction {
        Direction::Egress => egress,
        Direction::Ingress => ingress,
    }
}
