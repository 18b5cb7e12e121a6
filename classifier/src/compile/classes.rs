//! Contents and classes, each stored once, and the unions already computed.

use hashbrown::HashMap;

use super::content::{Content, Protection};
use super::interner::Interner;
use super::set_lists::{SetLists, merge};

/// What is true of a class of addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Class {
    /// Some object that can be protected covers them.
    pub(super) covered: bool,
    /// The list of match sets that they belong to.
    pub(super) sets: u32,
    /// The lists of blocks that protect what comes in and what is sent, enforced, and the same pending. The pending ones
    /// are empty when nothing is staged.
    pub(super) blocks: [u32; 4],
}

/// A content with its blocks as lists that have a number.
#[derive(Debug)]
struct Contributed {
    content: Content,
    blocks: [u32; 4],
}

/// All of them, numbered in the order in which they were first met.
#[derive(Debug)]
pub(super) struct Classes {
    content_numbers: HashMap<Content, u32>,
    contents: Vec<Contributed>,
    known: Interner<Class>,
    /// For a class and a content that lies within it: the class of both.
    unions: HashMap<(u32, u32), u32>,
    /// What `Class::sets` counts in.
    pub(super) lists: SetLists,
    /// What `Class::blocks` counts in.
    pub(super) blocks: BlockLists,
    limit: usize,
}

impl Classes {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            content_numbers: HashMap::new(),
            contents: Vec::new(),
            known: Interner::default(),
            unions: HashMap::new(),
            lists: SetLists::new(),
            blocks: BlockLists::new(),
            limit,
        }
    }

    /// What is true of each class.
    pub(super) fn known(&self) -> &[Class] {
        self.known.items()
    }

    pub(super) fn content(&mut self, content: &Content) -> u32 {
        if let Some(number) = self.content_numbers.get(content) {
            return *number;
        }
        let number = super::position(self.contents.len());
        let Content { enforced, pending, .. } = content;
        let blocks = [enforced, pending].map(|Protection { ingress, egress }| {
            [ingress, egress].map(|blocks| self.blocks.lists.number(blocks.as_slice()))
        });
        let [[a, b], [c, d]] = blocks;
        self.contents.push(Contributed { content: content.clone(), blocks: [a, b, c, d] });
        self.content_numbers.insert(content.clone(), number);
        number
    }

    /// What several prefixes contribute together.
    pub(super) fn content_of_all(&mut self, contents: impl Iterator<Item = u32>) -> u32 {
        let known = contents.filter_map(|number| self.contents.get(number as usize));
        let all = known.fold(Content::default(), |all, known| all.union(&known.content));
        self.content(&all)
    }

    /// The class of addresses that nothing covers. Fails as `union` does.
    pub(super) fn nothing(&mut self) -> Result<u32, usize> {
        self.class(&Class { covered: false, sets: 0, blocks: [0; 4] })
    }

    /// The class of addresses of one class that a prefix within it covers too. Fails with the number of classes when there
    /// are more than the limit.
    pub(super) fn union(&mut self, outer: u32, inner: u32) -> Result<u32, usize> {
        if let Some(number) = self.unions.get(&(outer, inner)) {
            return Ok(*number);
        }
        let both = (self.known.get(outer).copied(), self.contents.get(inner as usize));
        let (Some(class), Some(Contributed { content, blocks })) = both else { return Ok(outer) };
        let mut union = Class {
            covered: class.covered || content.covered,
            sets: self.lists.union(class.sets, &content.sets),
            blocks: *blocks,
        };
        for (inner, outer) in union.blocks.iter_mut().zip(class.blocks) {
            *inner = self.blocks.union(outer, *inner);
        }
        let number = self.class(&union)?;
        self.unions.insert((outer, inner), number);
        Ok(number)
    }

    fn class(&mut self, class: &Class) -> Result<u32, usize> {
        let number = self.known.number(class);
        if self.known.len() > self.limit { Err(self.known.len()) } else { Ok(number) }
    }
}

/// Lists of blocks by rank, ascending; number 0 is the empty one.
#[derive(Debug)]
pub(super) struct BlockLists {
    lists: Interner<Vec<u32>>,
    unions: HashMap<(u32, u32), u32>,
}

impl BlockLists {
    fn new() -> Self {
        let mut lists = Interner::default();
        lists.number(&[][..]);
        Self { lists, unions: HashMap::new() }
    }

    /// The ranks in a list.
    pub(super) fn ranks(&self, list: u32) -> &[u32] {
        self.lists.get(list).map_or(&[], Vec::as_slice)
    }

    fn union(&mut self, outer: u32, inner: u32) -> u32 {
        if inner == 0 || inner == outer {
            return outer;
        }
        if outer == 0 {
            return inner;
        }
        if let Some(number) = self.unions.get(&(outer, inner)) {
            return *number;
        }
        let merged = merge(self.ranks(outer), self.ranks(inner));
        let number = self.lists.number(merged.as_slice());
        self.unions.insert((outer, inner), number);
        number
    }
}
