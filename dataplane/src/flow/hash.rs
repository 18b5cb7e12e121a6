//! `SipHash`-1-3 of flow keys (Aumasson and Bernstein, 2012), which the standard library has
//! for bytes as they come and this table needs for a few words at once.

use std::hash::{BuildHasher, RandomState};

use super::key::{FlowKey, KEY_WORDS};

/// The secret of a table: who does not know it cannot choose tuples that crowd one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret([u64; 2]);

impl Secret {
    pub(super) fn of(random: &RandomState) -> Self {
        Self([0_u8, 1].map(|half| random.hash_one(half)))
    }

    #[inline]
    pub(super) fn hash(self, key: &FlowKey) -> u64 {
        match key.short() {
            Some(words) => self.of_words(&words),
            None => self.of_words(&key.0),
        }
    }

    /// Of these words as little-endian bytes.
    #[inline]
    pub(super) fn of_words(self, words: &[u64]) -> u64 {
        let Self([k0, k1]) = self;
        let mut state = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        let length = (words.len() as u64 * 8) << 56;
        for word in words.iter().copied().chain([length]) {
            state[3] ^= word;
            state = round(state);
            state[0] ^= word;
        }
        state[2] ^= 0xff;
        let [v0, v1, v2, v3] = round(round(round(state)));
        v0 ^ v1 ^ v2 ^ v3
    }
}

#[inline]
fn round([v0, v1, v2, v3]: [u64; 4]) -> [u64; 4] {
    let v0 = v0.wrapping_add(v1);
    let v2 = v2.wrapping_add(v3);
    let v1 = v1.rotate_left(13) ^ v0;
    let v3 = v3.rotate_left(16) ^ v2;
    let v0 = v0.rotate_left(32);
    let v2 = v2.wrapping_add(v1);
    let v0 = v0.wrapping_add(v3);
    let v1 = v1.rotate_left(17) ^ v2;
    let v3 = v3.rotate_left(21) ^ v0;
    [v0, v1, v2.rotate_left(32), v3]
}

impl FlowKey {
    /// The key of an IPv4 flow in fewer words: of mapped addresses only the last 32 bits differ. No key of six words looks
    /// like it, because a hash is also of the length.
    #[inline]
    fn short(&self) -> Option<[u64; KEY_WORDS / 2]> {
        const MAPPED: u64 = 0xffff_0000_0000;
        let [a, b, c, d, ends, rest] = self.0;
        let is_mapped = |high: u64, low: u64| high == 0 && low & !0xffff_ffff == MAPPED;
        (is_mapped(a, b) && is_mapped(c, d)).then_some([b << 32 | d & 0xffff_ffff, ends, rest])
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher};

    use super::*;

    #[test]
    fn hash_is_that_of_the_standard_library() {
        let mut rng = fastrand::Rng::with_seed(0x5eed_0005);
        for length in 0..=KEY_WORDS {
            let words: Vec<u64> = (0..length).map(|_| rng.u64(..)).collect();
            // Keyed with zeros.
            let mut hasher = DefaultHasher::new();
            for word in &words {
                hasher.write(&word.to_le_bytes());
            }
            assert_eq!(Secret([0; 2]).of_words(&words), hasher.finish());
        }
    }

    #[test]
    fn only_what_is_mapped_is_short_and_nothing_is_lost() {
        let mapped = |address: u64| 0xffff_0000_0000 | address;
        let key = FlowKey([0, mapped(1), 0, mapped(0xffff_ffff), 3, 4]);
        assert_eq!(key.short(), Some([0x1_ffff_ffff, 3, 4]));
        for word in 0..4 {
            let mut other = key;
            other.0[word] ^= 1 << 40;
            assert_eq!(other.short(), None, "{word}");
        }
    }

    #[test]
    fn tables_hash_differently() {
        let key = FlowKey([1, 2, 3, 4, 5, 6]);
        let hash = || Secret::of(&RandomState::new()).hash(&key);
        assert_ne!(hash(), hash());
    }
}
