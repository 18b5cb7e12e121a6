//! CC-05, CC-06, CC-27 to CC-29: what rules can say, and what no rule says.

use std::net::IpAddr;
use std::time::Duration;

use classifier::decision::{Checkpoint, Direction, Reason, RuleRef};
use classifier::packet::protocol;
use classifier::record::{FlowRecord, RecordKind};
use classifier::resource::{Action, IcmpMatch, Peer, PortRange, Rule};
use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::PolicyDenied;

use crate::craft::{Connection, SYN, frame, icmp, ip, udp};
use crate::family::Family;
use crate::gate::{Fate, Gate, Setup};
use crate::policy::{guarded, image};

/// Time from one batch to the next.
const PAUSE: Duration = Duration::from_millis(1);

/// Something that a rule can be about: the rule without its action, a frame that matches it, and one that differs in just that.
struct Attribute {
    name: &'static str,
    rule: Rule,
    matching: Vec<u8>,
    other: Vec<u8>,
}

/// CC-05: for each attribute a rule that permits, one that drops, and a packet that it does not match. Verdict and record are
/// those of the right rule.
pub(super) fn rules_match_each_attribute(family: Family) {
    for attribute in attributes(family) {
        let Attribute { name, rule, matching, other } = attribute;
        let with = |action| Rule { action, ..rule.clone() };
        let mut gate = of(vec![with(Action::Log), with(Action::Allow)]);
        gate.pass(A, &matching);
        assert_rule(&mut gate, name, RecordKind::Started, 1, Some(0));
        let rest = [Action::Log, Action::Allow].map(Rule::new);
        let mut gate =
            of([with(Action::Log), with(Action::Deny)].into_iter().chain(rest).collect());
        gate.refuse(A, &matching, PolicyDenied);
        assert_rule(&mut gate, name, RecordKind::Denied, 1, Some(0));
        gate.pass(A, &other);
        assert_rule(&mut gate, name, RecordKind::Started, 3, Some(2));
    }
    interfaces(family);
}

/// A rule may be about the interface that a packet comes in by.
fn interfaces(family: Family) {
    let syn = family.web(1).send(A, SYN, 0, 0, b"");
    for (interface, action, passes) in [
        ("outside", Action::Deny, false),
        ("outside", Action::Allow, true),
        ("elsewhere", Action::Deny, true),
    ] {
        let policy = guarded(1, interface, vec![Rule::new(action)]);
        let mut gate = Gate::new(Setup { policy: Some(policy), ..Setup::default() });
        assert_eq!(gate.passes(A, &syn), passes, "{interface}");
        let record = gate.records.pop().unwrap();
        let at = record.decided.map(|(at, _)| at);
        assert_eq!(at == Some(Checkpoint::Entry), !passes, "{record:?}");
    }
}

/// CC-06: all protocols, all types and codes of ICMP, all ports: what the policy does not name is denied.
pub(super) fn what_no_rule_names_is_denied(family: Family) {
    let mut gate = Gate::new(Setup { slots: 1 << 16, ..Setup::default() });
    let (src, dst) = (family.client(1), family.server(1));
    for number in 0..=u8::MAX {
        let fate = gate.send(A, &frame(A, &ip(src, dst, number, vec![0x42; 40])));
        assert!(!matches!(fate, Fate::Left(_)), "{number}");
    }
    let (message, echo) = if family == Family::V4 { (1, 8) } else { (58, 128) };
    let kinds = (0..=u16::MAX).map(|value| {
        let message_of = icmp(src, dst, value.to_be_bytes(), [0, 0, 0, 7], &[0; 24]);
        frame(A, &ip(src, dst, message, message_of))
    });
    let named = |frame: &Vec<u8>| frame[frame.len() - 32] == echo;
    let passed = gate.flood(A, kinds, PAUSE);
    assert!(passed.iter().all(named), "nothing but echo requests");
    assert!(passed.iter().any(|frame| frame[frame.len() - 31] == 0), "what is named passes");
    let web = |port| Connection { ports: [40_000, port], ..family.web(1) };
    let syns = (0..=u16::MAX).map(|port| web(port).send(A, SYN, 0, 0, b""));
    assert_eq!(gate.flood(A, syns, PAUSE), [web(80).send(A, SYN, 0, 0, b"")]);
    let datagram = |port| {
        let datagram = udp(src, dst, [40_000, port], b"x");
        frame(A, &ip(src, dst, protocol::UDP, datagram))
    };
    assert_eq!(gate.flood(A, (0..=u16::MAX).map(datagram), PAUSE), [datagram(53)]);
    // The other way nothing is named at all.
    let outwards = (0..=u16::MAX).map(|port| {
        let web = Connection { ports: [port, 40_000], ..family.web(2) };
        web.send(B, SYN, 0, 0, b"")
    });
    assert!(gate.flood(B, outwards, PAUSE).is_empty());
}

/// CC-27: two rules about the same packets, one that permits and one that drops, in both orders.
pub(super) fn first_of_two_equal_rules_wins(family: Family) {
    let syn = family.web(1).send(A, SYN, 0, 0, b"");
    let rule = |action| Rule { action, ..to_ports(protocol::TCP, 80, 80) };
    for [first, second] in [[Action::Allow, Action::Deny], [Action::Deny, Action::Allow]] {
        let mut gate = of(vec![rule(first), rule(second)]);
        assert_eq!(gate.passes(A, &syn), first == Action::Allow);
        assert_rule(&mut gate, "equal rules", kind_of(first), 0, None);
    }
}

/// CC-28: a rule about some of the packets of another one, by address and by port, in both orders.
pub(super) fn first_rule_wins_however_narrow(family: Family) {
    let syn = family.web(1).send(A, SYN, 0, 0, b"");
    let source = |bits: u8| Rule { source: nets(family.client(1), bits), ..Rule::new(Action::Log) };
    let (narrow, wide) = if family == Family::V4 { (32, 8) } else { (128, 64) };
    let pairs = [
        [source(narrow), source(wide)],
        [to_ports(protocol::TCP, 80, 80), to_ports(protocol::TCP, 1, 1_000)],
    ];
    for [narrow, wide] in pairs {
        for order in [[&narrow, &wide], [&wide, &narrow]] {
            for actions in [[Action::Allow, Action::Deny], [Action::Deny, Action::Allow]] {
                let rules = order.into_iter().zip(actions);
                let mut gate =
                    of(rules.map(|(rule, action)| Rule { action, ..rule.clone() }).collect());
                assert_eq!(gate.passes(A, &syn), actions[0] == Action::Allow);
                assert_rule(&mut gate, "narrow and wide", kind_of(actions[0]), 0, None);
            }
        }
    }
}

/// CC-29: what no rule matches is denied, for each attribute, and the record says that no rule did.
pub(super) fn no_match_is_denied_and_recorded(family: Family) {
    for Attribute { name, rule, matching, other } in attributes(family) {
        let mut gate = of(vec![Rule { action: Action::Allow, ..rule.clone() }]);
        gate.refuse(A, &other, PolicyDenied);
        let record = gate.records.pop().unwrap();
        assert_eq!(record.kind, RecordKind::Denied, "{name}");
        let decided = record.decided;
        assert!(matches!(decided, Some((Checkpoint::Ingress, Reason::EndOfTier(_)))), "{name}");
        gate.pass(A, &matching);
        let mut gate = of(vec![Rule { action: Action::Deny, ..rule }]);
        gate.refuse(A, &matching, PolicyDenied);
        gate.refuse(A, &other, PolicyDenied);
    }
}

fn attributes(family: Family) -> Vec<Attribute> {
    let any = || Rule::new(Action::Log);
    let (src, dst) = (family.client(1), family.server(1));
    let bits = if family == Family::V4 { 32 } else { 128 };
    let message = if family == Family::V4 { protocol::ICMP } else { protocol::ICMPV6 };
    let tcp = |ends, ports| Connection { ends, ports, ..family.web(1) }.send(A, SYN, 0, 0, b"");
    let udp_of = |ports| frame(A, &ip(src, dst, protocol::UDP, udp(src, dst, ports, b"x")));
    let icmp_of = |kind: [u8; 2]| {
        frame(A, &ip(src, dst, message, icmp(src, dst, kind, [0, 0, 0, 7], &[0; 24])))
    };
    let icmp_rule = |kind, code| Rule {
        protocol: Some(message),
        icmp: Some(IcmpMatch { kind, code }),
        ..any()
    };
    // Extended echo (RFC 8335): queries that nothing but a rule has an opinion of.
    let extended = if family == Family::V4 { 42 } else { 160 };
    let of = |name, rule, matching, other| Attribute { name, rule, matching, other };
    let ends = [src, dst];
    let web = tcp(ends, [40_000, 80]);
    vec![
        of("source", Rule { source: nets(src, bits), ..any() }, web.clone(), {
            tcp([family.client(2), dst], [40_000, 80])
        }),
        of("destination", Rule { destination: nets(dst, bits), ..any() }, web.clone(), {
            tcp([src, family.server(2)], [40_000, 80])
        }),
        of(
            "protocol",
            Rule { protocol: Some(47), ..any() },
            frame(A, &ip(src, dst, 47, vec![0; 24])),
            frame(A, &ip(src, dst, 46, vec![0; 24])),
        ),
        of(
            "TCP source port",
            from_ports(protocol::TCP, 40_000),
            web.clone(),
            tcp(ends, [40_001, 80]),
        ),
        of("TCP destination port", to_ports(protocol::TCP, 80, 80), web, tcp(ends, [40_000, 81])),
        of("UDP source port", from_ports(protocol::UDP, 5_353), udp_of([5_353, 53]), {
            udp_of([5_354, 53])
        }),
        of("UDP destination port", to_ports(protocol::UDP, 53, 53), udp_of([5_353, 53]), {
            udp_of([5_353, 54])
        }),
        of("ICMP type", icmp_rule(extended, None), icmp_of([extended, 0]), {
            icmp_of([if family == Family::V4 { 8 } else { 128 }, 0])
        }),
        of(
            "ICMP code",
            icmp_rule(extended, Some(0)),
            icmp_of([extended, 0]),
            icmp_of([extended, 1]),
        ),
    ]
}

/// A gate whose servers have these rules for what comes in.
fn of(ingress: Vec<Rule>) -> Gate {
    let policy = Some(image(1, ingress, Vec::new()));
    Gate::new(Setup { policy, ..Setup::default() })
}

/// The record says that this rule decided, and which one logged.
fn assert_rule(gate: &mut Gate, name: &str, kind: RecordKind, rule: u32, logged: Option<u32>) {
    let mut records: Vec<FlowRecord> = std::iter::from_fn(|| gate.records.pop().ok()).collect();
    // An ICMP message that is no query begins no flow: it is in the log because a rule says so.
    records.retain(|record| record.kind == kind || record.kind == RecordKind::Logged);
    let record = records.first().unwrap_or_else(|| panic!("{name}: no record"));
    let reference = |rule| RuleRef { policy: 0, direction: Direction::Ingress, rule };
    assert_eq!(
        record.decided,
        Some((Checkpoint::Ingress, Reason::Rule(reference(rule)))),
        "{name}"
    );
    assert_eq!(record.logged, logged.map(reference), "{name}");
}

fn kind_of(action: Action) -> RecordKind {
    if action == Action::Allow { RecordKind::Started } else { RecordKind::Denied }
}

fn nets(address: IpAddr, bits: u8) -> Peer {
    let net = format!("{address}/{bits}");
    let net: ipnet::IpNet = net.parse().unwrap();
    Peer { nets: vec![net.trunc()], ..Peer::default() }
}

fn to_ports(protocol: u8, first: u16, last: u16) -> Rule {
    let destination = Peer { ports: vec![PortRange { first, last }], ..Peer::default() };
    Rule { protocol: Some(protocol), destination, ..Rule::new(Action::Log) }
}

fn from_ports(protocol: u8, port: u16) -> Rule {
    let ports = vec![PortRange { first: port, last: port }];
    let source = Peer { ports, ..Peer::default() };
    Rule { protocol: Some(protocol), source, ..Rule::new(Action::Log) }
}
