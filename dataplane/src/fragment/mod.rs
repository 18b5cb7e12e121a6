//! Fragments wait here until their datagram is whole; then policy judges it as one packet, and all of them leave or none.
//!
//! A tracker belongs to one worker. All fragments of a datagram reach one queue, and so one worker: cards and the kernel spread
//! fragments, the first one too, by their addresses only. A fragment is copied and its frame goes back at once, so what waits
//! takes none of the memory that packets are received into. All memory is had at the start.
//!
//! Fragments that overlap make the whole datagram void, with what still comes of it until its time is over (RFC 5722, RFC 8200
//! section 4.5); the same fragment once more is dropped alone. When memory is short,
//!
//! - a source that would have more than its share loses its oldest datagram;
//! - else the oldest of a source that holds most, within a factor of two, gives way, if that is more than two of the longest
//!   datagrams take;
//! - else the oldest of all.

mod key;
mod limits;
mod list;
mod rebuild;
mod slots;
mod sources;
mod store;
mod waiting;

use std::hash::RandomState;
use std::time::Duration;

use self::key::Key;
pub use self::limits::{FragmentLimit, FragmentLimits};
use self::list::Lists;
use self::rebuild::{FRAME_BYTES_MAX, rebuild};
use self::slots::{Datagram, Slots, State};
use self::sources::{SOURCES, Sources};
use self::store::{CHUNK_BYTES, Store};
use self::waiting::{AGES, age_of, part_of};
use crate::counters::Counters;
use crate::device::Port;
use crate::disposition::DropReason;
use crate::moment::Moment;
use crate::parse::Piece;

/// Most fragments of a datagram: 65,535 bytes over links with an MTU of 576, which IPv4 hosts must take (RFC 791), are 119.
pub const PIECES_MAX: u64 = 128;
/// Length of the longest datagram's data.
const DATA_BYTES_MAX: u32 = 65_535;
/// How long copies that are late are told from a new datagram with the same identification. Senders at 10 Gbit/s come round
/// to the same one after half a second (RFC 4963).
const LATE: Duration = Duration::from_millis(200);
/// Most datagrams whose end is noticed in one go.
const EXPIRED_MAX: usize = 512;

/// What became of a fragment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Taken {
    /// It was copied and counted as held.
    Held,
    /// It was copied, and nothing is missing now. It is counted by whoever decides over the datagram.
    Whole(Whole),
    /// It is dropped for this reason.
    Refused(DropReason),
}

/// A datagram of which nothing is missing, until the end of the batch.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Whole(u32);

/// The fragments that wait at one worker.
#[derive(Debug)]
pub struct Fragments {
    limits: FragmentLimits,
    chunks_per_source: usize,
    store: Store,
    slots: Slots,
    /// Datagrams by what becomes of them, oldest first.
    ages: Lists,
    /// Those that wait, by the account of their source, oldest first.
    of_source: Lists,
    sources: Sources,
    /// Where frames and datagrams are put together.
    room: Vec<u8>,
    now: Moment,
}

impl Fragments {
    /// None yet, and room for as much as the limits say.
    #[must_use]
    pub fn new(limits: FragmentLimits, random: RandomState) -> Self {
        let store = Store::new(limits.bytes / CHUNK_BYTES);
        let slots = Slots::new(limits.datagrams, random);
        Self {
            chunks_per_source: limits.bytes_per_source / CHUNK_BYTES,
            store,
            slots,
            ages: Lists::new(AGES, limits.datagrams),
            of_source: Lists::new(SOURCES, limits.datagrams),
            sources: Sources::new(),
            room: vec![0; FRAME_BYTES_MAX],
            limits,
            now: Moment::default(),
        }
    }

    /// Takes a fragment that came in by `in_port` at `now`; `frame` is what `piece` was read from. Counts what becomes of those
    /// that came before.
    pub fn take(
        &mut self,
        piece: &Piece,
        frame: &[u8],
        in_port: Port,
        now: Moment,
        counters: &mut Counters,
    ) -> Taken {
        let Some(part) = part_of(piece, frame) else {
            return Taken::Refused(DropReason::FragmentInvalid);
        };
        self.now = now;
        let key = Key::of(piece, in_port);
        let mut known = self.slots.find(&key);
        if let Some(slot) = known.filter(|slot| self.is_over(*slot)) {
            self.give_up(slot, DropReason::FragmentTimeout, counters);
            known = None;
        }
        let taken = match known {
            Some(slot) => self.join(slot, part, frame, counters),
            None => self.begin(key, part, frame, counters),
        };
        match taken {
            Err(reason) => Taken::Refused(reason),
            Ok(slot) if self.slots.get(slot).is_some_and(Datagram::is_whole) => {
                self.enter(slot, State::Whole);
                Taken::Whole(Whole(slot))
            }
            Ok(_) => {
                counters.note_held(in_port, frame.len());
                Taken::Held
            }
        }
    }

    /// The datagram in one frame, as if it had not been fragmented.
    ///
    /// # Errors
    /// Its headers cannot say how long it is.
    pub fn rebuild(&mut self, Whole(slot): Whole) -> Result<&[u8], DropReason> {
        let Self { slots, store, room, .. } = self;
        let datagram = slots.get(slot).ok_or(DropReason::Internal)?;
        let first = datagram.first.ok_or(DropReason::Internal)?;
        rebuild(store, first, datagram.key.is_ipv4(), room)
    }

    /// Drops a datagram for this reason. The fragment that made it whole is not counted here.
    pub fn discard(&mut self, Whole(slot): Whole, reason: DropReason, counters: &mut Counters) {
        let Some(datagram) = self.slots.get_mut(slot) else { return };
        let latest = datagram.latest.map(|latest| usize::from(self.store.part(latest).frame_bytes));
        datagram.frames.retract(latest.unwrap_or_default());
        self.drop_pieces(slot, reason, counters);
        self.enter(slot, State::Decided);
    }

    /// Sends the fragments of a datagram, all of which are counted as held, in their order; `send` says whether there was room.
    pub fn release(
        &mut self,
        Whole(slot): Whole,
        send: &mut dyn FnMut(&[u8]) -> bool,
        counters: &mut Counters,
    ) {
        let Some(datagram) = self.slots.get_mut(slot) else { return };
        let in_port = datagram.key.in_port;
        let mut next = datagram.first.take();
        while let Some(fragment) = next {
            let length = usize::from(self.store.part(fragment).frame_bytes);
            let frame = self.room.get_mut(..length).unwrap_or_default();
            let is_sent = self.store.copy(fragment, 0, frame) && send(frame);
            counters.note_no_longer_held(in_port, length);
            counters.note_forwarded(in_port, length);
            if !is_sent {
                counters.note_unsent(in_port, length);
            }
            next = self.store.free(fragment);
        }
        self.forget_pieces(slot);
        self.enter(slot, State::Decided);
    }

    /// Ends what has waited for too long, and what was whole and never released.
    pub fn end_batch(&mut self, now: Moment, counters: &mut Counters) {
        self.now = now;
        while let Some(slot) = self.ages.first(age_of(State::Whole, true)) {
            self.give_up(slot, DropReason::Internal, counters);
        }
        let mut ended = 0;
        for age in 0..AGES {
            while ended < EXPIRED_MAX
                && let Some(slot) = self.ages.first(age).filter(|slot| self.is_over(*slot))
            {
                self.give_up(slot, DropReason::FragmentTimeout, counters);
                ended += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
