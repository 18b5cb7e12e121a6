//! Evaluation order: tiers, then policies, each policy and direction a block of rules.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use super::position;
use crate::decision::Direction;
use crate::image::Plane;
use crate::resource::{Hook, Policy, PolicyKind, PolicySet, Profile, Rule, TierAction};

/// All blocks of policies in evaluation order; a block's position is its rank. Blocks of profiles stand behind them.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) blocks: Vec<Block<'a>>,
    /// For each tier of `PolicySet::tier_names`, and the tier of profiles behind them: whether its end denies.
    pub(super) tier_denies: Vec<bool>,
    /// For each policy: its tier.
    pub(super) policy_tiers: Vec<u32>,
    /// Whether any policy is staged.
    pub(super) has_staged: bool,
}

/// One policy, or profile, in one direction.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) tier: u32,
    /// Position in `PolicySet::policies`, or behind them in `PolicySet::profiles`.
    pub(super) policy: u32,
    pub(super) direction: Direction,
    pub(super) rules: &'a [Rule],
    /// Where it is asked; none for a profile.
    pub(super) hook: Option<Hook>,
    pub(super) planes: Planes,
}

/// In which evaluations a policy is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    pub(super) enforced: bool,
    pub(super) pending: bool,
}

impl Planes {
    pub(super) fn has(self, plane: Plane) -> bool {
        match plane {
            Plane::Enforced => self.enforced,
            Plane::Pending => self.pending,
        }
    }
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
        let replaced = replaced(set);
        let mut blocks = Vec::new();
        for (at, policy, _) in sorted {
            let tier = position(tier_of(policy));
            let planes = planes(policy, &replaced);
            let hook = Some(policy.hook);
            let mut add = |direction, rules| {
                let policy = position(at);
                blocks.push(Block { tier, policy, direction, rules, hook, planes });
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
            tier_denies: (0..names.len()).map(denies).chain([false]).collect(),
            policy_tiers: set.policies.iter().map(|policy| position(tier_of(policy))).collect(),
            has_staged: set.policies.iter().any(|policy| policy.staged.is_some()),
        }
    }

    /// Adds a block for a profile behind all others; returns its rank.
    pub(super) fn add_profile(
        &mut self,
        number: usize,
        profile: &'a Profile,
        direction: Direction,
    ) -> u32 {
        let rules = match direction {
            Direction::Ingress => &profile.ingress,
            Direction::Egress => &profile.egress,
        };
        let rank = position(self.blocks.len());
        self.blocks.push(Block {
            tier: position(self.tier_denies.len()).saturating_sub(1),
            policy: position(self.policy_tiers.len() + number),
            direction,
            rules,
            hook: None,
            planes: Planes { enforced: true, pending: true },
        });
        rank
    }

    pub(super) fn rule_count(&self) -> usize {
        self.blocks.iter().map(|block| block.rules.len()).sum()
    }

    /// The evaluations that differ: only one when nothing is staged.
    pub(super) fn planes(&self) -> &'static [Plane] {
        if self.has_staged { &[Plane::Enforced, Plane::Pending] } else { &[Plane::Enforced] }
    }
}

/// What names a policy, staged or not.
type Key<'a> = (PolicyKind, Option<&'a str>, &'a str);

fn key(policy: &Policy) -> Key<'_> {
    (policy.kind, policy.namespace.as_deref(), policy.name.as_str())
}

/// The policies that a staged one takes the place of in the pending evaluation.
fn replaced(set: &PolicySet) -> HashSet<Key<'_>> {
    set.policies.iter().filter(|policy| policy.staged.is_some()).map(key).collect()
}

fn planes(policy: &Policy, replaced: &HashSet<Key<'_>>) -> Planes {
    use crate::resource::StagedAction::{Delete, Set};
    match policy.staged {
        Some(Set) => Planes { enforced: false, pending: true },
        Some(Delete) => Planes { enforced: false, pending: false },
        None => Planes { enforced: true, pending: !replaced.contains(&key(policy)) },
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
