//! The address space, cut at every prefix boundary.
//!
//! Prefixes are nested or disjoint, so a sweep with a stack visits every piece once. The state of the stack is shared:
//! pushing the same content on the same state gives the same state, so deep nesting is computed once.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::content::Content;
use super::position;
use super::sets::{Definition, MatchSets};
use crate::image::layout::NONE;
use crate::resource::PolicySet;

/// Both families, and the classes they share.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) v4: Vec<Piece>,
    pub(super) v6: Vec<Piece>,
    /// The content of each class.
    pub(super) classes: Vec<Content>,
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
    let covers = covers(set, sets, objects, &mut classes)?;
    let (v4, v6): (Vec<Cover>, Vec<Cover>) = covers.into_iter().partition(|cover| cover.is_v4);
    let v4 = sweep(v4, u128::from(u32::MAX), &mut classes)?;
    let v6 = sweep(v6, u128::MAX, &mut classes)?;
    Ok(Space { v4, v6, classes: classes.contents })
}

/// One prefix and what it contributes to the addresses in it.
#[derive(Clone, Copy, Debug)]
struct Cover {
    is_v4: bool,
    first: u128,
    last: u128,
    /// The class of addresses that only this covers.
    class: u32,
    /// The object it belongs to, or `NONE`.
    name: u32,
}

fn covers(
    set: &PolicySet,
    sets: &MatchSets<'_>,
    objects: &[Content],
    classes: &mut Classes,
) -> Result<Vec<Cover>, usize> {
    let mut covers = Vec::new();
    for (at, (object, content)) in set.objects.iter().zip(objects).enumerate() {
        let class = classes.intern(content.clone())?;
        covers.extend(object.nets.iter().map(|net| cover(*net, class, position(at))));
    }
    for (at, definition) in sets.definitions.iter().enumerate() {
        let Definition::Nets(nets) = definition else { continue };
        let class = classes.intern(Content { sets: vec![position(at)], ..Content::default() })?;
        covers.extend(nets.iter().map(|net| cover(*net, class, NONE)));
    }
    // Outer before inner; of equal prefixes, the object that is to name them last: first by kind, then by name.
    let name_key = |cover: &Cover| {
        set.objects
            .get(cover.name as usize)
            .map(|object| (object.kind, object.namespace.as_deref(), object.name.as_str()))
    };
    covers.sort_by(|a, b| {
        let place = a.first.cmp(&b.first).then(b.last.cmp(&a.last));
        place.then_with(|| match (name_key(a), name_key(b)) {
            (Some(a), Some(b)) => b.cmp(&a),
            (a, b) => a.is_some().cmp(&b.is_some()),
        })
    });
    Ok(covers)
}

fn cover(net: IpNet, class: u32, name: u32) -> Cover {
    let number = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    let is_v4 = matches!(net, IpNet::V4(_));
    Cover { is_v4, first: number(net.network()), last: number(net.broadcast()), class, name }
}

/// What covers the current address, from the outermost in.
#[derive(Clone, Copy, Debug)]
struct Open {
    last: u128,
    class: u32,
    name: u32,
}

fn sweep(covers: Vec<Cover>, end: u128, classes: &mut Classes) -> Result<Vec<Piece>, usize> {
    let nothing = Open { last: end, class: classes.intern(Content::default())?, name: NONE };
    let mut stack = vec![nothing];
    let mut pieces = Pieces::default();
    pieces.begin(0, nothing);
    for cover in covers {
        close_before(cover.first, &mut stack, &mut pieces);
        let outer = stack.last().copied().unwrap_or(nothing);
        let class = classes.union(outer.class, cover.class)?;
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

/// Contents, each stored once, and the unions already computed.
#[derive(Debug)]
struct Classes {
    contents: Vec<Content>,
    numbers: HashMap<Content, u32>,
    unions: HashMap<(u32, u32), u32>,
    limit: usize,
}

impl Classes {
    fn new(limit: usize) -> Self {
        Self { contents: Vec::new(), numbers: HashMap::new(), unions: HashMap::new(), limit }
    }

    fn intern(&mut self, content: Content) -> Result<u32, usize> {
        if let Some(number) = self.numbers.get(&content) {
            return Ok(*number);
        }
        if self.contents.len() >= self.limit {
            return Err(self.contents.len() + 1);
        }
        let number = position(self.contents.len());
        self.contents.push(content.clone());
        self.numbers.insert(content, number);
        Ok(number)
    }

    fn union(&mut self, outer: u32, inner: u32) -> Result<u32, usize> {
        if let Some(number) = self.unions.get(&(outer, inner)) {
            return Ok(*number);
        }
        let content = match (self.contents.get(outer as usize), self.contents.get(inner as usize)) {
            (Some(outer), Some(inner)) => outer.union(inner),
            _ => Content::default(),
        };
        let number = self.intern(content)?;
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
