//! Contents and classes, each stored once, and the unions already computed.

use std::collections::HashMap;

use super::content::{Content, Protection};
use super::position;
use super::set_lists::SetLists;

/// What is true of a class of addresses.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Class {
    /// Some object that can be protected covers them.
    pub(super) covered: bool,
    /// The list of match sets that they belong to.
    pub(super) sets: u32,
    pub(super) enforced: Protection,
    /// Empty when nothing is staged.
    pub(super) pending: Protection,
}

/// All of them, numbered in the order in which they were first met.
#[derive(Debug)]
pub(super) struct Classes {
    contents: Vec<Content>,
    content_numbers: HashMap<Content, u32>,
    /// What is true of each class.
    pub(super) known: Vec<Class>,
    numbers: HashMap<Class, u32>,
    /// For a class and a content that lies within it: the class of both.
    unions: HashMap<(u32, u32), u32>,
    /// What `Class::sets` counts in.
    pub(super) lists: SetLists,
    limit: usize,
}

impl Classes {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            contents: Vec::new(),
            content_numbers: HashMap::new(),
            known: Vec::new(),
            numbers: HashMap::new(),
            unions: HashMap::new(),
            lists: SetLists::new(),
            limit,
        }
    }

    pub(super) fn content(&mut self, content: &Content) -> u32 {
        if let Some(number) = self.content_numbers.get(content) {
            return *number;
        }
        let number = position(self.contents.len());
        self.contents.push(content.clone());
        self.content_numbers.insert(content.clone(), number);
        number
    }

    /// What several prefixes contribute together.
    pub(super) fn content_of_all(&mut self, contents: impl Iterator<Item = u32>) -> u32 {
        let known = contents.filter_map(|number| self.contents.get(number as usize));
        let all = known.fold(Content::default(), |all, content| all.union(content));
        self.content(&all)
    }

    /// The class of addresses that nothing covers. Fails as `union` does.
    pub(super) fn nothing(&mut self) -> Result<u32, usize> {
        let (enforced, pending) = <(Protection, Protection)>::default();
        self.class(Class { covered: false, sets: 0, enforced, pending })
    }

    /// The class of addresses of one class that a prefix within it covers too. Fails with the number of classes when there
    /// are more than the limit.
    pub(super) fn union(&mut self, outer: u32, inner: u32) -> Result<u32, usize> {
        if let Some(number) = self.unions.get(&(outer, inner)) {
            return Ok(*number);
        }
        let both = (self.known.get(outer as usize), self.contents.get(inner as usize));
        let (Some(class), Some(content)) = both else { return Ok(outer) };
        let union = Class {
            covered: class.covered || content.covered,
            sets: self.lists.union(class.sets, &content.sets),
            enforced: class.enforced.union(&content.enforced),
            pending: class.pending.union(&content.pending),
        };
        let number = self.class(union)?;
        self.unions.insert((outer, inner), number);
        Ok(number)
    }

    fn class(&mut self, class: Class) -> Result<u32, usize> {
        if let Some(number) = self.numbers.get(&class) {
            return Ok(*number);
        }
        if self.known.len() >= self.limit {
            return Err(self.known.len() + 1);
        }
        let number = position(self.known.len());
        self.known.push(class.clone());
        self.numbers.insert(class, number);
        Ok(number)
    }
}
