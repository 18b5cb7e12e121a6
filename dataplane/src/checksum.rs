//! The Internet checksum (RFC 1071): the one's complement of a one's complement sum of 16-bit words.

use std::net::IpAddr;

/// Bytes that are added at a time.
const WORD_BYTES: usize = 8;

/// A sum under way. Its words are in the machine's byte order, which one's complement addition does not mind, and it is folded
/// only at the end: 64 bits hold the halves of more words than any packet has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of these bytes, as if a zero followed an odd one.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
        let mut last = [0; WORD_BYTES];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        // Halves, because no half of a sum of 64-bit words would keep the carry.
        let halves = |word: &[u8; WORD_BYTES]| {
            let word = u64::from_ne_bytes(*word);
            (word >> 32) + (word & 0xFFFF_FFFF)
        };
        Self(words.iter().map(halves).sum::<u64>() + halves(&last))
    }

    /// The sum of what an upper-layer checksum covers of the IP header (RFC 9293 section 3.1, RFC 8200 section 8.1).
    #[must_use]
    pub fn of_pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, length: usize) -> Self {
        let [.., a, b, c, d] = (length as u64).to_be_bytes();
        let rest = Self::of(&[a, b, c, d, 0, 0, 0, protocol]);
        let address = |address| match address {
            IpAddr::V4(address) => Self::of(&address.octets()),
            IpAddr::V6(address) => Self::of(&address.octets()),
        };
        address(src).and(address(dst)).and(rest)
    }

    /// The sum of both. What this one is of must not end with half a 16-bit word.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The sum in 16 bits, as they would stand in a packet.
    #[must_use]
    pub fn folded(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum >> 16) + (sum & 0xFFFF);
        }
        let [first, second, ..] = sum.to_le_bytes();
        let folded = u16::from_le_bytes([first, second]);
        folded.to_ne_bytes()
    }

    /// The checksum of what was summed, its own field being zero.
    #[must_use]
    pub fn checksum(self) -> [u8; 2] {
        self.folded().map(|byte| !byte)
    }

    /// Whether what was summed holds its own checksum, and the right one.
    #[must_use]
    pub fn is_right(self) -> bool {
        self.folded() == [0xFF; 2]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 section 4.1, word by word, in network order.
    fn naive(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        u16::try_from(sum).unwrap().to_be_bytes()
    }

    proptest! {
        #[test]
        fn sum_is_that_of_the_naive_one(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Sum::of(&bytes).folded(), naive(&bytes));
        }

        #[test]
        fn parts_sum_to_the_whole(
            words in prop::collection::vec(any::<[u8; 2]>(), 0..100),
            rest in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let even = words.concat();
            let whole = [even.clone(), rest.clone()].concat();
            prop_assert_eq!(Sum::of(&even).and(Sum::of(&rest)).folded(), naive(&whole));
        }

        #[test]
        fn checksum_makes_the_sum_right(words in prop::collection::vec(any::<[u8; 2]>(), 1..100)) {
            let mut bytes = words.concat();
            bytes[..2].fill(0);
            // A sum of zero comes of zeros only.
            prop_assume!(bytes.iter().any(|byte| *byte != 0));
            let checksum = Sum::of(&bytes).checksum();
            bytes[..2].copy_from_slice(&checksum);
            prop_assert!(Sum::of(&bytes).is_right());
        }
    }

    #[test]
    fn sums_of_extremes() {
        for length in [0, 1, 7, 8, 9, 65_535, 65_600] {
            for byte in [0, 0xFF] {
                let bytes = vec![byte; length];
                assert_eq!(Sum::of(&bytes).folded(), naive(&bytes), "{length} of {byte}");
            }
        }
        assert!(!Sum::of(&[0; 20]).is_right());
        assert!(Sum::of(&[0xFF; 20]).is_right());
    }

    #[test]
    fn pseudo_headers_are_those_of_the_standards() {
        let [src, dst]: [IpAddr; 2] = ["192.0.2.1", "198.51.100.7"].map(|it| it.parse().unwrap());
        let written = [192, 0, 2, 1, 198, 51, 100, 7, 0, 6, 0x12, 0x34];
        assert_eq!(Sum::of_pseudo_header(src, dst, 6, 0x1234).folded(), naive(&written));
        let [src, dst]: [IpAddr; 2] = ["2001:db8::1", "ff02::7"].map(|it| it.parse().unwrap());
        let mut written = [0; 40];
        written[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
        (written[15], written[16], written[17], written[31]) = (1, 0xFF, 2, 7);
        written[32..].copy_from_slice(&[0, 1, 0x12, 0x34, 0, 0, 0, 58]);
        assert_eq!(Sum::of_pseudo_header(src, dst, 58, 0x1_1234).folded(), naive(&written));
    }
}
