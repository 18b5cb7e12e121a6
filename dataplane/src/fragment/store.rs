//! The bytes of fragments, in chunks of one size: a fragment takes as many as it needs, wherever they are.

/// Bytes of a chunk. A frame of 1514 bytes fills six of them but for 22 bytes, and the shortest wastes less than a chunk.
pub(super) const CHUNK_BYTES: usize = 256;

/// No chunk, no fragment.
const NONE: u32 = u32::MAX;

/// A fragment in the store, by its first chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stored(u32);

/// What is known of a fragment beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    /// Position of its data in the data of the datagram, in bytes.
    pub(super) offset: u16,
    /// Bytes of data.
    pub(super) data_bytes: u16,
    /// Position in the frame of the IP header.
    pub(super) header_at: u16,
    /// Position in the frame of its data.
    pub(super) data_at: u16,
    /// Bytes of the frame.
    pub(super) frame_bytes: u16,
    /// Whether it says that more follow.
    pub(super) more: bool,
    /// What it says the datagram carries.
    pub(super) protocol: u8,
}

impl Part {
    /// Position behind its last byte.
    pub(super) fn end(&self) -> u32 {
        u32::from(self.offset) + u32::from(self.data_bytes)
    }
}

/// Memory for fragments. All of it is had at the start.
#[derive(Debug)]
pub(super) struct Store {
    bytes: Vec<u8>,
    /// For each chunk the one that goes on where it ends, or the next free one.
    next: Vec<u32>,
    free: u32,
    free_count: usize,
    /// For each first chunk of a fragment what is known of it, and which fragment follows.
    parts: Vec<(Part, u32)>,
}

impl Store {
    pub(super) fn new(chunks: usize) -> Self {
        let count = u32::try_from(chunks).unwrap_or(NONE).min(NONE - 1);
        let chunks = count as usize;
        let next = (1..=count).map(|next| if next < count { next } else { NONE }).collect();
        Self {
            bytes: vec![0; chunks * CHUNK_BYTES],
            next,
            free: if count > 0 { 0 } else { NONE },
            free_count: chunks,
            parts: vec![(Part::default(), NONE); chunks],
        }
    }

    /// Chunks that a frame of this length takes.
    pub(super) fn chunks_for(frame_bytes: usize) -> usize {
        frame_bytes.div_ceil(CHUNK_BYTES).max(1)
    }

    /// Chunks that are free.
    pub(super) fn free_count(&self) -> usize {
        self.free_count
    }

    /// Copies a frame into free chunks; `None` when there are not enough.
    pub(super) fn put(&mut self, frame: &[u8], part: Part) -> Option<Stored> {
        let first = self.free;
        let count = Self::chunks_for(frame.len());
        if count > self.free_count {
            return None;
        }
        let (mut chunk, mut last) = (first, NONE);
        let mut rest = frame;
        for _ in 0..count {
            let piece = rest.get(..CHUNK_BYTES.min(rest.len()))?;
            self.chunk_mut(chunk)?.get_mut(..piece.len())?.copy_from_slice(piece);
            rest = rest.get(piece.len()..)?;
            last = chunk;
            chunk = *self.next.get(chunk as usize)?;
        }
        *self.next.get_mut(last as usize)? = NONE;
        self.free = chunk;
        self.free_count -= count;
        *self.parts.get_mut(first as usize)? = (part, NONE);
        Some(Stored(first))
    }

    /// Frees the chunks of a fragment; returns the fragment that followed it.
    pub(super) fn free(&mut self, stored: Stored) -> Option<Stored> {
        let Stored(mut chunk) = stored;
        let following = self.following(stored);
        while let Some(next) = self.next.get_mut(chunk as usize) {
            let after = *next;
            *next = self.free;
            self.free = chunk;
            self.free_count += 1;
            chunk = after;
        }
        following
    }

    pub(super) fn part(&self, Stored(first): Stored) -> Part {
        self.parts.get(first as usize).map_or_else(Part::default, |(part, _)| *part)
    }

    /// The fragment that follows in its datagram.
    pub(super) fn following(&self, Stored(first): Stored) -> Option<Stored> {
        self.parts.get(first as usize).and_then(|(_, following)| stored(*following))
    }

    /// Sets the fragment that follows in its datagram.
    pub(super) fn follow(&mut self, Stored(first): Stored, following: Option<Stored>) {
        if let Some((_, place)) = self.parts.get_mut(first as usize) {
            *place = following.map_or(NONE, |Stored(first)| first);
        }
    }

    /// Copies bytes of the frame, from this position, until `out` is full. False when there are not so many chunks.
    #[must_use]
    pub(super) fn copy(&self, fragment: Stored, from: usize, out: &mut [u8]) -> bool {
        let mut rest = out;
        for piece in self.pieces(fragment, from) {
            let count = piece.len().min(rest.len());
            let (place, behind) = rest.split_at_mut(count);
            place.copy_from_slice(piece.get(..count).unwrap_or_default());
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        rest.is_empty()
    }

    /// Whether the frame has these bytes from this position on.
    pub(super) fn has(&self, fragment: Stored, from: usize, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        for piece in self.pieces(fragment, from) {
            let count = piece.len().min(rest.len());
            if rest.get(..count) != piece.get(..count) {
                return false;
            }
            rest = rest.get(count..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
        }
        rest.is_empty()
    }

    /// The chunks of a fragment without their first `from` bytes.
    fn pieces(&self, Stored(first): Stored, from: usize) -> impl Iterator<Item = &[u8]> {
        let mut chunk = first;
        let mut skip = from;
        std::iter::from_fn(move || {
            let bytes = self.chunk(chunk)?;
            chunk = self.next.get(chunk as usize).copied().unwrap_or(NONE);
            let skipped = skip.min(CHUNK_BYTES);
            skip -= skipped;
            bytes.get(skipped..)
        })
    }

    fn chunk(&self, chunk: u32) -> Option<&[u8]> {
        if chunk == NONE {
            return None;
        }
        self.bytes.get(chunk as usize * CHUNK_BYTES..)?.get(..CHUNK_BYTES)
    }

    fn chunk_mut(&mut self, chunk: u32) -> Option<&mut [u8]> {
        self.bytes.get_mut(chunk as usize * CHUNK_BYTES..)?.get_mut(..CHUNK_BYTES)
    }
}

fn stored(first: u32) -> Option<Stored> {
    (first != NONE).then_some(Stored(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_until_memory_is_full() {
        let mut rng = fastrand::Rng::with_seed(0x5eed_0502);
        let mut store = Store::new(40);
        let mut held: Vec<(Stored, Vec<u8>)> = Vec::new();
        let mut refused = 0;
        for _ in 0..5_000 {
            let frame: Vec<u8> = (0..rng.usize(1..2_000)).map(|_| rng.u8(..)).collect();
            let used: usize = held.iter().map(|(_, frame)| frame.len().div_ceil(CHUNK_BYTES)).sum();
            assert_eq!(store.free_count(), 40 - used);
            if let Some(stored) = store.put(&frame, Part::default()) {
                held.push((stored, frame));
            } else {
                assert!(used + frame.len().div_ceil(CHUNK_BYTES) > 40);
                let (stored, _) = held.swap_remove(rng.usize(..held.len()));
                assert_eq!(store.free(stored), None);
                refused += 1;
            }
            for (stored, frame) in &held {
                let from = rng.usize(..frame.len());
                let mut out = vec![0; frame.len() - from];
                assert!(store.copy(*stored, from, &mut out));
                assert_eq!(out, frame[from..]);
                assert!(store.has(*stored, from, &out));
                out[0] ^= 1;
                assert!(!store.has(*stored, from, &out));
            }
        }
        assert!(refused > 1_000, "{refused}");
    }
}
