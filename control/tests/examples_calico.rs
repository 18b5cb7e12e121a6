//! Calico's documented uses of policy, as files under `config/examples/calico`: each loads as it is and decides as the
//! documentation of the use says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

use std::path::Path;

use classifier::compile::{Limits, compile};
use classifier::decision::{Checkpoint, Reason, Verdict};
use classifier::packet::{Crossing, PacketKey, Place, Side, Transport, protocol};
use classifier::reference;
use classifier::resource::{GatewayPort, PolicySet};
use control::diagnostic::render_human;
use control::inventory;
use control::resolve::Gateway;

/// Where a packet comes from or goes to: `eth1` is outside, `eth2` inside, `gw` the gateway itself.
type Way = (&'static str, &'static str);

/// A file, a way, source, destination, what is sent, the verdict, the checkpoint that settles it, and by what.
type Case = (
    &'static str,
    Way,
    &'static str,
    &'static str,
    &'static str,
    Verdict,
    Checkpoint,
    &'static str,
);

const ALLOW: Verdict = Verdict::Allow;
const DENY: Verdict = Verdict::Deny;
const ENTRY: Checkpoint = Checkpoint::Entry;
const EGRESS: Checkpoint = Checkpoint::Egress;
const INGRESS: Checkpoint = Checkpoint::Ingress;
const EXIT: Checkpoint = Checkpoint::Exit;
const IN: Way = ("eth1", "eth2");
const OUT: Way = ("eth2", "eth1");
const TO_GATEWAY: Way = ("eth1", "gw");
const FROM_GATEWAY: Way = ("gw", "eth1");

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("host-protection", TO_GATEWAY, "198.18.10.4", "198.18.0.1", "tcp 22", ALLOW, ENTRY, "operators-manage-gateways"),
    ("host-protection", TO_GATEWAY, "2001:2:0:10::4", "2001:2::1", "tcp 443", ALLOW, ENTRY, "operators-manage-gateways"),
    ("host-protection", TO_GATEWAY, "198.18.99.4", "198.18.0.1", "tcp 22", DENY, ENTRY, "nothing-else-reaches-gateways logged"),
    ("host-protection", TO_GATEWAY, "198.18.99.4", "198.18.0.1", "icmp 8", ALLOW, ENTRY, "everybody-pings-gateways"),
    ("host-protection", TO_GATEWAY, "198.18.99.4", "198.18.0.1", "icmp 5", DENY, ENTRY, "nothing-else-reaches-gateways logged"),
    ("host-protection", TO_GATEWAY, "2001:2::99", "2001:2::1", "icmpv6 128", ALLOW, ENTRY, "everybody-pings-gateways"),
    ("host-protection", FROM_GATEWAY, "198.18.0.1", "198.18.99.4", "udp 123", ALLOW, EXIT, "gateways-reach-services"),
    ("host-protection", FROM_GATEWAY, "198.18.0.1", "198.18.99.4", "tcp 80", DENY, EXIT, "end of default"),
    ("host-protection", FROM_GATEWAY, "198.18.0.1", "198.18.10.4", "tcp 514", ALLOW, EXIT, "gateways-reach-services"),

    ("forwarded-traffic", IN, "198.18.64.9", "198.18.20.3", "tcp 443", ALLOW, INGRESS, "shop"),
    ("forwarded-traffic", IN, "198.18.64.9", "198.18.20.3", "tcp 8080", DENY, ENTRY, "end of default"),
    ("forwarded-traffic", IN, "198.18.9.9", "198.18.20.3", "tcp 443", DENY, ENTRY, "end of default"),
    ("forwarded-traffic", OUT, "198.18.20.3", "198.18.64.9", "tcp 25", DENY, ENTRY, "inside-sends-no-mail"),
    ("forwarded-traffic", OUT, "198.18.20.3", "198.18.64.9", "tcp 26", ALLOW, EGRESS, "shop"),
    ("forwarded-traffic", TO_GATEWAY, "198.18.64.9", "198.18.0.1", "tcp 443", ALLOW, ENTRY, "outside-lets-customers-in"),
    ("forwarded-traffic", TO_GATEWAY, "198.18.9.9", "198.18.0.1", "tcp 443", DENY, ENTRY, "nobody-manages-from-outside"),

    ("default-deny-hosts", IN, "198.18.10.4", "198.18.80.5", "tcp 502", ALLOW, EXIT, "plant-is-polled"),
    ("default-deny-hosts", IN, "198.18.10.4", "198.18.80.5", "tcp 503", DENY, ENTRY, "end of default"),
    ("default-deny-hosts", IN, "198.18.11.4", "198.18.80.5", "tcp 502", DENY, ENTRY, "end of default"),
    ("default-deny-hosts", OUT, "198.18.80.5", "198.18.10.4", "tcp 502", DENY, ENTRY, "end of default"),
    ("default-deny-hosts", TO_GATEWAY, "198.18.10.4", "198.18.0.1", "tcp 502", ALLOW, ENTRY, "plant-is-polled"),
    ("default-deny-hosts", TO_GATEWAY, "198.18.10.4", "198.18.0.1", "tcp 22", DENY, ENTRY, "end of default"),
    ("default-deny-hosts", FROM_GATEWAY, "198.18.0.1", "198.18.10.4", "udp 53", DENY, EXIT, "end of default"),

    ("tiered-policy", IN, "198.18.5.5", "198.18.30.1", "tcp 443", ALLOW, INGRESS, "default.web"),
    ("tiered-policy", IN, "198.18.12.5", "198.18.30.1", "tcp 9100", ALLOW, INGRESS, "platform.monitoring"),
    ("tiered-policy", IN, "198.18.5.5", "198.18.30.1", "tcp 9100", DENY, INGRESS, "end of default"),
    ("tiered-policy", IN, "198.18.5.5", "198.18.30.66", "tcp 443", DENY, INGRESS, "security.quarantine"),
    ("tiered-policy", IN, "198.18.12.5", "198.18.30.66", "tcp 9100", DENY, INGRESS, "security.quarantine"),
    ("tiered-policy", OUT, "198.18.30.66", "198.18.5.5", "udp 53", DENY, EGRESS, "security.quarantine"),
    ("tiered-policy", OUT, "198.18.30.1", "198.18.5.5", "udp 53", DENY, EGRESS, "no tier"),

    ("network-sets", IN, "198.19.20.5", "198.18.40.7", "tcp 8583", ALLOW, INGRESS, "terminals"),
    ("network-sets", IN, "198.19.21.5", "198.18.40.7", "tcp 8583", DENY, INGRESS, "end of default"),
    ("network-sets", IN, "198.19.21.5", "198.18.40.7", "tcp 8584", ALLOW, INGRESS, "terminals"),
    ("network-sets", IN, "198.19.20.5", "198.18.40.7", "tcp 8584", DENY, INGRESS, "end of default"),
    ("network-sets", IN, "198.19.66.5", "198.18.40.7", "tcp 8583", DENY, INGRESS, "nothing-bad"),
    ("network-sets", OUT, "198.18.40.7", "198.19.66.5", "tcp 443", DENY, EGRESS, "nothing-bad"),
    ("network-sets", OUT, "198.18.40.7", "198.19.20.5", "tcp 443", DENY, EGRESS, "end of default"),
    ("network-sets", OUT, "198.18.40.7", "198.18.200.1", "tcp 443", ALLOW, EGRESS, "terminals"),

    ("blocklist", IN, "198.19.200.1", "198.18.50.1", "tcp 443", DENY, ENTRY, "drop-flooders"),
    ("blocklist", IN, "198.19.7.7", "198.18.50.1", "tcp 443", DENY, ENTRY, "drop-flooders"),
    ("blocklist", IN, "198.19.7.8", "198.18.50.1", "tcp 443", ALLOW, INGRESS, "site"),
    ("blocklist", IN, "198.19.7.8", "198.18.50.1", "tcp 80", DENY, INGRESS, "end of default"),
];

#[test]
fn every_example_decides_as_its_use_is_documented() {
    for case in CASES {
        let (file, way, src, dst, what, verdict, checkpoint, by) = case;
        let set = load(file);
        let crossing = Crossing { from: place(way.0), to: place(way.1) };
        let packet = packet(src, dst, what);
        let decision = reference::evaluate(&set, &packet, crossing);
        let (at, half) = decision.deciding().unwrap();
        let because = match half.reason {
            Reason::Rule(rule) => set.policies[rule.policy as usize].name.clone(),
            Reason::EndOfTier(tier) => format!("end of {}", set.tier_names()[tier as usize]),
            Reason::NoTierDecided => "no tier".to_owned(),
            reason @ (Reason::Unselected
            | Reason::Uncovered
            | Reason::NoForwardPolicy
            | Reason::NoProfile) => format!("{reason:?}"),
        };
        let because = if half.logged.is_some() { format!("{because} logged") } else { because };
        assert_eq!(
            (decision.verdict(), at, because.as_str()),
            (*verdict, *checkpoint, *by),
            "{case:?}: {decision:?}"
        );
        let image = compile(&set, 1, &Limits::default()).unwrap();
        assert_eq!(image.view().classify(&packet, crossing), decision, "{case:?}");
    }
}

#[test]
fn every_example_is_among_the_cases() {
    let directory = examples();
    let here = ["noc-ssh.yaml", "noc-ssh.json", "three-tiers.yaml"];
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // Tested where the shipped policies are, whose twins they are.
        if here.contains(&name.as_str()) {
            continue;
        }
        let stem = name.strip_suffix(".yaml").unwrap();
        assert!(CASES.iter().any(|(file, ..)| *file == stem), "nothing is asked of {name}");
    }
}

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples/calico")
}

/// Loads without a finding on a gateway of that name and with those ports.
fn load(name: &str) -> PolicySet {
    let port =
        |interface: &str| GatewayPort { interface: interface.to_owned(), addresses: Vec::new() };
    let gateway = Gateway {
        name: "gw1".to_owned(),
        ports: vec![port("eth1"), port("eth2")],
        ..Gateway::default()
    };
    let loaded = inventory::load(&examples().join(format!("{name}.yaml")), &gateway);
    assert!(loaded.findings.is_empty(), "{}", render_human(&loaded.findings, false));
    loaded.policy_set.unwrap()
}

fn place(name: &str) -> Place {
    match name {
        "eth1" => Place::Port { side: Side::Outside, number: Some(0) },
        "eth2" => Place::Port { side: Side::Inside, number: Some(1) },
        "gw" => Place::Gateway,
        other => panic!("no place is called {other}"),
    }
}

fn packet(src: &str, dst: &str, what: &str) -> PacketKey {
    let (name, number) = what.split_once(' ').unwrap();
    let number: u16 = number.parse().unwrap();
    let ports = Transport::Ports { src: 40_000, dst: number };
    let icmp = Transport::Icmp { kind: u8::try_from(number).unwrap_or_default(), code: 0 };
    let (protocol, transport) = match name {
        "tcp" => (protocol::TCP, ports),
        "udp" => (protocol::UDP, ports),
        "icmp" => (protocol::ICMP, icmp),
        "icmpv6" => (protocol::ICMPV6, icmp),
        other => panic!("no protocol is called {other}"),
    };
    PacketKey { src: src.parse().unwrap(), dst: dst.parse().unwrap(), protocol, transport }
}
