//! The numbers of a connection, each group in one 64-bit word, so that a word always holds numbers of one moment.
//!
//! What changes with every segment only grows, by the order of sequence numbers (RFC 9293 section 3.4): two words of the same
//! peer merge into one that holds the later of each, in whatever order they come.

use super::{Pair, Way};
use crate::parse::Segment;

/// Whether `a` comes after `b` in the order of sequence numbers.
pub(super) fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).wrapping_sub(1) < u32::MAX / 2
}

/// The later one of two sequence numbers.
pub(super) fn later(a: u32, b: u32) -> u32 {
    if is_after(b, a) { b } else { a }
}

/// The earlier one of two sequence numbers.
pub(super) fn earlier(a: u32, b: u32) -> u32 {
    if is_after(b, a) { a } else { b }
}

/// Whether `number` lies in `first..=last`.
pub(super) fn is_within(number: u32, first: u32, last: u32) -> bool {
    !is_after(first, number) && !is_after(number, last)
}

/// What a peer sent: its SND.NXT, whether a FIN was the last of it, and the widest window that it advertised.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sent(pub(crate) u64);

impl Sent {
    const FIN: u64 = 1 << 31;

    pub(super) fn new(end: u32, fin: bool, widest: u32) -> Self {
        let fin = if fin { Self::FIN } else { 0 };
        Self(u64::from(end) << 32 | fin | u64::from(widest) & (Self::FIN - 1))
    }

    /// Number behind its last octet; SYN and FIN count as one each.
    #[inline]
    pub(super) fn end(self) -> u32 {
        high(self.0)
    }

    #[inline]
    pub(super) fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }

    /// Its widest window in octets: at least 1, at most 65,535 << 14.
    #[inline]
    pub(super) fn widest(self) -> u32 {
        low(self.0 & (Self::FIN - 1))
    }

    #[inline]
    pub(crate) fn merge(self, other: Self) -> Self {
        let (end, fin) = (later(self.end(), other.end()), self.fin() || other.fin());
        Self::new(end, fin, self.widest().max(other.widest()))
    }
}

/// What a peer said of the other one's octets: up to where it has them (its RCV.NXT), and up to where it takes them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Heard(pub(crate) u64);

impl Heard {
    pub(super) fn new(acked: u32, granted: u32) -> Self {
        Self(u64::from(acked) << 32 | u64::from(granted))
    }

    /// Its highest acknowledgment number.
    #[inline]
    pub(super) fn acked(self) -> u32 {
        high(self.0)
    }

    /// The right edge of its window, as far right as it ever was.
    #[inline]
    pub(super) fn granted(self) -> u32 {
        low(self.0)
    }

    #[inline]
    pub(crate) fn merge(self, other: Self) -> Self {
        Self::new(later(self.acked(), other.acked()), later(self.granted(), other.granted()))
    }
}

/// The initial sequence numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Initial(pub(crate) u64);

impl Initial {
    pub(super) fn new(original: u32, reply: u32) -> Self {
        Self(u64::from(original) << 32 | u64::from(reply))
    }

    pub(super) fn of(self, way: Way) -> u32 {
        match way {
            Way::Original => high(self.0),
            Way::Reply => low(self.0),
        }
    }
}

/// What the SYNs agreed on, and how much is known of the connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Terms(pub(crate) u64);

impl Terms {
    /// The reply side sent its SYN: all numbers are known.
    const ANSWERED: u64 = 1 << 10;
    /// The SYNs were not seen.
    const PICKED_UP: u64 = 1 << 11;
    pub(super) const PICKED: Self = Self(Self::ANSWERED | Self::PICKED_UP);

    /// Of the SYN that opened.
    pub(super) fn opened(scale: Option<u8>) -> Self {
        Self(scale_bits(scale))
    }

    /// With the SYN of the other side.
    pub(super) fn answered(self, scale: Option<u8>) -> Self {
        Self(self.0 & 0x1f | scale_bits(scale) << 5 | Self::ANSWERED)
    }

    pub(super) fn is_answered(self) -> bool {
        self.0 & Self::ANSWERED != 0
    }

    #[inline]
    pub(super) fn is_picked_up(self) -> bool {
        self.0 & Self::PICKED_UP != 0
    }

    /// By how much a peer's windows are shifted: only if both SYNs had the option (RFC 7323 section 2.2).
    #[inline]
    pub(super) fn shift(self, way: Way) -> u32 {
        const BOTH: u64 = 0x10 | 0x10 << 5;
        if self.0 & BOTH != BOTH {
            return 0;
        }
        let own = if way == Way::Original { self.0 } else { self.0 >> 5 };
        low(own & 0xf)
    }
}

/// 4 bits of shift below one that says that there is one.
fn scale_bits(scale: Option<u8>) -> u64 {
    scale.map_or(0, |shift| 0x10 | u64::from(shift.min(14)))
}

/// A SYN on a connection that it does not belong to, which policy let pass: its peer alone knows whether it begins anew.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Pending(pub(crate) u64);

impl Pending {
    const SET: u64 = 1 << 63;
    const BY_REPLY: u64 = 1 << 62;

    pub(super) fn new(way: Way, syn: &Segment) -> Self {
        let by = if way == Way::Reply { Self::BY_REPLY } else { 0 };
        let terms = scale_bits(syn.scale) << 48 | u64::from(syn.window) << 32;
        Self(Self::SET | by | terms | u64::from(syn.seq))
    }

    /// Whether `segment` of `way` acknowledges exactly this SYN.
    pub(super) fn is_acked_by(self, way: Way, segment: &Segment) -> bool {
        let by = if self.0 & Self::BY_REPLY == 0 { Way::Original } else { Way::Reply };
        let is_set = self.0 & Self::SET != 0;
        is_set && by != way && segment.flags.ack() && segment.ack == self.isn().wrapping_add(1)
    }

    /// Whether it is the SYN of this number.
    pub(super) fn is(self, way: Way, isn: u32) -> bool {
        let by = if way == Way::Reply { Self::BY_REPLY } else { 0 };
        self.0 & (Self::SET | Self::BY_REPLY) == Self::SET | by && self.isn() == isn
    }

    pub(super) fn isn(self) -> u32 {
        low(self.0 & u64::from(u32::MAX))
    }

    pub(super) fn window(self) -> u32 {
        low(self.0 >> 32 & 0xffff)
    }

    pub(super) fn scale(self) -> Option<u8> {
        let bits = self.0 >> 48 & 0x1f;
        (bits & 0x10 != 0).then(|| u8::try_from(bits & 0xf).unwrap_or(0))
    }
}

/// The acknowledgment number of the last challenge ACK (RFC 5961 section 4) that answered the SYN which opened the flow: a RST
/// with this sequence number is the answer of who sent the SYN (RFC 9293 section 3.10.7.3), and no end of the attempt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Challenge(pub(crate) u64);

impl Challenge {
    const SET: u64 = 1 << 32;

    pub(crate) fn new(ack: u32) -> Self {
        Self(Self::SET | u64::from(ack))
    }

    pub(super) fn is_answered_by(self, seq: u32) -> bool {
        self == Self::new(seq)
    }
}

/// The words of both peers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Peers {
    pub(crate) sent: Pair<Sent>,
    pub(crate) heard: Pair<Heard>,
}

#[inline]
fn high(word: u64) -> u32 {
    low(word >> 32)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half of the word is meant")]
fn low(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_sequence_numbers_holds_across_the_wrap() {
        for base in [0, 5, u32::MAX, u32::MAX / 2, u32::MAX / 2 + 1] {
            for step in [1, 2, 0x7fff_ffff] {
                let next = base.wrapping_add(step);
                assert!(is_after(next, base) && !is_after(base, next), "{base} {step}");
                assert_eq!((later(base, next), later(next, base)), (next, next));
                assert_eq!((earlier(base, next), earlier(next, base)), (base, base));
            }
            assert!(!is_after(base, base) && is_within(base, base, base));
            assert!(is_within(base, base.wrapping_sub(1), base.wrapping_add(1)));
            assert!(!is_within(base.wrapping_add(2), base, base.wrapping_add(1)));
        }
    }

    #[test]
    fn words_hold_what_is_put_into_them_and_merge_to_the_later_of_each() {
        let widest = 65_535 << 14;
        let a = Sent::new(u32::MAX - 4, false, widest);
        let b = Sent::new(3, true, 1);
        for merged in [a.merge(b), b.merge(a)] {
            assert_eq!((merged.end(), merged.fin(), merged.widest()), (3, true, widest));
        }
        let (a, b) = (Heard::new(u32::MAX, 100), Heard::new(7, 90));
        for merged in [a.merge(b), b.merge(a)] {
            assert_eq!((merged.acked(), merged.granted()), (7, 100));
        }
    }

    #[test]
    fn windows_are_shifted_only_when_both_syns_had_the_option() {
        let shifts = |a, b| {
            let terms = Terms::opened(a).answered(b);
            [terms.shift(Way::Original), terms.shift(Way::Reply)]
        };
        assert_eq!(shifts(Some(7), Some(0)), [7, 0]);
        assert_eq!(shifts(Some(14), Some(3)), [14, 3]);
        assert_eq!(shifts(Some(15), Some(255)), [14, 14], "RFC 7323 section 2.3");
        assert_eq!(shifts(Some(7), None), [0, 0]);
        assert_eq!(shifts(None, Some(7)), [0, 0]);
        assert_eq!(Terms::opened(Some(7)).shift(Way::Original), 0);
    }
}
