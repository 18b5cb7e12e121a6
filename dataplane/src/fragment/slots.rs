//! The datagrams that are known, found by their keys.

use std::hash::{BuildHasher, RandomState};

use super::key::Key;
use super::store::Stored;
use crate::counters::Count;
use crate::disposition::DropReason;
use crate::moment::Moment;

/// No datagram.
const NONE: u32 = u32::MAX;

/// What becomes of a datagram. Also the lists that datagrams are in by age: by each state, and by family where their time
/// differs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// Fragments are missing.
    Waiting,
    /// All are there, and it is being judged or about to leave.
    Whole,
    /// It was given up for this reason, and so is what still comes of it.
    Discarded(DropReason),
    /// It was decided: what still comes are copies that are late.
    Decided,
}

/// A datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub(super) key: Key,
    pub(super) state: State,
    pub(super) since: Moment,
    /// When its time is over.
    pub(super) until: Moment,
    /// The account of its source.
    pub(super) source: usize,
    /// Its fragments, by their offset.
    pub(super) first: Option<Stored>,
    pub(super) last: Option<Stored>,
    /// The one that came last.
    pub(super) latest: Option<Stored>,
    /// Fragments, and bytes of their frames.
    pub(super) frames: Count,
    /// Chunks that they take.
    pub(super) chunks: usize,
    /// Bytes of data so far.
    pub(super) data_bytes: u32,
    /// Length of all data, once the last fragment is there.
    pub(super) length: Option<u32>,
}

impl Datagram {
    /// Whether nothing is missing. Fragments do not overlap, and none ends behind `length`.
    pub(super) fn is_whole(&self) -> bool {
        self.length == Some(self.data_bytes)
    }
}

/// Places for datagrams, all had at the start.
#[derive(Debug)]
pub(super) struct Slots {
    places: Vec<Slot>,
    /// By hash, the first datagram of a chain.
    chains: Vec<u32>,
    free: Vec<u32>,
    random: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    datagram: Option<Datagram>,
    next: u32,
}

impl Slots {
    pub(super) fn new(count: usize, random: RandomState) -> Self {
        let count = u32::try_from(count).unwrap_or(NONE).min(NONE - 1);
        let places = vec![Slot { datagram: None, next: NONE }; count as usize];
        let chains = vec![NONE; places.len().next_power_of_two()];
        Self { places, chains, free: (0..count).rev().collect(), random }
    }

    pub(super) fn random(&self) -> &RandomState {
        &self.random
    }

    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Datagram> {
        self.places.get(slot as usize)?.datagram.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Datagram> {
        self.places.get_mut(slot as usize)?.datagram.as_mut()
    }

    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        let mut slot = self.chains.get(self.chain_of(key)).copied()?;
        while let Some(Slot { datagram, next }) = self.places.get(slot as usize) {
            if datagram.as_ref().is_some_and(|datagram| datagram.key == *key) {
                return Some(slot);
            }
            slot = *next;
        }
        None
    }

    /// Gives a datagram, whose key is not there yet, a place; `None` when there is none.
    pub(super) fn insert(&mut self, datagram: Datagram) -> Option<u32> {
        let chain = self.chain_of(&datagram.key);
        let slot = self.free.pop()?;
        let first = self.chains.get_mut(chain)?;
        *self.places.get_mut(slot as usize)? = Slot { datagram: Some(datagram), next: *first };
        *first = slot;
        Some(slot)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Datagram> {
        let Slot { datagram, next } = *self.places.get(slot as usize)?;
        let datagram = datagram?;
        let chain = self.chain_of(&datagram.key);
        *self.link_to(chain, slot)? = next;
        self.places.get_mut(slot as usize)?.datagram = None;
        self.free.push(slot);
        Some(datagram)
    }

    /// What points at the slot: its chain, or the slot before it.
    fn link_to(&mut self, chain: usize, slot: u32) -> Option<&mut u32> {
        let Self { chains, places, .. } = self;
        let first = chains.get_mut(chain)?;
        if *first == slot {
            return Some(first);
        }
        let mut before = *first;
        loop {
            let next = places.get(before as usize)?.next;
            if next == slot {
                return places.get_mut(before as usize).map(|slot| &mut slot.next);
            }
            before = next;
        }
    }

    fn chain_of(&self, key: &Key) -> usize {
        let mask = self.chains.len() as u64 - 1;
        // A power of two, so what the mask leaves is below the length.
        usize::try_from(self.random.hash_one(key) & mask).unwrap_or_default()
    }
}
