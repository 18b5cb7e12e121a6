//! Calico's own policy programs, through the reference and through the compiled image, when the conformance folder lies
//! beside the repository.
//!
//! A program is tiers of rules for one endpoint. Here it becomes policies on a network set that covers every address,
//! enforced as ingress and once more as egress; its IP sets become network sets that rules select by label.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

use std::io::Write as _;
use std::path::Path;

use classifier::compile::{Limits, compile};
use classifier::decision::Verdict;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::reference;
use classifier::resource::{
    Action, IcmpMatch, Object, ObjectKind, Policy, PolicySet, PortRange, Rule, Tier, TierAction,
};
use classifier::selector::Selector;
use ipnet::IpNet;
use serde_json::Value;

/// What the file holds and what of it belongs here: a case that is skipped silently makes these wrong.
const CASES_RUN: usize = 42;
const PACKETS_RUN: usize = 234;
/// Felix compiles a program for one family, and drops a rule of the other one from it. One case hands IPv6 packets to its
/// IPv4 program, where their first four bytes pass for an address: that is a test of the machine, not of the policy.
const FOREIGN_PACKETS: [(&str, usize); 1] = [("allow to !CIDRs", 4)];
const LEFT_OUT: [(&str, &str); 9] = [
    ("allow to named port", NAMED_PORTS),
    ("allow to named ports - v6", NAMED_PORTS),
    ("allow from named port", NAMED_PORTS),
    ("pre-DNAT", HOST_INTERFACE),
    ("normal host policy", HOST_INTERFACE),
    ("AoF + suppressed normal", HOST_INTERFACE),
    ("pre-DNAT + workload", HOST_INTERFACE),
    ("XDP allow else deny", UNTRACKED),
    ("XDP deny some", UNTRACKED),
];
const NAMED_PORTS: &str = "named ports are not in the policy model yet";
const HOST_INTERFACE: &str =
    "policy of the gateway's own interfaces is not in the policy model yet";
const UNTRACKED: &str = "doNotTrack policy is not in the policy model yet";

#[test]
fn every_program_of_calico_decides_as_calico_says() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance/policy-programs.json");
    if !Path::new(path).exists() {
        say(&format!("NOT RUN: Calico's policy programs, {path} is absent"));
        return;
    }
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut cases, mut packets) = (0, 0);
    let (mut left_out, mut foreign, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for case in list(&document["cases"]) {
        let name = text(&case["name"]);
        if let Some(known) = LEFT_OUT.iter().find(|(left_out, _)| *left_out == name) {
            left_out.push(*known);
            continue;
        }
        cases += 1;
        let (own, other): (Vec<&Value>, Vec<&Value>) =
            list(&case["packets"]).iter().partition(|asked| is_of_family(case, asked));
        packets += own.len();
        if !other.is_empty() {
            foreign.push((name, other.len()));
        }
        failures.extend(run(case, &own));
    }
    say(&format!("policy programs: {cases} cases with {packets} packets run, in each direction"));
    for (name, reason) in &left_out {
        say(&format!("policy programs: left out `{name}`: {reason}"));
    }
    for (name, count) in &foreign {
        say(&format!("policy programs: left out {count} packets of the other family in `{name}`"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(left_out, LEFT_OUT);
    assert_eq!(foreign, FOREIGN_PACKETS);
    assert_eq!((cases, packets), (CASES_RUN, PACKETS_RUN));
}

fn is_of_family(case: &Value, asked: &Value) -> bool {
    text(&asked["src"]).contains(':') == (case["ipv6"] == true)
}

/// What went wrong in one case.
fn run(case: &Value, packets: &[&Value]) -> Vec<String> {
    let set = policy_set(case);
    let image = compile(&set, 1, &Limits::default()).unwrap();
    let mut failures = Vec::new();
    for asked in packets {
        let expected = match text(&asked["expect"]) {
            "allow" => Verdict::Allow,
            "drop" => Verdict::Deny,
            other => panic!("expect `{other}` is not known here: {case}"),
        };
        let packet = packet(asked);
        for (from, to) in [(Side::Outside, Side::Inside), (Side::Inside, Side::Outside)] {
            let crossing = Crossing::sides(from, to);
            let said = reference::evaluate(&set, &packet, crossing);
            let compiled = image.view().classify(&packet, crossing);
            if said.verdict() != expected || compiled != said {
                failures.push(format!(
                    "`{}`: {asked} from {from} to {to}\n  reference {said:?}\n  compiled {compiled:?}",
                    text(&case["name"])
                ));
            }
        }
    }
    failures
}

fn policy_set(case: &Value) -> PolicySet {
    for other in ["profiles", "pre_dnat", "forward", "normal", "host_profiles"] {
        assert!(list(&case[other]).is_empty(), "`{other}` is not known here: {case}");
    }
    for other in ["xdp", "host_iface", "suppress_normal"] {
        assert_eq!(case[other], false, "`{other}` is not known here: {case}");
    }
    let mut set = PolicySet { tiers: Vec::new(), ..PolicySet::new() };
    set.objects.push(object("everything", "protected", &["0.0.0.0/0", "::/0"]));
    for (name, members) in case["ipsets"].as_object().unwrap() {
        let members: Vec<&str> = list(members).iter().map(text).collect();
        set.objects.push(object(name, &format!("ipset/{name}"), &members));
    }
    for (number, tier) in list(&case["tiers"]).iter().enumerate() {
        let name = text(&tier["name"]).to_owned();
        let default_action = match text(&tier["end"]) {
            "deny" => TierAction::Deny,
            "pass" => TierAction::Pass,
            other => panic!("end `{other}` is not known here: {case}"),
        };
        set.policies.extend(list(&tier["policies"]).iter().enumerate().map(|p| policy(p, &name)));
        set.tiers.push(Tier { name, order: Some(order(number)), default_action });
    }
    set
}

fn object(name: &str, label: &str, nets: &[&str]) -> Object {
    Object {
        kind: ObjectKind::GlobalNetworkSet,
        name: name.to_owned(),
        labels: [(label, "")].into_iter().collect(),
        nets: nets.iter().map(|net| net.parse().unwrap()).collect(),
        ..Object::new(ObjectKind::GlobalNetworkSet, "")
    }
}

fn policy((number, policy): (usize, &Value), tier: &str) -> Policy {
    let rules: Vec<Rule> = list(&policy["rules"]).iter().map(rule).collect();
    Policy {
        name: text(&policy["name"]).to_owned(),
        tier: tier.to_owned(),
        order: Some(order(number)),
        selector: Selector::parse("has(protected)").unwrap(),
        applies_ingress: true,
        applies_egress: true,
        ingress: rules.clone(),
        egress: rules,
        ..Policy::new("")
    }
}

fn rule(value: &Value) -> Rule {
    let mut rule = Rule::new(Action::Allow);
    for (field, value) in value.as_object().unwrap() {
        match field.as_str() {
            "action" => rule.action = action(text(value)),
            "protocol" => rule.protocol = Some(protocol_number(value)),
            "not_protocol" => rule.not_protocol = Some(protocol_number(value)),
            "icmp" => rule.icmp = Some(icmp(value)),
            "not_icmp" => rule.not_icmp = Some(icmp(value)),
            "src_net" => rule.source.nets = nets(value),
            "not_src_net" => rule.source.not_nets = nets(value),
            "dst_net" => rule.destination.nets = nets(value),
            "not_dst_net" => rule.destination.not_nets = nets(value),
            "src_ports" => rule.source.ports = ports(value),
            "not_src_ports" => rule.source.not_ports = ports(value),
            "dst_ports" => rule.destination.ports = ports(value),
            "not_dst_ports" => rule.destination.not_ports = ports(value),
            "src_ipset" => rule.source.selector = Some(ip_set(value)),
            "not_src_ipset" => rule.source.not_selector = Some(ip_set(value)),
            "dst_ipset" => rule.destination.selector = Some(ip_set(value)),
            // The number under which Felix counts hits.
            "id" => {}
            other => panic!("rule field `{other}` is not known here"),
        }
    }
    rule
}

fn action(name: &str) -> Action {
    match name {
        "allow" => Action::Allow,
        "deny" => Action::Deny,
        "pass" => Action::Pass,
        other => panic!("action `{other}` is not known here"),
    }
}

fn protocol_number(value: &Value) -> u8 {
    match value.as_str() {
        Some("tcp") => protocol::TCP,
        Some("udp") => protocol::UDP,
        Some(other) => panic!("protocol `{other}` is not known here"),
        None => small(value),
    }
}

fn icmp(value: &Value) -> IcmpMatch {
    IcmpMatch { kind: small(&value[0]), code: (!value[1].is_null()).then(|| small(&value[1])) }
}

fn nets(value: &Value) -> Vec<IpNet> {
    list(value).iter().map(|net| text(net).parse().unwrap()).collect()
}

fn ports(value: &Value) -> Vec<PortRange> {
    let range = |range: &Value| PortRange { first: port(&range[0]), last: port(&range[1]) };
    list(value).iter().map(range).collect()
}

/// Several IP sets in one field must all match; no case that is run has more than one.
fn ip_set(value: &Value) -> Selector {
    let [name] = list(value) else { panic!("several IP sets are not known here: {value}") };
    Selector::parse(&format!("has(ipset/{})", text(name))).unwrap()
}

fn packet(value: &Value) -> PacketKey {
    let number = small(&value["proto"]);
    let transport = match number {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            Transport::Ports { src: port(&value["sport"]), dst: port(&value["dport"]) }
        }
        protocol::ICMP | protocol::ICMPV6 => Transport::Icmp {
            kind: value.get("icmp_type").map_or(0, small),
            code: value.get("icmp_code").map_or(0, small),
        },
        _ => Transport::Opaque,
    };
    PacketKey {
        src: text(&value["src"]).parse().unwrap(),
        dst: text(&value["dst"]).parse().unwrap(),
        protocol: number,
        transport,
    }
}

fn order(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

fn port(value: &Value) -> u16 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn small(value: &Value) -> u8 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Past the test harness, which hides what a passing test prints.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
