//! What a change costs: a million of them in a row, while a worker classifies. `cargo bench --bench change`.
//!
//! Prefixes come and go, and objects, labels and rules, on the corporate estate; folds and full compiles go on behind, by
//! the code that `ravelin control` uses. The worker asks about canaries whose membership is known for every generation,
//! and must never see another verdict than that of the generation it holds.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "benches stop at the first surprise, look at the clock, and print what they saw"
)]

#[path = "support/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use classifier::compile::{Change, Limits, compile};
use classifier::decision::{Decision, Verdict};
use classifier::packet::{Crossing, PacketKey, Transport, protocol};
use classifier::resource::{Action, Object, ObjectKind, Peer, Policy, PolicySet, Rule, Tier};
use classifier::selector::Selector;
use control::follow::Follower;
use dataplane::policy::{PolicyReader, PolicySlot};
use fastrand::Rng;
use ipnet::{IpNet, Ipv4Net};
use ravelin::scenario::corporate::corporate;
use ravelin::scenario::{Draw, INWARD, Scenario};
use ravelin::support::meter::{Memory, cpu_seconds};
use table::{Bound, Row, Seen};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many changes; and how large the estate is, 1 being 1.37 million prefixes.
const CHANGES: &str = "RAVELIN_CHANGES";
const SCALE: &str = "RAVELIN_CHANGE_SCALE";
const CHANGES_DEFAULT: u64 = 1_000_000;
const RULES: usize = 10_000;
/// Resident memory may never be beyond this many times what it was after the first compile: two estates while one is
/// compiled behind the other, and the garbage of the changes before that.
const MEMORY_TIMES_MAX: f64 = 3.0;
/// Packets a worker asks about in one batch, canaries included.
const BATCH: usize = 64;
const CANARIES: usize = 8;
const SAMPLES: u64 = 50;
/// Packets of which the last image and a cold compile are asked.
const PROBES: usize = 100_000;

fn main() {
    let number =
        |name, default| std::env::var(name).map_or(default, |text| text.parse().expect(name));
    let count: u64 = number(CHANGES, CHANGES_DEFAULT as f64) as u64;
    let mut scenario = corporate(7, number(SCALE, 1.0), RULES);
    add_canaries(&mut scenario.set);
    let set = Arc::new(std::mem::take(&mut scenario.set));
    println!(
        "{count} changes of {} objects, input {:.0} MB",
        set.objects.len(),
        Memory::Resident.of_this_process()
    );
    let follower = Follower::new(&set, 1, Limits::default()).expect("a policy that compiles");
    let slot = PolicySlot::new();
    slot.publish(Arc::new(follower.image().clone()));
    let shared = Shared::for_generations(count + 2);
    thread::scope(|scope| {
        let mut worker = Worker::new(&slot, &scenario);
        let (reader_side, stop) = (&shared, &shared.stop);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                worker.batch(reader_side);
            }
        });
        let mut estate = Estate::new(set, follower);
        let seen = estate.run(count, &slot, &shared);
        shared.stop.store(true, Ordering::Relaxed);
        estate.check_against_a_cold_compile(&scenario);
        report(&estate, &seen, &shared);
    });
}

/// What the thread of the changes and the worker tell each other.
struct Shared {
    stop: AtomicBool,
    /// For each generation whether the canaries belong to their set: 1 no, 2 yes.
    membership: Vec<AtomicU8>,
    /// The latest generation that the worker took.
    taken: AtomicU64,
    batches: AtomicU64,
    wrong: AtomicU64,
}

impl Shared {
    fn for_generations(count: u64) -> Self {
        let membership: Vec<AtomicU8> = (0..=count).map(|_| AtomicU8::new(1)).collect();
        let [taken, batches, wrong] = [0, 0, 0].map(AtomicU64::new);
        Self { stop: AtomicBool::new(false), membership, taken, batches, wrong }
    }
}

/// Classifies without a pause.
struct Worker {
    reader: PolicyReader,
    asked: Vec<Vec<(PacketKey, Crossing)>>,
    decisions: Vec<Decision>,
    round: usize,
}

impl Worker {
    /// Batches of canaries and, behind them, traffic of the estate.
    fn new(slot: &PolicySlot, scenario: &Scenario) -> Self {
        let mut rng = Rng::with_seed(3);
        let packets = scenario.packets((BATCH - CANARIES) * 1_000, Draw::Even, &mut rng);
        let canaries = (0..CANARIES).map(|number| canary_packet(number as u8));
        let canaries: Vec<PacketKey> = canaries.collect();
        let batches = packets
            .chunks(BATCH - CANARIES)
            .map(|chunk| canaries.iter().chain(chunk).map(|packet| (*packet, INWARD)).collect());
        let asked: Vec<Vec<_>> = batches.collect();
        let decisions = vec![Decision::NOTHING_APPLIES; BATCH];
        Self { reader: slot.reader(), asked, decisions, round: 0 }
    }

    fn batch(&mut self, shared: &Shared) {
        self.reader.refresh();
        let Some(published) = self.reader.snapshot() else { return };
        let generation = published.image.generation();
        shared.taken.store(generation, Ordering::Release);
        let asked = &self.asked[self.round % self.asked.len()];
        self.round += 1;
        published.image.view().classify_batch(asked, &mut self.decisions);
        let belong = shared.membership[generation as usize].load(Ordering::Acquire);
        let right = if belong == 2 { Verdict::Allow } else { Verdict::Deny };
        let wrong = self.decisions[..CANARIES].iter().filter(|it| it.verdict() != right).count();
        shared.wrong.fetch_add(wrong as u64, Ordering::Relaxed);
        shared.batches.fetch_add(1, Ordering::Relaxed);
    }
}

/// The policy under change.
struct Estate {
    set: Arc<PolicySet>,
    follower: Follower,
    generation: u64,
    canaries_belong: bool,
    /// Objects from here on came by a change.
    first_new: usize,
    came: u64,
    rng: Rng,
    tally: BTreeMap<&'static str, u64>,
}

/// What the run saw.
#[derive(Default)]
struct Run {
    /// From the change to the worker's refresh that shows it; and the CPU time that `Follower::change` took. Nanoseconds.
    visible: Vec<u64>,
    applied: Vec<u64>,
    /// Changes done, seconds, megabytes.
    memory: Vec<(u64, f64, f64)>,
    seconds: f64,
}

impl Estate {
    fn new(set: Arc<PolicySet>, follower: Follower) -> Self {
        let first_new = set.objects.len();
        Self {
            set,
            follower,
            generation: 1,
            canaries_belong: false,
            first_new,
            came: 0,
            rng: Rng::with_seed(9),
            tally: BTreeMap::new(),
        }
    }

    fn run(&mut self, count: u64, slot: &PolicySlot, shared: &Shared) -> Run {
        let mut seen = Run::default();
        let began = Instant::now();
        println!("  changes seconds resident MB");
        for done in 0..count {
            if done % (count / SAMPLES).max(1) == 0 {
                let (seconds, memory) =
                    (began.elapsed().as_secs_f64(), Memory::Resident.of_this_process());
                println!("{done:>9} {seconds:>7.1} {memory:>6.0}");
                seen.memory.push((done, seconds, memory));
            }
            self.step(slot, shared, &mut seen);
        }
        seen.seconds = began.elapsed().as_secs_f64();
        seen.memory.push((count, seen.seconds, Memory::Resident.of_this_process()));
        seen
    }

    /// One change, from the moment that it is known until the worker has it.
    fn step(&mut self, slot: &PolicySlot, shared: &Shared, seen: &mut Run) {
        let edit = self.edit();
        self.generation += 1;
        let belong = if self.canaries_belong { 2 } else { 1 };
        shared.membership[self.generation as usize].store(belong, Ordering::Release);
        let began = Instant::now();
        if self.follower.tend(&self.set) {
            *self.tally.entry("  other images from behind").or_default() += 1;
        }
        let changing = cpu_seconds();
        let set = &self.set;
        let changed = self.follower.change(set, &edit.changes(set), self.generation);
        let applied = cpu_seconds() - changing;
        let is_followed = changed.is_ok();
        if !is_followed {
            *self.tally.entry("  declined, compiled in full").or_default() += 1;
            self.follower = Follower::new(set, self.generation, Limits::default())
                .expect("a policy that compiles");
        }
        slot.publish(Arc::new(self.follower.image().clone()));
        while shared.taken.load(Ordering::Acquire) < self.generation {
            spin_loop();
        }
        if is_followed {
            seen.applied.push((applied * 1e9) as u64);
            seen.visible.push(began.elapsed().as_nanos() as u64);
        }
    }

    /// Changes the set, and says what has changed.
    fn edit(&mut self) -> Edit {
        let (name, edit) = match self.rng.u8(..32) {
            0..8 => ("canaries", self.toggle_canaries()),
            8..17 => ("prefix added", self.add_prefix()),
            17..26 => ("prefix removed", self.remove_prefix()),
            26 | 27 => ("object came", self.add_object()),
            28 | 29 => ("object went", self.remove_object()),
            30 => ("other labels", self.relabel()),
            _ => ("other rules", self.change_rules()),
        };
        *self.tally.entry(name).or_default() += 1;
        edit
    }

    fn toggle_canaries(&mut self) -> Edit {
        self.canaries_belong = !self.canaries_belong;
        let at = 0;
        let object = &mut Arc::make_mut(&mut self.set).objects[at];
        let [mut added, mut removed] = [Vec::new(), Vec::new()];
        if self.canaries_belong {
            added = vec![canary_net()];
            object.nets.push(canary_net());
        } else {
            removed = vec![canary_net()];
            object.nets.retain(|net| *net != canary_net());
        }
        Edit::Nets { at, added, removed }
    }

    /// To some object, anything from a subnet to an address.
    fn add_prefix(&mut self) -> Edit {
        let at = self.some_object();
        let length = [32, 32, 32, 28, 24][self.rng.usize(..5)];
        let address = self.rng.u32(0x0a00_0000..0xdf00_0000);
        let net = IpNet::V4(Ipv4Net::new(address.into(), length).expect("a length").trunc());
        let object = &mut Arc::make_mut(&mut self.set).objects[at];
        if object.nets.contains(&net) || canary_net().contains(&net) {
            return Edit::Nets { at, added: Vec::new(), removed: Vec::new() };
        }
        object.nets.push(net);
        Edit::Nets { at, added: vec![net], removed: Vec::new() }
    }

    fn remove_prefix(&mut self) -> Edit {
        let at = self.some_object();
        let object = &mut Arc::make_mut(&mut self.set).objects[at];
        let mut removed = Vec::new();
        if !object.nets.is_empty() {
            let net = object.nets.swap_remove(self.rng.usize(..object.nets.len()));
            // It may be there twice.
            object.nets.retain(|other| *other != net);
            removed.push(net);
        }
        Edit::Nets { at, added: Vec::new(), removed }
    }

    /// Like one that is there.
    fn add_object(&mut self) -> Edit {
        let like = self.some_object();
        self.came += 1;
        let set = Arc::make_mut(&mut self.set);
        let address = self.rng.u32(0x0a00_0000..0x0b00_0000);
        let net = IpNet::V4(Ipv4Net::new(address.into(), 32).expect("a length"));
        let labels = set.objects[like].labels.clone();
        let name = format!("came-{}", self.came);
        let object =
            Object { labels, nets: vec![net], ..Object::new(ObjectKind::GlobalNetworkSet, &name) };
        set.objects.push(object);
        Edit::Came { at: set.objects.len() - 1 }
    }

    /// One that came by a change, or some other when none did.
    fn remove_object(&mut self) -> Edit {
        let count = self.set.objects.len();
        let at = if count > self.first_new {
            self.rng.usize(self.first_new..count)
        } else {
            return self.add_object();
        };
        Edit::Went(Box::new(Arc::make_mut(&mut self.set).objects.swap_remove(at)))
    }

    /// Seldom one so large that this is for a full compile.
    fn relabel(&mut self) -> Edit {
        let at = self.rng.usize(2..self.set.objects.len());
        let object = &mut Arc::make_mut(&mut self.set).objects[at];
        let before = Box::new(object.clone());
        let value = ["yes", "no", "unknown"][self.rng.usize(..3)];
        object.labels.insert("pci", value);
        Edit::Relabelled { at, before }
    }

    /// Takes a rule out of a policy, or puts in one of another: rules that are in force, with selectors that are known.
    fn change_rules(&mut self) -> Edit {
        let set = Arc::make_mut(&mut self.set);
        // The first one lets the canaries in.
        let policy = self.rng.usize(1..set.policies.len());
        let other = self.rng.usize(1..set.policies.len());
        let rule = set.policies[other].ingress.first().cloned();
        let rules = &mut set.policies[policy].ingress;
        match rule {
            Some(rule) if self.rng.bool() || rules.len() < 2 => {
                rules.insert(self.rng.usize(..=rules.len()), rule);
            }
            _ if rules.is_empty() => {}
            _ => drop(rules.remove(self.rng.usize(..rules.len()))),
        }
        Edit::Rules { policy }
    }

    /// Not the canaries'. One in four times a list of bad addresses, which have many.
    fn some_object(&mut self) -> usize {
        let objects = &self.set.objects;
        if self.rng.u8(..4) == 0 {
            let feeds = objects.iter().position(|object| object.name == "feed-0");
            return feeds.map_or(1, |first| first + self.rng.usize(..40));
        }
        self.rng.usize(2..objects.len())
    }

    /// The last image decides as one compiled from the last set alone.
    fn check_against_a_cold_compile(&self, scenario: &Scenario) {
        let cold = compile(&self.set, self.generation, &Limits::default());
        let cold = cold.expect("a policy that compiles");
        let mut rng = Rng::with_seed(17);
        let (live, cold) = (self.follower.image().view(), cold.view());
        let packets = scenario.packets(PROBES, Draw::Even, &mut rng);
        for packet in &packets {
            let said = [&live, &cold].map(|view| view.classify(packet, INWARD));
            assert_eq!(said[0], said[1], "{packet:?}");
        }
        println!("{PROBES} packets: as a full compile of the last policy decides");
    }
}

/// What was done to the set.
enum Edit {
    Nets { at: usize, added: Vec<IpNet>, removed: Vec<IpNet> },
    Came { at: usize },
    Went(Box<Object>),
    Relabelled { at: usize, before: Box<Object> },
    Rules { policy: usize },
}

impl Edit {
    fn changes<'a>(&'a self, set: &'a PolicySet) -> Vec<Change<'a>> {
        match self {
            Self::Nets { at, added, removed } => {
                let (added, removed) = (added.clone(), removed.clone());
                vec![Change::Nets { object: &set.objects[*at], added, removed }]
            }
            Self::Came { at } => vec![Change::Came(&set.objects[*at])],
            Self::Went(object) => vec![Change::Went(object)],
            Self::Relabelled { at, before } => {
                vec![Change::Went(before), Change::Came(&set.objects[*at])]
            }
            Self::Rules { policy } => {
                let number = u32::try_from(*policy).expect("few policies");
                vec![Change::Rules { policy: number, after: &set.policies[*policy] }]
            }
        }
    }
}

/// A set that has a prefix or none, one that always has its own, and a policy that lets the first reach the second.
fn add_canaries(set: &mut PolicySet) {
    let object = |role: &str, nets| Object {
        labels: [("canary", role)].into_iter().collect(),
        nets,
        ..Object::new(ObjectKind::GlobalNetworkSet, &format!("canary-{role}"))
    };
    let target = "198.19.0.0/24".parse().expect("a net");
    set.objects.splice(0..0, [object("source", Vec::new()), object("target", vec![target])]);
    let selector = |text| Selector::parse(text).expect("a selector");
    let mut rule = Rule::new(Action::Allow);
    rule.source = Peer { selector: Some(selector("canary == 'source'")), ..Peer::default() };
    let policy = Policy {
        tier: Tier::DEFAULT.to_owned(),
        order: Some(1.0),
        selector: selector("canary == 'target'"),
        applies_ingress: true,
        ingress: vec![rule],
        ..Policy::new("canary")
    };
    set.policies.insert(0, policy);
}

fn canary_net() -> IpNet {
    "198.18.0.0/24".parse().expect("a net")
}

fn canary_packet(number: u8) -> PacketKey {
    PacketKey {
        src: [198, 18, 0, number].into(),
        dst: [198, 19, 0, 255 - number].into(),
        protocol: protocol::TCP,
        transport: Transport::Ports { src: 40_000, dst: 443 },
    }
}

fn report(estate: &Estate, seen: &Run, shared: &Shared) {
    for (what, count) in &estate.tally {
        println!("{what}: {count}");
    }
    let [batches, wrong] =
        [&shared.batches, &shared.wrong].map(|count| count.load(Ordering::Relaxed));
    println!("{} s; the worker: {batches} batches of {BATCH}, {wrong} wrong answers", seen.seconds);
    let first = seen.memory.first().map_or(0.0, |(.., memory)| *memory);
    let most = seen.memory.iter().map(|(.., memory)| *memory).fold(0.0, f64::max);
    let mut rows = Vec::new();
    for (what, times) in
        [("in the worker's hands", &seen.visible), ("CPU of Live::apply", &seen.applied)]
    {
        let mut times = times.clone();
        times.sort_unstable();
        for (share, name) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")] {
            let at = ((times.len() as f64 * share) as usize).min(times.len() - 1);
            let micros = times[at] as f64 / 1e3;
            println!("{what}, {name}: {micros:.0} µs");
            let most = |at_most| Bound { at_most, times_peer: None };
            let is_visible = what.starts_with("in the");
            let (bar, goal) = match name {
                "p99.9" if is_visible => (Some(1_000.0), None),
                "p99" if is_visible => (None, Some(100.0)),
                _ => (None, None),
            };
            let what = format!("one change of 1.37M prefixes, {what}, {name}");
            let ours = Seen::of(vec![micros]);
            rows.push(Row {
                what, unit: "µs", ours, bar: most(bar), goal: most(goal), peer: None
            });
        }
    }
    let times = most / first;
    let bar = Bound { at_most: Some(MEMORY_TIMES_MAX), times_peer: None };
    let what = "memory during a million changes, most, over that at first".to_owned();
    rows.push(Row { what, unit: "x", ours: Seen::of(vec![times]), bar, ..Row::default() });
    println!("resident: {first:.0} MB at first, at most {most:.0} MB, {times:.2} times");
    table::record("change", &rows);
    assert_eq!(wrong, 0, "wrong answers");
    assert!(times <= MEMORY_TIMES_MAX, "memory has grown beyond its bound");
}
