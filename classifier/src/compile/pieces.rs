//! The address space, cut at every prefix boundary.
//!
//! Prefixes are nested or disjoint, so a sweep with a stack visits every piece once. The state of the stack is shared:
//! pushing the same content on the same state gives the same state, so deep nesting is computed once.

use super::classes::Classes;
use super::covers::{self, Cover, Family};
use crate::image::layout::NONE;
use crate::resource::PolicySet;

/// Addresses from `start` up to the next piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Piece {
    pub(super) start: u128,
    pub(super) class: u32,
    /// The object that names the addresses, or `NONE`.
    pub(super) name: u32,
}

/// Addresses up to `last`, and what covers them, from the outermost in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) last: u128,
    pub(super) class: u32,
    pub(super) name: u32,
}

impl Open {
    /// A whole family, before anything covers it. Fails as `Classes::union` does.
    pub(super) fn family(family: Family, classes: &mut Classes) -> Result<Self, usize> {
        Ok(Self { last: family.last(0, 0), class: classes.nothing()?, name: NONE })
    }

    /// What is so within one prefix more: covers of the same prefix, at least one. Of two names the one that `precedes`
    /// the other stands. Fails as `Classes::union` does.
    pub(super) fn within(
        self,
        family: Family,
        same: &[Cover],
        precedes: &impl Fn(u32, u32) -> bool,
        classes: &mut Classes,
    ) -> Result<Self, usize> {
        let Some(cover) = same.first() else { return Ok(self) };
        let content = if same.len() == 1 {
            cover.content
        } else {
            classes.content_of_all(same.iter().map(|cover| cover.content))
        };
        let names = same.iter().map(|cover| cover.name).filter(|name| *name != NONE);
        let name = names.reduce(|a, b| if precedes(b, a) { b } else { a });
        Ok(Self {
            last: family.last(cover.first, cover.length),
            class: classes.union(self.class, content)?,
            name: name.unwrap_or(self.name),
        })
    }
}

/// The pieces of both families. Fails as `Classes::union` does.
pub(super) fn of_space(
    set: &PolicySet,
    covers: &[Vec<Cover>; 2],
    classes: &mut Classes,
) -> Result<[Vec<Piece>; 2], usize> {
    let key = |number: u32| set.objects.get(number as usize).map(covers::name_key);
    let precedes = |a, b| key(a) < key(b);
    let mut of = |family, covers| {
        let outer = Open::family(family, classes)?;
        cut(0, outer, family, covers, &precedes, classes)
    };
    let ([v4, v6], [covers_v4, covers_v6]) = (Family::BOTH, covers);
    Ok([of(v4, covers_v4)?, of(v6, covers_v6)?])
}

/// The pieces from `first` to the end of `outer`, which the covers, sorted, lie in. Fails as `Classes::union` does.
pub(super) fn cut(
    first: u128,
    outer: Open,
    family: Family,
    covers: &[Cover],
    precedes: &impl Fn(u32, u32) -> bool,
    classes: &mut Classes,
) -> Result<Vec<Piece>, usize> {
    let mut stack = vec![outer];
    let mut pieces = Pieces::default();
    pieces.begin(first, outer);
    for same in covers.chunk_by(|a, b| (a.first, a.length) == (b.first, b.length)) {
        let Some(Cover { first, .. }) = same.first() else { continue };
        close_before(*first, &mut stack, &mut pieces);
        let around = stack.last().copied().unwrap_or(outer);
        let open = around.within(family, same, precedes, classes)?;
        pieces.begin(*first, open);
        stack.push(open);
    }
    close_before(outer.last, &mut stack, &mut pieces);
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
