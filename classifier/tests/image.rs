//! What an image tells besides a verdict: names, traces, and whether two of them mean the same.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::net::IpAddr;

use classifier::compile::{CompileError, Limits, compile};
use classifier::decision::{Direction, Reason, RuleRef, Verdict};
use classifier::image::{End, Image, Mismatch};
use classifier::label::Labels;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::resource::{
    Action, NamedPort, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule, Service,
    ServiceEndpoint, ServiceName, Tier, TierAction,
};
use classifier::selector::Selector;

const INWARD: Crossing = Crossing::sides(Side::Outside, Side::Inside);

fn network_set(name: &str, role: &str, nets: &[&str]) -> Object {
    Object {
        kind: ObjectKind::GlobalNetworkSet,
        name: name.to_owned(),
        labels: Labels::from_iter([("role", role)]),
        nets: nets.iter().map(|net| net.parse().unwrap()).collect(),
        ..Object::new(ObjectKind::GlobalNetworkSet, "")
    }
}

fn ingress_policy(name: &str, tier: &str, ingress: Vec<Rule>) -> Policy {
    Policy {
        name: name.to_owned(),
        tier: tier.to_owned(),
        order: None,
        selector: Selector::parse("role == 'server'").unwrap(),
        applies_ingress: true,
        applies_egress: false,
        ingress,
        egress: Vec::new(),
        ..Policy::new("")
    }
}

fn rule(action: Action, from: &str, port: u16) -> Rule {
    let mut rule = Rule::new(action);
    rule.protocol = Some(6);
    rule.source.selector = Some(Selector::parse(from).unwrap());
    rule.destination =
        Peer { ports: vec![PortRange { first: port, last: port }], ..Peer::default() };
    rule
}

/// An audit tier that logs SSH and passes, and SSH from the NOC in the default tier.
fn policy_set() -> PolicySet {
    let mut set = PolicySet::new();
    set.tiers.push(Tier {
        name: "audit".to_owned(),
        order: Some(10.0),
        default_action: TierAction::Pass,
    });
    set.objects.push(network_set("estate", "estate", &["198.18.0.0/15", "2001:2::/48"]));
    set.objects.push(network_set("noc", "noc", &["198.18.10.0/24"]));
    set.objects.push(network_set("rack-b", "server", &["198.18.70.0/24"]));
    set.objects.push(network_set("rack-a", "server", &["198.18.70.0/24", "2001:2:0:70::/64"]));
    let audit = vec![rule(Action::Log, "all()", 22)];
    set.policies.push(ingress_policy(
        "ssh",
        Tier::DEFAULT,
        vec![rule(Action::Allow, "role == 'noc'", 22)],
    ));
    set.policies.push(ingress_policy("audit-ssh", "audit", audit));
    set
}

fn image(generation: u64) -> Image {
    compile(&policy_set(), generation, &Limits::default()).unwrap()
}

fn ssh(src: &str) -> PacketKey {
    let dst = "198.18.70.7".parse().unwrap();
    PacketKey {
        src: src.parse().unwrap(),
        dst,
        protocol: 6,
        transport: Transport::Ports { src: 1024, dst: 22 },
    }
}

#[test]
fn an_address_is_named_by_its_longest_prefix_and_equal_ones_by_name() {
    let image = image(1);
    let name = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        image.view().object_of(address).map(|object| object.name.to_owned())
    };
    assert_eq!(name("198.18.70.7").as_deref(), Some("rack-a"));
    assert_eq!(name("198.18.10.255").as_deref(), Some("noc"));
    assert_eq!(name("198.18.11.0").as_deref(), Some("estate"));
    assert_eq!(name("2001:2:0:70::1").as_deref(), Some("rack-a"));
    assert_eq!(name("2001:2:0:71::").as_deref(), Some("estate"));
    assert_eq!(name("198.17.255.255"), None);
    assert_eq!(name("198.20.0.0"), None);
    let labels: Vec<_> =
        image.view().object_of("198.18.10.1".parse().unwrap()).unwrap().labels().collect();
    assert_eq!(labels, [("role", "noc")]);
}

#[test]
fn a_trace_tells_every_tier_policy_and_rule_and_ends_as_classify_does() {
    let image = image(1);
    for src in ["198.18.10.1", "198.18.11.1", "2001:2::1"] {
        let packet = PacketKey {
            dst: if src.contains(':') { "2001:2:0:70::1" } else { "198.18.70.7" }.parse().unwrap(),
            ..ssh(src)
        };
        assert_eq!(
            image.view().trace(&packet, INWARD).decision,
            image.view().classify(&packet, INWARD)
        );
    }
    let trace = image.view().trace(&ssh("198.18.11.1"), INWARD);
    let [half] = trace.halves.as_slice() else { panic!("one direction: {:?}", trace.halves) };
    let [audit, default] = half.tiers.as_slice() else { panic!("two tiers: {:?}", half.tiers) };
    assert_eq!((audit.name, audit.end), ("audit", End::DefaultPass));
    assert_eq!((default.name, default.end), ("default", End::DefaultDeny));
    let ssh = &default.policies[0].rules[0];
    assert_eq!(ssh.mismatch, Some(Mismatch::SourceSelector));
    assert_eq!(ssh.text, "Allow TCP from role == \"noc\" to ports 22");
    assert_eq!(image.view().tier_name(1), Some("default"));
    assert_eq!(trace.decision.deciding().unwrap().1.reason, Reason::EndOfTier(1));
}

#[test]
fn a_log_rule_is_reported_beside_the_rule_that_decides() {
    let image = image(1);
    let decision = image.view().classify(&ssh("198.18.10.9"), INWARD);
    assert_eq!(decision.verdict(), Verdict::Allow);
    let allowed = RuleRef { policy: 0, direction: Direction::Ingress, rule: 0 };
    let logged = RuleRef { policy: 1, direction: Direction::Ingress, rule: 0 };
    assert_eq!(decision.ingress.unwrap().reason, Reason::Rule(allowed));
    assert_eq!(decision.logged(), Some(logged));
    let info = image.view().rule(logged).unwrap();
    assert_eq!((info.tier, info.policy, info.action), ("audit", "audit-ssh", Action::Log));
    assert_eq!(image.view().rule(RuleRef { rule: 1, ..logged }), None);
    assert_eq!(image.view().rule(RuleRef { direction: Direction::Egress, ..logged }), None);
}

#[test]
fn images_of_the_same_policy_differ_only_by_generation() {
    let (first, second) = (image(1), image(2));
    assert_ne!(first.bytes(), second.bytes());
    assert_eq!(image(1).bytes(), first.bytes());
    assert!(first.same_policy(&second));
    let mut other = policy_set();
    other.defaults.allow_uncovered = true;
    assert!(!compile(&other, 1, &Limits::default()).unwrap().same_policy(&first));
}

#[test]
fn what_is_too_large_is_refused_with_the_number() {
    let refused = |limits: Limits| compile(&policy_set(), 1, &limits).unwrap_err();
    let rules = refused(Limits { rules: 1, ..Limits::default() });
    assert_eq!(rules, [CompileError::TooMany { what: "rules", count: 2, limit: 1 }]);
    assert_eq!(rules[0].to_string(), "the policy needs 2 rules, the limit is 1");
    let classes = refused(Limits { classes: 2, ..Limits::default() });
    assert!(matches!(classes[0], CompileError::TooMany { what: "identity classes", .. }));
    let bytes = refused(Limits { image_bytes: 100, ..Limits::default() });
    assert!(matches!(bytes[0], CompileError::TooMany { what: "bytes of image", .. }));
}

#[test]
fn port_names_of_one_protocol_and_a_service_of_another_match_nothing() {
    let mut set = PolicySet::new();
    let mut client = network_set("client", "client", &["198.18.1.0/24"]);
    client.ports = vec![NamedPort { name: "from".to_owned(), protocol: protocol::TCP, port: 1000 }];
    set.objects = vec![client, network_set("dns", "server", &["198.18.2.0/24"])];
    let name = ServiceName { namespace: "kube-system".to_owned(), name: "dns".to_owned() };
    let (address, ports) = ("198.18.2.1".parse().unwrap(), vec![(protocol::UDP, 53)]);
    let endpoints = vec![ServiceEndpoint { address, ports }];
    set.services.push(Service { name: name.clone(), endpoints });
    let mut rule = Rule::new(Action::Allow);
    rule.source.named_ports = vec!["from".to_owned()];
    rule.destination.service = Some(name);
    set.policies.push(ingress_policy("dns", Tier::DEFAULT, vec![rule]));
    let image = compile(&set, 1, &Limits::default()).unwrap();
    for protocol in [protocol::TCP, protocol::UDP] {
        let packet = PacketKey {
            src: "198.18.1.1".parse().unwrap(),
            dst: address,
            protocol,
            transport: Transport::Ports { src: 1000, dst: 53 },
        };
        let decision = image.view().classify(&packet, INWARD);
        assert_eq!(decision.verdict(), Verdict::Deny, "{protocol}");
        assert_eq!(decision, classifier::reference::evaluate(&set, &packet, INWARD));
    }
}
