//! IPv6: the first sixteen bits of an address choose a slot of the first table, the key is the next 32. What is announced
//! or owned is seldom longer than /48; the few pieces that begin within one are told apart by their whole first address.

use super::slots::{Bits, Pieces, Slots, is_check, settled};

/// Keys counted at once: 64 bytes.
const WINDOW: usize = 16;

/// With fewer pieces a search among all of them is as quick as a table.
const FEW: usize = 512;

/// An index over IPv6 pieces.
#[derive(Clone, Debug)]
pub struct V6Index {
    slots: Slots<WINDOW>,
    /// For each piece bits 16 to 48 of its first address; empty where there are few pieces.
    keys: Vec<u32>,
}

impl V6Index {
    /// Of pieces that begin at `starts`, ascending from 0.
    #[must_use]
    pub fn of(starts: &[[u64; 2]]) -> Self {
        if starts.len() < FEW {
            return Self { slots: Slots::new(0), keys: Vec::new() };
        }
        let keys: Vec<u32> = starts.iter().map(|start| key(*start)).collect();
        let mut slots = Slots::new(1 << 16);
        let exact = |piece: usize| {
            starts.get(piece).is_some_and(|[high, low]| high.trailing_zeros() >= 16 && *low == 0)
        };
        let begins = |piece: usize, most: [u64; 2]| starts.get(piece).is_some_and(|at| *at <= most);
        let mut first = 0;
        for slot in 0..1_u64 << 16 {
            let start = slot << 48;
            while begins(first + 1, [start, 0]) {
                first += 1;
            }
            let mut last = first;
            while begins(last + 1, [start | u64::MAX >> 16, u64::MAX]) {
                last += 1;
            }
            // Keys ascend within a slot only.
            let pieces = Pieces { keys: &keys, end: last + 1, exact: &exact };
            let entry = slots.entry(pieces, [first, last], 0, 32);
            slots.put_root(root(start), entry);
            first = last;
        }
        Self { slots, keys }
    }

    /// How many bytes lookups may touch: the index, and those of `starts` that it does not tell apart by itself.
    #[must_use]
    pub fn touched_bytes(&self, starts: &[[u64; 2]]) -> usize {
        if self.keys.is_empty() {
            return size_of_val(starts);
        }
        self.slots.bytes()
            + size_of_val(&*self.keys)
            + self.slots.ambiguous() * size_of::<[u64; 2]>()
    }

    /// The last piece that begins at or below the address.
    #[inline]
    #[must_use]
    pub fn piece(&self, starts: &[[u64; 2]], address: [u64; 2]) -> usize {
        if self.keys.is_empty() {
            return search(starts, address) as usize;
        }
        let key = key(address);
        let entry = self.slots.follow(self.slots.root(root(address[0])), key);
        if let Some((first, starts)) = self.slots.search(entry, starts) {
            return first as usize + starts.partition_point(|start| *start <= address);
        }
        let piece = Slots::<WINDOW>::single(entry, &self.keys, key);
        if is_check(entry) { at_or_below(starts, piece, address) as usize } else { piece as usize }
    }

    /// The piece of each address, as `piece` says; of a batch at once.
    #[inline]
    pub fn pieces(&self, starts: &[[u64; 2]], addresses: &[[u64; 2]], pieces: &mut [u32]) {
        for (addresses, pieces) in addresses.chunks(64).zip(pieces.chunks_mut(64)) {
            if self.keys.is_empty() {
                for (piece, address) in pieces.iter_mut().zip(addresses) {
                    *piece = search(starts, *address);
                }
            } else {
                self.batch(starts, addresses, pieces);
            }
        }
    }

    fn batch(&self, starts: &[[u64; 2]], addresses: &[[u64; 2]], pieces: &mut [u32]) {
        let mut keys = [0; 64];
        for ((entry, key_of), address) in pieces.iter_mut().zip(&mut keys).zip(addresses) {
            *entry = self.slots.root(root(address[0]));
            *key_of = key(*address);
        }
        let mut checks = 0;
        for at in self.slots.follow_all(pieces, &keys) {
            let (Some(entry), Some(address)) = (pieces.get_mut(at), addresses.get(at)) else {
                break;
            };
            checks |= u64::from(is_check(*entry)) << at;
            if let Some((first, starts)) = self.slots.search(*entry, starts) {
                let count = starts.partition_point(|start| start <= address);
                *entry = settled(first + u32::try_from(count).unwrap_or(0));
            }
        }
        for (entry, key) in pieces.iter_mut().zip(keys) {
            *entry = Slots::<WINDOW>::piece(*entry, &self.keys, key);
        }
        for at in Bits(checks) {
            if let (Some(piece), Some(address)) = (pieces.get_mut(at), addresses.get(at)) {
                *piece = at_or_below(starts, *piece, *address);
            }
        }
    }
}

/// The slot of the first table for an address with these high bits.
#[inline]
fn root(high: u64) -> usize {
    (high >> 48) as usize
}

#[inline]
fn key([high, _]: [u64; 2]) -> u32 {
    u32::try_from(high >> 16 & u64::from(u32::MAX)).unwrap_or(0)
}

/// Goes back from a piece to the last one that begins at or below the address: one or none, mostly.
#[inline]
fn at_or_below(starts: &[[u64; 2]], mut piece: u32, address: [u64; 2]) -> u32 {
    while starts.get(piece as usize).is_some_and(|start| *start > address) {
        piece -= 1;
    }
    piece
}

fn search(starts: &[[u64; 2]], address: [u64; 2]) -> u32 {
    let count = starts.partition_point(|start| *start <= address);
    u32::try_from(count.saturating_sub(1)).unwrap_or(0)
}
