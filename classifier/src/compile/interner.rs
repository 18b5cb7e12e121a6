//! Things that are stored once and go by a number.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::{Entry, HashTable};

use super::position;

/// Distinct things, numbered in the order in which they came.
#[derive(Debug)]
pub(super) struct Interner<T> {
    items: Vec<T>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { items: Vec::new(), numbers: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }
}

impl<T: Eq + Hash> Interner<T> {
    /// The number of a thing, which is stored if it is a new one.
    pub(super) fn number<Q>(&mut self, thing: &Q) -> u32
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = T> + ?Sized,
    {
        let Self { items, numbers, hasher } = self;
        let is_it =
            |number: &u32| items.get(*number as usize).is_some_and(|it| it.borrow() == thing);
        let hash_of =
            |number: &u32| items.get(*number as usize).map_or(0, |it| hasher.hash_one(it));
        match numbers.entry(hasher.hash_one(thing), is_it, hash_of) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let number = position(items.len());
                place.insert(number);
                items.push(thing.to_owned());
                number
            }
        }
    }

    /// The thing that has the number.
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.items.get(number as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// All, in the order of their numbers.
    pub(super) fn items(&self) -> &[T] {
        &self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_things_have_one_number_and_others_another() {
        let mut lists: Interner<Vec<u32>> = Interner::default();
        let mut expected: Vec<Vec<u32>> = Vec::new();
        for round in 0..5_000_u32 {
            let list: Vec<u32> = (0..round % 5).map(|at| round % 97 + at).collect();
            let at = expected.iter().position(|known| *known == list).unwrap_or_else(|| {
                expected.push(list.clone());
                expected.len() - 1
            });
            assert_eq!(lists.number(list.as_slice()) as usize, at);
        }
        assert_eq!(lists.items(), expected);
        assert_eq!(lists.get(3), expected.get(3));
        assert_eq!(lists.len(), expected.len());
    }
}
