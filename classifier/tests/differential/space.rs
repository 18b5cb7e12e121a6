//! The exact questions answer as the reference does, for all packets: partitions, `reach` and `diff`.

use std::net::IpAddr;

use classifier::compile::{Limits as CompileLimits, compile};
use classifier::decision::{Reason, Verdict};
use classifier::image::{Image, RuleInfo};
use classifier::packet::{Crossing, IpVersion, PacketKey, Side, Transport};
use classifier::reference;
use classifier::resource::PolicySet;
use classifier::space::{
    AddressRange, Block, Change, Diff, Entry, Form, Limits, Outcome, Packets, Partitions, Place,
    Question, Reach, Span, diff, reach,
};
use fastrand::Rng;

use crate::packets::Cells;
use crate::{describe, generate, mutate, say, seeded};

const POLICY_SETS: u64 = 1_000;
/// Pairs of addresses of a set between which every packet is tried.
const PAIRS_TRIED_WHOLE: usize = 2;
/// Packets tried between all other pairs.
const PACKETS_PER_PAIR: usize = 2;

/// Places of a comparison between all of which a packet is tried; few policy sets have more.
const PLACES_TRIED: usize = 60;

#[test]
fn every_packet_is_in_the_part_that_the_reference_says() {
    let (seed, mut rng) = seeded("partitions");
    let mut tried = 0_u64;
    let mut decided = [0_u64; 4];
    for number in 0..POLICY_SETS {
        let set = generate::policy_set(&mut rng);
        let image = image(&set);
        let mut partitions = Partitions::of(image.view(), Limits::default());
        let cells = Cells::of(&[&set]);
        for _ in 0..PAIRS_TRIED_WHOLE {
            let (src, dst) = pair(&mut rng, &[&set]);
            let crossing = generate::crossing(&mut rng, &set);
            let partition = partitions.between(src, dst, crossing).unwrap();
            for packet in cells.packets(src, dst) {
                let expected = Outcome::from(reference::evaluate(&set, &packet, crossing));
                let parts = partition.parts.iter().filter(|part| part.region.contains(&packet));
                let outcomes: Vec<Outcome> = parts.map(|part| part.outcome).collect();
                assert!(
                    outcomes == [expected],
                    "policy set {number} of RAVELIN_SEED={seed}: {outcomes:?}\n{}",
                    describe::difference(&set, &packet, crossing)
                );
                tried += 1;
                if let Some((at, _)) = expected.decided {
                    decided[at as usize] += 1;
                }
            }
        }
    }
    assert!(decided.iter().all(|count| count * 50 > tried), "{decided:?} of {tried}");
    say(&format!("partitions: {tried} packets of {POLICY_SETS} policy sets, 0 differences"));
    say(&format!("partitions: decided at entry, egress, ingress, exit: {decided:?}"));
}

#[test]
fn reach_names_what_the_reference_allows_and_nothing_else() {
    let (seed, mut rng) = seeded("reach");
    let (mut tried, mut passed) = (0_u64, 0_u64);
    for number in 0..POLICY_SETS {
        let set = generate::policy_set(&mut rng);
        let image = image(&set);
        let selector = |rng: &mut Rng| (rng.u8(..3) > 0).then(|| generate::selector(rng));
        let question = Question {
            from: selector(&mut rng),
            to: selector(&mut rng),
            crossing: generate::crossing(&mut rng, &set),
        };
        let answer = reach(&set, &image.view(), &question, Limits::default()).unwrap();
        for packet in probes(&mut rng, &[&set]) {
            let decision = reference::evaluate(&set, &packet, question.crossing);
            let asked = is_asked(&set, question.from.as_ref(), packet.src)
                && is_asked(&set, question.to.as_ref(), packet.dst);
            let expected = (asked && decision.verdict() == Verdict::Allow).then(|| decision.into());
            let found = passages(&answer, &packet);
            assert!(
                found == expected.as_slice(),
                "policy set {number} of RAVELIN_SEED={seed}: {question:?}: {found:?}\n{}",
                describe::difference(&set, &packet, question.crossing)
            );
            tried += 1;
            passed += u64::from(expected.is_some());
        }
    }
    assert!(passed * 100 > tried, "too little passes to prove anything: {passed} of {tried}");
    say(&format!("reach: {tried} packets, {passed} pass, 0 differences"));
}

#[test]
fn diff_names_where_the_reference_changes_its_verdict_and_nothing_else() {
    let (seed, mut rng) = seeded("diff");
    let (mut tried, mut changed, mut empty) = (0_u64, 0_u64, 0_u64);
    for number in 0..POLICY_SETS {
        let old = generate::policy_set(&mut rng);
        let new = (0..rng.u8(1..=3)).fold(old.clone(), |set, _| mutate::changed(&mut rng, &set));
        let crossing = generate::crossing(&mut rng, &old);
        let (old_image, new_image) = (image(&old), image(&new));
        let answer =
            diff(&old_image.view(), &new_image.view(), crossing, Limits::default()).unwrap();
        empty += u64::from(answer.verdicts.is_empty());
        let mut probes = probes(&mut rng, &[&old, &new]);
        probes.extend(between_places(&mut rng, &answer.places, &Cells::of(&[&old, &new])));
        for packet in probes {
            let was = Outcome::from(reference::evaluate(&old, &packet, crossing));
            let now = Outcome::from(reference::evaluate(&new, &packet, crossing));
            let expected = (was.verdict != now.verdict).then_some((was, now));
            let found = changes(&answer, &answer.verdicts, &packet);
            let of_reason = changes(&answer, &answer.reasons, &packet);
            let names_change = reason(&old_image, was) != reason(&new_image, now);
            let expected_reason =
                (was.verdict == now.verdict && names_change).then_some((was, now));
            assert!(
                found == expected.as_slice() && of_reason == expected_reason.as_slice(),
                "policy set {number} of RAVELIN_SEED={seed}: {found:?} {of_reason:?}\nold {}\nnew {}",
                describe::difference(&old, &packet, crossing),
                describe::difference(&new, &packet, crossing)
            );
            tried += 1;
            changed += u64::from(expected.is_some());
        }
    }
    assert!(changed > POLICY_SETS && empty > POLICY_SETS / 20, "{changed} changed, {empty} empty");
    say(&format!("diff: {tried} packets, {changed} change, {empty} empty, 0 differences"));
}

/// What decided, in names, which two policy sets can share.
fn reason(image: &Image, outcome: Outcome) -> String {
    let view = image.view();
    match outcome.decided {
        Some((at, Reason::Rule(rule))) => {
            let RuleInfo { tier, kind, namespace, policy, text, .. } = view.rule(rule).unwrap();
            format!("{at} {tier} {kind} {namespace:?} {policy} {text}")
        }
        Some((at, Reason::EndOfTier(tier))) => {
            format!("{at} end of {}", view.tier_name(tier).unwrap())
        }
        other => format!("{other:?}"),
    }
}

fn image(set: &PolicySet) -> Image {
    compile(set, 0, &CompileLimits::default()).unwrap()
}

/// Some packets between all pairs of places, and all packets between some.
fn probes(rng: &mut Rng, sets: &[&PolicySet]) -> Vec<PacketKey> {
    let cells = Cells::of(sets);
    let mut probes = Vec::new();
    for _ in 0..PAIRS_TRIED_WHOLE {
        let (src, dst) = pair(rng, sets);
        probes.extend(cells.packets(src, dst));
    }
    let mut few: Vec<IpAddr> = Vec::new();
    for family in [IpVersion::V4, IpVersion::V6] {
        few.clear();
        few.extend(addresses(sets, family));
        rng.shuffle(&mut few);
        few.truncate(25);
        for src in &few {
            for dst in &few {
                let packets = cells.packets(*src, *dst);
                let count = packets.len();
                let packets: Vec<PacketKey> = packets.collect();
                let some = (0..PACKETS_PER_PAIR).map(|_| packets.get(rng.usize(..count)).unwrap());
                probes.extend(some.copied());
            }
        }
    }
    probes
}

/// A packet between any two places, from and to one end of one of their ranges.
fn between_places(rng: &mut Rng, places: &[Place], cells: &Cells) -> Vec<PacketKey> {
    let mut probes = Vec::new();
    for family in [IpVersion::V4, IpVersion::V6] {
        let mut ends = Vec::new();
        for place in places {
            let ranges = place.members.iter().flat_map(|member| &member.ranges);
            let ranges: Vec<_> = ranges.filter(|range| range.version == family).collect();
            if let Some(range) = rng.choice(ranges) {
                ends.push(if rng.bool() { range.first_address() } else { range.last_address() });
            }
        }
        rng.shuffle(&mut ends);
        ends.truncate(PLACES_TRIED);
        for src in &ends {
            for dst in &ends {
                let packets: Vec<PacketKey> = cells.packets(*src, *dst).collect();
                probes.extend(rng.choice(packets));
            }
        }
    }
    probes
}

fn pair(rng: &mut Rng, sets: &[&PolicySet]) -> (IpAddr, IpAddr) {
    let family = generate::family(rng);
    let addresses = addresses(sets, family);
    (generate::pick(rng, &addresses), generate::pick(rng, &addresses))
}

/// One address at least of every piece of the common refinement.
fn addresses(sets: &[&PolicySet], family: IpVersion) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> =
        sets.iter().flat_map(|set| generate::Places::of(set).all(family)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn is_asked(
    set: &PolicySet,
    selector: Option<&classifier::selector::Selector>,
    address: IpAddr,
) -> bool {
    selector.is_none_or(|selector| {
        set.objects.iter().any(|object| {
            selector.matches(&object.labels) && object.nets.iter().any(|net| net.contains(&address))
        })
    })
}

fn passages(answer: &Reach, packet: &PacketKey) -> Vec<Outcome> {
    let entries = answer
        .entries
        .iter()
        .filter(|e| is_about(e, &answer.sources, &answer.destinations, packet));
    let passages = entries.flat_map(|entry| &entry.content);
    passages.filter(|p| holds(&p.packets, packet)).map(|p| p.outcome).collect()
}

fn changes(diff: &Diff, entries: &[Entry<Change>], packet: &PacketKey) -> Vec<(Outcome, Outcome)> {
    let entries =
        entries.iter().filter(|entry| is_about(entry, &diff.places, &diff.places, packet));
    let changes = entries.flat_map(|entry| &entry.content);
    changes.filter(|c| holds(&c.packets, packet)).map(|c| (c.was, c.now)).collect()
}

fn is_about<T>(
    entry: &Entry<T>,
    sources: &[Place],
    destinations: &[Place],
    packet: &PacketKey,
) -> bool {
    let among = |places: &[Place], numbers: &[usize], address| {
        numbers.iter().any(|number| covers(places.get(*number).unwrap(), address))
    };
    entry.versions.contains(&packet.version())
        && among(sources, &entry.sources, packet.src)
        && among(destinations, &entry.destinations, packet.dst)
}

fn covers(place: &Place, address: IpAddr) -> bool {
    let number = match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => address.into(),
    };
    let holds = |range: &AddressRange| {
        range.version == IpVersion::of(address) && range.first <= number && number <= range.last
    };
    place.members.iter().flat_map(|member| &member.ranges).any(holds)
}

fn holds(packets: &Packets, packet: &PacketKey) -> bool {
    let (form, first, second) = match packet.transport {
        Transport::Ports { src, dst } => (Form::Ports, src, dst),
        Transport::Icmp { kind, code } => (Form::Icmp, kind.into(), code.into()),
        Transport::Opaque => (Form::Opaque, 0, 0),
    };
    let among = |spans: &[Span], number: u16| {
        spans.iter().any(|span| span.first <= number && number <= span.last)
    };
    let holds = |block: &&Block| {
        block.form == form
            && among(&block.protocols, packet.protocol.into())
            && among(&block.first, first)
            && among(&block.second, second)
    };
    match packets {
        Packets::All => true,
        Packets::Some(blocks) => {
            let count = blocks.iter().filter(holds).count();
            assert!(count <= 1, "blocks overlap: {blocks:?}");
            count == 1
        }
    }
}

#[test]
fn a_question_that_is_too_large_is_refused_with_its_limit() {
    let set = generate::policy_set(&mut Rng::with_seed(7));
    let image = image(&set);
    let crossing = Crossing::sides(Side::Outside, Side::Inside);
    let pairs = Limits { pairs: 1, ..Limits::default() };
    let refused = diff(&image.view(), &image.view(), crossing, pairs).unwrap_err().to_string();
    assert!(refused.ends_with("pairs of address classes, the limit is 1"), "{refused}");
    let bricks = Limits { bricks: 3, ..Limits::default() };
    let refused = diff(&image.view(), &image.view(), crossing, bricks).unwrap_err().to_string();
    assert!(refused.contains("more than 3 intervals"), "{refused}");
}
