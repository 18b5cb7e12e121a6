//! The covers of one family, to be changed one by one.

use std::collections::BTreeSet;

use crate::compile::covers::{Cover, Family};

/// All covers of a family.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) family: Family,
    covers: BTreeSet<Cover>,
    /// For each prefix length how many covers have it.
    lengths: Vec<u32>,
}

impl Space {
    pub(super) fn new(family: Family, covers: Vec<Cover>) -> Self {
        let mut lengths = vec![0; usize::from(family.bits()) + 1];
        let covers: BTreeSet<Cover> = covers.into_iter().collect();
        for cover in &covers {
            if let Some(count) = lengths.get_mut(usize::from(cover.length)) {
                *count += 1;
            }
        }
        Self { family, covers, lengths }
    }

    pub(super) fn insert(&mut self, cover: Cover) {
        if self.covers.insert(cover)
            && let Some(count) = self.lengths.get_mut(usize::from(cover.length))
        {
            *count += 1;
        }
    }

    /// False when it is not there.
    pub(super) fn remove(&mut self, cover: &Cover) -> bool {
        let was_there = self.covers.remove(cover);
        if was_there && let Some(count) = self.lengths.get_mut(usize::from(cover.length)) {
            *count -= 1;
        }
        was_there
    }

    /// The covers of one prefix.
    pub(super) fn of_prefix(&self, first: u128, length: u8) -> impl Iterator<Item = &Cover> {
        let least = Cover { first, length, content: 0, name: 0 };
        let most = Cover { content: u32::MAX, name: u32::MAX, ..least };
        self.covers.range(least..=most)
    }

    /// The covers of each prefix around this one, from the outermost in.
    pub(super) fn around(&self, first: u128, length: u8) -> impl Iterator<Item = Vec<Cover>> {
        let shorter = (0..length).zip(&self.lengths).filter(|(_, count)| **count > 0);
        shorter.map(move |(outer, _)| {
            self.of_prefix(self.family.first(first, outer), outer).copied().collect()
        })
    }

    /// The covers of a prefix and of all within it; `None` when they are more than `most`.
    pub(super) fn within(&self, first: u128, length: u8, most: usize) -> Option<Vec<Cover>> {
        let from = Cover { first, length, content: 0, name: 0 };
        let last = self.family.last(first, length);
        let to = Cover { first: last, length: u8::MAX, content: u32::MAX, name: u32::MAX };
        let covers: Vec<Cover> = self.covers.range(from..=to).take(most + 1).copied().collect();
        (covers.len() <= most).then_some(covers)
    }
}
