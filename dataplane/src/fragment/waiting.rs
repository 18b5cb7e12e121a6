//! How fragments come together, and which give way.

use super::key::Key;
use super::slots::{Datagram, State};
use super::store::{Part, Store, Stored};
use super::{DATA_BYTES_MAX, Fragments, LATE, PIECES_MAX};
use crate::counters::{Count, Counters};
use crate::disposition::DropReason;
use crate::moment::Moment;
use crate::parse::Piece;

/// Lists of datagrams by age: in each, all have the same time.
pub(super) const AGES: usize = 6;

/// The list of datagrams in this state.
pub(super) fn age_of(state: State, is_ipv4: bool) -> usize {
    match (state, is_ipv4) {
        (State::Waiting, true) => 0,
        (State::Waiting, false) => 1,
        (State::Discarded(_), true) => 2,
        (State::Discarded(_), false) => 3,
        (State::Decided, _) => 4,
        (State::Whole, _) => 5,
    }
}

/// What is kept of a fragment; `None` for one that cannot be part of a datagram, which the parser lets through to nobody.
pub(super) fn part_of(piece: &Piece, frame: &[u8]) -> Option<Part> {
    let Piece { protocol, offset, more, header_at, data_at, data_bytes, .. } = *piece;
    let frame_bytes = u16::try_from(frame.len()).ok()?;
    let part = Part { offset, data_bytes, header_at, data_at, frame_bytes, more, protocol };
    let lies_within = header_at < data_at && data_at.checked_add(data_bytes)? <= frame_bytes;
    let is_part = data_bytes > 0
        && (!more || data_bytes.is_multiple_of(8))
        && offset.is_multiple_of(8)
        && (more || offset > 0)
        && part.end() <= DATA_BYTES_MAX;
    (lies_within && is_part).then_some(part)
}

/// Where a fragment belongs in its datagram.
enum Place {
    /// Behind this one, or before all.
    Behind(Option<Stored>),
    /// It is there already.
    Repeated,
    /// Nowhere, and so the datagram is none.
    Void(DropReason),
}

impl Fragments {
    /// The first fragment that comes of a datagram.
    pub(super) fn begin(
        &mut self,
        key: Key,
        part: Part,
        frame: &[u8],
        counters: &mut Counters,
    ) -> Result<u32, DropReason> {
        let source = key.source(self.slots.random());
        let chunks = Store::chunks_for(frame.len());
        if !self.make_room(source, chunks, counters) || !self.make_place(counters) {
            return Err(DropReason::FragmentLimit);
        }
        let stored = Some(self.store.put(frame, part).ok_or(DropReason::Internal)?);
        let mut frames = Count::default();
        frames.note(frame.len());
        let datagram = Datagram {
            key,
            state: State::Waiting,
            since: self.now,
            until: self.end_of(State::Waiting, key.is_ipv4()),
            source,
            first: stored,
            last: stored,
            latest: stored,
            frames,
            chunks,
            data_bytes: part.data_bytes.into(),
            length: (!part.more).then(|| part.end()),
        };
        let slot = self.slots.insert(datagram).ok_or(DropReason::Internal)?;
        self.sources.take(source, chunks);
        self.ages.push(age_of(State::Waiting, key.is_ipv4()), slot);
        self.of_source.push(source, slot);
        Ok(slot)
    }

    /// Another fragment of a datagram that is known.
    pub(super) fn join(
        &mut self,
        slot: u32,
        part: Part,
        frame: &[u8],
        counters: &mut Counters,
    ) -> Result<u32, DropReason> {
        let datagram = self.slots.get(slot).ok_or(DropReason::Internal)?;
        match datagram.state {
            State::Waiting => {}
            State::Whole | State::Decided => return Err(DropReason::FragmentOverlap),
            State::Discarded(reason) => return Err(reason),
        }
        let before = match self.place(datagram, &part, frame) {
            Place::Behind(before) => before,
            Place::Repeated => return Err(DropReason::FragmentOverlap),
            Place::Void(reason) => {
                self.drop_pieces(slot, reason, counters);
                self.enter(slot, State::Discarded(reason));
                return Err(reason);
            }
        };
        let (source, chunks) = (datagram.source, Store::chunks_for(frame.len()));
        // What gives way may be this very datagram.
        if !self.make_room(source, chunks, counters) || self.slots.get(slot).is_none() {
            return Err(DropReason::FragmentLimit);
        }
        let stored = self.store.put(frame, part).ok_or(DropReason::Internal)?;
        self.link(slot, before, stored);
        let datagram = self.slots.get_mut(slot).ok_or(DropReason::Internal)?;
        datagram.latest = Some(stored);
        datagram.frames.note(frame.len());
        datagram.chunks += chunks;
        datagram.data_bytes += u32::from(part.data_bytes);
        if !part.more {
            datagram.length = Some(part.end());
        }
        self.sources.take(source, chunks);
        Ok(slot)
    }

    /// Compares a fragment with those that are there, none of which overlap.
    fn place(&self, datagram: &Datagram, part: &Part, frame: &[u8]) -> Place {
        let start = u32::from(part.offset);
        let (mut before, mut next) = (None, datagram.first);
        let last = datagram.last.map(|last| self.store.part(last));
        if last.is_some_and(|last| last.end() <= start) {
            // The usual case, in order: no need to walk.
            (before, next) = (datagram.last, None);
        }
        while let Some(fragment) = next
            && u32::from(self.store.part(fragment).offset) < start
        {
            (before, next) = (next, self.store.following(fragment));
        }
        if next.is_some_and(|next| self.is_repeated(next, part, frame)) {
            return Place::Repeated;
        }
        let begins = |fragment| u32::from(self.store.part(fragment).offset);
        if before.is_some_and(|before| self.store.part(before).end() > start)
            || next.is_some_and(|next| begins(next) < part.end())
        {
            return Place::Void(DropReason::FragmentOverlap);
        }
        // Two ends that differ, or data behind the end.
        let is_behind_end = datagram.length.is_some_and(|length| part.end() > length);
        let is_end = !part.more && (next.is_some() || datagram.length.is_some());
        if is_behind_end || is_end {
            return Place::Void(DropReason::FragmentInvalid);
        }
        if datagram.frames.packets >= PIECES_MAX {
            return Place::Void(DropReason::FragmentLimit);
        }
        Place::Behind(before)
    }

    /// Whether a fragment says what this one says, at the same place.
    fn is_repeated(&self, fragment: Stored, part: &Part, frame: &[u8]) -> bool {
        let other = self.store.part(fragment);
        let data = frame.get(part.data_at.into()..).unwrap_or_default();
        let Some(data) = data.get(..part.data_bytes.into()) else { return false };
        let of = |part: &Part| (part.offset, part.data_bytes, part.more, part.protocol);
        of(&other) == of(part) && self.store.has(fragment, other.data_at.into(), data)
    }

    fn link(&mut self, slot: u32, before: Option<Stored>, stored: Stored) {
        let Self { slots, store, .. } = self;
        let Some(datagram) = slots.get_mut(slot) else { return };
        let next = match before {
            Some(before) => {
                let next = store.following(before);
                store.follow(before, Some(stored));
                next
            }
            None => datagram.first.replace(stored),
        };
        store.follow(stored, next);
        if next.is_none() {
            datagram.last = Some(stored);
        }
    }

    /// Frees chunks for a fragment of this source. False when it must not have so many, or they cannot be had.
    fn make_room(&mut self, source: usize, chunks: usize, counters: &mut Counters) -> bool {
        while self.sources.held(source) + chunks > self.chunks_per_source {
            let Some(slot) = self.of_source.first(source) else { return false };
            self.give_up(slot, DropReason::FragmentLimit, counters);
        }
        while self.store.free_count() < chunks {
            let Some(slot) = self.victim() else { return false };
            self.give_up(slot, DropReason::FragmentLimit, counters);
        }
        true
    }

    /// Frees a place for a datagram: first those that hold nothing give way. False when none can be had.
    fn make_place(&mut self, counters: &mut Counters) -> bool {
        while !self.slots.has_room() {
            let void = State::Discarded(DropReason::FragmentOverlap);
            let decided = self.ages.first(age_of(State::Decided, true));
            let Some(slot) = decided.or_else(|| self.older(void)).or_else(|| self.victim()) else {
                return false;
            };
            self.give_up(slot, DropReason::FragmentLimit, counters);
        }
        true
    }

    /// The datagram that gives way when memory is short.
    fn victim(&self) -> Option<u32> {
        let greediest = self.sources.greediest().and_then(|source| self.of_source.first(source));
        greediest.or_else(|| self.older(State::Waiting))
    }

    /// The oldest datagram in this state.
    fn older(&self, state: State) -> Option<u32> {
        let [ipv4, ipv6] = [true, false].map(|is_ipv4| self.ages.first(age_of(state, is_ipv4)));
        let since = |slot: u32| self.slots.get(slot).map(|datagram| datagram.since);
        match (ipv4, ipv6) {
            (Some(a), Some(b)) => Some(if since(a) <= since(b) { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    pub(super) fn is_over(&self, slot: u32) -> bool {
        self.slots.get(slot).is_some_and(|datagram| datagram.until <= self.now)
    }

    /// Forgets a datagram. Its fragments, all of them held, are dropped for this reason.
    pub(super) fn give_up(&mut self, slot: u32, reason: DropReason, counters: &mut Counters) {
        self.drop_pieces(slot, reason, counters);
        self.leave_lists(slot);
        self.slots.remove(slot);
    }

    /// Frees the fragments of a datagram and counts them as dropped.
    pub(super) fn drop_pieces(&mut self, slot: u32, reason: DropReason, counters: &mut Counters) {
        let Some(datagram) = self.slots.get_mut(slot) else { return };
        counters.note_given_up(datagram.key.in_port, reason, datagram.frames);
        let mut next = datagram.first.take();
        while let Some(fragment) = next {
            next = self.store.free(fragment);
        }
        self.forget_pieces(slot);
    }

    /// The datagram has no fragments any more, since they were freed.
    pub(super) fn forget_pieces(&mut self, slot: u32) {
        let Some(datagram) = self.slots.get_mut(slot) else { return };
        self.sources.give_back(datagram.source, datagram.chunks);
        (datagram.first, datagram.last, datagram.latest) = (None, None, None);
        (datagram.frames, datagram.chunks) = (Count::default(), 0);
    }

    /// Changes the state of a datagram; its time begins again.
    pub(super) fn enter(&mut self, slot: u32, state: State) {
        self.leave_lists(slot);
        let Some(datagram) = self.slots.get(slot) else { return };
        let is_ipv4 = datagram.key.is_ipv4();
        let until = self.end_of(state, is_ipv4);
        if let Some(datagram) = self.slots.get_mut(slot) {
            (datagram.state, datagram.until) = (state, until);
        }
        self.ages.push(age_of(state, is_ipv4), slot);
    }

    fn leave_lists(&mut self, slot: u32) {
        let Some(datagram) = self.slots.get(slot) else { return };
        self.ages.remove(age_of(datagram.state, datagram.key.is_ipv4()), slot);
        if datagram.state == State::Waiting {
            self.of_source.remove(datagram.source, slot);
        }
    }

    /// When what enters this state now has to leave it.
    fn end_of(&self, state: State, is_ipv4: bool) -> Moment {
        let time = match state {
            State::Waiting | State::Whole | State::Discarded(_) if is_ipv4 => self.limits.ipv4,
            State::Waiting | State::Whole | State::Discarded(_) => self.limits.ipv6,
            State::Decided => LATE,
        };
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Moment::from_nanos(self.now.nanos().saturating_add(nanos))
    }
}
