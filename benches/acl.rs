//! One list of rules of five fields, as routers have them: our classifier beside DPDK's `rte_acl`, in the same rounds on the
//! same packets. Repeat with `benches/peers/prepare && cargo bench --bench acl`.
//!
//! This is `rte_acl`'s home ground: no labels, no tiers, no sets. Ours gets the list twice: as one policy that protects
//! everything, with all five fields in its rules, and as a policy for each line that protects the line's destination, as
//! it would be written for us. All answer with the line that decides; all answers are compared before anything is timed.
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

use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::Path;

use classifier::compile::{Limits, compile};
use classifier::decision::{Decision, Reason};
use classifier::image::Image;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::resource::{
    Action, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule, Tier,
};
use classifier::selector::Selector;
use fastrand::Rng;
use ipnet::Ipv4Net;
use peers::{Dpdk, Variant};
use ravelin::support::meter::cpu_seconds;
use table::{Row, Seen};

const INWARD: Crossing = Crossing::sides(Side::Outside, Side::Inside);
const ROUNDS: usize = 5;
const PACKETS: usize = 1 << 17;
/// Over all packets, in one round.
const PASSES: usize = 2;
const BATCH: usize = 32;

fn main() {
    let mut rows = Vec::new();
    for count in [1_000, 10_000] {
        rows.extend(compare(count));
    }
    table::record("acl", &rows);
}

/// One line of the list.
#[derive(Clone, Copy, Debug)]
struct Line {
    source: Ipv4Net,
    destination: Ipv4Net,
    ports: PortRange,
    /// Any when absent, and then `ports` is all of them.
    protocol: Option<u8>,
}

const ALL_PORTS: PortRange = PortRange { first: 0, last: u16::MAX };

/// How the list is said in policies.
#[derive(Clone, Copy, Debug)]
enum Shape {
    OnePolicy,
    PolicyForEachLine,
}

fn compare(count: usize) -> Vec<Row> {
    let mut rng = Rng::with_seed(17);
    let lines = lines(count, &mut rng);
    let packets: Vec<(PacketKey, Crossing)> =
        (0..PACKETS).map(|_| (packet(&lines, &mut rng), INWARD)).collect();
    let table = peers::write("rules", lines.iter().map(line_record));
    let keys = peers::write("packets", packets.iter().map(|(packet, _)| packet_record(packet)));
    let mut peer = Dpdk::build("acl", &table, 0);
    let theirs = peer.as_mut().map(|peer| answers_of(peer, &keys));
    let shapes =
        [("a policy for each line", Shape::PolicyForEachLine), ("one policy", Shape::OnePolicy)];
    let mut rows = Vec::new();
    for (name, shape) in shapes {
        let started = cpu_seconds();
        let image = compile(&policy_set(&lines, shape), 1, &Limits::default());
        let image = image.expect("rules that compile");
        let compile_s = cpu_seconds() - started;
        check(&image, shape, &packets, theirs.as_deref());
        let name = format!("list of {count} rules of five fields, {name}");
        rows.push(times(&name, &image, &packets, peer.as_mut(), &keys));
        let beside = |value: fn(&Dpdk) -> f64| {
            peer.as_ref().map(|peer| ("rte_acl".to_owned(), Seen::of(vec![value(peer)])))
        };
        rows.push(Row {
            what: format!("{name}: from rules to tables"),
            unit: "ms",
            ours: Seen::of(vec![compile_s * 1e3]),
            peer: beside(|peer| peer.build_s * 1e3),
            ..Row::default()
        });
        rows.push(Row {
            what: format!("{name}: tables (ours without what is worked out at load)"),
            unit: "MB",
            ours: Seen::of(vec![image.bytes().len() as f64 / 1e6]),
            peer: beside(|peer| peer.heap_bytes / 1e6),
            ..Row::default()
        });
    }
    rows
}

/// Bursts of both, in turns.
fn times(
    name: &str,
    image: &Image,
    packets: &[(PacketKey, Crossing)],
    mut peer: Option<&mut Dpdk>,
    keys: &Path,
) -> Row {
    let mut seen: [Vec<f64>; 3] = Default::default();
    let mut decisions = vec![Decision::NOTHING_APPLIES; packets.len()];
    for _ in 0..ROUNDS {
        seen[0].push(time(|| decide(image, packets, &mut decisions)));
        if let Some(peer) = &mut peer {
            seen[1].extend(peer.look_up(Variant::Scalar, keys, None, PASSES));
            seen[2].extend(peer.look_up(Variant::Vector, keys, None, PASSES));
        }
    }
    let [ours, scalar, vector] = seen.map(Seen::of);
    println!("{name}:\n  ours {ours:?}\n  scalar {scalar:?}\n  vector {vector:?}");
    let better = if vector.median > 0.0 { vector } else { scalar };
    let peer = peer.map(|_| ("rte_acl".to_owned(), better));
    Row { what: format!("{name}, burst of 32"), unit: "ns", ours, peer, ..Row::default() }
}

/// Rules between few networks and hosts, as lists of access rules are: most name a port, some a range of ports, some
/// any source, some any protocol.
fn lines(count: usize, rng: &mut Rng) -> Vec<Line> {
    let pool = |rng: &mut Rng, lengths: &[u8]| -> Vec<Ipv4Net> {
        let one = |rng: &mut Rng| {
            let length = lengths[rng.usize(..lengths.len())];
            Ipv4Net::new(rng.u32(1 << 24..224 << 24).into(), length).expect("a length").trunc()
        };
        (0..count / 4).map(|_| one(rng)).collect()
    };
    let sources = pool(rng, &[8, 12, 16, 20, 22, 24, 24, 24, 28, 32, 32]);
    let destinations = pool(rng, &[16, 20, 24, 24, 27, 30, 32, 32, 32, 32, 32]);
    let any = Ipv4Net::default();
    (0..count)
        .map(|_| {
            let protocol = match rng.u8(..20) {
                0..13 => Some(protocol::TCP),
                13..18 => Some(protocol::UDP),
                _ => None,
            };
            let first = [443, 80, 22, 53, 25, 1_433, 3_306, 8_080, 5_432, 389][rng.usize(..10)];
            let ports = match rng.u8(..20) {
                _ if protocol.is_none() => ALL_PORTS,
                0..5 => ALL_PORTS,
                5..8 => PortRange { first: 1_024, last: u16::MAX },
                8 => PortRange { first: 6_000, last: 6_063 },
                _ => PortRange { first, last: first },
            };
            let source = if rng.u8(..4) == 0 { any } else { sources[rng.usize(..sources.len())] };
            Line {
                source,
                destination: destinations[rng.usize(..destinations.len())],
                ports,
                protocol,
            }
        })
        .collect()
}

/// Nine in ten are what some rule describes, though an earlier one may decide; the others are anything.
fn packet(lines: &[Line], rng: &mut Rng) -> PacketKey {
    let line = lines[rng.usize(..lines.len())];
    let within = |net: Ipv4Net, rng: &mut Rng| {
        (u32::from(net.network()) | rng.u32(..) & u32::from(net.hostmask())).into()
    };
    let anything = rng.u8(..10) == 0;
    let port = if anything { rng.u16(..) } else { rng.u16(line.ports.first..=line.ports.last) };
    PacketKey {
        src: std::net::IpAddr::V4(within(
            if anything { Ipv4Net::default() } else { line.source },
            rng,
        )),
        dst: std::net::IpAddr::V4(within(line.destination, rng)),
        protocol: line.protocol.unwrap_or(protocol::TCP),
        transport: Transport::Ports { src: rng.u16(1_024..), dst: port },
    }
}

fn policy_set(lines: &[Line], shape: Shape) -> PolicySet {
    let mut set = PolicySet::new();
    let policies: Vec<(Ipv4Net, Vec<Rule>)> = match shape {
        Shape::OnePolicy => vec![(Ipv4Net::default(), lines.iter().map(rule).collect())],
        Shape::PolicyForEachLine => {
            let alone = |line: &Line| rule(&Line { destination: Ipv4Net::default(), ..*line });
            lines.iter().map(|line| (line.destination, vec![alone(line)])).collect()
        }
    };
    let protected: BTreeSet<Ipv4Net> = policies.iter().map(|(net, _)| *net).collect();
    for net in protected {
        let mut object = Object::new(ObjectKind::GlobalNetworkSet, &name_of(net));
        object.labels = [("net", name_of(net).as_str())].into_iter().collect();
        object.nets = vec![net.into()];
        set.objects.push(object);
    }
    for (number, (net, ingress)) in (0_u32..).zip(policies) {
        set.policies.push(Policy {
            tier: Tier::DEFAULT.to_owned(),
            order: Some(f64::from(number)),
            selector: Selector::parse(&format!("net == '{}'", name_of(net))).expect("a selector"),
            applies_ingress: true,
            ingress,
            ..Policy::new(&format!("line-{number}"))
        });
    }
    set
}

fn name_of(net: Ipv4Net) -> String {
    format!("{}-{}", net.network(), net.prefix_len())
}

fn rule(line: &Line) -> Rule {
    let end = |net: Ipv4Net| Peer {
        nets: if net.prefix_len() == 0 { Vec::new() } else { vec![net.into()] },
        ..Peer::default()
    };
    let mut rule = Rule::new(Action::Allow);
    rule.protocol = line.protocol;
    rule.source = end(line.source);
    rule.destination = end(line.destination);
    if line.ports != ALL_PORTS {
        rule.destination.ports = vec![line.ports];
    }
    rule
}

/// `struct rule` of the peer.
fn line_record(line: &Line) -> Vec<u8> {
    let words = [line.source, line.destination].map(|net| {
        [u32::from(net.network()), u32::from(net.prefix_len())].map(u32::to_ne_bytes).concat()
    });
    let ports = [ALL_PORTS, line.ports]
        .map(|ports| [ports.first, ports.last].map(u16::to_ne_bytes).concat());
    let protocol = line.protocol.map_or([0, 0], |number| [u32::from(number), 0xff]);
    [words.concat(), ports.concat(), protocol.map(u32::to_ne_bytes).concat()].concat()
}

/// `struct packet` of the peer.
fn packet_record(packet: &PacketKey) -> Vec<u8> {
    let (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) =
        (packet.src, packet.dst)
    else {
        unreachable!("all of them are IPv4")
    };
    let Transport::Ports { src, dst } = packet.transport else {
        unreachable!("all of them have ports")
    };
    let ports = [src, dst].map(u16::to_be_bytes).concat();
    [&[packet.protocol, 0, 0, 0], &source.octets(), &destination.octets(), &ports[..]].concat()
}

fn decide(image: &Image, packets: &[(PacketKey, Crossing)], decisions: &mut [Decision]) {
    let view = image.view();
    for (packets, decisions) in packets.chunks(BATCH).zip(decisions.chunks_mut(BATCH)) {
        view.classify_batch(black_box(packets), decisions);
    }
}

/// What the peer says, both of its variants.
fn answers_of(peer: &mut Dpdk, keys: &Path) -> Vec<u32> {
    let path = peers::directory().join("inputs/answers");
    let answers = [Variant::Scalar, Variant::Vector].map(|variant| {
        peer.look_up(variant, keys, Some(&path), 1).map(|_| peers::read_answers(&path))
    });
    let [scalar, vector] = answers;
    assert!(vector.is_none() || vector == scalar, "the peer's variants differ");
    scalar.expect("a scalar lookup on any machine")
}

fn check(image: &Image, shape: Shape, packets: &[(PacketKey, Crossing)], theirs: Option<&[u32]>) {
    let mut decisions = vec![Decision::NOTHING_APPLIES; packets.len()];
    decide(image, packets, &mut decisions);
    let answers: Vec<u32> = decisions.iter().map(|decision| answer(decision, shape)).collect();
    let undecided = answers.iter().filter(|answer| **answer == 0).count();
    println!("{undecided} of {} packets find no rule", packets.len());
    assert!(theirs.is_none_or(|theirs| theirs == answers), "ours and rte_acl differ");
}

/// The position of the line from 1, or 0.
fn answer(decision: &Decision, shape: Shape) -> u32 {
    let Some(Reason::Rule(rule)) = decision.ingress.map(|half| half.reason) else { return 0 };
    1 + match shape {
        Shape::OnePolicy => rule.rule,
        Shape::PolicyForEachLine => rule.policy,
    }
}

/// ns of CPU for each packet in `PASSES` passes.
fn time(mut pass: impl FnMut()) -> f64 {
    pass();
    let started = cpu_seconds();
    for _ in 0..PASSES {
        pass();
    }
    (cpu_seconds() - started) * 1e9 / (PASSES * PACKETS) as f64
}
