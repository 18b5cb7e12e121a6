//! Content: what is true of an address because something covers it.

use super::order::Order;
use super::position;
use super::sets::MatchSets;
use crate::decision::Direction;
use crate::resource::PolicySet;

/// What one object contributes, or, after a union, what a class of addresses has. Lists are sorted and without repeats.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Content {
    /// Some object covers the address.
    pub(super) covered: bool,
    /// Match sets it belongs to.
    pub(super) sets: Vec<u32>,
    /// Ranks of the blocks that protect it from what comes in.
    pub(super) ingress: Vec<u32>,
    /// Ranks of the blocks that restrict what it sends.
    pub(super) egress: Vec<u32>,
}

impl Content {
    /// The content of an address that both cover. Never a merge of labels: both were evaluated on their own.
    pub(super) fn union(&self, other: &Self) -> Self {
        Self {
            covered: self.covered || other.covered,
            sets: merge(&self.sets, &other.sets),
            ingress: merge(&self.ingress, &other.ingress),
            egress: merge(&self.egress, &other.egress),
        }
    }
}

/// What each object contributes, in the order of `PolicySet::objects`.
pub(super) fn of_objects(set: &PolicySet, order: &Order<'_>, sets: &MatchSets<'_>) -> Vec<Content> {
    let of = |object: &crate::resource::Object| {
        let mut content = Content { covered: true, ..Content::default() };
        let definitions = sets.definitions.iter().enumerate();
        content.sets.extend(
            definitions
                .filter(|(_, set)| set.holds_object(&object.labels))
                .map(|(at, _)| position(at)),
        );
        let selects: Vec<bool> =
            set.policies.iter().map(|policy| policy.selector.matches(&object.labels)).collect();
        for (rank, block) in order.blocks.iter().enumerate() {
            if selects.get(block.policy as usize) == Some(&true) {
                match block.direction {
                    Direction::Ingress => content.ingress.push(position(rank)),
                    Direction::Egress => content.egress.push(position(rank)),
                }
            }
        }
        content
    };
    set.objects.iter().map(of).collect()
}

fn merge(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut merged = [a, b].concat();
    merged.sort_unstable();
    merged.dedup();
    merged
}
