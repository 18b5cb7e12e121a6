//! Many packets at once: the addresses of all of them are looked up together, so that their waits for memory overlap.
//!
//! What follows is decided packet by packet: it looks at few places, and the processor overlaps what neighbours wait for by
//! itself. Looking at those places ahead was measured and cost more than it saved.

use std::net::IpAddr;

use super::{Plane, View, halves};
use crate::decision::Decision;
use crate::image::layout::NONE;
use crate::image::trace::Silent;
use crate::packet::{Crossing, PacketKey};

/// Packets that go through the steps together.
const BATCH: usize = 64;

impl View<'_> {
    /// Decides packets: `decisions` takes for each what `classify` says of it.
    pub fn classify_batch(&self, packets: &[(PacketKey, Crossing)], decisions: &mut [Decision]) {
        self.decide_batch(packets, Plane::Enforced, decisions);
    }

    /// What would become of packets if every staged policy had been applied: for each what `classify_pending` says.
    pub fn classify_batch_pending(
        &self,
        packets: &[(PacketKey, Crossing)],
        decisions: &mut [Decision],
    ) {
        self.decide_batch(packets, Plane::Pending, decisions);
    }

    fn decide_batch(
        &self,
        packets: &[(PacketKey, Crossing)],
        plane: Plane,
        decisions: &mut [Decision],
    ) {
        for (packets, decisions) in packets.chunks(BATCH).zip(decisions.chunks_mut(BATCH)) {
            let classes = self.classes_of(packets);
            for (((packet, crossing), classes), decision) in
                packets.iter().zip(classes).zip(decisions)
            {
                *decision = self.decide_between(packet, classes, *crossing, plane, &mut Silent);
            }
        }
    }

    /// The classes of sources and destinations.
    fn classes_of(&self, packets: &[(PacketKey, Crossing)]) -> [[u32; 2]; BATCH] {
        let mut classes = [[NONE; 2]; BATCH];
        let sources = self.classes_at(packets.iter().map(|(packet, _)| packet.src));
        let destinations = self.classes_at(packets.iter().map(|(packet, _)| packet.dst));
        for ((classes, source), destination) in classes.iter_mut().zip(sources).zip(destinations) {
            *classes = [source, destination];
        }
        classes
    }

    /// The classes of at most `BATCH` addresses.
    fn classes_at(&self, addresses: impl Iterator<Item = IpAddr> + Clone) -> [u32; BATCH] {
        let (mut v4, mut v6) = (Group::new(0_u32), Group::new([0_u64; 2]));
        for (at, address) in addresses.clone().enumerate() {
            match address {
                IpAddr::V4(address) => v4.push(at, u32::from(address)),
                IpAddr::V6(address) => v6.push(at, halves(u128::from(address))),
            }
        }
        let mut classes = [NONE; BATCH];
        let mut pieces = [NONE; BATCH];
        let found = pieces.get_mut(..v4.count).unwrap_or_default();
        self.index.v4.pieces(self.v4.starts, v4.addresses(), found);
        v4.spread(found, self.v4.classes, &mut classes);
        let found = pieces.get_mut(..v6.count).unwrap_or_default();
        if !found.is_empty() {
            self.index.v6.pieces(self.v6.starts, v6.addresses(), found);
            v6.spread(found, self.v6.classes, &mut classes);
        }
        if self.patch.is_some() {
            for (class, address) in classes.iter_mut().zip(addresses) {
                if let Some((patched, _)) = self.patched(address) {
                    *class = patched;
                }
            }
        }
        classes
    }
}

/// The addresses of one family, and where in the batch they stand.
struct Group<T> {
    addresses: [T; BATCH],
    places: [usize; BATCH],
    count: usize,
}

impl<T: Copy> Group<T> {
    fn new(none: T) -> Self {
        Self { addresses: [none; BATCH], places: [0; BATCH], count: 0 }
    }

    fn push(&mut self, place: usize, address: T) {
        if let (Some(room), Some(at)) =
            (self.addresses.get_mut(self.count), self.places.get_mut(self.count))
        {
            (*room, *at) = (address, place);
            self.count += 1;
        }
    }

    fn addresses(&self) -> &[T] {
        self.addresses.get(..self.count).unwrap_or_default()
    }

    /// Puts the class of each piece where its address stands in the batch.
    fn spread(&self, pieces: &[u32], of_pieces: &[u32], classes: &mut [u32; BATCH]) {
        for (piece, place) in pieces.iter().zip(&self.places) {
            if let (Some(class), Some(room)) =
                (of_pieces.get(*piece as usize), classes.get_mut(*place))
            {
                *room = *class;
            }
        }
    }
}
