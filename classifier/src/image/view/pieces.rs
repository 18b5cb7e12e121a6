//! The address space in pieces, and what a patch puts in their place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{View, halves, halves_joined};
use crate::image::layout::NONE;
use crate::image::patch::PatchIndex;
use crate::packet::IpVersion;

/// The pieces of one family: where each begins, ascending, its class and the object that names it, or `NONE`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pieces<'a, A> {
    pub(crate) starts: &'a [A],
    pub(crate) classes: &'a [u32],
    pub(crate) names: &'a [u32],
}

/// What a patch says in place of the image: pieces, those of class `NONE` being the image's own, and blocks by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PatchView<'a> {
    pub(crate) v4: Pieces<'a, u32>,
    pub(crate) v6: Pieces<'a, [u64; 2]>,
    pub(crate) block_numbers: &'a [u32],
    pub(crate) blocks: &'a [[u32; 4]],
    pub(crate) index: &'a PatchIndex,
}

/// A piece: first address, class and naming object (or `NONE`).
type Piece = (u128, u32, u32);

impl<A: Copy + Ord> Pieces<'_, A> {
    /// Class and name of the piece at a position.
    #[inline]
    fn at(self, piece: usize) -> (u32, u32) {
        let of = |table: &[u32]| table.get(piece).copied().unwrap_or(NONE);
        (of(self.classes), of(self.names))
    }

    /// Of the piece that the address lies in, by a plain search: for the few pieces of a patch.
    #[inline]
    fn search(self, address: A) -> Option<(u32, u32)> {
        let piece = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        Some(self.at(piece)).filter(|(class, _)| *class != NONE)
    }

    fn all(self, number: impl Fn(A) -> u128) -> Vec<Piece> {
        let rest = self.classes.iter().zip(self.names);
        let pieces = self.starts.iter().zip(rest);
        pieces.map(|(start, (class, name))| (number(*start), *class, *name)).collect()
    }
}

impl PatchView<'_> {
    #[inline]
    fn at_v4(&self, address: u32) -> Option<(u32, u32)> {
        if self.index.may_hold(address) { self.v4.search(address) } else { None }
    }
}

impl View<'_> {
    /// The class of an address: one search in a table of disjoint pieces.
    #[inline]
    pub(crate) fn class_of(&self, address: IpAddr) -> u32 {
        self.class_and_name(address).0
    }

    /// The class of an address, and the object that names it, or `NONE`.
    #[inline]
    pub(super) fn class_and_name(&self, address: IpAddr) -> (u32, u32) {
        if let Some(patched) = self.patched(address) {
            return patched;
        }
        match address {
            IpAddr::V4(address) => self.v4.at(self.v4_piece(address)),
            IpAddr::V6(address) => self.v6.at(self.v6_piece(address)),
        }
    }

    /// What a patch says of an address, if there is one and it says anything.
    #[inline]
    pub(super) fn patched(&self, address: IpAddr) -> Option<(u32, u32)> {
        let patch = self.patch.as_ref()?;
        match address {
            IpAddr::V4(address) => patch.at_v4(u32::from(address)),
            IpAddr::V6(address) => patch.v6.search(halves(u128::from(address))),
        }
    }

    fn v4_piece(&self, address: Ipv4Addr) -> usize {
        self.index.v4.piece(self.v4.starts, u32::from(address))
    }

    fn v6_piece(&self, address: Ipv6Addr) -> usize {
        self.index.v6.piece(self.v6.starts, halves(u128::from(address)))
    }

    /// First address, class and naming object (or `NONE`) of each piece of the family, ascending; the first is at 0.
    pub(crate) fn pieces(&self, version: IpVersion) -> Vec<(u128, u32, u32)> {
        let patch = self.patch.as_ref();
        match version {
            IpVersion::V4 => {
                let patched = patch.map_or(Vec::new(), |patch| patch.v4.all(u128::from));
                merged(self.v4.all(u128::from), &patched)
            }
            IpVersion::V6 => {
                let patched = patch.map_or(Vec::new(), |patch| patch.v6.all(halves_joined));
                merged(self.v6.all(halves_joined), &patched)
            }
        }
    }
}

/// The pieces of an image with those of a patch in their place.
fn merged(base: Vec<Piece>, patched: &[Piece]) -> Vec<Piece> {
    if patched.is_empty() {
        return base;
    }
    let mut all: Vec<Piece> = Vec::with_capacity(base.len() + patched.len());
    let mut put = |(start, class, name)| match all.last_mut() {
        Some(last) if last.0 == start => *last = (start, class, name),
        Some(last) if (last.1, last.2) == (class, name) => {}
        _ => all.push((start, class, name)),
    };
    let (mut base, mut patched) = (base.iter().peekable(), patched.iter().peekable());
    // What the image and the patch say of the address under the sweep.
    let mut below = (NONE, NONE);
    let mut above = (NONE, NONE);
    while let Some(start) = next_start(base.peek(), patched.peek()) {
        if let Some((_, class, name)) = base.next_if(|piece| piece.0 == start) {
            below = (*class, *name);
        }
        if let Some((_, class, name)) = patched.next_if(|piece| piece.0 == start) {
            above = (*class, *name);
        }
        let (class, name) = if above.0 == NONE { below } else { above };
        put((start, class, name));
    }
    all
}

fn next_start(base: Option<&&Piece>, patched: Option<&&Piece>) -> Option<u128> {
    let starts = [base, patched].into_iter().flatten();
    starts.map(|(start, ..)| *start).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_replaces_what_it_covers_and_nothing_else() {
        let base = vec![(0, 0, 9), (10, 1, 9), (20, 2, 9), (30, 1, 9)];
        assert_eq!(merged(base.clone(), &[]), base);
        let patched = [(15, 7, 8), (18, NONE, NONE), (25, 2, 9), (35, NONE, NONE)];
        let expected = [(0, 0, 9), (10, 1, 9), (15, 7, 8), (18, 1, 9), (20, 2, 9), (35, 1, 9)];
        assert_eq!(merged(base, &patched), expected);
    }
}
