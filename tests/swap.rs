//! Two complementary policies, swapped a thousand times under traffic: every packet is judged by one of them, whole.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use classifier::compile::{Limits, compile};
use classifier::label::Labels;
use classifier::packet::IpVersion::{V4, V6};
use classifier::packet::protocol;
use classifier::resource::{
    Action, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule, Tier,
};
use classifier::selector::Selector;
use ravelin::frames::Capture;
use ravelin::gateway::Gateway;
use ravelin::streams::{Stream, udp};
use ravelin::topology::{Host, Lab};

const SWAPS: usize = 1_000;
/// Pause after each swap, so that packets meet every one of them.
const PAUSE: Duration = Duration::from_millis(2);
const LAST: Duration = Duration::from_millis(300);
const BURST: usize = 4;

/// The first policy allows it, the second denies it; and the other way round.
const FIRST_ONLY: u16 = 5001;
const SECOND_ONLY: u16 = 5002;
/// Each policy allows it to the colour that it gives to the office, and the other one gives to the operation centre: both
/// allow it to the office and deny it to the centre, and the tables of one with the rules of the other do the reverse.
const CROSSED: u16 = 5003;

#[test]
fn a_thousand_swaps_under_traffic_judge_no_packet_by_a_mix() {
    let lab = Lab::new().unwrap();
    let mut gateway = Gateway::new(&lab, &[]).unwrap();
    gateway.start_dataplane().unwrap();
    let policies = [
        policy(&lab, ["red", "blue"], FIRST_ONLY, SECOND_ONLY),
        policy(&lab, ["blue", "red"], SECOND_ONLY, FIRST_ONLY),
    ];
    let publish = |generation, policy| {
        let image = compile(policy, generation, &Limits::default()).unwrap();
        gateway.publish(image.bytes()).unwrap();
    };
    publish(1, &policies[1]);
    let capture = Capture::new(&lab.server, "").unwrap();
    let streams = [&lab.noc, &lab.office]
        .map(|host| Stream::start(host, frames(host, &lab.server), BURST).unwrap());
    for (generation, policy) in (2..).zip(policies.iter().cycle()).take(SWAPS) {
        publish(generation, policy);
        thread::sleep(PAUSE);
    }
    thread::sleep(LAST);
    let sent = streams.map(|stream| stream.finish().unwrap());
    let captured = capture.finish().unwrap();
    let count = |host: &Host, port| {
        let wanted = frames_to(host, &lab.server, port);
        captured.iter().filter(|frame| wanted.contains(frame)).count()
    };
    let noc = [FIRST_ONLY, SECOND_ONLY, CROSSED].map(|port| count(&lab.noc, port));
    let office = [FIRST_ONLY, SECOND_ONLY, CROSSED].map(|port| count(&lab.office, port));
    println!("{SWAPS} swaps; sent by the operation centre and the office: {sent:?}");
    println!("arrived (first only, second only, crossed): centre {noc:?}, office {office:?}");
    assert_eq!(noc[2], 0, "packets passed that both policies deny");
    for by_one in [noc[0], noc[1], office[0], office[1]] {
        assert!(by_one > 0, "a policy was never in force");
        assert!(by_one < office[2], "a packet that one policy denies passed as often as others");
    }
    let status = gateway.status().unwrap();
    assert_eq!(status.number("policy.generation").unwrap(), SWAPS as u64 + 1);
    let (received, accounted) = status.balance().unwrap();
    assert_eq!(received, accounted, "{}", status.text());
}

/// `colours` of the operation centre and the office. The last colour may use the crossed port.
fn policy(lab: &Lab, colours: [&str; 2], allowed: u16, denied: u16) -> PolicySet {
    let object = |host: &Host, labels: Labels| Object {
        kind: ObjectKind::HostEndpoint,
        name: host.name.to_owned(),
        labels,
        nets: vec![IpAddr::from(host.v4).into(), IpAddr::from(host.v6).into()],
        ..Object::new(ObjectKind::GlobalNetworkSet, "")
    };
    let colour = |name: &str| Labels::from_iter([("colour", name)]);
    let rule = |action, port, selector: Option<&str>| Rule {
        protocol: Some(protocol::UDP),
        source: Peer { selector: selector.map(parsed), ..Peer::default() },
        destination: Peer { ports: vec![PortRange { first: port, last: port }], ..Peer::default() },
        ..Rule::new(action)
    };
    let [centre, office] = colours;
    let crossed = format!("colour == '{office}'");
    let policy = Policy {
        name: "swapped".to_owned(),
        tier: Tier::DEFAULT.to_owned(),
        order: None,
        selector: parsed("role == 'server'"),
        applies_ingress: true,
        applies_egress: false,
        ingress: vec![
            rule(Action::Deny, denied, None),
            rule(Action::Allow, allowed, None),
            rule(Action::Allow, CROSSED, Some(&crossed)),
        ],
        egress: Vec::new(),
        ..Policy::new("")
    };
    PolicySet {
        policies: vec![policy],
        objects: vec![
            object(&lab.noc, colour(centre)),
            object(&lab.office, colour(office)),
            object(&lab.server, Labels::from_iter([("role", "server")])),
        ],
        ..PolicySet::new()
    }
}

fn parsed(selector: &str) -> Selector {
    Selector::parse(selector).unwrap()
}

fn frames(from: &Host, to: &Host) -> Vec<Vec<u8>> {
    [FIRST_ONLY, SECOND_ONLY, CROSSED]
        .into_iter()
        .flat_map(|port| frames_to(from, to, port))
        .collect()
}

fn frames_to(from: &Host, to: &Host, port: u16) -> [Vec<u8>; 2] {
    [V4, V6].map(|version| udp(from, to, version, [4000, port]).unwrap())
}
