//! Content: what is true of an address because something covers it.

use std::collections::HashMap;

use super::order::{Block, Order};
use super::position;
use super::select::SelectorIndex;
use super::set_lists::merge;
use super::sets::{Definition, Filter, MatchSets};
use crate::decision::Direction;
use crate::image::Plane;
use crate::label::Labels;
use crate::resource::{Hook, NamedPort, Object, PolicySet};

/// What one object, or several with the same prefix, contribute. Lists are sorted and without repeats.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Content {
    /// Some object that can be protected covers the address.
    pub(super) covered: bool,
    /// Match sets it belongs to.
    pub(super) sets: Vec<u32>,
    pub(super) enforced: Protection,
    /// Empty when nothing is staged: then it is as `enforced`.
    pub(super) pending: Protection,
}

/// What protects an address in one evaluation.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Protection {
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
            enforced: self.enforced.union(&other.enforced),
            pending: self.pending.union(&other.pending),
        }
    }
}

impl Protection {
    pub(super) fn union(&self, other: &Self) -> Self {
        Self {
            ingress: merge(&self.ingress, &other.ingress),
            egress: merge(&self.egress, &other.egress),
        }
    }
}

/// What each object contributes, in the order of `PolicySet::objects`.
pub(super) fn of_objects<'a>(
    set: &'a PolicySet,
    order: &Order<'_>,
    sets: &MatchSets<'_>,
) -> Vec<Content> {
    let protections = Protections::of(set, order);
    let memberships = Memberships::of(sets);
    let mut known: HashMap<&'a Labels, (Vec<u32>, [Protection; 2])> = HashMap::new();
    let of = |object: &'a Object| {
        let Object { labels, peer_only, .. } = object;
        let (sets, protections) = known
            .entry(labels)
            .or_insert_with(|| (memberships.by_labels(labels), protections.of_labels(labels)));
        let [enforced, pending] = if *peer_only { Default::default() } else { protections.clone() };
        let sets = merge(sets, &memberships.by_ports(object));
        Content { covered: !peer_only, sets, enforced, pending }
    };
    set.objects.iter().map(of).collect()
}

/// Which blocks protect an object.
struct Protections<'a> {
    index: SelectorIndex<'a>,
    /// For each policy its blocks, with their ranks.
    blocks: Vec<Vec<(u32, &'a Block<'a>)>>,
    planes: &'static [Plane],
}

impl<'a> Protections<'a> {
    fn of(set: &'a PolicySet, order: &'a Order<'a>) -> Self {
        let mut blocks = vec![Vec::new(); set.policies.len()];
        for (rank, block) in (0..).zip(&order.blocks) {
            let protects = matches!(block.hook, Some(Hook::Normal | Hook::Forward));
            if let Some(slot) = blocks.get_mut(block.policy as usize).filter(|_| protects) {
                slot.push((rank, block));
            }
        }
        let index = SelectorIndex::of(set.policies.iter().map(|policy| &policy.selector));
        Self { index, blocks, planes: order.planes() }
    }

    fn of_labels(&self, labels: &Labels) -> [Protection; 2] {
        let mut protections = [Protection::default(), Protection::default()];
        for policy in self.index.matching(labels) {
            for (rank, block) in self.blocks.get(policy as usize).into_iter().flatten() {
                for (plane, protection) in self.planes.iter().zip(&mut protections) {
                    if block.planes.has(*plane) {
                        match block.direction {
                            Direction::Ingress => protection.ingress.push(*rank),
                            Direction::Egress => protection.egress.push(*rank),
                        }
                    }
                }
            }
        }
        for protection in &mut protections {
            protection.ingress.sort_unstable();
            protection.egress.sort_unstable();
        }
        protections
    }
}

/// Which match sets the addresses of an object belong to because it covers them.
struct Memberships<'a> {
    index: SelectorIndex<'a>,
    /// For each selector of the index: the number of its set, and what the object must not match.
    filters: Vec<NumberedFilter<'a>>,
    /// For each name, protocol and port: the sets that ask for it, and of which objects.
    by_port: HashMap<(&'a str, u8, u16), Vec<NumberedFilter<'a>>>,
}

/// The number of a match set, and which objects put addresses into it.
type NumberedFilter<'a> = (u32, Filter<'a>);

impl<'a> Memberships<'a> {
    fn of(sets: &'a MatchSets<'a>) -> Self {
        let mut filters = Vec::new();
        let mut selectors = Vec::new();
        let mut by_port: HashMap<_, Vec<_>> = HashMap::new();
        for (at, definition) in sets.definitions.iter().enumerate() {
            match definition {
                Definition::Objects(filter) => {
                    selectors.extend(filter.positive);
                    filters.push((position(at), *filter));
                }
                Definition::NamedPort { filter, names, protocol, port } => {
                    for name in *names {
                        let key = (name.as_str(), *protocol, *port);
                        by_port.entry(key).or_default().push((position(at), *filter));
                    }
                }
                Definition::Nets(_) => {}
            }
        }
        Self { index: SelectorIndex::of(selectors), filters, by_port }
    }

    fn by_labels(&self, labels: &Labels) -> Vec<u32> {
        let matching = self.index.matching(labels).into_iter();
        let filters = matching.filter_map(|number| self.filters.get(number as usize));
        let lets_in = |filter: &Filter<'_>| !filter.negative.is_some_and(|s| s.matches(labels));
        let mut sets: Vec<u32> =
            filters.filter(|(_, filter)| lets_in(filter)).map(|(set, _)| *set).collect();
        sets.sort_unstable();
        sets
    }

    fn by_ports(&self, object: &Object) -> Vec<u32> {
        let mut sets = Vec::new();
        for NamedPort { name, protocol, port } in &object.ports {
            let asked = self.by_port.get(&(name.as_str(), *protocol, *port));
            let lets_in = |(_, filter): &&NumberedFilter<'_>| filter.lets_in(object);
            sets.extend(asked.into_iter().flatten().filter(lets_in).map(|(set, _)| *set));
        }
        sets
    }
}
