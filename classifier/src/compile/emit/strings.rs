//! Strings, each stored once.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::{Entry, HashTable};

use crate::compile::position;

/// Strings of a table, numbered from where it begins.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    first: u32,
    pub(crate) text: String,
    /// For each string where it ends in `text`.
    pub(crate) ends: Vec<u32>,
    /// Positions in `ends`.
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Strings {
    /// For a table that begins behind so many strings.
    pub(crate) fn behind(strings: usize) -> Self {
        Self { first: position(strings), ..Self::default() }
    }

    /// The first strings, and so much text, are in the table that this one stands behind, which has so many now.
    pub(crate) fn go_on_behind(&mut self, behind: usize, [strings, text]: [usize; 2]) {
        self.first = position(behind);
        self.ends.drain(..strings.min(self.ends.len()));
        self.text.drain(..text.min(self.text.len()));
        self.ends.iter_mut().for_each(|end| *end = end.saturating_sub(position(text)));
        // A string that is there already may be stored once more; that costs less than to look for all of them for ever.
        self.places.clear();
    }

    pub(crate) fn intern(&mut self, string: &str) -> u32 {
        let Self { first, text, ends, places, hasher } = self;
        let place = places.entry(
            hasher.hash_one(string),
            |at| stored(text, ends, *at) == Some(string),
            |at| stored(text, ends, *at).map_or(0, |string| hasher.hash_one(string)),
        );
        let at = match place {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let at = position(ends.len());
                place.insert(at);
                text.push_str(string);
                ends.push(position(text.len()));
                at
            }
        };
        *first + at
    }
}

fn stored<'a>(text: &'a str, ends: &[u32], at: u32) -> Option<&'a str> {
    let end = *ends.get(at as usize)? as usize;
    let start = at.checked_sub(1).map_or(Some(0), |before| ends.get(before as usize).copied())?;
    text.get(start as usize..end)
}
