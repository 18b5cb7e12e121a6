//! What the policy language means, said as plainly as possible: the specification in code.
//!
//! Every packet walks every object, tier, policy and rule in order. Nothing is indexed, prepared or remembered, and
//! nothing is shared with the compiler: the compiler is right when it answers as this does.
//!
//! 1. `transit`: the checkpoints on a packet's way, and what is asked at the gateway's own interfaces.
//! 2. `protection`: what is asked for things behind the gateway.
//! 3. `tiers`: tiers, policies and rules in their order, until one decides.
//! 4. `rules`, `ports`: when a rule matches.
//!
//! The numbers in brackets are points of the gateway's policy model, Calico's files are at `87c15906`.

mod ports;
mod protection;
mod rules;
#[cfg(test)]
mod tests;
mod tiers;
mod transit;

use std::net::IpAddr;

use crate::decision::Decision;
use crate::packet::{Crossing, PacketKey};
use crate::resource::{Object, Policy, PolicySet, Rule, StagedAction};

/// The answer for a packet that crosses the gateway that way, by what is enforced. Staged policies are as if they were
/// not there: a tier that has no other has no end.
pub fn evaluate(set: &PolicySet, packet: &PacketKey, crossing: Crossing) -> Decision {
    let policies = numbered(set).filter(|(_, policy)| policy.staged.is_none()).collect();
    transit::decide(&Asked { set, packet, policies }, crossing)
}

/// The answer if every staged policy had been applied: what is set is there, and an enforced policy that a staged one
/// sets anew or deletes is not.
pub fn evaluate_pending(set: &PolicySet, packet: &PacketKey, crossing: Crossing) -> Decision {
    let policies = numbered(set).filter(|(_, policy)| match policy.staged {
        Some(StagedAction::Set) => true,
        Some(StagedAction::Delete) => false,
        None => !set.policies.iter().any(|other| other.staged.is_some() && is_of(policy, other)),
    });
    transit::decide(&Asked { set, packet, policies: policies.collect() }, crossing)
}

/// Whether a rule matches a packet: every field that is present does.
#[must_use]
pub fn rule_matches(set: &PolicySet, packet: &PacketKey, rule: &Rule) -> bool {
    rules::rule_matches(set, packet, rule)
}

/// A question: a packet, and the policies that judge it, each with its position in the set.
struct Asked<'a> {
    set: &'a PolicySet,
    packet: &'a PacketKey,
    policies: Vec<(usize, &'a Policy)>,
}

fn numbered(set: &PolicySet) -> impl Iterator<Item = (usize, &Policy)> {
    set.policies.iter().enumerate()
}

/// Whether both are the same policy, enforced and staged.
fn is_of(policy: &Policy, other: &Policy) -> bool {
    (policy.kind, &policy.namespace, &policy.name) == (other.kind, &other.namespace, &other.name)
}

/// Every object that has the address, narrow or wide: none shadows another (3, 4).
fn covering(set: &PolicySet, address: IpAddr) -> Vec<&Object> {
    let covers = |object: &&Object| object.nets.iter().any(|net| net.contains(&address));
    set.objects.iter().filter(covers).collect()
}

/// Positions in decisions are 32 bits wide; a set that large does not fit into memory.
fn number(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
