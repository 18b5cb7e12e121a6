//! Two honest endpoints talk across the tracker through links that lose, double, delay and reorder. Whatever the tracker
//! drops must have been of no use any more, and every conversation comes to its end.

mod endpoint;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::RandomState;

use classifier::packet::{PacketKey, Transport, protocol};
use dataplane::device::Port;
use dataplane::disposition::DropReason;
use dataplane::flow::{Admission, Connection, End, FlowKey, FlowTable, State, Tracked};
use dataplane::moment::Moment;
use dataplane::parse::{Segment, Signal};

use self::endpoint::{Character, Endpoint};

const SEED: u64 = 0x5eed_0a01;
const CONVERSATIONS: u64 = 1_500;
/// A conversation that is not through by then hangs.
const TICKS_MAX: u64 = 400_000;

/// What the links between the endpoints are like.
#[derive(Clone, Copy, Debug)]
struct Links {
    /// Of 256.
    lost: u8,
    /// Ticks, for each segment another number.
    jitter: u64,
    doubled: u8,
    delayed: u8,
    /// Longest delay beyond the usual one.
    delay: u64,
}

#[derive(Debug, Default)]
struct Sums {
    segments: u64,
    /// Dropped as older than a window, and dropped because the connection was closed; all of no use any more.
    stale: u64,
    over: u64,
    closed: u64,
    simultaneous: u64,
    fast_open: u64,
    zero_windows: u64,
    wrapped: u64,
}

/// On its way to the tracker, or from there to its receiver.
type Travelling = Reverse<(u64, u64, bool, usize, [u32; 6])>;

struct World<'a> {
    table: &'a FlowTable,
    keys: [(FlowKey, End); 2],
    ends: [Endpoint; 2],
    links: Links,
    travelling: BinaryHeap<Travelling>,
    number: u64,
    now: u64,
    random: fastrand::Rng,
    sums: &'a mut Sums,
}

impl World<'_> {
    fn send(&mut self, from: usize, segment: Segment) {
        self.sums.segments += 1;
        self.sums.zero_windows += u64::from(segment.window == 0);
        self.put(from, true, segment);
    }

    fn put(&mut self, from: usize, to_tracker: bool, segment: Segment) {
        if self.random.u8(..) < self.links.lost {
            return;
        }
        let copies = 1 + u64::from(self.random.u8(..) < self.links.doubled);
        for _ in 0..copies {
            let mut at = self.now + self.random.u64(2..=2 + self.links.jitter);
            if self.random.u8(..) < self.links.delayed {
                at += self.random.u64(..=self.links.delay);
            }
            self.number += 1;
            self.travelling.push(Reverse((at, self.number, to_tracker, from, packed(&segment))));
        }
    }

    fn deliver(&mut self) {
        while let Some(Reverse((at, ..))) = self.travelling.peek()
            && *at <= self.now
        {
            let Some(Reverse((_, _, to_tracker, from, words))) = self.travelling.pop() else {
                return;
            };
            let segment = unpacked(words);
            if !to_tracker {
                let answer = self.ends[1 - from].receive(&segment, self.now, &mut self.random);
                if let Some(answer) = answer {
                    self.send(1 - from, answer);
                }
            } else if self.crosses(from, &segment) {
                self.put(from, false, segment);
            }
        }
    }

    /// What the table says, as the pipeline does it when policy allows all.
    fn crosses(&mut self, from: usize, segment: &Segment) -> bool {
        let (table, now) = (self.table, Moment::from_millis(self.now));
        let (key, sender) = self.keys[from];
        let Some(flow) = table.find(&key, now) else {
            assert!(segment.flags.opens(), "{segment:?} before the flow");
            let connection = Connection::opened(segment);
            let (opened_by, state) = (sender, State::Opening);
            let admission = Admission { opened_by, epoch: 1, state, connection, is_limited: true };
            table.admit(&key, admission, now).unwrap();
            return true;
        };
        match table.track(&flow, &key, flow.way(sender), segment, now) {
            Tracked::Passes | Tracked::Judged(None) => true,
            Tracked::Refused(reason) => {
                let receiver = &self.ends[1 - from];
                let context =
                    || format!("{reason:?} {segment:?} to {receiver:?} in {:?}", flow.state());
                if reason == DropReason::TcpClosed {
                    // Never data, even if it is the FIN's and comes with the last acknowledgment once more.
                    assert!(receiver.has(segment), "{}", context());
                    self.sums.over += 1;
                    return false;
                }
                let useless = receiver.knows(segment)
                    || receiver.disregards(segment)
                    || self.ends[from].has_outrun(segment, receiver);
                assert!(reason == DropReason::TcpWindow && useless, "{}", context());
                self.sums.stale += 1;
                false
            }
            Tracked::Replaces => {
                assert!(self.ends[1 - from].knows(segment), "a SYN that is late");
                self.sums.over += 1;
                false
            }
            other @ (Tracked::Judged(Some(_)) | Tracked::Restarts(_) | Tracked::Moved) => {
                panic!("{other:?} for {segment:?}")
            }
        }
    }

    fn run(&mut self) {
        while !self.ends.iter().all(Endpoint::is_silent) {
            self.now += 1;
            assert!(self.now < TICKS_MAX, "it hangs: {:?}", self.ends);
            self.deliver();
            for side in 0..2 {
                if self.random.u8(..8) == 0 {
                    let octets = self.random.u64(..100_000);
                    self.ends[side].read(octets);
                }
                if let Some(segment) = self.ends[side].speak(self.now, &mut self.random) {
                    self.send(side, segment);
                }
            }
        }
        assert!(self.ends.iter().all(Endpoint::has_all), "all octets arrived");
    }
}

fn packed(segment: &Segment) -> [u32; 6] {
    let Segment { flags, seq, ack, window, data_bytes, scale } = *segment;
    let scale = scale.map_or(u32::MAX, u32::from);
    [flags.0.into(), seq, ack, window.into(), data_bytes.into(), scale]
}

fn unpacked([flags, seq, ack, window, data_bytes, scale]: [u32; 6]) -> Segment {
    let small = |word: u32| u16::try_from(word).unwrap();
    Segment {
        flags: dataplane::parse::TcpFlags(u8::try_from(flags).unwrap()),
        seq,
        ack,
        window: small(window),
        data_bytes: small(data_bytes),
        scale: u8::try_from(scale).ok(),
    }
}

fn character(random: &mut fastrand::Rng) -> Character {
    let scale = random.choice([None, Some(0), Some(2), Some(7), Some(14)]).unwrap();
    let buffer: u64 = random.choice([3_000, 20_000, 65_535, 500_000, 5_000_000]).unwrap();
    // Whose windows come in large units has room for some.
    let buffer = u64::max(buffer, 16 << scale.unwrap_or(0));
    let anywhere = random.u32(..);
    let isn = random.choice([0, u32::MAX, anywhere, u32::MAX - 20_000, (1 << 31) - 5]).unwrap();
    Character {
        isn,
        total: random.choice([0, 1, 700, 30_000, 300_000]).unwrap(),
        scale,
        buffer,
        segment_max: random.choice([100, 1_460, 9_000]).unwrap(),
        fast_open: 0,
        shrinks: random.u8(..4) == 0,
        probes_with_octet: random.bool(),
    }
}

fn keys(number: u64) -> [(FlowKey, End); 2] {
    let ports = [u16::try_from(1_024 + number % 60_000).unwrap(), 443];
    let key = |src: &str, dst: &str, [src_port, dst_port]: [u16; 2], port| {
        let transport = Transport::Ports { src: src_port, dst: dst_port };
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        let key = PacketKey { src, dst, protocol: protocol::TCP, transport };
        let flags = dataplane::parse::TcpFlags(2);
        let segment = Segment { flags, seq: 0, ack: 0, window: 0, data_bytes: 0, scale: None };
        let template = super::support::frames::packet(key, Signal::Tcp(segment));
        FlowKey::of(&template, port).unwrap()
    };
    let (a, b) = ("198.18.10.1", "198.18.70.9");
    [key(a, b, ports, Port::A), key(b, a, [ports[1], ports[0]], Port::B)]
}

/// One conversation from the first SYN until both sides have all.
fn converse(
    number: u64,
    table: &FlowTable,
    links: Links,
    random: &mut fastrand::Rng,
    sums: &mut Sums,
) {
    let mut characters = [character(random), character(random)];
    let simultaneous = random.u8(..16) == 0;
    if !simultaneous && random.u8(..4) == 0 {
        let most = characters[0].total.min(1_400);
        characters[0].fast_open = u16::try_from(random.u64(..=most)).unwrap();
    }
    sums.simultaneous += u64::from(simultaneous);
    sums.fast_open += u64::from(characters[0].fast_open > 0);
    sums.wrapped += u64::from(characters[0].isn > u32::MAX - 30_000);
    let keys = keys(number);
    let mut world = World {
        table,
        keys,
        ends: characters.map(Endpoint::new),
        links,
        travelling: BinaryHeap::new(),
        number: 0,
        now: 0,
        random: random.fork(),
        sums,
    };
    let syn = world.ends[0].open(0);
    world.send(0, syn);
    if simultaneous {
        let syn = world.ends[1].open(0);
        world.send(1, syn);
    }
    world.run();
    let all_through = world.ends.iter().all(Endpoint::is_through);
    let end = Moment::from_millis(world.now);
    let flow = table.find(&keys[0].0, end).unwrap();
    if all_through {
        assert_eq!(flow.state(), State::Closed, "each heard that the other has its FIN");
        sums.closed += 1;
    }
    assert!(table.remove(&flow));
}

#[test]
fn nothing_of_use_is_dropped_between_honest_endpoints() {
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let table = FlowTable::new(1 << 8, RandomState::new());
    let mut sums = Sums::default();
    for number in 0..CONVERSATIONS {
        let bad = number % 3 != 0;
        let links = Links {
            lost: if bad { random.u8(..24) } else { 0 },
            jitter: if bad { random.u64(..4) } else { 0 },
            doubled: if bad { random.u8(..24) } else { 0 },
            delayed: if bad { random.u8(..64) } else { 0 },
            delay: random.choice([4, 30, 200]).unwrap(),
        };
        let stale = sums.stale;
        converse(number, &table, links, &mut random, &mut sums);
        assert!(bad || sums.stale == stale, "nothing was late, and something was dropped");
    }
    println!("{sums:?}");
    assert_eq!((table.live(), table.half_open()), (0, 0));
    assert!(sums.segments > 1_000_000, "{sums:?}");
    assert!(sums.stale * 500 < sums.segments, "{sums:?}");
    let Sums { closed, simultaneous, fast_open, zero_windows, wrapped, .. } = sums;
    let reached = [closed, simultaneous, fast_open, zero_windows, wrapped];
    assert!(reached.iter().all(|count| *count > 50), "{sums:?}");
}
