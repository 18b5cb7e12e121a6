//! Lists of match sets, each stored once.
//!
//! A list may begin with another one, its parent: what covers an address from outside is the same for all that lies
//! within. So prefixes that are nested deep cost what each of them adds, not what all of them are together.

use std::collections::HashMap;

use super::position;
use crate::image::layout::NONE;
use crate::image::set_lists::{SetListRow, Sets};

/// A list that grows beyond this keeps what it had as its parent.
const OWN_MAX: usize = 32;

/// All lists; number 0 is the empty one.
#[derive(Debug)]
pub(super) struct SetLists {
    lists: Vec<SetList>,
    numbers: HashMap<SetList, u32>,
    /// For each list where its own sets begin when all are laid end to end, and the colours of all its sets.
    laid: Vec<(u32, u64)>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct SetList {
    /// A list made before, all of whose sets are in this one too, or `NONE`.
    parent: u32,
    /// Further sets, ascending.
    own: Vec<u32>,
}

impl SetLists {
    pub(super) fn new() -> Self {
        let empty = SetList { parent: NONE, own: Vec::new() };
        let numbers = HashMap::from([(empty.clone(), 0)]);
        Self { lists: vec![empty], numbers, laid: vec![(0, 0)] }
    }

    /// The lists from one on, as rows of `Section::SetLists` with their own sets.
    pub(super) fn rows_from(&self, first: usize) -> impl Iterator<Item = (SetListRow, &[u32])> {
        let rows = self.lists.iter().zip(&self.laid).skip(first);
        rows.map(|(SetList { parent, own }, (begin, colours))| {
            let [low, high] = [*colours, colours >> 32].map(|half| (half & 0xffff_ffff) as u32);
            ([*begin, begin + position(own.len()), *parent, low, high], own.as_slice())
        })
    }

    /// The list of all sets of `outer` and these, which are ascending.
    pub(super) fn union(&mut self, outer: u32, sets: &[u32]) -> u32 {
        let Some(SetList { parent, own }) = self.lists.get(outer as usize) else { return outer };
        let list = if own.is_empty() || own.len() + sets.len() <= OWN_MAX {
            SetList { parent: *parent, own: merge(own, sets) }
        } else {
            let more = sets.iter().filter(|set| own.binary_search(set).is_err());
            SetList { parent: outer, own: more.copied().collect() }
        };
        if list.own.is_empty() && list.parent != NONE {
            return list.parent;
        }
        let next = position(self.lists.len());
        let number = *self.numbers.entry(list.clone()).or_insert(next);
        if number == next {
            self.lay(&list);
            self.lists.push(list);
        }
        number
    }

    fn lay(&mut self, SetList { parent, own }: &SetList) {
        let end = self.lists.last().zip(self.laid.last());
        let begin = end.map_or(0, |(list, (begin, _))| begin + position(list.own.len()));
        let inherited = self.laid.get(*parent as usize).map_or(0, |(_, colours)| *colours);
        let colours = own.iter().fold(inherited, |all, set| all | Sets::colour(*set));
        self.laid.push((begin, colours));
    }
}

/// Both ascending lists as one without repeats.
pub(super) fn merge(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut merged = [a, b].concat();
    merged.sort_unstable();
    merged.dedup();
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lists: &SetLists, number: u32) -> Vec<u32> {
        let list = &lists.lists[number as usize];
        let outer = if list.parent == NONE { Vec::new() } else { all(lists, list.parent) };
        merge(&outer, &list.own)
    }

    #[test]
    fn union_has_the_sets_of_both_however_long() {
        let mut lists = SetLists::new();
        let (mut at, mut expected) = (0, Vec::new());
        for round in 0..40_u32 {
            let added: Vec<u32> = (0..round % 11).map(|n| round * 7 + n * 3).collect();
            at = lists.union(at, &added);
            expected = merge(&expected, &added);
            assert_eq!(all(&lists, at), expected);
            assert_eq!(lists.union(at, &added), at, "nothing new");
        }
        assert!(lists.lists[at as usize].parent != NONE);
    }
}
