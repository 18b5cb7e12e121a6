//! Which piece of the address space an address lies in, with few looks at memory.
//!
//! Chosen by measurement; `benches/README.md` says what lost.

mod slots;
mod v4;
mod v6;

pub use self::v4::V4Index;
pub use self::v6::V6Index;

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    const COUNTS: [usize; 12] = [0, 1, 2, 15, 16, 17, 63, 64, 257, 520, 4_000, 70_000];

    /// Ascending from 0, crowded at some places.
    fn v4_starts(rng: &mut Rng, count: usize) -> Vec<u32> {
        let draw = |rng: &mut Rng| match rng.u8(..4) {
            0 => rng.u32(..),
            1 => rng.u32(..64),
            2 => u32::MAX - rng.u32(..64),
            _ => 0xc612_0000 + rng.u32(..1 << 17),
        };
        ascending((0..count).map(|_| draw(rng)).chain([0]).collect())
    }

    /// The same: many and few within a /16, a /32, a /48, a /64.
    fn v6_starts(rng: &mut Rng, count: usize) -> Vec<[u64; 2]> {
        let crowd = rng.u64(..) << 16;
        let draw = |rng: &mut Rng| match rng.u8(..9) {
            0 => rng.u128(..),
            1 => u128::from(rng.u64(..64)),
            2 => u128::MAX - u128::from(rng.u64(..64)),
            3 => (0x2001_u128 << 16 | u128::from(rng.u16(..))) << 96,
            4 => (0x2001_0002_u128 << 16 | u128::from(rng.u16(..))) << 80,
            5 => (0x2001_0002_u128 << 16 | u128::from(rng.u16(..4_096))) << 80 | rng.u128(..) >> 48,
            6 => (u128::from(crowd) | u128::from(rng.u16(..))) << 64,
            7 => u128::from(crowd) << 64 | rng.u128(..) >> 64,
            _ => u128::from(rng.u16(0x2400..0x2c00)) << 112 | (rng.u128(..) >> 108) << 92,
        };
        let starts = ascending((0..count).map(|_| draw(rng)).chain([0]).collect());
        starts.into_iter().map(halves).collect()
    }

    fn ascending<T: Ord>(mut starts: Vec<T>) -> Vec<T> {
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    fn halves(address: u128) -> [u64; 2] {
        [address >> 64, address & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap())
    }

    fn whole([high, low]: [u64; 2]) -> u128 {
        u128::from(high) << 64 | u128::from(low)
    }

    fn v4_addresses(starts: &[u32], rng: &mut Rng) -> Vec<u32> {
        let near = starts.iter().flat_map(|at| [at.saturating_sub(1), *at, at.saturating_add(1)]);
        let mut addresses: Vec<u32> = near.chain((0..10_000).map(|_| rng.u32(..))).collect();
        addresses.push(u32::MAX);
        rng.shuffle(&mut addresses);
        addresses
    }

    fn v6_addresses(starts: &[[u64; 2]], rng: &mut Rng) -> Vec<[u64; 2]> {
        let near = starts.iter().map(|start| whole(*start)).flat_map(|at| {
            let further = at.saturating_add(rng.u128(..) >> rng.u32(..128));
            [at.saturating_sub(1), at, at.saturating_add(1), further]
        });
        let near: Vec<u128> = near.collect();
        let random = (0..10_000).map(|_| rng.u128(..));
        let mut addresses: Vec<[u64; 2]> =
            near.into_iter().chain(random).chain([u128::MAX]).map(halves).collect();
        rng.shuffle(&mut addresses);
        addresses
    }

    fn plain<T: PartialOrd>(starts: &[T], address: &T) -> usize {
        starts.partition_point(|start| start <= address) - 1
    }

    #[test]
    fn v4_index_finds_the_piece_that_a_plain_search_finds() {
        let mut rng = Rng::with_seed(3);
        for count in COUNTS {
            let starts = v4_starts(&mut rng, count);
            let index = V4Index::of(&starts);
            for address in v4_addresses(&starts, &mut rng) {
                let expected = plain(&starts, &address);
                assert_eq!(index.piece(&starts, address), expected, "{address:#x} of {count}");
            }
        }
    }

    #[test]
    fn v6_index_finds_the_piece_that_a_plain_search_finds() {
        let mut rng = Rng::with_seed(3);
        for count in COUNTS {
            let starts = v6_starts(&mut rng, count);
            let index = V6Index::of(&starts);
            for address in v6_addresses(&starts, &mut rng) {
                let expected = plain(&starts, &address);
                assert_eq!(index.piece(&starts, address), expected, "{address:x?} of {count}");
            }
        }
    }

    #[test]
    fn batches_find_the_pieces_that_single_searches_find() {
        let mut rng = Rng::with_seed(4);
        for count in COUNTS {
            let (v4, v6) = (v4_starts(&mut rng, count), v6_starts(&mut rng, count));
            let (v4_index, v6_index) = (V4Index::of(&v4), V6Index::of(&v6));
            let (v4_addresses, v6_addresses) =
                (v4_addresses(&v4, &mut rng), v6_addresses(&v6, &mut rng));
            for length in [1, 2, 3, 31, 32, 33, 63, 64, 65] {
                for addresses in v4_addresses.chunks(length).take(200) {
                    let mut pieces = vec![7; addresses.len()];
                    v4_index.pieces(&v4, addresses, &mut pieces);
                    let single = addresses.iter().map(|at| v4_index.piece(&v4, *at));
                    assert!(single.eq(pieces.iter().map(|piece| *piece as usize)));
                }
                for addresses in v6_addresses.chunks(length).take(200) {
                    let mut pieces = vec![7; addresses.len()];
                    v6_index.pieces(&v6, addresses, &mut pieces);
                    let single = addresses.iter().map(|at| v6_index.piece(&v6, *at));
                    assert!(single.eq(pieces.iter().map(|piece| *piece as usize)));
                }
            }
        }
    }

    #[test]
    fn an_empty_address_space_takes_an_index_of_few_bytes() {
        assert!(V4Index::of(&[0]).touched_bytes(&[0]) < 64);
        assert!(V6Index::of(&[[0, 0]]).touched_bytes(&[[0, 0]]) < 64);
    }
}
