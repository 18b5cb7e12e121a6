//! Which prefix an address lies in: our prefix tables beside DPDK's `rte_fib` and `rte_fib6` and the crate prefix-trie, in the
//! same rounds on the same keys. Repeat with `benches/peers/prepare && cargo bench --bench lookup`.
//!
//! A lookup ends with a number that the prefix stands for: ours with the class of the piece, theirs with the next hop. All
//! answers of all of them are compared before anything is timed.
#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "benches stop at the first surprise and print what they saw"
)]

mod peers;
#[path = "support/table.rs"]
mod table;
mod tables;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use classifier::image::{V4Index, V6Index};
use ipnet::{Ipv4Net, Ipv6Net};
use peers::{Dpdk, Variant};
use prefix_trie::PrefixMap;
use ravelin::support::meter::cpu_seconds;
use table::{Bound, Row, Seen};
use tables::keys::{Draw, keys};
use tables::{Table, real, synthetic};

const ROUNDS: usize = 5;
const KEYS: usize = 1 << 20;
/// Over all keys, in one round.
const PASSES: usize = 2;
const BATCH: usize = 32;

fn main() {
    let lists = peers::directory().join("lists");
    let note = |found: bool| {
        if !found {
            println!(
                "no address lists: run benches/peers/prepare; a synthetic table takes their place"
            );
        }
    };
    let v4 = real::v4(&lists);
    note(v4.is_some());
    let v6 = real::v6(&lists);
    note(v6.is_some());
    let v4 = v4.unwrap_or_else(|| synthetic::routes_v4(900_000, 5));
    let v6 = v6.unwrap_or_else(|| synthetic::routes_v6(160_000, 5));
    let mut rows = Vec::new();
    rows.extend(V4::new(&v4).compare(&v4, [Some(2.0), Some(16.0)], [Some(1.2), Some(10.0)]));
    let hosts = synthetic::hosts_v4(1_000_000, 5);
    rows.extend(V4::new(&hosts).compare(&hosts, [Some(2.0), Some(40.0)], [Some(1.3), Some(16.0)]));
    rows.extend(V6::new(&v6).compare(&v6, [Some(0.5), Some(20.0)], [Some(0.25), None]));
    table::record("lookup", &rows);
}

/// A prefix table of ours and its peers, one family.
trait Family: Sized {
    /// An address as the tables take it.
    type Key: Copy;
    /// The name of DPDK's structure for it.
    const PEER: &'static str;

    fn key(address: u128) -> Self::Key;
    /// The same for the peer.
    fn peer_key(address: u128) -> Vec<u8>;
    fn peer(table: &Table) -> Option<(Dpdk, f64)>;
    fn batch(&self, keys: &[Self::Key], answers: &mut [u32]);
    fn single(&self, key: Self::Key) -> u32;
    fn trie(&self, key: Self::Key) -> u32;
    /// Bytes that lookups may touch: the index and the first addresses that it reads, and classes.
    fn bytes(&self) -> [usize; 2];
    fn build_s(&self) -> f64;

    /// Rows of all key streams; bars and goals are for prefix-drawn keys: times the peer's time, and bytes for a prefix.
    fn compare(&self, table: &Table, bar: [Option<f64>; 2], goal: [Option<f64>; 2]) -> Vec<Row> {
        let mut rows = Vec::new();
        let name = format!(
            "IPv{}, {}, {} prefixes",
            if table.width == 32 { 4 } else { 6 },
            table.name,
            table.routes.len()
        );
        println!("{name}");
        let mut peer = Self::peer(table);
        for draw in Draw::ALL {
            let held = draw == Draw::Prefix;
            let bounds = [bar[0], goal[0]]
                .map(|times| Bound { times_peer: times.filter(|_| held), ..Bound::default() });
            let name = format!("{name}, {draw}");
            rows.extend(self.times(
                &name,
                &keys(table, draw, KEYS, 9),
                peer.as_mut().map(|peer| &mut peer.0),
                bounds,
            ));
        }
        let per_prefix = |bytes: f64| Seen::of(vec![bytes / table.routes.len() as f64]);
        let [index, classes] = self.bytes();
        println!("  bytes: index {index}, classes {classes}");
        rows.push(Row {
            what: format!("{name}: what lookups touch (index, first addresses, classes)"),
            unit: "B/prefix",
            ours: per_prefix((index + classes) as f64),
            peer: peer.as_ref().map(|(_, bytes)| (Self::PEER.to_owned(), per_prefix(*bytes))),
            bar: Bound { at_most: bar[1], ..Bound::default() },
            goal: Bound { at_most: goal[1], ..Bound::default() },
        });
        rows.push(Row {
            what: format!("{name}: building the index from pieces"),
            unit: "ms",
            ours: Seen::of(vec![self.build_s() * 1e3]),
            peer: peer.map(|(peer, _)| (Self::PEER.to_owned(), Seen::of(vec![peer.build_s * 1e3]))),
            ..Row::default()
        });
        rows
    }

    /// Batches beside DPDK and single lookups beside the trie, in turns.
    fn times(
        &self,
        name: &str,
        addresses: &[u128],
        mut peer: Option<&mut Dpdk>,
        [bar, goal]: [Bound; 2],
    ) -> Vec<Row> {
        let keys: Vec<Self::Key> = addresses.iter().map(|address| Self::key(*address)).collect();
        let file = peers::write("keys", addresses.iter().map(|address| Self::peer_key(*address)));
        self.check(&keys, peer.as_deref_mut(), &file);
        let mut seen: [Vec<f64>; 5] = Default::default();
        let mut answers = vec![0; keys.len()];
        for _ in 0..ROUNDS {
            seen[0].push(time(keys.len(), || self.batches(&keys, &mut answers)));
            if let Some(peer) = &mut peer {
                seen[1].extend(peer.look_up(Variant::Scalar, &file, None, PASSES));
                seen[2].extend(peer.look_up(Variant::Vector, &file, None, PASSES));
            }
            seen[3].push(time(keys.len(), || {
                keys.iter().fold(0_u32, |sum, key| sum.wrapping_add(self.single(*key)))
            }));
            seen[4].push(time(keys.len(), || {
                keys.iter().fold(0_u32, |sum, key| sum.wrapping_add(self.trie(*key)))
            }));
        }
        let [batch, scalar, vector, single, trie] = seen.map(Seen::of);
        println!(
            "  {name}:\n    batch {batch:?}\n    scalar {scalar:?}\n    vector {vector:?}\n    single {single:?}\n    trie {trie:?}"
        );
        let (variant, better) = match (scalar.median, vector.median) {
            (_, 0.0) => ("scalar", scalar),
            (scalar_ns, vector_ns) if scalar_ns < vector_ns => ("scalar", scalar),
            _ => ("AVX-512", vector),
        };
        let dpdk = peer.map(|_| (format!("{}, {variant}", Self::PEER), better));
        vec![
            Row {
                what: format!("{name}, batch of {BATCH}"),
                unit: "ns",
                ours: batch,
                peer: dpdk,
                bar,
                goal,
            },
            Row {
                what: format!("{name}, one by one"),
                unit: "ns",
                ours: single,
                peer: Some(("prefix-trie".to_owned(), trie)),
                ..Row::default()
            },
        ]
    }

    fn batches(&self, keys: &[Self::Key], answers: &mut [u32]) -> u32 {
        for (keys, answers) in keys.chunks(BATCH).zip(answers.chunks_mut(BATCH)) {
            self.batch(keys, answers);
        }
        answers[0]
    }

    fn check(&self, keys: &[Self::Key], peer: Option<&mut Dpdk>, file: &Path) {
        let mut answers = vec![0; keys.len()];
        self.batches(keys, &mut answers);
        let single: Vec<u32> = keys.iter().map(|key| self.single(*key)).collect();
        let trie: Vec<u32> = keys.iter().map(|key| self.trie(*key)).collect();
        assert!(answers == single, "batches and single lookups differ");
        assert!(answers == trie, "ours and prefix-trie differ");
        let Some(peer) = peer else { return };
        let path = peers::directory().join("inputs/answers");
        for variant in [Variant::Scalar, Variant::Vector] {
            if peer.look_up(variant, file, Some(&path), 1).is_some() {
                assert!(answers == peers::read_answers(&path), "ours and {} differ", Self::PEER);
            }
        }
    }
}

struct V4 {
    index: V4Index,
    starts: Vec<u32>,
    classes: Vec<u32>,
    trie: PrefixMap<Ipv4Net, u32>,
    build_s: f64,
}

impl V4 {
    fn new(table: &Table) -> Self {
        let (starts, classes) = table.pieces();
        let starts: Vec<u32> = starts.into_iter().map(low).collect();
        let started = cpu_seconds();
        let index = V4Index::of(&starts);
        let build_s = cpu_seconds() - started;
        let trie = table.routes.iter().map(|route| {
            (
                Ipv4Net::new(Ipv4Addr::from(low(route.at)), route.length).expect("a prefix"),
                route.answer,
            )
        });
        Self { index, starts, classes, trie: trie.collect(), build_s }
    }
}

impl Family for V4 {
    type Key = u32;

    const PEER: &'static str = "rte_fib";

    fn key(address: u128) -> u32 {
        low(address)
    }

    fn peer_key(address: u128) -> Vec<u8> {
        low(address).to_ne_bytes().to_vec()
    }

    fn peer(table: &Table) -> Option<(Dpdk, f64)> {
        let file = peers::write(
            "table",
            table.routes.iter().map(|route| {
                [low(route.at), u32::from(route.length), route.answer]
                    .map(u32::to_ne_bytes)
                    .concat()
            }),
        );
        let long = table.routes.iter().filter(|route| route.length > 24);
        let nodes = long.map(|route| route.at >> 8).collect::<BTreeSet<_>>().len();
        let peer = Dpdk::build("fib", &file, nodes + 16)?;
        // 2^24 entries, and 2^8 for each /24 with something longer in it; the routes that it keeps as well do not count.
        Some((peer, ((1 << 24) + (nodes << 8)) as f64 * 4.0))
    }

    fn batch(&self, keys: &[u32], answers: &mut [u32]) {
        let mut pieces = [0; BATCH];
        let pieces = &mut pieces[..keys.len()];
        self.index.pieces(&self.starts, keys, pieces);
        for (answer, piece) in answers.iter_mut().zip(pieces) {
            *answer = self.classes[*piece as usize];
        }
    }

    fn single(&self, key: u32) -> u32 {
        self.classes[self.index.piece(&self.starts, key)]
    }

    fn trie(&self, key: u32) -> u32 {
        let host = Ipv4Net::new(key.into(), 32).expect("a host");
        self.trie.get_lpm(&host).map_or(0, |(_, answer)| *answer)
    }

    fn bytes(&self) -> [usize; 2] {
        [self.index.touched_bytes(&self.starts), size_of_val(&*self.classes)]
    }

    fn build_s(&self) -> f64 {
        self.build_s
    }
}

struct V6 {
    index: V6Index,
    starts: Vec<[u64; 2]>,
    classes: Vec<u32>,
    trie: PrefixMap<Ipv6Net, u32>,
    build_s: f64,
}

impl V6 {
    fn new(table: &Table) -> Self {
        let (starts, classes) = table.pieces();
        let starts: Vec<[u64; 2]> = starts.into_iter().map(halves).collect();
        let started = cpu_seconds();
        let index = V6Index::of(&starts);
        let build_s = cpu_seconds() - started;
        let trie = table.routes.iter().map(|route| {
            (Ipv6Net::new(Ipv6Addr::from(route.at), route.length).expect("a prefix"), route.answer)
        });
        Self { index, starts, classes, trie: trie.collect(), build_s }
    }
}

impl Family for V6 {
    type Key = [u64; 2];

    const PEER: &'static str = "rte_fib6";

    fn key(address: u128) -> [u64; 2] {
        halves(address)
    }

    fn peer_key(address: u128) -> Vec<u8> {
        address.to_be_bytes().to_vec()
    }

    fn peer(table: &Table) -> Option<(Dpdk, f64)> {
        let file: PathBuf = peers::write(
            "table",
            table.routes.iter().map(|route| {
                let numbers = [u32::from(route.length), route.answer].map(u32::to_ne_bytes);
                [&route.at.to_be_bytes()[..], &numbers.concat()].concat()
            }),
        );
        let peer = Dpdk::build("fib6", &file, 1 << 18)?;
        let bytes = peer.heap_bytes;
        Some((peer, bytes))
    }

    fn batch(&self, keys: &[[u64; 2]], answers: &mut [u32]) {
        let mut pieces = [0; BATCH];
        let pieces = &mut pieces[..keys.len()];
        self.index.pieces(&self.starts, keys, pieces);
        for (answer, piece) in answers.iter_mut().zip(pieces) {
            *answer = self.classes[*piece as usize];
        }
    }

    fn single(&self, key: [u64; 2]) -> u32 {
        self.classes[self.index.piece(&self.starts, key)]
    }

    fn trie(&self, [high, low]: [u64; 2]) -> u32 {
        let address = u128::from(high) << 64 | u128::from(low);
        let host = Ipv6Net::new(address.into(), 128).expect("a host");
        self.trie.get_lpm(&host).map_or(0, |(_, answer)| *answer)
    }

    fn bytes(&self) -> [usize; 2] {
        [self.index.touched_bytes(&self.starts), size_of_val(&*self.classes)]
    }

    fn build_s(&self) -> f64 {
        self.build_s
    }
}

fn low(address: u128) -> u32 {
    u32::try_from(address).expect("an IPv4 address")
}

fn halves(address: u128) -> [u64; 2] {
    [address >> 64, address & u128::from(u64::MAX)].map(|half| u64::try_from(half).expect("a half"))
}

/// ns of CPU for each of `count` lookups in `PASSES` passes.
fn time<R>(count: usize, mut pass: impl FnMut() -> R) -> f64 {
    black_box(pass());
    let started = cpu_seconds();
    for _ in 0..PASSES {
        black_box(pass());
    }
    (cpu_seconds() - started) * 1e9 / (PASSES * count) as f64
}
