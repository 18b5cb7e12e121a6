//! Which piece of the address space an address lies in, with few looks at memory.

/// Keys of one node of the tree: a cache line or two.
const NODE: usize = 16;

/// A direct index over IPv4: the leading bits of an address say between which pieces to search.
#[derive(Clone, Debug)]
pub struct DirectIndex {
    /// How many trailing bits the index does not look at.
    shift: u32,
    /// For each value of the leading bits the piece that its first address lies in, and the last piece behind them.
    first: Vec<u32>,
}

impl DirectIndex {
    /// Of pieces that begin at `starts`, ascending from 0.
    #[must_use]
    pub fn of(starts: &[u32]) -> Self {
        // As many entries as pieces, within what a cache holds.
        let bits = starts.len().max(1).ilog2().clamp(4, 18);
        let shift = u32::BITS - bits;
        let mut piece = 0;
        let first_of = |bucket: u32| {
            let address = bucket << shift;
            while starts.get(piece + 1).is_some_and(|start| *start <= address) {
                piece += 1;
            }
            position(piece)
        };
        let mut first: Vec<u32> = (0..1 << bits).map(first_of).collect();
        first.push(position(starts.len().saturating_sub(1)));
        Self { shift, first }
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.first)
    }

    /// The last piece that begins at or below the address.
    #[inline]
    #[must_use]
    pub fn piece(&self, starts: &[u32], address: u32) -> usize {
        let bucket = (address >> self.shift) as usize;
        let Some([low, high]) = self.first.get(bucket..bucket + 2) else { return usize::MAX };
        let (low, high) = (*low as usize, *high as usize);
        let between = starts.get(low + 1..=high).unwrap_or_default();
        low + between.partition_point(|start| *start <= address)
    }

    /// The piece of each address, as `piece` says; of a batch at once.
    #[inline]
    pub fn pieces(&self, starts: &[u32], addresses: &[u32], pieces: &mut [u32]) {
        for (address, piece) in addresses.iter().zip(pieces) {
            *piece = position(self.piece(starts, *address));
        }
    }
}

/// A search tree over IPv6, whose prefixes crowd under few leading bits: level by level every sixteenth key of the one
/// below.
#[derive(Clone, Debug)]
pub struct TreeIndex {
    /// The coarsest level last.
    levels: Vec<Vec<[u64; 2]>>,
}

impl TreeIndex {
    /// Of pieces that begin at `starts`, ascending from 0.
    #[must_use]
    pub fn of(starts: &[[u64; 2]]) -> Self {
        let mut levels: Vec<Vec<[u64; 2]>> = Vec::new();
        loop {
            let below = levels.last().map_or(starts, Vec::as_slice);
            if below.len() <= NODE {
                return Self { levels };
            }
            let level = below.iter().step_by(NODE).copied().collect();
            levels.push(level);
        }
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|level| size_of_val(&**level)).sum()
    }

    /// The last piece that begins at or below the address.
    #[inline]
    #[must_use]
    pub fn piece(&self, starts: &[[u64; 2]], address: [u64; 2]) -> usize {
        let levels = self.levels.iter().rev().map(Vec::as_slice);
        levels.chain([starts]).fold(0, |at, level| {
            let begin = at * NODE;
            let node = level.get(begin..level.len().min(begin + NODE)).unwrap_or_default();
            (begin + node.partition_point(|start| *start <= address)).saturating_sub(1)
        })
    }

    /// The piece of each address, as `piece` says; of a batch at once.
    #[inline]
    pub fn pieces(&self, starts: &[[u64; 2]], addresses: &[[u64; 2]], pieces: &mut [u32]) {
        for (address, piece) in addresses.iter().zip(pieces) {
            *piece = position(self.piece(starts, *address));
        }
    }
}

fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    /// Ascending from 0, crowded at some places.
    fn starts(rng: &mut Rng, count: usize) -> Vec<u64> {
        let mut starts: Vec<u64> = (0..count)
            .map(|_| match rng.u8(..4) {
                0 => rng.u64(..1 << 32),
                1 => rng.u64(..64),
                2 => 0xffff_ffff - rng.u64(..64),
                _ => 0xc612_0000 + rng.u64(..1 << 17),
            })
            .chain([0])
            .collect();
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    #[test]
    fn batches_find_the_pieces_that_single_searches_find() {
        let mut rng = Rng::with_seed(4);
        for count in [0, 1, 2, 16, 17, 256, 257, 4_000, 70_000] {
            let starts = starts(&mut rng, count);
            let v4: Vec<u32> = starts.iter().map(|at| u32::try_from(*at).unwrap()).collect();
            let v6: Vec<[u64; 2]> = starts.iter().map(|at| [at >> 16, at << 48]).collect();
            let (direct, tree) = (DirectIndex::of(&v4), TreeIndex::of(&v6));
            for length in [0, 1, 2, 3, 31, 32, 33, 63, 64] {
                let near = |rng: &mut Rng| v4[rng.usize(..v4.len())].wrapping_sub(rng.u32(..3));
                let addresses: Vec<u32> = (0..length)
                    .map(|_| if rng.bool() { near(&mut rng) } else { rng.u32(..) })
                    .collect();
                let wide: Vec<[u64; 2]> = addresses
                    .iter()
                    .map(|at| [u64::from(*at) >> 16, u64::from(*at) << 48])
                    .collect();
                let single = |at: &u32| u32::try_from(direct.piece(&v4, *at)).unwrap();
                let expected: Vec<u32> = addresses.iter().map(single).collect();
                let (mut of_v4, mut of_v6) = (vec![7; length], vec![7; length]);
                direct.pieces(&v4, &addresses, &mut of_v4);
                tree.pieces(&v6, &wide, &mut of_v6);
                assert_eq!(of_v4, expected);
                assert_eq!(of_v6, expected);
            }
        }
    }

    #[test]
    fn indexes_find_the_piece_that_a_plain_search_finds() {
        let mut rng = Rng::with_seed(3);
        for count in [0, 1, 2, 15, 16, 17, 31, 255, 256, 257, 4_000, 70_000] {
            let starts = starts(&mut rng, count);
            let v4: Vec<u32> = starts.iter().map(|at| u32::try_from(*at).unwrap()).collect();
            let v6: Vec<[u64; 2]> = starts.iter().map(|at| [at >> 16, at << 48]).collect();
            let (direct, tree) = (DirectIndex::of(&v4), TreeIndex::of(&v6));
            let near =
                starts.iter().flat_map(|at| [at.saturating_sub(1), *at, (at + 1).min(0xffff_ffff)]);
            let random: Vec<u64> = (0..10_000).map(|_| rng.u64(..1 << 32)).collect();
            for address in near.chain(random) {
                let expected = starts.partition_point(|start| *start <= address) - 1;
                assert_eq!(direct.piece(&v4, u32::try_from(address).unwrap()), expected);
                assert_eq!(tree.piece(&v6, [address >> 16, address << 48]), expected);
            }
        }
    }
}
