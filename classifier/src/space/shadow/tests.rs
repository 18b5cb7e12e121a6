use fastrand::Rng;

use super::*;
use crate::packet::{PacketKey, Transport, protocol};
use crate::reference;
use crate::resource::{IcmpMatch, Object, ObjectKind, PolicySet, PortRange};
use crate::selector::Selector;

const WORK: u64 = 10_000_000;

fn found(rules: &[Rule]) -> Vec<(usize, Vec<usize>)> {
    shadows(rules, &mut { WORK }).into_iter().map(|Shadow { rule, by }| (rule, by)).collect()
}

fn any(action: Action) -> Rule {
    Rule::new(action)
}

fn tcp(first: u16, last: u16) -> Rule {
    let destination = Peer { ports: vec![PortRange { first, last }], ..Peer::default() };
    Rule { protocol: Some(protocol::TCP), destination, ..any(Action::Allow) }
}

fn from_nets(nets: &[&str]) -> Rule {
    let nets = nets.iter().map(|net| net.parse().unwrap()).collect();
    Rule { source: Peer { nets, ..Peer::default() }, ..any(Action::Allow) }
}

fn from(selector: &str) -> Rule {
    let selector = Some(Selector::parse(selector).unwrap());
    Rule { source: Peer { selector, ..Peer::default() }, ..any(Action::Allow) }
}

fn not_from(selector: &str) -> Rule {
    let not_selector = Some(Selector::parse(selector).unwrap());
    Rule { source: Peer { not_selector, ..Peer::default() }, ..any(Action::Deny) }
}

#[test]
fn what_an_earlier_rule_takes_alone_is_shadowed_by_it() {
    assert_eq!(found(&[any(Action::Deny), tcp(22, 22)]), [(1, vec![0])]);
    assert_eq!(found(&[any(Action::Pass), any(Action::Log)]), [(1, vec![0])]);
    assert_eq!(found(&[tcp(1, 100), tcp(22, 22)]), [(1, vec![0])]);
    assert_eq!(found(&[tcp(22, 22), tcp(22, 22)]), [(1, vec![0])], "the same again");
    assert_eq!(
        found(&[from_nets(&["198.18.0.0/16"]), from_nets(&["198.18.7.0/24"])]),
        [(1, vec![0])]
    );
    assert_eq!(found(&[from("has(a)"), from("a == 'x'")]), [(1, vec![0])]);
}

#[test]
fn what_several_take_together_is_shadowed_by_the_fewest_of_them() {
    let rules = [tcp(1, 50), tcp(30, 40), tcp(51, 100), tcp(22, 80)];
    assert_eq!(found(&rules), [(1, vec![0]), (3, vec![0, 2])]);
    let halves = [
        from_nets(&["198.18.0.0/16"]),
        from_nets(&["2001:2::/48"]),
        from_nets(&["198.19.0.0/16"]),
        from_nets(&["198.18.0.0/15"]),
    ];
    assert_eq!(found(&halves), [(3, vec![0, 2])]);
    let either = [from("a == 'x'"), not_from("a == 'x'"), tcp(22, 22)];
    assert_eq!(found(&either), [(2, vec![0, 1])]);
}

#[test]
fn what_may_be_left_for_a_rule_is_no_finding() {
    for rules in [
        vec![any(Action::Log), any(Action::Log), tcp(22, 22)],
        vec![tcp(22, 22), any(Action::Deny)],
        vec![tcp(1, 21), tcp(23, 65_535), tcp(1, 30)],
        vec![from_nets(&["198.18.0.0/17"]), from_nets(&["198.18.0.0/16"])],
        vec![from("a == 'x'"), from("has(a)")],
        vec![from("a == 'x'"), from_nets(&["198.18.0.0/16"])],
        vec![from("all()"), any(Action::Deny)],
        vec![not_from("a == 'x'"), not_from("a == 'y'")],
        // One address may belong to an object with `a` and to another without.
        vec![from("a == 'x'"), from("a == 'y'"), from("has(a)")],
        vec![Rule { ip_version: Some(IpVersion::V4), ..any(Action::Allow) }, any(Action::Deny)],
    ] {
        assert_eq!(found(&rules), [], "{rules:?}");
    }
}

#[test]
fn what_depends_on_objects_of_the_day_shadows_nothing() {
    let named = |name: &str| {
        let destination = Peer { named_ports: vec![name.to_owned()], ..Peer::default() };
        Rule { protocol: Some(protocol::TCP), destination, ..any(Action::Allow) }
    };
    assert_eq!(found(&[named("http"), tcp(80, 80)]), []);
    assert_eq!(found(&[named("http"), named("http")]), []);
    let all_tcp = Rule { protocol: Some(protocol::TCP), ..any(Action::Allow) };
    assert_eq!(found(&[all_tcp, named("http")]), [(1, vec![0])]);
}

#[test]
fn work_is_bounded_and_what_was_found_stays() {
    let mut rules = vec![tcp(1, 100), tcp(22, 22)];
    rules.extend((0..1000).map(|port| tcp(2 * port, 2 * port)));
    let mut work = 500;
    assert_eq!(shadows(&rules, &mut work).first().map(|shadow| shadow.rule), Some(1));
    assert_eq!(work, 0);
    let mut work = 100_000_000;
    assert!(shadows(&rules, &mut work).len() >= 50);
    assert!(work > 50_000_000, "{work}");
}

/// Addresses of which every network and object below is made.
const ADDRESSES: [&str; 6] =
    ["198.18.0.1", "198.18.0.200", "198.18.1.1", "198.19.0.1", "2001:2::1", "2001:2:1::1"];
const NETS: [&str; 6] = [
    "198.18.0.0/24",
    "198.18.0.0/25",
    "198.18.0.0/23",
    "198.18.0.0/15",
    "2001:2::/48",
    "2001:2::/47",
];
const SELECTORS: [&str; 6] =
    ["a == 'x'", "has(a)", "a != 'x'", "all()", "a in {'x', 'y'}", "b == 'x' && a == 'x'"];

fn random_peer(random: &mut Rng, version: IpVersion, selectors: bool) -> Peer {
    let mut peer = Peer::default();
    let mut nets = |count| -> Vec<_> {
        let nets = (0..count).map(|_| NETS[random.usize(..NETS.len())].parse().unwrap());
        nets.filter(|net: &ipnet::IpNet| IpVersion::of(net.addr()) == version).collect()
    };
    peer.nets = nets(2);
    peer.not_nets = nets(1);
    if random.u8(..3) > 0 {
        peer.not_nets.clear();
    }
    if random.bool() {
        peer.nets.clear();
    }
    let mut selector = |chance| {
        let text = SELECTORS[random.usize(..SELECTORS.len())];
        (selectors && random.u8(..) < chance).then(|| Selector::parse(text).unwrap())
    };
    peer.selector = selector(100);
    peer.not_selector = selector(60);
    peer
}

fn random_rule(random: &mut Rng, selectors: bool) -> Rule {
    let actions = [Action::Allow, Action::Deny, Action::Log, Action::Pass];
    let version = if random.u8(..4) == 0 { IpVersion::V6 } else { IpVersion::V4 };
    let mut rule = Rule {
        source: random_peer(random, version, selectors),
        destination: if random.u8(..3) == 0 {
            random_peer(random, version, selectors)
        } else {
            Peer::default()
        },
        ..any(actions[random.usize(..4)])
    };
    match random.u8(..6) {
        0 => {
            rule.protocol = Some(protocol::TCP);
            let first = random.u16(..4);
            rule.destination.ports = vec![PortRange { first, last: first + random.u16(..4) }];
        }
        1 => {
            rule.protocol = Some(protocol::TCP);
            rule.source.not_ports = vec![PortRange { first: 1, last: 2 }];
        }
        2 => rule.not_protocol = Some(protocol::TCP),
        3 if version == IpVersion::V4 => {
            rule.protocol = Some(protocol::ICMP);
            rule.icmp = Some(IcmpMatch { kind: random.u8(..2), code: None });
        }
        _ => {}
    }
    rule
}

fn packets() -> Vec<PacketKey> {
    let mut packets = Vec::new();
    for src in ADDRESSES {
        for dst in ADDRESSES {
            let [src, dst]: [std::net::IpAddr; 2] = [src, dst].map(|text| text.parse().unwrap());
            if src.is_ipv4() != dst.is_ipv4() {
                continue;
            }
            let icmp = if src.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
            let mut add = |protocol, transport| {
                packets.push(PacketKey { src, dst, protocol, transport });
            };
            for (sport, dport) in (0..4).flat_map(|sport| (0..8).map(move |dport| (sport, dport))) {
                add(protocol::TCP, Transport::Ports { src: sport, dst: dport });
            }
            add(protocol::UDP, Transport::Ports { src: 1, dst: 1 });
            for kind in 0..3 {
                add(icmp, Transport::Icmp { kind, code: 0 });
            }
            add(47, Transport::Opaque);
        }
    }
    packets
}

/// Which rules of the list match some packet that none before takes, told by the reference evaluator.
fn matching(rules: &[Rule], objects: &[Object], packets: &[PacketKey]) -> Vec<bool> {
    let set = PolicySet { objects: objects.to_vec(), ..PolicySet::new() };
    let mut matched = vec![false; rules.len()];
    for packet in packets {
        for (rule, matched) in rules.iter().zip(&mut matched) {
            if reference::rule_matches(&set, packet, rule) {
                *matched = true;
                if rule.action != Action::Log {
                    break;
                }
            }
        }
    }
    matched
}

fn objects(random: &mut Rng) -> Vec<Object> {
    let labels = [
        vec![],
        vec![("a", "x")],
        vec![("a", "y")],
        vec![("b", "x")],
        vec![("a", "x"), ("b", "x")],
    ];
    let mut objects = vec![Object {
        nets: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        ..Object::new(ObjectKind::GlobalNetworkSet, "everything")
    }];
    for number in 0..random.usize(..4) {
        objects.push(Object {
            labels: labels[random.usize(..labels.len())].clone().into_iter().collect(),
            nets: vec![NETS[random.usize(..NETS.len())].parse().unwrap()],
            ..Object::new(ObjectKind::GlobalNetworkSet, &number.to_string())
        });
    }
    objects
}

#[test]
fn no_shadowed_rule_ever_matches() {
    let mut random = Rng::with_seed(0x5eed_0031);
    let packets = packets();
    let mut shadowed = 0;
    for round in 0..600 {
        let rules: Vec<Rule> = (0..6).map(|_| random_rule(&mut random, round % 3 != 0)).collect();
        let found = found(&rules);
        shadowed += found.len();
        if found.is_empty() {
            continue;
        }
        for _ in 0..2 {
            let matched = matching(&rules, &objects(&mut random), &packets);
            for (rule, by) in &found {
                assert!(!matched[*rule], "rule {rule} by {by:?} of {rules:#?}");
            }
        }
        for (rule, by) in &found {
            let list: Vec<Rule> = by.iter().chain([rule]).map(|at| rules[*at].clone()).collect();
            let last = list.len() - 1;
            let alone = shadows(&list, &mut { WORK });
            assert!(alone.iter().any(|shadow| shadow.rule == last), "these alone do it");
        }
    }
    assert!(shadowed > 240, "{shadowed}");
}

#[test]
fn without_selectors_every_rule_that_never_matches_is_found() {
    let mut random = Rng::with_seed(0x5eed_0032);
    let packets = packets();
    let everything = Object {
        nets: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        ..Object::new(ObjectKind::GlobalNetworkSet, "everything")
    };
    let mut shadowed = 0;
    for _ in 0..400 {
        // Nothing outside of what the packets are made of: what they show is all there is.
        let mut rules: Vec<Rule> = (0..6).map(|_| random_rule(&mut random, false)).collect();
        let taken = Rule { protocol: Some(protocol::TCP), ..any(Action::Allow) };
        rules.retain(|rule| {
            rule.protocol == Some(protocol::TCP) && rule.source.not_ports.is_empty()
        });
        rules.insert(0, Rule { ip_version: Some(IpVersion::V6), ..taken });
        let hits = matching(&rules, std::slice::from_ref(&everything), &packets);
        let alone: Vec<bool> = rules
            .iter()
            .map(|rule| {
                matching(std::slice::from_ref(rule), std::slice::from_ref(&everything), &packets)[0]
            })
            .collect();
        let expected: Vec<usize> = (0..rules.len()).filter(|at| alone[*at] && !hits[*at]).collect();
        let found: Vec<usize> = found(&rules).into_iter().map(|(rule, _)| rule).collect();
        for rule in &expected {
            assert!(found.contains(rule), "rule {rule} of {rules:#?}");
        }
        shadowed += expected.len();
    }
    assert!(shadowed > 20, "{shadowed}");
}
