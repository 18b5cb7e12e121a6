//! Pieces in place of those of an image.

use std::collections::BTreeMap;

use crate::compile::pieces::Piece;
use crate::image::layout::NONE;

/// For some addresses of a family, where pieces begin, their class and name. Where the class is `NONE`, and before the
/// first, the pieces of the image stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    pieces: BTreeMap<u128, (u32, u32)>,
}

const OF_THE_IMAGE: (u32, u32) = (NONE, NONE);

impl Overlay {
    /// Puts pieces in place of all that is from `first`, where the first of them begins, to `last`; `end` is the last
    /// address of the family.
    pub(super) fn put(&mut self, [first, last]: [u128; 2], end: u128, pieces: &[Piece]) {
        let next = last.checked_add(1).filter(|_| last < end);
        if let Some(next) = next {
            let there = self.at(next);
            self.pieces.entry(next).or_insert(there);
        }
        let replaced: Vec<u128> = self.pieces.range(first..=last).map(|(at, _)| *at).collect();
        for at in replaced {
            self.pieces.remove(&at);
        }
        self.pieces.extend(pieces.iter().map(|piece| (piece.start, (piece.class, piece.name))));
        self.join(first);
        if let Some(next) = next {
            self.join(next);
        }
    }

    /// What it says from `first` to `last`.
    pub(super) fn between(&self, [first, last]: [u128; 2]) -> Vec<Piece> {
        let (class, name) = self.at(first);
        let rest = self.pieces.range(first..=last).filter(|(at, _)| **at != first);
        let rest = rest.map(|(at, (class, name))| Piece { start: *at, class: *class, name: *name });
        [Piece { start: first, class, name }].into_iter().chain(rest).collect()
    }

    /// All of it.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let pieces = self.pieces.iter();
        pieces.map(|(at, (class, name))| Piece { start: *at, class: *class, name: *name }).collect()
    }

    fn at(&self, address: u128) -> (u32, u32) {
        self.pieces.range(..=address).next_back().map_or(OF_THE_IMAGE, |(_, piece)| *piece)
    }

    /// Takes out a piece that only goes on with the one before it.
    fn join(&mut self, at: u128) {
        let before = self.pieces.range(..at).next_back().map_or(OF_THE_IMAGE, |(_, piece)| *piece);
        if self.pieces.get(&at) == Some(&before) {
            self.pieces.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    #[test]
    fn overlay_says_of_each_address_what_was_put_there_last() {
        let mut rng = Rng::with_seed(5);
        let mut overlay = Overlay::default();
        let mut expected = vec![OF_THE_IMAGE; 256];
        for round in 0..2_000_u32 {
            let first = rng.u128(..256);
            let last = rng.u128(first..256);
            let middle = rng.u128(first..=last);
            let pieces = [(first, round % 5), (middle, round % 7)].map(|(start, class)| Piece {
                start,
                class,
                name: round % 3,
            });
            let pieces = if middle == first { &pieces[1..] } else { &pieces[..] };
            overlay.put([first, last], 255, pieces);
            for (at, slot) in expected.iter_mut().enumerate() {
                let at = at as u128;
                if (first..=last).contains(&at) {
                    let class = if at < middle { round % 5 } else { round % 7 };
                    *slot = (class, round % 3);
                }
            }
            let said: Vec<_> = (0..256).map(|at| overlay.at(at)).collect();
            assert_eq!(said, expected);
            let part = overlay.between([first, last]);
            assert!(part.iter().all(|piece| overlay.at(piece.start) == (piece.class, piece.name)));
        }
    }
}
