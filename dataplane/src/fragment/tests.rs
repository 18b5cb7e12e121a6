//! The tracker against one that is as naive as can be, and its limits.

use std::collections::HashMap;

use super::*;
use crate::counters::Count;
use crate::counters::PortCounters;

mod shortage;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: u8 = 17;

/// A fragment of a test: what its header says, and its data.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Fragment {
    /// Names the datagram, and with its lowest bit the family.
    id: u32,
    offset: u16,
    more: bool,
    data: Vec<u8>,
}

impl Fragment {
    fn is_ipv4(&self) -> bool {
        self.id.is_multiple_of(2)
    }

    /// The frame, and where its parts lie.
    fn frame(&self) -> (Vec<u8>, Piece) {
        let header = if self.is_ipv4() { IPV4 } else { IPV6 + 8 };
        let mut frame = vec![0xEE; ETHERNET + header];
        let length = u16::try_from(self.data.len()).unwrap();
        let field = self.offset | u16::from(self.more);
        let packet = &mut frame[ETHERNET..];
        if self.is_ipv4() {
            packet[0] = 0x45;
            packet[2..4].copy_from_slice(&(length + 20).to_be_bytes());
            packet[6..8].copy_from_slice(&(self.offset / 8).to_be_bytes());
            packet[6] |= 0x40 | u8::from(self.more) << 5;
        } else {
            packet[4..6].copy_from_slice(&(length + 8).to_be_bytes());
            packet[6] = 44;
            packet[40] = UDP;
            packet[42..44].copy_from_slice(&field.to_be_bytes());
        }
        frame.extend_from_slice(&self.data);
        let last = u8::try_from(self.id % 251).unwrap();
        let (src, dst) = if self.is_ipv4() {
            ([198, 18, 0, last].into(), [198, 19, 0, 1].into())
        } else {
            ([0x2001, 2, 0, u16::from(last), 0, 0, 0, 1].into(), [2; 8].into())
        };
        let piece = Piece {
            src,
            dst,
            identification: self.id,
            protocol: UDP,
            offset: self.offset,
            more: self.more,
            header_at: 14,
            data_at: u16::try_from(ETHERNET + header).unwrap(),
            data_bytes: length,
            vlans: [None; 2],
        };
        (frame, piece)
    }
}

/// What the naive one knows of a datagram.
struct Seen {
    state: Fate,
    until: u64,
    fragments: Vec<Fragment>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Waits,
    Void,
    Decided,
}

/// Remembers every fragment and paints it byte by byte.
#[derive(Default)]
struct Naive(HashMap<u32, Seen>);

#[derive(Debug, Eq, PartialEq)]
enum Expected {
    Held,
    Whole { data: Vec<u8>, in_order: Vec<Fragment> },
    Repeated,
    Void,
}

impl Naive {
    fn take(&mut self, fragment: &Fragment, millis: u64) -> Expected {
        let time = if fragment.is_ipv4() { 30_000 } else { 60_000 };
        if self.0.get(&fragment.id).is_some_and(|seen| seen.until <= millis) {
            self.0.remove(&fragment.id);
        }
        let new = || Seen { state: Fate::Waits, until: millis + time, fragments: Vec::new() };
        let seen = self.0.entry(fragment.id).or_insert_with(new);
        match seen.state {
            Fate::Decided => return Expected::Repeated,
            Fate::Void => return Expected::Void,
            Fate::Waits if seen.fragments.contains(fragment) => return Expected::Repeated,
            Fate::Waits => {}
        }
        seen.fragments.push(fragment.clone());
        let mut painted: Vec<Option<u8>> = vec![None; 66_000];
        let mut end = None;
        let mut is_void = false;
        for Fragment { offset, more, data, .. } in &seen.fragments {
            for (place, byte) in painted[usize::from(*offset)..].iter_mut().zip(data) {
                is_void |= place.replace(*byte).is_some();
            }
            if !more {
                let here = usize::from(*offset) + data.len();
                is_void |= end.replace(here).is_some_and(|before| before != here);
            }
        }
        is_void |= end.is_some_and(|end| painted[end..].iter().any(Option::is_some));
        if is_void {
            (seen.state, seen.until) = (Fate::Void, millis + time);
            return Expected::Void;
        }
        let data = end.and_then(|end| painted[..end].iter().copied().collect());
        let Some(data) = data else { return Expected::Held };
        (seen.state, seen.until) = (Fate::Decided, millis + 200);
        let mut in_order = seen.fragments.clone();
        in_order.sort_by_key(|fragment| fragment.offset);
        Expected::Whole { data, in_order }
    }
}

/// A datagram cut at random, with some of what attackers and networks add.
fn cut(rng: &mut fastrand::Rng, id: u32) -> Vec<Fragment> {
    let length = rng.usize(9..400);
    let data: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
    let mut fragments = Vec::new();
    let mut at = 0;
    while at < length {
        let rest = length - at;
        let count = if at == 0 { (rest - 1) / 8 * 8 } else { rest };
        let count = (rng.usize(1..12) * 8).min(count);
        let (offset, more) = (u16::try_from(at).unwrap(), at + count < length);
        fragments.push(Fragment { id, offset, more, data: data[at..at + count].to_vec() });
        at += count;
    }
    match rng.u8(..10) {
        0 => drop(fragments.swap_remove(rng.usize(..fragments.len()))),
        1 => {
            let mut other = fragments[rng.usize(..fragments.len())].clone();
            other.data[0] ^= 1;
            fragments.push(other);
        }
        2 => {
            let more = rng.bool();
            let count = if more { 8 } else { rng.usize(1..20) };
            let offset = u16::try_from(rng.usize(1..=length / 8) * 8).unwrap();
            fragments.push(Fragment { id, offset, more, data: vec![7; count] });
        }
        3 => {
            // The same place and data, but not the same end.
            let other = fragments[rng.usize(..fragments.len())].clone();
            if other.offset > 0 && other.data.len().is_multiple_of(8) {
                fragments.push(Fragment { more: !other.more, ..other });
            }
        }
        _ => {}
    }
    for _ in 0..rng.usize(..3) {
        fragments.push(fragments[rng.usize(..fragments.len())].clone());
    }
    if rng.u8(..4) > 0 {
        rng.shuffle(&mut fragments);
    }
    fragments
}

#[test]
fn datagrams_become_whole_if_and_only_if_the_naive_reassembler_says_so() {
    let seed = 0x5eed_0504;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut fragments = Fragments::new(FragmentLimits::default(), RandomState::new());
    let (mut naive, mut counters) = (Naive::default(), Counters::default());
    let mut under_way: Vec<Fragment> = Vec::new();
    let (mut millis, mut whole, mut void, mut repeated) = (0, 0, 0, 0);
    for step in 0..60_000 {
        if under_way.len() < 30 {
            // Identifications come again, before and after their time is over.
            let id = rng.u32(..200);
            under_way.extend(cut(&mut rng, id));
        }
        // Mostly in the order they were cut, so that datagrams become whole; interleaved with others.
        let next = if rng.u8(..3) == 0 { rng.usize(..under_way.len()) } else { 0 };
        let fragment = under_way.remove(next);
        millis += [0, 0, 1, 50, 700][rng.usize(..5)];
        let (frame, piece) = fragment.frame();
        let now = Moment::from_millis(millis);
        counters.note_received(Port::A, frame.len());
        let taken = fragments.take(&piece, &frame, Port::A, now, &mut counters);
        let expected = naive.take(&fragment, millis);
        let context = format!("seed {seed:#x}, step {step}: {fragment:?}: {taken:?}");
        match (taken, expected) {
            (Taken::Held, Expected::Held) => {}
            (Taken::Refused(reason), Expected::Repeated) => {
                assert_eq!(reason, DropReason::FragmentOverlap, "{context}");
                counters.note_dropped(Port::A, reason, frame.len());
                repeated += 1;
            }
            (Taken::Refused(reason), Expected::Void) => {
                let reasons = [DropReason::FragmentOverlap, DropReason::FragmentInvalid];
                assert!(reasons.contains(&reason), "{context}");
                counters.note_dropped(Port::A, reason, frame.len());
                void += 1;
            }
            (Taken::Whole(datagram), Expected::Whole { data, in_order }) => {
                check_rebuilt(fragments.rebuild(datagram).unwrap(), &fragment, &data);
                if rng.bool() {
                    counters.note_held(Port::A, frame.len());
                    let mut left = Vec::new();
                    let mut send = |bytes: &[u8]| {
                        left.push(bytes.to_vec());
                        true
                    };
                    fragments.release(datagram, &mut send, &mut counters);
                    let expected = in_order.iter().map(|fragment| fragment.frame().0);
                    assert_eq!(left, expected.collect::<Vec<_>>(), "{context}");
                } else {
                    counters.note_dropped(Port::A, DropReason::PolicyDenied, frame.len());
                    fragments.discard(datagram, DropReason::PolicyDenied, &mut counters);
                }
                whole += 1;
            }
            (_, expected) => panic!("expected {expected:?}: {context}"),
        }
        fragments.end_batch(now, &mut counters);
        assert!(counters.ports.iter().all(PortCounters::balances), "{context}");
    }
    assert!(whole > 3_000 && void > 3_000 && repeated > 1_000, "{whole} {void} {repeated}");
    fragments.end_batch(Moment::from_millis(millis + 100_000), &mut counters);
    assert_eq!(counters.port(Port::A).held, Count::default());
    assert!(counters.port(Port::A).dropped_for(DropReason::FragmentTimeout).packets > 500);
}

/// The headers are those of the first fragment but for lengths, offset and checksum.
fn check_rebuilt(frame: &[u8], fragment: &Fragment, data: &[u8]) {
    let packet = &frame[ETHERNET..];
    let length = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    assert!(frame[..ETHERNET].iter().all(|byte| *byte == 0xEE));
    if fragment.is_ipv4() {
        assert_eq!(packet[IPV4..], *data);
        assert_eq!(length(2), packet.len());
        assert_eq!(packet[6..8], [0x40, 0]);
        let words =
            packet[..IPV4].chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(word[1]));
        assert_eq!(words.sum::<u64>() % 0xffff, 0, "one's complement sum is not zero");
    } else {
        assert_eq!(packet[IPV6 + 8..], *data);
        assert_eq!(length(4) + IPV6, packet.len());
        assert_eq!((packet[6], &packet[40..44]), (44, &[UDP, 0xEE, 0, 0][..]));
    }
}
