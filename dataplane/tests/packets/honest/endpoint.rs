//! One side of a TCP connection, by RFC 9293 and 7323, simplified where a middlebox cannot see it. It counts octets from the
//! start of each stream in 64 bits, and knows nothing of the tracker under test: only `wire` and `unwire` deal in sequence
//! numbers.
//!
//! Positions of a stream: 0 is the SYN, then the data, then the FIN.

use std::collections::BTreeMap;

use dataplane::parse::{Segment, TcpFlags};

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const ACK: u8 = 16;

/// Ticks until something unacknowledged is sent again.
const RETRY_TICKS: u64 = 60;
/// Retries of a FIN whose answer does not come any more, because the other side is through.
const LAST_RETRIES: u32 = 6;

/// What an endpoint is like.
#[derive(Clone, Debug)]
pub(super) struct Character {
    pub(super) isn: u32,
    /// Octets to send before the FIN.
    pub(super) total: u64,
    /// The window scale option it offers.
    pub(super) scale: Option<u8>,
    /// Octets it can hold unread.
    pub(super) buffer: u64,
    pub(super) segment_max: u16,
    /// Octets sent with the SYN.
    pub(super) fast_open: u16,
    /// Whether it takes back what it granted, now and then.
    pub(super) shrinks: bool,
    /// How it probes a zero window: with an octet beyond it, or with none before it.
    pub(super) probes_with_octet: bool,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    is: Character,
    /// Of the other side, once its SYN arrived, with its scale.
    peer: Option<(u32, Option<u8>)>,
    has_syn_out: bool,
    /// Positions in its own stream: first unacknowledged, first never sent, and right edge of the other side's window.
    una: u64,
    next: u64,
    edge: u64,
    widest_window: u64,
    /// Position in the other stream that it waits for, what it has beyond, and where the FIN is.
    got: u64,
    islands: BTreeMap<u64, u64>,
    fin_at: Option<u64>,
    unread: u64,
    granted: u64,
    retry_at: u64,
    retries: u32,
}

impl Endpoint {
    pub(super) fn new(is: Character) -> Self {
        Self {
            is,
            peer: None,
            has_syn_out: false,
            una: 0,
            next: 0,
            edge: 0,
            widest_window: 0,
            got: 0,
            islands: BTreeMap::new(),
            fin_at: None,
            unread: 0,
            granted: 0,
            retry_at: 0,
            retries: 0,
        }
    }

    /// Begins by a SYN of its own.
    pub(super) fn open(&mut self, now: u64) -> Segment {
        self.has_syn_out = true;
        self.retry_at = now + RETRY_TICKS;
        self.next = self.next.max(1 + u64::from(self.is.fast_open));
        self.syn()
    }

    /// Whether it sent all, its FIN with it, and received all.
    pub(super) fn is_through(&self) -> bool {
        self.has_all() && self.una == self.end()
    }

    pub(super) fn has_all(&self) -> bool {
        self.fin_at.is_some_and(|fin| self.got == fin + 1)
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is_through() || self.retries > LAST_RETRIES && self.has_all()
    }

    /// Whether nothing in the segment is news: all its octets are here, and all it acknowledges is known.
    pub(super) fn knows(&self, segment: &Segment) -> bool {
        let flags = segment.flags;
        self.has(segment) && (!flags.ack() || self.position_of_ack(segment) <= self.una)
    }

    /// Whether all octets of the segment are here.
    pub(super) fn has(&self, segment: &Segment) -> bool {
        let Some((peer_isn, _)) = self.peer else { return false };
        let first = unwire(segment.seq, peer_isn, self.got);
        let flags = segment.flags;
        let octets =
            u64::from(segment.data_bytes) + u64::from(flags.syn()) + u64::from(flags.fin());
        first + octets <= self.got
    }

    /// Whether its acknowledgment is so old that the segment is not even looked at (RFC 5961 section 5.2).
    pub(super) fn disregards(&self, segment: &Segment) -> bool {
        segment.flags.ack() && self.position_of_ack(segment) + self.widest_window < self.una
    }

    /// Whether a segment of its own acknowledges something so old that its receiver disregards it, or will once it has heard
    /// what this endpoint acknowledged since.
    pub(super) fn has_outrun(&self, segment: &Segment, receiver: &Self) -> bool {
        let Some((peer_isn, _)) = self.peer else { return false };
        unwire(segment.ack, peer_isn, self.got) + receiver.widest_window < self.got
    }

    /// Takes a segment and says what it answers.
    pub(super) fn receive(
        &mut self,
        segment: &Segment,
        now: u64,
        random: &mut fastrand::Rng,
    ) -> Option<Segment> {
        let flags = segment.flags;
        let first_syn = flags.syn() && self.peer.is_none();
        if first_syn {
            self.peer = Some((segment.seq, segment.scale));
            self.islands.insert(0, 1);
        }
        let (peer_isn, _) = self.peer?;
        if flags.syn() && segment.seq != peer_isn {
            return None;
        }
        if self.disregards(segment) {
            return Some(self.bare_ack(random));
        }
        if flags.ack() {
            self.take_ack(segment, now);
        }
        let occupies = self.take_octets(segment, peer_isn);
        if first_syn && !self.has_syn_out {
            self.has_syn_out = true;
            self.next = self.next.max(1);
            self.retry_at = now + RETRY_TICKS;
            return Some(self.syn());
        }
        (occupies && (flags.syn() || random.u8(..4) > 0)).then(|| self.bare_ack(random))
    }

    /// The application reads.
    pub(super) fn read(&mut self, octets: u64) {
        self.unread = self.unread.saturating_sub(octets);
    }

    /// What it sends of its own accord: data, the FIN, what is overdue, probes and window updates.
    pub(super) fn speak(&mut self, now: u64, random: &mut fastrand::Rng) -> Option<Segment> {
        if !self.has_syn_out || self.is_through() && random.u8(..64) > 0 {
            return None;
        }
        if now >= self.retry_at && self.una < self.next {
            self.retries += 1;
            self.retry_at = now + RETRY_TICKS;
            return self.again(random);
        }
        self.peer?;
        if self.una == 0 {
            return None;
        }
        match random.u8(..32) {
            // A window update, or an acknowledgment for no reason.
            0..=3 => Some(self.bare_ack(random)),
            // A keepalive, once nothing is on its way.
            4 if self.una == self.next && self.next > 1 => {
                Some(self.octets(self.next - 1, self.next - 1, random))
            }
            // Spurious: what is on its way, or what arrived long since.
            5 if self.next > 1 => {
                let back = random.u64(..u64::from(self.is.segment_max));
                let from = self.next.saturating_sub(back).max(self.una).max(1);
                let to = self.next.min(from + u64::from(self.is.segment_max));
                Some(self.octets(from, to, random))
            }
            _ => self.fresh(now, random),
        }
    }

    fn fresh(&mut self, now: u64, random: &mut fastrand::Rng) -> Option<Segment> {
        let most = u64::from(random.u16(1..=self.is.segment_max));
        let to = (self.next + most).min(self.data_end()).min(self.edge);
        if to > self.next {
            let from = self.next;
            self.arm(now);
            self.next = to;
            return Some(self.octets(from, to, random));
        }
        // A FIN goes out although the window is full, as BSD does it.
        if self.next == self.data_end() {
            self.arm(now);
            self.next = self.end();
            return Some(self.octets(self.data_end(), self.end(), random));
        }
        // A zero window is probed now and then.
        if self.next == self.una && self.next < self.end() && random.u8(..16) == 0 {
            let beyond = self.is.probes_with_octet && self.next < self.data_end();
            if !beyond {
                return Some(self.octets(self.next - 1, self.next - 1, random));
            }
            self.arm(now);
            self.next += 1;
            return Some(self.octets(self.next - 1, self.next, random));
        }
        None
    }

    /// The timer runs from the first octet on its way.
    fn arm(&mut self, now: u64) {
        if self.una == self.next {
            self.retry_at = now + RETRY_TICKS;
        }
    }

    /// From the first unacknowledged position, cut otherwise than before.
    fn again(&mut self, random: &mut fastrand::Rng) -> Option<Segment> {
        if self.una == 0 {
            return Some(self.syn());
        }
        self.peer?;
        let to = self.una + u64::from(random.u16(1..=self.is.segment_max));
        Some(self.octets(self.una, to.min(self.next), random))
    }

    fn syn(&mut self) -> Segment {
        let with_data = if self.una == 0 && self.peer.is_none() { self.is.fast_open } else { 0 };
        let mut segment = self.stamped(SYN, 0, with_data);
        // RFC 7323 section 2.2: the option goes with the answer only if it came with the SYN.
        let may_scale = self.peer.is_none_or(|(_, scale)| scale.is_some());
        segment.scale = self.is.scale.filter(|_| may_scale);
        let window = self.free().min(65_535);
        segment.window = u16::try_from(window).unwrap();
        self.granted = self.granted.max(self.got.max(1) + window);
        segment
    }

    fn bare_ack(&mut self, random: &mut fastrand::Rng) -> Segment {
        let at = self.next;
        self.octets(at, at, random)
    }

    /// Positions `from..to` of the stream, at least one of which is not the SYN.
    fn octets(&mut self, from: u64, to: u64, random: &mut fastrand::Rng) -> Segment {
        let fin = to == self.end() && from < to;
        let data = to - from - u64::from(fin);
        let mut segment =
            self.stamped(if fin { FIN } else { 0 }, from, u16::try_from(data).unwrap());
        let shift = self.shift();
        let mut window = self.free();
        if !self.is.shrinks {
            window = window.max(self.granted.saturating_sub(self.got));
        } else if random.u8(..32) == 0 {
            window /= 2;
        }
        let field = (window >> shift).min(65_535);
        segment.window = u16::try_from(field).unwrap();
        self.granted = self.granted.max(self.got + (field << shift));
        segment
    }

    fn stamped(&self, flags: u8, from: u64, data_bytes: u16) -> Segment {
        let ack = self.peer.map(|(isn, _)| wire(isn, self.got));
        let flags = if ack.is_some() { flags | ACK } else { flags };
        Segment {
            flags: TcpFlags(flags),
            seq: wire(self.is.isn, from),
            ack: ack.unwrap_or(0),
            window: 0,
            data_bytes,
            scale: None,
        }
    }

    fn take_ack(&mut self, segment: &Segment, now: u64) {
        let ack = self.position_of_ack(segment);
        if ack < self.una {
            return;
        }
        assert!(ack <= self.next, "the other side acknowledges what was never sent");
        if ack > self.una {
            self.retries = 0;
            self.retry_at = now + RETRY_TICKS;
        }
        self.una = ack;
        let theirs = self.peer.and_then(|(_, scale)| scale);
        let shift = match (self.is.scale, theirs) {
            (Some(_), Some(theirs)) if !segment.flags.syn() => theirs.min(14),
            _ => 0,
        };
        let window = u64::from(segment.window) << shift;
        self.widest_window = self.widest_window.max(window);
        self.edge = ack + window;
    }

    /// True when there was something to acknowledge.
    fn take_octets(&mut self, segment: &Segment, peer_isn: u32) -> bool {
        let flags = segment.flags;
        let first = unwire(segment.seq, peer_isn, self.got);
        let data_from = first + u64::from(flags.syn());
        let data_to = data_from + u64::from(segment.data_bytes);
        if flags.fin() {
            self.fin_at = Some(data_to);
        }
        // What lies beyond the window is cut off; the FIN with it only if it does too.
        let most = self.granted.max(self.got);
        let (from, mut to) = (data_from, data_to.min(most));
        if flags.fin() && data_to <= most {
            to += 1;
        }
        if from < to {
            let end = self.islands.entry(from).or_default();
            *end = to.max(*end);
        }
        let before = self.got;
        while let Some((from, to)) = self.islands.pop_first() {
            if from > self.got {
                self.islands.insert(from, to);
                break;
            }
            self.got = self.got.max(to);
        }
        self.unread += self.got - before;
        flags.syn() || flags.fin() || segment.data_bytes > 0 || first < before
    }

    fn position_of_ack(&self, segment: &Segment) -> u64 {
        unwire(segment.ack, self.is.isn, self.una)
    }

    fn free(&self) -> u64 {
        self.is.buffer.saturating_sub(self.unread)
    }

    /// By how much its own windows are shifted.
    fn shift(&self) -> u32 {
        let theirs = self.peer.and_then(|(_, scale)| scale);
        let own = self.is.scale.filter(|_| theirs.is_some());
        own.map_or(0, |own| u32::from(own.min(14)))
    }

    fn data_end(&self) -> u64 {
        1 + self.is.total
    }

    fn end(&self) -> u64 {
        self.data_end() + 1
    }
}

fn wire(isn: u32, position: u64) -> u32 {
    isn.wrapping_add(u32::try_from(position & 0xffff_ffff).unwrap())
}

/// The position nearest to `near` that is `number` on the wire.
fn unwire(number: u32, isn: u32, near: u64) -> u64 {
    let ahead = number.wrapping_sub(wire(isn, near));
    if ahead < 1 << 31 {
        near + u64::from(ahead)
    } else {
        near.saturating_sub((1 << 32) - u64::from(ahead))
    }
}
