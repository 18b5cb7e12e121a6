//! Content: what is true of an address because something covers it.

use std::sync::Arc;

use hashbrown::HashMap;

use super::order::{Order, Planes};
use super::position;
use super::select::SelectorIndex;
use super::set_lists::merge;
use super::sets::{Definition, Filter};
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
    /// The content of addresses that a rule names: they belong to one match set.
    pub(super) fn of_set(set: u32) -> Self {
        Self { sets: vec![set], ..Self::default() }
    }

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

/// Tells what an object contributes.
#[derive(Debug)]
pub(super) struct Contents {
    protections: Protections,
    memberships: Memberships,
}

impl Contents {
    pub(super) fn of(set: &PolicySet, order: &Order<'_>, definitions: &[Definition]) -> Self {
        let mut memberships = Memberships::default();
        memberships.add(definitions);
        Self { protections: Protections::of(set, order), memberships }
    }

    /// What each object contributes, in the order of `PolicySet::objects`.
    pub(super) fn of_objects<'a>(&self, set: &'a PolicySet) -> Vec<Content> {
        let mut known: HashMap<&'a Labels, OfLabels> = HashMap::new();
        let mut of = |object: &'a Object| {
            let Object { labels, .. } = object;
            let of_labels = known.entry(labels).or_insert_with(|| self.of_labels(labels));
            self.with_ports(object, of_labels)
        };
        set.objects.iter().map(&mut of).collect()
    }

    /// What one contributes.
    pub(super) fn of_object(&self, object: &Object) -> Content {
        self.with_ports(object, &self.of_labels(&object.labels))
    }

    /// Takes further match sets in, numbered on.
    pub(super) fn add(&mut self, definitions: &[Definition]) {
        self.memberships.add(definitions);
    }

    fn of_labels(&self, labels: &Labels) -> OfLabels {
        (self.memberships.by_labels(labels), self.protections.of_labels(labels))
    }

    fn with_ports(&self, object: &Object, (sets, protections): &OfLabels) -> Content {
        let covered = !object.peer_only;
        let [enforced, pending] =
            if covered { protections.clone() } else { <[Protection; 2]>::default() };
        let sets = merge(sets, &self.memberships.by_ports(object));
        Content { covered, sets, enforced, pending }
    }
}

/// Match sets, and what protects, enforced and pending.
type OfLabels = (Vec<u32>, [Protection; 2]);

/// Which blocks protect an object.
#[derive(Debug)]
struct Protections {
    index: SelectorIndex,
    /// For each policy its blocks: rank, direction, and in which evaluations it is there.
    blocks: Vec<Vec<(u32, Direction, Planes)>>,
    planes: &'static [Plane],
}

impl Protections {
    fn of(set: &PolicySet, order: &Order<'_>) -> Self {
        let mut blocks = vec![Vec::new(); set.policies.len()];
        for (rank, block) in (0..).zip(&order.blocks) {
            let protects = matches!(block.hook, Some(Hook::Normal | Hook::Forward));
            if let Some(slot) = blocks.get_mut(block.policy as usize).filter(|_| protects) {
                slot.push((rank, block.direction, block.planes));
            }
        }
        let mut index = SelectorIndex::default();
        for policy in &set.policies {
            index.add(&Arc::new(policy.selector.clone()));
        }
        Self { index, blocks, planes: order.planes() }
    }

    fn of_labels(&self, labels: &Labels) -> [Protection; 2] {
        let mut protections = [Protection::default(), Protection::default()];
        for policy in self.index.matching(labels) {
            let blocks = self.blocks.get(policy as usize).into_iter().flatten();
            for (rank, direction, planes) in blocks {
                for (plane, protection) in self.planes.iter().zip(&mut protections) {
                    if planes.has(*plane) {
                        match direction {
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
#[derive(Debug, Default)]
struct Memberships {
    index: SelectorIndex,
    /// For each selector of the index: the number of its set, and what the object must not match.
    filters: Vec<NumberedFilter>,
    /// For each name, protocol and port: the sets that ask for it, and of which objects.
    by_port: HashMap<NamedPort, Vec<NumberedFilter>>,
    /// How many match sets there are.
    sets: usize,
}

/// The number of a match set, and which objects put addresses into it.
type NumberedFilter = (u32, Filter);

impl Memberships {
    fn add(&mut self, definitions: &[Definition]) {
        for definition in definitions {
            let number = position(self.sets);
            self.sets += 1;
            match definition {
                Definition::Objects(filter) => {
                    if let Some(positive) = &filter.positive {
                        self.index.add(positive);
                        self.filters.push((number, filter.clone()));
                    }
                }
                Definition::NamedPort { filter, names, protocol, port } => {
                    for name in names {
                        let (protocol, port) = (*protocol, *port);
                        let key = NamedPort { name: name.clone(), protocol, port };
                        self.by_port.entry(key).or_default().push((number, filter.clone()));
                    }
                }
                Definition::Nets(_) => {}
            }
        }
    }

    fn by_labels(&self, labels: &Labels) -> Vec<u32> {
        let matching = self.index.matching(labels).into_iter();
        let filters = matching.filter_map(|number| self.filters.get(number as usize));
        let kept_out =
            |filter: &Filter| filter.negative.as_ref().is_some_and(|s| s.matches(labels));
        let mut sets: Vec<u32> =
            filters.filter(|(_, filter)| !kept_out(filter)).map(|(set, _)| *set).collect();
        sets.sort_unstable();
        sets
    }

    fn by_ports(&self, object: &Object) -> Vec<u32> {
        let mut sets = Vec::new();
        for port in &object.ports {
            let asked = self.by_port.get(port);
            let lets_in = |(_, filter): &&NumberedFilter| filter.lets_in(&object.labels);
            sets.extend(asked.into_iter().flatten().filter(lets_in).map(|(set, _)| *set));
        }
        sets
    }
}
