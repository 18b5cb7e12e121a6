//! What a trace visited, as rules of the policy set.

use classifier::decision::Checkpoint;
use classifier::image::Trace;
use classifier::resource::{Policy, PolicySet, Profile, Rule};

use crate::compare::{Plane, rules_in};

/// One rule that was reached.
pub(crate) struct Visit<'a> {
    pub(crate) at: Checkpoint,
    pub(crate) rule: &'a Rule,
    pub(crate) matched: bool,
}

/// Every rule that a trace names. A trace tells policies by tier and name: those that share both are left out.
pub(crate) fn visits<'a>(set: &'a PolicySet, plane: Plane, trace: &Trace<'_>) -> Vec<Visit<'a>> {
    let mut found = Vec::new();
    for half in &trace.halves {
        let direction = half.at.direction();
        for tier in &half.tiers {
            for visited in &tier.policies {
                let Some(owner) = owner(set, plane, tier.name, visited.name) else { continue };
                let rules = match owner {
                    Owner::Policy(policy) => rules_in(&policy.ingress, &policy.egress, direction),
                    Owner::Profile(profile) => {
                        rules_in(&profile.ingress, &profile.egress, direction)
                    }
                };
                found.extend(visited.rules.iter().map(|rule| Visit {
                    at: half.at,
                    matched: rule.mismatch.is_none(),
                    rule:
                        rules.get(rule.index as usize).expect("a trace names rules that are there"),
                }));
            }
        }
    }
    found
}

enum Owner<'a> {
    Policy(&'a Policy),
    Profile(&'a Profile),
}

fn owner<'a>(set: &'a PolicySet, plane: Plane, tier: &str, name: &str) -> Option<Owner<'a>> {
    if tier == "__PROFILE__" {
        return set.profiles.iter().find(|profile| profile.name == name).map(Owner::Profile);
    }
    let is_it =
        |policy: &&Policy| policy.tier == tier && policy.name == name && plane.has(set, policy);
    let mut policies = set.policies.iter().filter(is_it);
    let policy = policies.next().expect("a trace names policies that are there");
    policies.next().is_none().then_some(Owner::Policy(policy))
}
