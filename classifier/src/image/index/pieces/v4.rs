//! IPv4: the key is the address.

use super::slots::{Pieces, Slots, settled};

/// Keys counted at once: 32 bytes, half a cache line.
const WINDOW: usize = 8;

/// An index over IPv4 pieces.
#[derive(Clone, Debug)]
pub struct V4Index {
    slots: Slots<WINDOW>,
    /// How many trailing bits the first table does not look at.
    shift: u32,
}

impl V4Index {
    /// Of pieces that begin at `starts`, ascending from 0.
    #[must_use]
    pub fn of(starts: &[u32]) -> Self {
        // About two pieces for each slot of the first table: measured best between half a piece and sixteen.
        let bits = if starts.len() < 64 { 0 } else { (starts.len().ilog2() - 1).min(20) };
        let shift = u32::BITS - bits;
        let mut slots = Slots::new(1 << bits);
        let pieces = Pieces { keys: starts, end: starts.len(), exact: &|_| true };
        let mut first = 0;
        for slot in 0..1_u32 << bits {
            let start = slot.checked_shl(shift).unwrap_or(0);
            let end = start | u32::MAX.checked_shr(bits).unwrap_or(0);
            let begins = |piece: usize, most: u32| starts.get(piece).is_some_and(|at| *at <= most);
            while begins(first + 1, start) {
                first += 1;
            }
            let mut last = first;
            while begins(last + 1, end) {
                last += 1;
            }
            let entry = slots.entry(pieces, [first, last], start, shift);
            slots.put_root(slot as usize, entry);
            first = last;
        }
        Self { slots, shift }
    }

    /// How many bytes lookups may touch: the index, and all of `starts`.
    #[must_use]
    pub fn touched_bytes(&self, starts: &[u32]) -> usize {
        self.slots.bytes() + size_of_val(starts)
    }

    /// The last piece that begins at or below the address.
    #[inline]
    #[must_use]
    pub fn piece(&self, starts: &[u32], address: u32) -> usize {
        let entry = self.slots.follow(self.root(address), address);
        if let Some((first, starts)) = self.slots.search(entry, starts) {
            return first as usize + starts.partition_point(|start| *start <= address);
        }
        Slots::<WINDOW>::single(entry, starts, address) as usize
    }

    /// The piece of each address, as `piece` says; of a batch at once.
    #[inline]
    pub fn pieces(&self, starts: &[u32], addresses: &[u32], pieces: &mut [u32]) {
        for (addresses, pieces) in addresses.chunks(64).zip(pieces.chunks_mut(64)) {
            self.batch(starts, addresses, pieces);
        }
    }

    fn batch(&self, starts: &[u32], addresses: &[u32], pieces: &mut [u32]) {
        for (entry, address) in pieces.iter_mut().zip(addresses) {
            *entry = self.root(*address);
        }
        for at in self.slots.follow_all(pieces, addresses) {
            if let (Some(entry), Some(address)) = (pieces.get_mut(at), addresses.get(at))
                && let Some((first, starts)) = self.slots.search(*entry, starts)
            {
                let count = starts.partition_point(|start| start <= address);
                *entry = settled(first + u32::try_from(count).unwrap_or(0));
            }
        }
        for (entry, address) in pieces.iter_mut().zip(addresses) {
            *entry = Slots::<WINDOW>::piece(*entry, starts, *address);
        }
    }

    #[inline]
    fn root(&self, address: u32) -> u32 {
        self.slots.root(address.checked_shr(self.shift).unwrap_or(0) as usize)
    }
}
