//! Evaluation order: tiers, then policies, each policy and direction a block of rules.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::position;
use crate::decision::Direction;
use crate::resource::{Policy, PolicySet, Rule, TierAction};

/// All blocks in evaluation order; a block's position is its rank.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) blocks: Vec<Block<'a>>,
    /// For each tier of `PolicySet::tier_names`: whether its end denies.
    pub(super) tier_denies: Vec<bool>,
    /// For each policy: its tier.
    pub(super) policy_tiers: Vec<u32>,
}

/// One policy in one direction.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) tier: u32,
    /// Position in `PolicySet::policies`.
    pub(super) policy: u32,
    pub(super) direction: Direction,
    pub(super) rules: &'a [Rule],
}

impl<'a> Order<'a> {
    pub(super) fn of(set: &'a PolicySet) -> Self {
        let names = set.tier_names();
        let numbers: BTreeMap<&str, usize> =
            names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let ranks = tier_ranks(set, &names);
        let tier_of =
            |policy: &Policy| numbers.get(policy.tier.as_str()).copied().unwrap_or_default();
        let mut sorted: Vec<(usize, &Policy, String)> = Vec::with_capacity(set.policies.len());
        sorted.extend(
            set.policies.iter().enumerate().map(|(at, policy)| (at, policy, policy.tie_break())),
        );
        sorted.sort_by(|(_, a, a_tie), (_, b, b_tie)| {
            let rank = |policy| ranks.get(tier_of(policy)).copied().unwrap_or(usize::MAX);
            rank(a)
                .cmp(&rank(b))
                .then_with(|| by_order(infinite(a.order), infinite(b.order)))
                .then_with(|| a_tie.cmp(b_tie))
        });
        let mut blocks = Vec::new();
        for (at, policy, _) in sorted {
            let tier = position(tier_of(policy));
            let mut add = |direction, rules| {
                blocks.push(Block { tier, policy: position(at), direction, rules });
            };
            if policy.applies_ingress {
                add(Direction::Ingress, policy.ingress.as_slice());
            }
            if policy.applies_egress {
                add(Direction::Egress, policy.egress.as_slice());
            }
        }
        let denies = |at: usize| {
            set.tiers.get(at).is_none_or(|tier| tier.default_action == TierAction::Deny)
        };
        Self {
            blocks,
            tier_denies: (0..names.len()).map(denies).collect(),
            policy_tiers: set.policies.iter().map(|policy| position(tier_of(policy))).collect(),
        }
    }

    pub(super) fn rule_count(&self) -> usize {
        self.blocks.iter().map(|block| block.rules.len()).sum()
    }
}

/// For each tier name its place in evaluation order: tiers that exist by order and name, then the missing ones by name
/// (Calico `policy_sorter.go:146-161`).
fn tier_ranks(set: &PolicySet, names: &[&str]) -> Vec<usize> {
    let mut sorted: Vec<usize> = (0..names.len()).collect();
    sorted.sort_by(|a, b| {
        let order = |at: usize| set.tiers.get(at).map(|tier| tier.order);
        let by_tier = match (order(*a), order(*b)) {
            (Some(a), Some(b)) => by_order(a, b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        by_tier.then_with(|| names.get(*a).cmp(&names.get(*b)))
    });
    let mut ranks = vec![0; names.len()];
    for (rank, tier) in sorted.into_iter().enumerate() {
        if let Some(slot) = ranks.get_mut(tier) {
            *slot = rank;
        }
    }
    ranks
}

/// A policy without order is like one of infinite order; they go by name.
fn infinite(order: Option<f64>) -> Option<f64> {
    order.or(Some(f64::INFINITY))
}

/// Ascending; none is last. Adding zero makes minus zero zero, as they are the same number to Calico.
fn by_order(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => (a + 0.0).total_cmp(&(b + 0.0)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}
