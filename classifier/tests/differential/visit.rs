//! What a trace visited, as rules of the policy set.

use classifier::decision::Checkpoint;
use classifier::image::{ResourceName, Trace};
use classifier::resource::{Policy, PolicySet, Rule};

use crate::compare::{Plane, rules_in};

/// One rule that was reached.
pub(crate) struct Visit<'a> {
    pub(crate) at: Checkpoint,
    pub(crate) rule: &'a Rule,
    pub(crate) matched: bool,
}

/// Every rule that a trace names; an error when there is no such rule in the evaluation.
pub(crate) fn visits<'a>(
    set: &'a PolicySet,
    plane: Plane,
    trace: &Trace<'_>,
) -> Result<Vec<Visit<'a>>, String> {
    let mut found = Vec::new();
    for half in &trace.halves {
        for tier in &half.tiers {
            for visited in &tier.policies {
                let owners = rules_of(set, plane, half.at, (tier.name, visited.name));
                let rules = match owners.as_slice() {
                    [] => return Err(format!("the trace names `{}`, not there", visited.name)),
                    [rules] => *rules,
                    [_, _, ..] => return Err(format!("two are called `{}`", visited.name)),
                };
                for told in &visited.rules {
                    let rule = rules.get(told.index as usize);
                    let rule = rule.ok_or("the trace names a rule that is not there")?;
                    let matched = told.mismatch.is_none();
                    found.push(Visit { at: half.at, rule, matched });
                }
            }
        }
    }
    Ok(found)
}

/// The rule lists of what has that tier and name in the evaluation.
fn rules_of<'a>(
    set: &'a PolicySet,
    plane: Plane,
    at: Checkpoint,
    (tier, of): (&str, ResourceName<'_>),
) -> Vec<&'a [Rule]> {
    if of.kind == "Profile" {
        let profiles = set.profiles.iter().filter(|profile| profile.name == of.name);
        return profiles.map(|p| rules_in(&p.ingress, &p.egress, at.direction())).collect();
    }
    let is_it =
        |policy: &&Policy| policy.tier == tier && is_called(policy, of) && plane.has(set, policy);
    let policies = set.policies.iter().filter(is_it);
    policies.map(|p| rules_in(&p.ingress, &p.egress, at.direction())).collect()
}

fn is_called(policy: &Policy, ResourceName { kind, namespace, name }: ResourceName<'_>) -> bool {
    let staged = kind.strip_prefix("Staged");
    policy.kind.name() == staged.unwrap_or(kind)
        && policy.staged.is_some() == staged.is_some()
        && policy.namespace.as_deref() == namespace
        && policy.name == name
}
