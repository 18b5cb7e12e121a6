//! A policy that follows changes decides as one that is compiled from scratch after each.

use std::net::IpAddr;

use classifier::compile::{Change, Declined, Limits, Live, changes, compile};
use classifier::decision::{Half, Reason};
use classifier::image::{Image, ImageBytes, View};
use classifier::packet::PacketKey;
use classifier::resource::{Peer, PolicySet, Rule};
use fastrand::Rng;
use ipnet::IpNet;

use crate::compare::{Plane, compare};
use crate::{PAIRS, describe, differs, generate, mutate, pairs, say, seeded, shrink};

const SETS: u64 = 300;
const CHANGES_PER_SET: u64 = 60;
/// Packets of which both images are asked after each change, and of which the reference is.
const PROBES: usize = 1_000;
const REFERENCE_PROBES: usize = 8;

/// What became of the changes.
#[derive(Debug, Default)]
struct Tally {
    followed: u64,
    nothing: u64,
    compiled: u64,
    folded: u64,
}

#[test]
fn changed_policy_decides_as_a_full_compile_of_it() {
    let (seed, mut rng) = seeded("live");
    let mut tally = Tally::default();
    let is_whole = pairs() >= PAIRS;
    for number in 0..if is_whole { SETS } else { SETS * pairs() / PAIRS + 1 } {
        let mut case = Case::of(generate::policy_set(&mut rng));
        for change in 1..=CHANGES_PER_SET {
            let after = changed(&mut rng, &case.set, 1_000 + usize::try_from(change).unwrap());
            case.change(after, change, &mut rng, &mut tally).unwrap_or_else(|complaint| {
                panic!("change {change} of set {number} of RAVELIN_SEED={seed}: {complaint}")
            });
        }
    }
    say(&format!("live: {tally:?}, {PROBES} probes each, 0 differences"));
    assert!(!is_whole || tally.followed >= 10_000, "{tally:?}");
    assert!(!is_whole || tally.folded > 500, "{tally:?}");
}

/// A set, and what follows its changes.
struct Case {
    set: PolicySet,
    live: Live,
    /// A fold under way.
    folding: Option<Image>,
}

impl Case {
    fn of(set: PolicySet) -> Self {
        let live = Live::new(&set, 0, &Limits::default()).unwrap();
        Self { set, live, folding: None }
    }

    fn change(
        &mut self,
        after: PolicySet,
        generation: u64,
        rng: &mut Rng,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let before = std::mem::replace(&mut self.set, after);
        match changes(&before, &self.set) {
            None => self.compile(generation, tally),
            Some(changes) => match self.live.apply(&self.set, &changes, generation) {
                Ok(_) if changes.is_empty() => tally.nothing += 1,
                Ok(_) => tally.followed += 1,
                Err(Declined::TooLarge(_)) => self.compile(generation, tally),
                Err(declined) => return Err(format!("{declined}: {changes:?}")),
            },
        }
        self.fold(rng, tally);
        let image = self.live.image();
        if image.generation() != generation {
            return Err(format!("generation {} for {generation}", image.generation()));
        }
        let cold = compile(&self.set, generation, &Limits::default()).unwrap();
        let edges = edges(&before, &self.set);
        let packets = probes(rng, [&before, &self.set], &edges);
        same(&self.set, &image.view(), &cold.view(), &packets, rng)?;
        self.against_the_reference(&packets)?;
        if rng.u8(..20) == 0 { travels(image, &cold, &packets, &self.set, rng) } else { Ok(()) }
    }

    fn compile(&mut self, generation: u64, tally: &mut Tally) {
        self.live = Live::new(&self.set, generation, &Limits::default()).unwrap();
        self.folding = None;
        tally.compiled += 1;
    }

    /// Begins a fold now and then, and ends it some changes later.
    fn fold(&mut self, rng: &mut Rng, tally: &mut Tally) {
        match self.folding.take() {
            None if rng.u8(..4) == 0 => self.folding = Some(self.live.begin_fold()),
            Some(image) if rng.u8(..3) == 0 => {
                self.live.finish_fold(image.fold().unwrap()).unwrap();
                tally.folded += 1;
            }
            folding => self.folding = folding,
        }
    }

    fn against_the_reference(&self, packets: &[PacketKey]) -> Result<(), String> {
        let view = self.live.image().view();
        for packet in packets.iter().take(REFERENCE_PROBES) {
            let crossing = generate::crossing(&mut Rng::with_seed(1), &self.set);
            for plane in Plane::ALL {
                compare(&self.set, &view, packet, crossing, plane).map_err(|complaint| {
                    let cold = |set: &PolicySet| differs(set, packet, crossing);
                    let smallest = shrink::smallest(self.set.clone(), cold);
                    format!("{complaint}\n{}", describe::difference(&smallest, packet, crossing))
                })?;
            }
        }
        Ok(())
    }
}

/// The image and its patch as bytes, loaded again, decide the same.
fn travels(
    image: &Image,
    cold: &Image,
    packets: &[PacketKey],
    set: &PolicySet,
    rng: &mut Rng,
) -> Result<(), String> {
    let loaded = Image::load(ImageBytes::from_slice(image.bytes())).unwrap();
    let loaded = match image.patch_bytes() {
        Some(patch) => loaded.with_patch(ImageBytes::from_slice(patch)).unwrap(),
        None => loaded,
    };
    same(set, &loaded.view(), &cold.view(), packets, rng)
}

fn same(
    set: &PolicySet,
    live: &View<'_>,
    cold: &View<'_>,
    packets: &[PacketKey],
    rng: &mut Rng,
) -> Result<(), String> {
    for packet in packets {
        let crossing = generate::crossing(rng, set);
        for plane in Plane::ALL {
            let [said, expected] = [live, cold].map(|view| plane.decided(view, packet, crossing));
            if said != expected {
                return Err(format!("{packet:?} {crossing:?}: {said:?} for {expected:?}"));
            }
            if let Some((_, Half { reason: Reason::Rule(rule), .. })) = said.deciding()
                && live.rule(rule) != cold.rule(rule)
            {
                return Err(format!("{rule:?}: {:?} for {:?}", live.rule(rule), cold.rule(rule)));
            }
        }
        for address in [packet.src, packet.dst] {
            let [said, expected] = [live, cold].map(|view| view.object_of(address));
            let is_same = match (said, expected) {
                (Some(a), Some(b)) => a.full_name() == b.full_name() && a.labels().eq(b.labels()),
                (a, b) => a.is_none() && b.is_none(),
            };
            if !is_same {
                return Err(format!("{address}: {said:?} for {expected:?}"));
            }
        }
    }
    Ok(())
}

/// Packets among places of both sets, from and to every edge of what has changed.
fn probes(rng: &mut Rng, sets: [&PolicySet; 2], edges: &[IpAddr]) -> Vec<PacketKey> {
    let places = sets.map(generate::Places::of);
    let mut packets: Vec<PacketKey> =
        (0..PROBES / 2).flat_map(|_| places.each_ref().map(|places| places.packet(rng))).collect();
    for edge in edges {
        let [_, places] = &places;
        let packet = places.packet(rng);
        if packet.src.is_ipv4() == edge.is_ipv4() {
            packets.push(PacketKey { src: *edge, ..packet });
            packets.push(PacketKey { dst: *edge, ..packet });
        }
    }
    packets
}

/// The addresses on both sides of the boundaries of all nets that came or went.
fn edges(before: &PolicySet, after: &PolicySet) -> Vec<IpAddr> {
    let nets: Vec<IpNet> = changes(before, after)
        .into_iter()
        .flatten()
        .flat_map(|change| match change {
            Change::Came(object) | Change::Went(object) => object.nets.clone(),
            Change::Nets { added, removed, .. } => [added, removed].concat(),
            Change::Rules { .. } => Vec::new(),
        })
        .collect();
    let around = |net: &IpNet| match net {
        IpNet::V4(net) => {
            let [first, last] = [net.network(), net.broadcast()].map(u32::from);
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|address| IpAddr::V4(address.into()))
        }
        IpNet::V6(net) => {
            let [first, last] = [net.network(), net.broadcast()].map(u128::from);
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|address| IpAddr::V6(address.into()))
        }
    };
    nets.iter().flat_map(around).collect()
}

/// The set with a change, mostly one that can be followed.
fn changed(rng: &mut Rng, set: &PolicySet, number: usize) -> PolicySet {
    let mut after = set.clone();
    let some = rng.usize(..set.objects.len().max(1));
    match rng.u8(..12) {
        0..3 => {
            if let Some(object) = after.objects.get_mut(some) {
                let family = generate::family(rng);
                object.nets.push(generate::net(rng, family));
            }
        }
        3..5 => {
            if let Some(object) = after.objects.get_mut(some).filter(|o| !o.nets.is_empty()) {
                object.nets.remove(rng.usize(..object.nets.len()));
            }
        }
        5 | 6 => {
            let mut object = generate::object(rng, number);
            object.ports.clear();
            after.objects.insert(rng.usize(..=after.objects.len()), object);
        }
        7 => {
            if !after.objects.is_empty() {
                after.objects.remove(some);
            }
        }
        8 => {
            if let Some(object) = after.objects.get_mut(some) {
                object.labels = generate::object(rng, 0).labels;
            }
        }
        9 | 10 => change_rules(rng, &mut after),
        _ => after = mutate::changed(rng, set),
    }
    let mut names: Vec<_> = after.objects.iter().map(|o| (o.kind, &o.namespace, &o.name)).collect();
    names.sort_unstable();
    let is_unique = names.windows(2).all(|pair| pair[0] != pair[1]);
    if is_unique && generate::rules_of(&after).all(is_checked) { after } else { set.clone() }
}

/// Documents refuse a destination service beside anything else that a destination can ask; a change may put it there.
fn is_checked(rule: &Rule) -> bool {
    let Peer { service, .. } = &rule.destination;
    service.is_none() || rule.destination == Peer { service: service.clone(), ..Peer::default() }
}

fn change_rules(rng: &mut Rng, set: &mut PolicySet) {
    if set.policies.is_empty() {
        return;
    }
    let at = rng.usize(..set.policies.len());
    let policy = &mut set.policies[at];
    let rules = if rng.bool() { &mut policy.ingress } else { &mut policy.egress };
    if rng.bool() || rules.is_empty() {
        let rule = generate::rule(rng);
        rules.insert(rng.usize(..=rules.len()), rule);
    } else {
        rules.remove(rng.usize(..rules.len()));
    }
}
