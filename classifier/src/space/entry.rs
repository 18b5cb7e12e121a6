//! Answers about pairs of places, written down once for all pairs of which the same is true.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::ground::{Place, VERSIONS};
use super::region::Region;
use super::{Block, Limits, TooLarge};
use crate::packet::IpVersion;

/// A set of packets, written down.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Packets {
    /// Every packet of the family.
    All,
    /// These.
    Some(Vec<Block>),
}

impl Packets {
    pub(super) fn of(region: &Region, version: IpVersion) -> Self {
        let blocks = region.blocks();
        if blocks == Region::everything(version).blocks() { Self::All } else { Self::Some(blocks) }
    }
}

/// What is true from each of some places to each of others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry<T> {
    /// The families of which it is true; only addresses of these count.
    pub versions: Vec<IpVersion>,
    /// Positions of places.
    pub sources: Vec<usize>,
    /// Positions of places.
    pub destinations: Vec<usize>,
    /// What is true; never empty.
    pub content: Vec<T>,
}

/// Fails when there are more pairs than the limit.
pub(super) fn bounded(
    sources: &[Place],
    destinations: &[Place],
    limits: &Limits,
) -> Result<(), TooLarge> {
    let of = |places: &[Place], version| places.iter().filter(|place| place.has(version)).count();
    let pairs =
        VERSIONS.map(|version| of(sources, version).saturating_mul(of(destinations, version)));
    let count = pairs.into_iter().fold(0_usize, usize::saturating_add);
    let limit = limits.pairs;
    if count > limit { Err(TooLarge::Pairs { count, limit }) } else { Ok(()) }
}

/// Answers while they are collected.
#[derive(Debug)]
pub(super) struct Entries<T> {
    contents: Vec<Vec<T>>,
    numbers: HashMap<Vec<T>, usize>,
    /// For each pair, destination first, the content for each family.
    pairs: BTreeMap<(usize, usize), [Option<usize>; 2]>,
}

impl<T: Clone + Eq + Hash> Entries<T> {
    pub(super) fn new() -> Self {
        Self { contents: Vec::new(), numbers: HashMap::new(), pairs: BTreeMap::new() }
    }

    /// The number of a content; none for one that says nothing.
    pub(super) fn intern(&mut self, content: Vec<T>) -> Option<usize> {
        if content.is_empty() {
            return None;
        }
        let next = self.contents.len();
        let number = *self.numbers.entry(content.clone()).or_insert(next);
        if number == next {
            self.contents.push(content);
        }
        Some(number)
    }

    /// Says that a content is true of a pair, source and destination.
    pub(super) fn add(&mut self, version: IpVersion, pair: (usize, usize), content: Option<usize>) {
        if content.is_none() {
            return;
        }
        let [v4, v6] = self.pairs.entry((pair.1, pair.0)).or_default();
        match version {
            IpVersion::V4 => *v4 = content,
            IpVersion::V6 => *v6 = content,
        }
    }

    /// First joins sources that say the same to a destination, then destinations to which the same sources say the same.
    pub(super) fn joined(self) -> Vec<Entry<T>> {
        let mut by_sources: BTreeMap<(usize, Vec<IpVersion>, usize), Vec<usize>> = BTreeMap::new();
        for ((destination, source), [v4, v6]) in self.pairs {
            let mut say = |content: Option<usize>, versions: &[IpVersion]| {
                if let Some(content) = content {
                    let key = (destination, versions.to_vec(), content);
                    by_sources.entry(key).or_default().push(source);
                }
            };
            if v4 == v6 {
                say(v4, &VERSIONS);
            } else {
                say(v4, &[IpVersion::V4]);
                say(v6, &[IpVersion::V6]);
            }
        }
        let mut joined: BTreeMap<(Vec<usize>, Vec<IpVersion>, usize), Vec<usize>> = BTreeMap::new();
        for ((destination, versions, content), sources) in by_sources {
            joined.entry((sources, versions, content)).or_default().push(destination);
        }
        let entry = |((sources, versions, content), destinations): ((_, _, usize), _)| Entry {
            versions,
            sources,
            destinations,
            content: self.contents.get(content).cloned().unwrap_or_default(),
        };
        let mut entries: Vec<Entry<T>> = joined.into_iter().map(entry).collect();
        entries.sort_by(|a, b| (&a.destinations, &a.sources).cmp(&(&b.destinations, &b.sources)));
        entries
    }
}
