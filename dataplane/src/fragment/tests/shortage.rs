//! Who gives way when there is too much, and when time is over.

use super::*;

/// A tracker with its counters and clock.
struct Bench {
    fragments: Fragments,
    counters: Counters,
    millis: u64,
}

impl Bench {
    fn new(limits: FragmentLimits) -> Self {
        let fragments = Fragments::new(limits, RandomState::new());
        Self { fragments, counters: Counters::default(), millis: 0 }
    }

    fn take(&mut self, fragment: &Fragment) -> Taken {
        let (frame, piece) = fragment.frame();
        self.take_as(&piece, &frame)
    }

    fn take_as(&mut self, piece: &Piece, frame: &[u8]) -> Taken {
        let now = Moment::from_millis(self.millis);
        let counters = &mut self.counters;
        counters.note_received(Port::A, frame.len());
        let taken = self.fragments.take(piece, frame, Port::A, now, counters);
        match taken {
            Taken::Held => {}
            Taken::Refused(reason) => counters.note_dropped(Port::A, reason, frame.len()),
            Taken::Whole(datagram) => {
                counters.note_held(Port::A, frame.len());
                self.fragments.release(datagram, &mut |_| true, counters);
            }
        }
        assert!(counters.port(Port::A).balances());
        taken
    }

    fn knows(&self, fragment: &Fragment) -> bool {
        self.fragments.slots.find(&Key::of(&fragment.frame().1, Port::A)).is_some()
    }

    fn held(&self) -> Count {
        self.counters.port(Port::A).held
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.counters.port(Port::A).dropped_for(reason).packets
    }
}

/// The first of several fragments, with so much data, from the source that `source` stands for.
fn incomplete(source: u32, serial: u32, data_bytes: usize) -> Fragment {
    // The source is a remainder of the identification.
    let id = serial * 502 + source * 2;
    Fragment { id, offset: 0, more: true, data: vec![1; data_bytes] }
}

/// What completes it.
fn completion(first: &Fragment) -> Fragment {
    let offset = u16::try_from(first.data.len()).unwrap();
    Fragment { offset, more: false, data: vec![2; 30], ..first.clone() }
}

fn limits(kib: usize, kib_per_source: usize, datagrams: usize) -> FragmentLimits {
    let (bytes, bytes_per_source) = (kib << 10, kib_per_source << 10);
    FragmentLimits { bytes, bytes_per_source, datagrams, ..FragmentLimits::default() }
}

#[test]
fn source_that_sends_too_much_loses_its_own_and_no_others() {
    let mut bench = Bench::new(limits(1024, 128, 4096));
    let others: Vec<_> = (1..=100).map(|source| incomplete(source, 0, 1400)).collect();
    for other in &others {
        assert_eq!(bench.take(other), Taken::Held);
    }
    let before = bench.held().bytes;
    for serial in 0..50_000 {
        assert_eq!(bench.take(&incomplete(0, serial, 1000)), Taken::Held);
    }
    // 1034 bytes take five chunks of 256.
    let most = (128 << 10) / (5 * 256) * 1034;
    assert_eq!(bench.held().bytes - before, most);
    assert_eq!(bench.dropped(DropReason::FragmentLimit), 50_000 - most / 1034);
    // Of its own the last are there, the first are not.
    for serial in 0..50_000 {
        let is_there = bench.knows(&incomplete(0, serial, 1000));
        assert_eq!(is_there, u64::from(50_000 - serial) <= most / 1034, "{serial}");
    }
    for other in &others {
        assert!(matches!(bench.take(&completion(other)), Taken::Whole(_)));
    }
}

#[test]
fn greedy_source_gives_way_before_modest_ones() {
    let mut bench = Bench::new(limits(1024, 512, 4096));
    let modest: Vec<_> = (1..=200).map(|source| incomplete(source, 0, 1400)).collect();
    assert_eq!(bench.take(&modest[0]), Taken::Held);
    for serial in 0..400 {
        assert_eq!(bench.take(&incomplete(0, serial, 1400)), Taken::Held);
    }
    for other in &modest[1..] {
        assert_eq!(bench.take(other), Taken::Held);
    }
    assert_eq!(bench.dropped(DropReason::FragmentLimit), 59, "400 are more than its share");
    // The rest comes from sources that are modest each, until memory is full and the greedy one is modest too.
    for source in 201..=240 {
        for serial in 1..=7 {
            assert_eq!(bench.take(&incomplete(source, serial, 1400)), Taken::Held);
        }
    }
    assert!(bench.dropped(DropReason::FragmentLimit) > 100, "memory was never short");
    for other in &modest {
        assert!(matches!(bench.take(&completion(other)), Taken::Whole(_)), "{}", other.id);
    }
}

#[test]
fn oldest_of_all_gives_way_when_everybody_is_modest() {
    let mut bench = Bench::new(limits(64, 64, 4096));
    // Every third is IPv6.
    let all: Vec<_> = (0..250)
        .map(|source| Fragment {
            id: source * 2 + u32::from(source % 3 == 0),
            ..incomplete(source, 0, 192)
        })
        .collect();
    for (serial, other) in all.iter().enumerate() {
        bench.millis = serial as u64;
        assert_eq!(bench.take(other), Taken::Held);
    }
    let more: Vec<_> = (0..100).map(|source| incomplete(source, 1, 192)).collect();
    for other in &more {
        bench.millis += 1;
        assert_eq!(bench.take(other), Taken::Held);
    }
    // 64 KiB are 256 chunks.
    assert_eq!(bench.dropped(DropReason::FragmentLimit), 94);
    assert!(all.iter().take(94).all(|gone| !bench.knows(gone)));
    assert!(all.iter().skip(94).chain(&more).all(|here| bench.knows(here)));
}

#[test]
fn million_incomplete_datagrams_leave_nine_of_ten_complete_ones_alone() {
    // From one source, and from as many as there are addresses.
    for spread in [false, true] {
        let mut rng = fastrand::Rng::with_seed(0x5eed_0505);
        let limits = FragmentLimits::default();
        let mut bench = Bench::new(limits);
        let (mut begun, mut whole) = (0, 0);
        let mut open = std::collections::VecDeque::new();
        for serial in 0..1_000_000 {
            // A million a second.
            bench.millis = u64::from(serial) / 1_000;
            let flood = incomplete(0, serial, 24);
            let (frame, mut piece) = flood.frame();
            if spread {
                piece.src = std::net::IpAddr::from(rng.u32(..).to_be_bytes());
            }
            assert_ne!(bench.take_as(&piece, &frame), Taken::Refused(DropReason::Internal));
            if serial % 100 == 0 {
                // Both fragments within two milliseconds, in either order.
                let first = incomplete(1 + serial / 100 % 200, serial, 1400);
                let mut both = [first.clone(), completion(&first)];
                rng.shuffle(&mut both);
                let [now, later] = both;
                assert_ne!(bench.take(&now), Taken::Refused(DropReason::Internal));
                open.push_back(later);
                begun += 1;
            }
            if open.len() > 20 {
                let later = open.pop_front().unwrap();
                whole += u32::from(matches!(bench.take(&later), Taken::Whole(_)));
            }
            assert!(bench.held().bytes <= limits.bytes as u64);
        }
        assert!(whole * 10 >= (begun - 20) * 9, "{whole} of {begun}, spread: {spread}");
    }
}

#[test]
fn datagram_of_too_many_fragments_is_void() {
    let mut bench = Bench::new(FragmentLimits::default());
    let piece = |number: u16| Fragment { id: 2, offset: number * 8, more: true, data: vec![0; 8] };
    for number in 0..128 {
        assert_eq!(bench.take(&piece(number)), Taken::Held);
    }
    let limit = Taken::Refused(DropReason::FragmentLimit);
    assert_eq!(bench.take(&piece(128)), limit);
    assert_eq!(bench.held(), Count::default());
    assert_eq!(bench.take(&piece(0)), limit, "it is remembered");
}

#[test]
fn time_is_over_to_the_millisecond() {
    for (id, seconds) in [(2, 30), (3, 60)] {
        let mut bench = Bench::new(FragmentLimits::default());
        bench.millis = 5_000;
        let first = Fragment { id, offset: 0, more: true, data: vec![0; 64] };
        assert_eq!(bench.take(&first), Taken::Held);
        let end = |bench: &mut Bench, millis| {
            bench.fragments.end_batch(Moment::from_millis(millis), &mut bench.counters);
            bench.dropped(DropReason::FragmentTimeout)
        };
        assert_eq!(end(&mut bench, 5_000 + seconds * 1_000 - 1), 0);
        bench.millis = 5_000 + seconds * 1_000 - 1;
        assert_eq!(bench.take(&first), Taken::Refused(DropReason::FragmentOverlap));
        assert_eq!(end(&mut bench, 5_000 + seconds * 1_000), 1);
        assert_eq!(bench.held(), Count::default());
        // What completes it now begins another one.
        assert_eq!(bench.take(&completion(&first)), Taken::Held);
    }
}

#[test]
fn late_copies_are_told_from_a_new_datagram() {
    let mut bench = Bench::new(FragmentLimits::default());
    let first = incomplete(1, 1, 1000);
    for round in 0..100 {
        bench.millis = round * 200;
        assert_eq!(bench.take(&first), Taken::Held, "round {round}");
        assert!(matches!(bench.take(&completion(&first)), Taken::Whole(_)));
        bench.millis += 199;
        let repeated = Taken::Refused(DropReason::FragmentOverlap);
        assert_eq!(bench.take(&completion(&first)), repeated);
    }
}

#[test]
fn void_and_decided_datagrams_give_their_places_to_new_ones() {
    let mut bench = Bench::new(limits(1024, 1024, 16));
    for source in 0..250 {
        let first = incomplete(source, 0, 64);
        let other = Fragment { data: vec![3; 72], ..first.clone() };
        assert_eq!(bench.take(&first), Taken::Held);
        if source % 2 == 0 {
            assert_eq!(bench.take(&other), Taken::Refused(DropReason::FragmentOverlap));
        } else {
            assert!(matches!(bench.take(&completion(&first)), Taken::Whole(_)));
        }
    }
    let waiting: Vec<_> = (0..16).map(|source| incomplete(source, 1, 64)).collect();
    for first in &waiting {
        assert_eq!(bench.take(first), Taken::Held);
    }
    assert_eq!(bench.dropped(DropReason::FragmentLimit), 0);
    assert_eq!(bench.take(&incomplete(16, 1, 64)), Taken::Held);
    assert_eq!(bench.dropped(DropReason::FragmentLimit), 1, "the oldest gave way");
}

#[test]
fn pieces_of_other_datagrams_do_not_complete_this_one() {
    let mut bench = Bench::new(FragmentLimits::default());
    let first = incomplete(1, 1, 1000);
    assert_eq!(bench.take(&first), Taken::Held);
    let (frame, last) = completion(&first).frame();
    let others = [
        Piece { protocol: 6, ..last },
        Piece { identification: last.identification + 1, ..last },
        Piece { src: [198, 18, 1, 1].into(), ..last },
        Piece { dst: [198, 18, 1, 1].into(), ..last },
        Piece { vlans: [Some(7), None], ..last },
    ];
    for other in others {
        assert_eq!(bench.take_as(&other, &frame), Taken::Held, "{other:?}");
    }
    let now = Moment::from_millis(bench.millis);
    let other = bench.fragments.take(&last, &frame, Port::B, now, &mut bench.counters);
    assert_eq!(other, Taken::Held);
    assert!(matches!(bench.take_as(&last, &frame), Taken::Whole(_)));
    // In IPv6 the protocol is that of the first fragment.
    let first = Fragment { id: 3, ..first };
    assert_eq!(bench.take(&first), Taken::Held);
    let (frame, last) = completion(&first).frame();
    assert!(matches!(bench.take_as(&Piece { protocol: 6, ..last }, &frame), Taken::Whole(_)));
}

#[test]
fn frames_without_room_in_the_ring_are_counted_as_such() {
    let mut bench = Bench::new(FragmentLimits::default());
    let first = incomplete(1, 1, 1000);
    assert_eq!(bench.take(&first), Taken::Held);
    let (frame, last) = completion(&first).frame();
    bench.counters.note_received(Port::A, frame.len());
    let counters = &mut bench.counters;
    let taken = bench.fragments.take(&last, &frame, Port::A, Moment::default(), counters);
    let Taken::Whole(datagram) = taken else { panic!("{taken:?}") };
    counters.note_held(Port::A, frame.len());
    let mut room = 1;
    let mut send = |_: &[u8]| {
        room -= 1;
        room >= 0
    };
    bench.fragments.release(datagram, &mut send, counters);
    let port = bench.counters.port(Port::A);
    assert!(port.balances());
    assert_eq!((port.forwarded.packets, port.held.packets), (1, 0));
    assert_eq!(port.dropped_for(DropReason::TransmitRingFull).packets, 1);
}

#[test]
fn datagram_that_is_never_released_is_our_mistake() {
    let mut bench = Bench::new(FragmentLimits::default());
    let first = incomplete(1, 1, 1000);
    assert_eq!(bench.take(&first), Taken::Held);
    let (frame, last) = completion(&first).frame();
    let counters = &mut bench.counters;
    counters.note_received(Port::A, frame.len());
    let taken = bench.fragments.take(&last, &frame, Port::A, Moment::default(), counters);
    assert!(matches!(taken, Taken::Whole(_)));
    counters.note_held(Port::A, frame.len());
    bench.fragments.end_batch(Moment::default(), counters);
    assert_eq!(bench.dropped(DropReason::Internal), 2);
    assert_eq!(bench.held(), Count::default());
}
