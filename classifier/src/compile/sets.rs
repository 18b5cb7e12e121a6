//! Match sets: every distinct thing that rules ask of an address.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::order::Order;
use super::position;
use crate::image::layout::NONE;
use crate::image::rule::PeerSets;
use crate::label::Labels;
use crate::resource::Peer;
use crate::selector::Selector;

/// The match sets of a policy set, numbered in the order in which rules mention them first.
#[derive(Debug, Default)]
pub(super) struct MatchSets<'a> {
    selectors: BTreeMap<SelectorKey, u32>,
    nets: BTreeMap<Vec<IpNet>, u32>,
    /// For each set its definition.
    pub(super) definitions: Vec<Definition<'a>>,
}

/// Canonical texts of the positive and the negative part.
type SelectorKey = (Option<String>, Option<String>);

/// Which addresses belong to a match set.
#[derive(Debug)]
pub(super) enum Definition<'a> {
    /// Those covered by an object that the first selector matches and the second does not.
    Objects(Option<&'a Selector>, Option<&'a Selector>),
    /// Those in one of these nets.
    Nets(&'a [IpNet]),
}

impl Definition<'_> {
    /// Whether an object with these labels puts the addresses it covers into the set.
    pub(super) fn holds_object(&self, labels: &Labels) -> bool {
        match self {
            Self::Objects(positive, negative) => {
                positive.is_none_or(|selector| selector.matches(labels))
                    && !negative.is_some_and(|selector| selector.matches(labels))
            }
            Self::Nets(_) => false,
        }
    }
}

impl<'a> MatchSets<'a> {
    pub(super) fn of(order: &Order<'a>) -> Self {
        let mut sets = Self::default();
        for rule in order.blocks.iter().flat_map(|block| block.rules) {
            for peer in [&rule.source, &rule.destination] {
                sets.enter(peer);
            }
        }
        sets
    }

    fn enter(&mut self, peer: &'a Peer) {
        let (positive, negative) = halves(peer);
        if positive.is_some() || negative.is_some() {
            let next = position(self.definitions.len());
            if *self.selectors.entry(key(positive, negative)).or_insert(next) == next {
                self.definitions.push(Definition::Objects(positive, negative));
            }
        }
        for list in [&peer.nets, &peer.not_nets] {
            let next = position(self.definitions.len());
            if !list.is_empty() && *self.nets.entry(sorted(list)).or_insert(next) == next {
                self.definitions.push(Definition::Nets(list));
            }
        }
    }

    /// The sets that a rule's peer asks about.
    pub(super) fn peer(&self, peer: &Peer) -> PeerSets {
        let (positive, negative) = halves(peer);
        let nets = |list: &[IpNet]| self.nets.get(&sorted(list)).copied().unwrap_or(NONE);
        PeerSets {
            selector: self.selectors.get(&key(positive, negative)).copied().unwrap_or(NONE),
            selector_negated: peer.selector.is_none() && peer.not_selector.is_some(),
            nets: nets(&peer.nets),
            not_nets: nets(&peer.not_nets),
        }
    }
}

/// What an object must and must not match to be in the peer's set. `notSelector` alone asks for addresses *outside* the
/// set of what it matches, so there the set itself is positive.
fn halves(peer: &Peer) -> (Option<&Selector>, Option<&Selector>) {
    match (&peer.selector, &peer.not_selector) {
        (Some(positive), negative) => (Some(positive), negative.as_ref()),
        (None, negative) => (negative.as_ref(), None),
    }
}

fn key(positive: Option<&Selector>, negative: Option<&Selector>) -> SelectorKey {
    (positive.map(ToString::to_string), negative.map(ToString::to_string))
}

fn sorted(nets: &[IpNet]) -> Vec<IpNet> {
    let mut nets = nets.to_vec();
    nets.sort_unstable();
    nets.dedup();
    nets
}
