//! Tiers, policies and rules in their order, until one decides.

use std::cmp::Ordering;

use crate::decision::{Direction, Reason, RuleRef, Verdict};
use crate::label::Labels;
use crate::resource::{Action, Hook, Policy, PolicySet, Profile, Rule, Tier, TierAction};

use super::rules::{rule_matches, selects};
use super::{Asked, number};

/// Which policies are asked, and for whom.
pub(super) struct Stage<'a> {
    /// Policies of these hooks.
    pub(super) hooks: &'a [Hook],
    /// Their rules of this direction.
    pub(super) direction: Direction,
    /// They must select one of these.
    pub(super) protected: Vec<&'a Labels>,
    /// What the end of a tier does.
    pub(super) end: End,
}

/// What happens at the end of a tier to packets that its policies did not decide.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum End {
    /// What the tier's default action says.
    OfTier,
    /// They pass on to the next tier (`event_sequencer.go:1163-1198`: untracked and preDNAT).
    Passes,
}

pub(super) enum Outcome {
    /// A rule decided, or the end of a tier.
    Decided(Verdict, Reason),
    /// Policies apply, and every tier of them passed the packet on.
    AllPassed,
    /// No policy applies.
    NoPolicy,
}

/// Tier by tier. Keeps the first `Log` rule that matched.
pub(super) fn walk(asked: &Asked<'_>, stage: &Stage<'_>, logged: &mut Option<RuleRef>) -> Outcome {
    let mut outcome = Outcome::NoPolicy;
    for tier in tiers_in_order(asked.set) {
        let policies = policies_in_order(asked, &tier, stage);
        if policies.is_empty() {
            continue;
        }
        outcome = Outcome::AllPassed;
        match walk_tier(asked, stage.direction, &policies, logged) {
            Some(Terminal::Allow(rule)) => {
                return Outcome::Decided(Verdict::Allow, Reason::Rule(rule));
            }
            Some(Terminal::Deny(rule)) => {
                return Outcome::Decided(Verdict::Deny, Reason::Rule(rule));
            }
            Some(Terminal::Pass(_)) => {}
            None => {
                if stage.end == End::OfTier && tier.default_action == TierAction::Deny {
                    let end = Reason::EndOfTier(tier_number(asked.set, &tier.name));
                    return Outcome::Decided(Verdict::Deny, end);
                }
            }
        }
    }
    outcome
}

/// The profiles of those names, in that order. A profile that passes denies: behind it there is nobody to pass to.
pub(super) fn walk_profiles(
    asked: &Asked<'_>,
    names: &[String],
    direction: Direction,
    logged: &mut Option<RuleRef>,
) -> Option<(Verdict, Reason)> {
    for name in names {
        for (position, profile) in asked.set.profiles.iter().enumerate() {
            if profile.name != *name {
                continue;
            }
            let behind_policies = number(asked.set.policies.len() + position);
            let rules = rules_of_profile(profile, direction);
            match walk_rules(asked, behind_policies, direction, rules, logged) {
                Some(Terminal::Allow(rule)) => return Some((Verdict::Allow, Reason::Rule(rule))),
                Some(Terminal::Deny(rule) | Terminal::Pass(rule)) => {
                    return Some((Verdict::Deny, Reason::Rule(rule)));
                }
                None => {}
            }
        }
    }
    None
}

/// A rule that matched and does not go on.
enum Terminal {
    Allow(RuleRef),
    Deny(RuleRef),
    Pass(RuleRef),
}

fn walk_tier(
    asked: &Asked<'_>,
    direction: Direction,
    policies: &[(usize, &Policy)],
    logged: &mut Option<RuleRef>,
) -> Option<Terminal> {
    policies.iter().find_map(|(position, policy)| {
        walk_rules(asked, number(*position), direction, rules_of(policy, direction), logged)
    })
}

fn walk_rules(
    asked: &Asked<'_>,
    policy: u32,
    direction: Direction,
    rules: &[Rule],
    logged: &mut Option<RuleRef>,
) -> Option<Terminal> {
    for (position, rule) in rules.iter().enumerate() {
        if !rule_matches(asked.set, asked.packet, rule) {
            continue;
        }
        let this = RuleRef { policy, direction, rule: number(position) };
        match rule.action {
            Action::Allow => return Some(Terminal::Allow(this)),
            Action::Deny => return Some(Terminal::Deny(this)),
            Action::Pass => return Some(Terminal::Pass(this)),
            Action::Log => *logged = logged.or(Some(this)),
        }
    }
    None
}

fn rules_of(policy: &Policy, direction: Direction) -> &[Rule] {
    match direction {
        Direction::Egress => &policy.egress,
        Direction::Ingress => &policy.ingress,
    }
}

fn rules_of_profile(profile: &Profile, direction: Direction) -> &[Rule] {
    match direction {
        Direction::Egress => &profile.egress,
        Direction::Ingress => &profile.ingress,
    }
}

/// Tiers that exist by order, without order last, ties by name; behind them the tiers that policies name and nobody made,
/// by name, with Deny at their end (`policy_sorter.go:146-161`, `policy_resolver.go:226-228`).
fn tiers_in_order(set: &PolicySet) -> Vec<Tier> {
    let mut tiers: Vec<Tier> = set.tiers.clone();
    tiers.sort_by(|a, b| by_tier_order(a, b).then_with(|| a.name.cmp(&b.name)));
    let mut missing: Vec<&str> = set.policies.iter().map(|policy| policy.tier.as_str()).collect();
    missing.retain(|name| set.tiers.iter().all(|tier| tier.name != *name));
    missing.sort_unstable();
    missing.dedup();
    for name in missing {
        let name = name.to_owned();
        tiers.push(Tier { name, order: None, default_action: TierAction::Deny });
    }
    tiers
}

fn by_tier_order(a: &Tier, b: &Tier) -> Ordering {
    match (a.order, b.order) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => by_number(a, b),
    }
}

/// As Go compares numbers: minus zero equals zero. Whoever checks resources has refused what is not a number.
fn by_number(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

fn tier_number(set: &PolicySet, name: &str) -> u32 {
    number(set.tier_names().iter().take_while(|other| **other != name).count())
}

/// The tier's policies that are asked, apply to the direction and select what is protected, by order, without order last,
/// ties by name (`policy_sorter.go:388-400`), each with its position in the set.
fn policies_in_order<'a>(
    asked: &Asked<'a>,
    tier: &Tier,
    stage: &Stage<'_>,
) -> Vec<(usize, &'a Policy)> {
    let applies = |(_, policy): &&(usize, &Policy)| {
        let in_direction = match stage.direction {
            Direction::Egress => policy.applies_egress,
            Direction::Ingress => policy.applies_ingress,
        };
        let selects = |labels: &&Labels| selects(policy.selector.expr(), labels);
        policy.tier == tier.name
            && in_direction
            && stage.hooks.contains(&policy.hook)
            && stage.protected.iter().any(selects)
    };
    let mut policies: Vec<_> = asked.policies.iter().filter(applies).copied().collect();
    policies.sort_by(|(_, a), (_, b)| {
        let order = |policy: &Policy| policy.order.unwrap_or(f64::INFINITY);
        by_number(order(a), order(b)).then_with(|| a.tie_break().cmp(&b.tie_break()))
    });
    policies
}
