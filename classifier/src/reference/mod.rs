//! What the policy language means, said as plainly as possible: the specification in code.
//!
//! Every packet walks every object, tier, policy and rule in order. Nothing is indexed, prepared or remembered, and
//! nothing is shared with the compiler: the compiler is right when it answers as this does.
//!
//! The numbers in brackets are points of the gateway's policy model, Calico's files are at `87c15906`.

mod rules;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::decision::{Decision, Direction, Half, Reason, RuleRef, Verdict};
use crate::packet::{Crossing, PacketKey};
use crate::resource::{Action, Object, Policy, PolicySet, Rule, Tier, TierAction};

/// The answer for a packet that crosses the gateway that way.
///
/// A packet from inside is asked of the egress rules of what covers its source, then, if they allow, a packet to inside
/// of the ingress rules of what covers its destination (6).
pub fn evaluate(set: &PolicySet, packet: &PacketKey, crossing: Crossing) -> Decision {
    let mut decision = Decision::NOTHING_APPLIES;
    if crossing.from.is_inside() {
        let half = evaluate_direction(set, packet, Direction::Egress);
        decision.egress = Some(half);
        if half.verdict == Verdict::Deny {
            return decision;
        }
    }
    if crossing.to.is_inside() {
        decision.ingress = Some(evaluate_direction(set, packet, Direction::Ingress));
    }
    decision
}

/// Whether a rule matches a packet: every field that is present does.
#[must_use]
pub fn rule_matches(set: &PolicySet, packet: &PacketKey, rule: &Rule) -> bool {
    rules::rule_matches(set, packet, rule)
}

fn evaluate_direction(set: &PolicySet, packet: &PacketKey, direction: Direction) -> Half {
    let protected = match direction {
        Direction::Egress => packet.src,
        Direction::Ingress => packet.dst,
    };
    let covering = covering(set, protected);
    if covering.is_empty() {
        return by_default(Reason::Uncovered, set.defaults.allow_uncovered);
    }
    let mut anything_applies = false;
    let mut logged = None;
    for (tier_number, tier) in tiers_in_order(set) {
        let policies = policies_in_order(set, &tier, direction, &covering);
        if policies.is_empty() {
            continue;
        }
        anything_applies = true;
        match walk_tier(set, packet, direction, &policies, &mut logged) {
            Outcome::Decided(verdict, rule) => {
                return Half { verdict, reason: Reason::Rule(rule), logged };
            }
            Outcome::Passed => {}
            Outcome::Undecided => match tier.default_action {
                TierAction::Pass => {}
                TierAction::Deny => {
                    let reason = Reason::EndOfTier(tier_number);
                    return Half { verdict: Verdict::Deny, reason, logged };
                }
            },
        }
    }
    if anything_applies {
        Half { verdict: Verdict::Deny, reason: Reason::NoTierDecided, logged }
    } else {
        by_default(Reason::Unselected, set.defaults.allow_unselected)
    }
}

/// Where no policy speaks, the administrator's default does (7).
fn by_default(reason: Reason, allowed: bool) -> Half {
    let verdict = if allowed { Verdict::Allow } else { Verdict::Deny };
    Half { verdict, reason, logged: None }
}

/// Every object that has the address, narrow or wide: none shadows another (3, 4).
fn covering(set: &PolicySet, address: IpAddr) -> Vec<&Object> {
    let covers = |object: &&Object| object.nets.iter().any(|net| net.contains(&address));
    set.objects.iter().filter(covers).collect()
}

/// Tiers that exist by order, without order last, ties by name; behind them the tiers that policies name and nobody made,
/// by name, with Deny at their end (`policy_sorter.go:146-161`, `policy_resolver.go:226-228`).
fn tiers_in_order(set: &PolicySet) -> Vec<(u32, Tier)> {
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
    tiers.into_iter().map(|tier| (tier_number(set, &tier.name), tier)).collect()
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

/// The tier's policies that apply to the direction and select one of the covering objects, by order, without order last,
/// ties by name (`policy_sorter.go:388-400`), each with its position in the set.
fn policies_in_order<'a>(
    set: &'a PolicySet,
    tier: &Tier,
    direction: Direction,
    covering: &[&Object],
) -> Vec<(usize, &'a Policy)> {
    let applies = |(_, policy): &(usize, &Policy)| {
        let in_direction = match direction {
            Direction::Egress => policy.applies_egress,
            Direction::Ingress => policy.applies_ingress,
        };
        let selects = |object: &&Object| rules::selects(policy.selector.expr(), &object.labels);
        policy.tier == tier.name && in_direction && covering.iter().any(selects)
    };
    let mut policies: Vec<_> = set.policies.iter().enumerate().filter(applies).collect();
    policies.sort_by(|(_, a), (_, b)| {
        let order = |policy: &Policy| policy.order.unwrap_or(f64::INFINITY);
        by_number(order(a), order(b)).then_with(|| a.tie_break().cmp(&b.tie_break()))
    });
    policies
}

enum Outcome {
    /// A rule allowed or denied.
    Decided(Verdict, RuleRef),
    /// A rule passed the packet to the next tier.
    Passed,
    /// No rule did either.
    Undecided,
}

/// One tier: rule by rule until one ends it. Keeps the first `Log` rule that matched.
fn walk_tier(
    set: &PolicySet,
    packet: &PacketKey,
    direction: Direction,
    policies: &[(usize, &Policy)],
    logged: &mut Option<RuleRef>,
) -> Outcome {
    for (policy_number, policy) in policies {
        for (rule_number, rule) in rules_of(policy, direction).iter().enumerate() {
            if !rule_matches(set, packet, rule) {
                continue;
            }
            let policy = number(*policy_number);
            let this = RuleRef { policy, direction, rule: number(rule_number) };
            match rule.action {
                Action::Allow => return Outcome::Decided(Verdict::Allow, this),
                Action::Deny => return Outcome::Decided(Verdict::Deny, this),
                Action::Pass => return Outcome::Passed,
                Action::Log => *logged = logged.or(Some(this)),
            }
        }
    }
    Outcome::Undecided
}

fn rules_of(policy: &Policy, direction: Direction) -> &[Rule] {
    match direction {
        Direction::Egress => &policy.egress,
        Direction::Ingress => &policy.ingress,
    }
}

/// Positions in decisions are 32 bits wide; a set that large does not fit into memory.
fn number(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
