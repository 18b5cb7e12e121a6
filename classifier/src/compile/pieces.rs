//! The address space, cut at every prefix boundary.
//!
//! Prefixes are nested or disjoint, so a sweep with a stack visits every piece once. The state of the stack is shared:
//! pushing the same content on the same state gives the same state, so deep nesting is computed once.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::content::{Content, Protection};
use super::position;
use super::set_lists::SetLists;
use super::sets::{Definition, MatchSets};
use crate::image::layout::NONE;
use crate::resource::PolicySet;

/// Both families, and the classes they share.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) v4: Vec<Piece>,
    pub(super) v6: Vec<Piece>,
    /// What is true of each class.
    pub(super) classes: Vec<Class>,
    /// What `Class::sets` counts in.
    pub(super) lists: SetLists,
}

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

/// Addresses from `start` up to the next piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Piece {
    pub(super) start: u128,
    pub(super) class: u32,
    /// The object that names the addresses, or `NONE`.
    pub(super) name: u32,
}

/// Cuts both families. Fails with the number of classes when there are more than `class_limit`.
pub(super) fn cut(
    set: &PolicySet,
    sets: &MatchSets<'_>,
    objects: &[Content],
    class_limit: usize,
) -> Result<Space, usize> {
    let mut classes = Classes::new(class_limit);
    let covers = covers(set, sets, objects, &mut classes);
    let covers = joined(&covers, &mut classes);
    let (v4, v6): (Vec<Cover>, Vec<Cover>) = covers.into_iter().partition(|cover| cover.is_v4);
    let v4 = sweep(v4, u128::from(u32::MAX), &mut classes)?;
    let v6 = sweep(v6, u128::MAX, &mut classes)?;
    Ok(Space { v4, v6, classes: classes.known, lists: classes.lists })
}

/// One prefix and what it contributes to the addresses in it.
#[derive(Clone, Copy, Debug)]
struct Cover {
    is_v4: bool,
    first: u128,
    last: u128,
    /// What it contributes, as `Classes` counts contents.
    content: u32,
    /// The object it belongs to, or `NONE`.
    name: u32,
}

fn covers(
    set: &PolicySet,
    sets: &MatchSets<'_>,
    objects: &[Content],
    classes: &mut Classes,
) -> Vec<Cover> {
    let mut covers = Vec::new();
    for (at, (object, content)) in set.objects.iter().zip(objects).enumerate() {
        let content = classes.content(content.clone());
        covers.extend(object.nets.iter().map(|net| cover(*net, content, position(at))));
    }
    for (at, definition) in sets.definitions.iter().enumerate() {
        let Definition::Nets(nets) = definition else { continue };
        let content = classes.content(Content { sets: vec![position(at)], ..Content::default() });
        covers.extend(nets.iter().map(|net| cover(*net, content, NONE)));
    }
    // Outer before inner; of equal prefixes, the object that is to name them last: first by kind, then by name.
    let name_key = |cover: &Cover| {
        set.objects
            .get(cover.name as usize)
            .map(|object| (object.kind, object.namespace.as_deref(), object.name.as_str()))
    };
    covers.sort_by(|a, b| {
        let place = b.is_v4.cmp(&a.is_v4);
        let place = place.then(a.first.cmp(&b.first)).then(b.last.cmp(&a.last));
        place.then_with(|| match (name_key(a), name_key(b)) {
            (Some(a), Some(b)) => b.cmp(&a),
            (a, b) => a.is_some().cmp(&b.is_some()),
        })
    });
    covers
}

/// Covers of the same prefix as one, so that what is nested is never deeper than a prefix is long. The last of them that
/// has a name gives it.
fn joined(covers: &[Cover], classes: &mut Classes) -> Vec<Cover> {
    let place = |cover: &Cover| (cover.is_v4, cover.first, cover.last);
    let mut joined = Vec::with_capacity(covers.len());
    for same in covers.chunk_by(|a, b| place(a) == place(b)) {
        let Some(last) = same.last() else { continue };
        let named = same.iter().rev().find(|cover| cover.name != NONE);
        let content = if same.len() == 1 {
            last.content
        } else {
            classes.content_of_all(same.iter().map(|cover| cover.content))
        };
        joined.push(Cover { content, name: named.map_or(NONE, |cover| cover.name), ..*last });
    }
    joined
}

fn cover(net: IpNet, content: u32, name: u32) -> Cover {
    let number = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    let is_v4 = matches!(net, IpNet::V4(_));
    Cover { is_v4, first: number(net.network()), last: number(net.broadcast()), content, name }
}

/// What covers the current address, from the outermost in.
#[derive(Clone, Copy, Debug)]
struct Open {
    last: u128,
    class: u32,
    name: u32,
}

fn sweep(covers: Vec<Cover>, end: u128, classes: &mut Classes) -> Result<Vec<Piece>, usize> {
    let nothing = Open { last: end, class: classes.nothing()?, name: NONE };
    let mut stack = vec![nothing];
    let mut pieces = Pieces::default();
    pieces.begin(0, nothing);
    for cover in covers {
        close_before(cover.first, &mut stack, &mut pieces);
        let outer = stack.last().copied().unwrap_or(nothing);
        let class = classes.union(outer.class, cover.content)?;
        let name = if cover.name == NONE { outer.name } else { cover.name };
        let open = Open { last: cover.last, class, name };
        pieces.begin(cover.first, open);
        stack.push(open);
    }
    close_before(end, &mut stack, &mut pieces);
    Ok(pieces.0)
}

/// Leaves every prefix that ends before `next`; the address after its end belongs to what is around it.
fn close_before(next: u128, stack: &mut Vec<Open>, pieces: &mut Pieces) {
    while let [.., outer, inner] = stack.as_slice() {
        if inner.last >= next {
            return;
        }
        let (after, outer) = (inner.last + 1, *outer);
        stack.pop();
        pieces.begin(after, outer);
    }
}

/// Pieces in the making: one that begins where another did replaces it, one that changes nothing is left out.
#[derive(Debug, Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn begin(&mut self, start: u128, open: Open) {
        if self.0.last().is_some_and(|last| last.start == start) {
            self.0.pop();
        }
        let piece = Piece { start, class: open.class, name: open.name };
        if self.0.last().is_none_or(|last| (last.class, last.name) != (piece.class, piece.name)) {
            self.0.push(piece);
        }
    }
}

/// Contents and classes, each stored once, and the unions already computed.
#[derive(Debug)]
struct Classes {
    contents: Vec<Content>,
    content_numbers: HashMap<Content, u32>,
    known: Vec<Class>,
    numbers: HashMap<Class, u32>,
    /// For a class and a content that lies within it: the class of both.
    unions: HashMap<(u32, u32), u32>,
    lists: SetLists,
    limit: usize,
}

impl Classes {
    fn new(limit: usize) -> Self {
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

    fn content(&mut self, content: Content) -> u32 {
        if let Some(number) = self.content_numbers.get(&content) {
            return *number;
        }
        let number = position(self.contents.len());
        self.contents.push(content.clone());
        self.content_numbers.insert(content, number);
        number
    }

    fn content_of_all(&mut self, contents: impl Iterator<Item = u32>) -> u32 {
        let known = contents.filter_map(|number| self.contents.get(number as usize));
        let all = known.fold(Content::default(), |all, content| all.union(content));
        self.content(all)
    }

    /// The class of addresses that nothing covers.
    fn nothing(&mut self) -> Result<u32, usize> {
        let (enforced, pending) = <(Protection, Protection)>::default();
        self.class(Class { covered: false, sets: 0, enforced, pending })
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

    fn union(&mut self, outer: u32, inner: u32) -> Result<u32, usize> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(last: u128, class: u32) -> Open {
        Open { last, class, name: NONE }
    }

    #[test]
    fn the_last_address_of_the_space_closes_nothing_beyond_it() {
        let mut stack = vec![open(u128::MAX, 0), open(u128::MAX, 1)];
        let mut pieces = Pieces::default();
        close_before(u128::MAX, &mut stack, &mut pieces);
        assert_eq!(stack.len(), 2);
        assert!(pieces.0.is_empty());
    }

    #[test]
    fn a_piece_that_changes_nothing_is_left_out() {
        let mut pieces = Pieces::default();
        pieces.begin(0, open(9, 1));
        pieces.begin(4, open(9, 2));
        pieces.begin(4, open(9, 1));
        assert_eq!(pieces.0, [Piece { start: 0, class: 1, name: NONE }]);
    }
}
