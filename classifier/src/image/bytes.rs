//! Bytes of an image, aligned so that its tables can be read where they lie.

use zerocopy::IntoBytes;

/// Owned bytes that begin on an 8-byte boundary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageBytes {
    words: Vec<u64>,
    length: usize,
}

impl ImageBytes {
    /// `length` zero bytes, to be filled through `as_mut_bytes`.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        Self { words: vec![0; length.div_ceil(8)], length }
    }

    /// A copy of `bytes`.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.as_mut_bytes().copy_from_slice(bytes);
        copy
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.words.as_bytes().get(..self.length).unwrap_or_default()
    }

    /// The bytes, to fill them.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        self.words.as_mut_bytes().get_mut(..self.length).unwrap_or_default()
    }
}
