//! Long policies are judged by an index of their rules, short ones by a walk: both must say what the reference says.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

use std::net::IpAddr;

use classifier::compile::{Limits, compile};
use classifier::decision::{Decision, Direction, Reason, RuleRef};
use classifier::label::Labels;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::reference::evaluate;
use classifier::resource::{
    Action, NamedPort, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule,
};
use classifier::selector::Selector;
use fastrand::Rng;

const SETS: usize = 600;
const PACKETS: usize = 150;
const GROUPS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[test]
fn index_of_a_long_policy_decides_as_the_reference() {
    let seed = std::env::var("RAVELIN_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("long blocks: RAVELIN_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (mut late, mut logged, mut passed_by) = (0, 0, 0);
    for _ in 0..SETS {
        let set = policy_set(&mut rng);
        let image = compile(&set, 1, &Limits::default()).unwrap();
        let view = image.view();
        let mut asked = Vec::new();
        for _ in 0..PACKETS {
            let packet = packet(&mut rng);
            let sides = [(Side::Outside, Side::Inside), (Side::Inside, Side::Outside)];
            for crossing in sides.map(|(from, to)| Crossing::sides(from, to)) {
                let expected = evaluate(&set, &packet, crossing);
                let said = view.classify(&packet, crossing);
                assert_eq!(said, expected, "{packet:?} {crossing:?} seed {seed}");
                asked.push(((packet, crossing), said));
                assert_eq!(view.trace(&packet, crossing).decision, expected);
                for (_, half) in said.halves() {
                    match half.reason {
                        Reason::Rule(rule) if rule.rule > 16 => late += 1,
                        Reason::EndOfTier(_) | Reason::NoTierDecided => passed_by += 1,
                        Reason::Rule(_)
                        | Reason::Unselected
                        | Reason::Uncovered
                        | Reason::NoForwardPolicy
                        | Reason::NoProfile => {}
                    }
                    logged += usize::from(half.logged.is_some());
                }
            }
        }
        let (packets, said): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let mut together = vec![Decision::NOTHING_APPLIES; packets.len()];
        view.classify_batch(&packets, &mut together);
        assert_eq!(together, said, "seed {seed}");
    }
    println!("long blocks: {late} decided late, {logged} logged, {passed_by} by no rule");
    assert!(late > 5_000 && logged > 5_000 && passed_by > 5_000);
}

/// One policy for all, of up to 150 rules in each direction, over nested objects of a few groups.
fn policy_set(rng: &mut Rng) -> PolicySet {
    let mut set = PolicySet::new();
    for number in 0..rng.usize(8..40) {
        let group = GROUPS[rng.usize(..GROUPS.len())];
        let mut object = Object {
            labels: Labels::from_iter([("group", group), ("all", "yes")]),
            nets: vec![format!("198.18.{}.0/{}", rng.u8(..8), rng.u8(20..30)).parse().unwrap()],
            ..Object::new(ObjectKind::GlobalNetworkSet, &format!("o{number}"))
        };
        object.nets = object.nets.iter().map(ipnet::IpNet::trunc).collect();
        let port = NamedPort { name: "web".to_owned(), protocol: protocol::TCP, port: 80 };
        object.ports = if rng.bool() { vec![port] } else { Vec::new() };
        set.objects.push(object);
    }
    let rules = |rng: &mut Rng| (0..rng.usize(10..150)).map(|_| rule(rng)).collect();
    set.policies.push(Policy {
        applies_ingress: true,
        applies_egress: true,
        ingress: rules(rng),
        egress: rules(rng),
        ..Policy::new("long")
    });
    set.defaults.allow_uncovered = rng.bool();
    set
}

fn rule(rng: &mut Rng) -> Rule {
    let action = match rng.u8(..12) {
        0..5 => Action::Allow,
        5..9 => Action::Deny,
        9..11 => Action::Log,
        _ => Action::Pass,
    };
    let mut rule = Rule::new(action);
    if rng.u8(..8) > 0 {
        rule.protocol = Some(if rng.bool() { protocol::TCP } else { protocol::UDP });
        rule.destination.ports = ports(rng);
    }
    for peer in [&mut rule.source, &mut rule.destination] {
        match rng.u8(..8) {
            0..3 => peer.selector = Some(selector(rng)),
            3 => peer.not_selector = Some(selector(rng)),
            4 => peer.nets = vec![format!("198.18.{}.0/24", rng.u8(..8)).parse().unwrap()],
            5 if rule.protocol == Some(protocol::TCP) => peer.named_ports = vec!["web".to_owned()],
            _ => {}
        }
    }
    rule
}

fn ports(rng: &mut Rng) -> Vec<PortRange> {
    (0..rng.usize(..3))
        .map(|_| {
            let first = rng.u16(75..100);
            PortRange { first, last: first + rng.u16(..4) * rng.u16(..2) }
        })
        .collect()
}

fn selector(rng: &mut Rng) -> Selector {
    let group = GROUPS[rng.usize(..GROUPS.len())];
    Selector::parse(&format!("group == '{group}'")).unwrap()
}

fn packet(rng: &mut Rng) -> PacketKey {
    let mut address = || IpAddr::from([198, 18, rng.u8(..9), rng.u8(..)]);
    let (src, dst) = (address(), address());
    let ports = Transport::Ports { src: rng.u16(70..105), dst: rng.u16(70..105) };
    let (protocol, transport) = match rng.u8(..5) {
        0 => (protocol::ICMP, Transport::Icmp { kind: 8, code: 0 }),
        1 | 2 => (protocol::UDP, ports),
        _ => (protocol::TCP, ports),
    };
    PacketKey { src, dst, protocol, transport }
}

#[test]
fn peer_of_a_long_rule_is_not_needed_to_match_by_negation() {
    let mut set = PolicySet::new();
    let object = |name: &str, net: &str| Object {
        labels: Labels::from_iter([("name", name)]),
        nets: vec![net.parse().unwrap()],
        ..Object::new(ObjectKind::GlobalNetworkSet, name)
    };
    set.objects = vec![object("rack", "198.18.1.0/24"), object("noc", "198.18.2.0/24")];
    let mut rules: Vec<Rule> = (0..40)
        .map(|port| {
            let mut rule = Rule::new(Action::Deny);
            rule.protocol = Some(protocol::TCP);
            rule.destination =
                Peer { ports: vec![PortRange { first: port, last: port }], ..Peer::default() };
            rule
        })
        .collect();
    let mut allow = Rule::new(Action::Allow);
    allow.source.not_selector = Some(Selector::parse("name == 'noc'").unwrap());
    rules.push(allow);
    set.policies.push(Policy {
        selector: Selector::parse("name == 'rack'").unwrap(),
        applies_ingress: true,
        ingress: rules,
        ..Policy::new("rack")
    });
    let image = compile(&set, 1, &Limits::default()).unwrap();
    let crossing = Crossing::sides(Side::Outside, Side::Inside);
    for (src, port, number) in [
        ("198.18.9.9", 39, Some(39)),
        ("198.18.9.9", 40, Some(40)),
        ("198.18.2.9", 40, None),
        ("198.18.2.9", 0, Some(0)),
    ] {
        let packet = PacketKey {
            src: src.parse().unwrap(),
            dst: "198.18.1.1".parse().unwrap(),
            protocol: protocol::TCP,
            transport: Transport::Ports { src: 1, dst: port },
        };
        let decision = image.view().classify(&packet, crossing);
        let rule = |rule| Reason::Rule(RuleRef { policy: 0, direction: Direction::Ingress, rule });
        let expected = number.map_or(Reason::EndOfTier(1), rule);
        assert_eq!(decision.ingress.unwrap().reason, expected, "{src} {port}");
    }
}
