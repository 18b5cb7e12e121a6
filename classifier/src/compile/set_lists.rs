//! Lists of match sets, each stored once.
//!
//! A list may begin with another one, its parent: what covers an address from outside is the same for all that lies
//! within. So prefixes that are nested deep cost what each of them adds, not what all of them are together.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::{Entry, HashTable};

use super::position;
use crate::image::layout::NONE;
use crate::image::set_lists::{SetListRow, Sets, colours_of};

/// A list that grows beyond this keeps what it had as its parent.
const OWN_MAX: usize = 32;

/// All lists, as the image holds them; number 0 is the empty one.
#[derive(Debug)]
pub(super) struct SetLists {
    rows: Vec<SetListRow>,
    /// The sets of the rows, end to end.
    sets: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// A list before it has a number: one made before, all of whose sets are in this one too, or `NONE`, and further sets,
/// ascending.
type List<'a> = (u32, &'a [u32]);

impl SetLists {
    pub(super) fn new() -> Self {
        let mut lists = Self {
            rows: Vec::new(),
            sets: Vec::new(),
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        };
        lists.number((NONE, &[]));
        lists
    }

    /// The lists from one on, as rows of `Section::SetLists`, and their sets as those of `Section::ListedSets`.
    pub(super) fn tables_from(&self, first: usize) -> (&[SetListRow], &[u32]) {
        let rows = self.rows.get(first..).unwrap_or_default();
        let begin = rows.first().map_or(self.sets.len(), |[begin, ..]| *begin as usize);
        (rows, self.sets.get(begin..).unwrap_or_default())
    }

    /// The list of all sets of `outer` and these, which are ascending.
    pub(super) fn union(&mut self, outer: u32, sets: &[u32]) -> u32 {
        if sets.is_empty() {
            return outer;
        }
        let Some(row) = self.rows.get(outer as usize) else { return outer };
        let (parent, own) = list(row, &self.sets);
        if own.is_empty() || own.len() + sets.len() <= OWN_MAX {
            let merged = merge(own, sets);
            return self.number((parent, &merged));
        }
        let more = sets.iter().filter(|set| own.binary_search(set).is_err());
        let more: Vec<u32> = more.copied().collect();
        if more.is_empty() { outer } else { self.number((outer, &more)) }
    }

    fn number(&mut self, wanted: List<'_>) -> u32 {
        let Self { rows, sets, numbers, hasher } = self;
        let of = |number: &u32| rows.get(*number as usize).map(|row| list(row, sets));
        let place = numbers.entry(
            hasher.hash_one(wanted),
            |number| of(number) == Some(wanted),
            |number| of(number).map_or(0, |list| hasher.hash_one(list)),
        );
        let place = match place {
            Entry::Occupied(known) => return *known.get(),
            Entry::Vacant(place) => place,
        };
        let number = position(rows.len());
        place.insert(number);
        let (parent, own) = wanted;
        let inherited = rows.get(parent as usize).map_or(0, colours_of);
        let colours = own.iter().fold(inherited, |all, set| all | Sets::colour(*set));
        let [low, high] = [colours, colours >> 32].map(|half| (half & 0xffff_ffff) as u32);
        let begin = position(sets.len());
        sets.extend(own);
        rows.push([begin, position(sets.len()), parent, low, high]);
        number
    }
}

fn list<'a>([begin, end, parent, ..]: &SetListRow, sets: &'a [u32]) -> List<'a> {
    (*parent, sets.get(*begin as usize..*end as usize).unwrap_or_default())
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
        let (parent, own) = list(&lists.rows[number as usize], &lists.sets);
        let outer = if parent == NONE { Vec::new() } else { all(lists, parent) };
        merge(&outer, own)
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
        assert!(lists.rows[at as usize][2] != NONE);
    }
}
