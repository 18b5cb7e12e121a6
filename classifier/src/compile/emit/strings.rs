//! Strings, each stored once.

use std::collections::HashMap;

use crate::compile::position;

/// Strings of a table, numbered from where it begins.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    first: u32,
    pub(crate) text: String,
    /// For each string where it ends in `text`.
    pub(crate) ends: Vec<u32>,
    numbers: HashMap<String, u32>,
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
        // Of strings that are there already a second one may be stored, but none is looked for for ever.
        self.numbers.clear();
    }

    pub(crate) fn intern(&mut self, string: &str) -> u32 {
        if let Some(number) = self.numbers.get(string) {
            return *number;
        }
        let number = self.first + position(self.ends.len());
        self.text.push_str(string);
        self.ends.push(position(self.text.len()));
        self.numbers.insert(string.to_owned(), number);
        number
    }
}
