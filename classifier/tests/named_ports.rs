//! Ports by number and by name in every combination, over so few ports and protocols that each meets each.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::net::IpAddr;

use classifier::compile::{Limits, compile};
use classifier::decision::Verdict;
use classifier::label::Labels;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::reference::evaluate;
use classifier::resource::{
    Action, NamedPort, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule, Service,
    ServiceEndpoint, ServiceName,
};
use classifier::selector::Selector;
use fastrand::Rng;

const SETS: usize = 4_000;
const PACKETS: usize = 60;
const PROTOCOLS: [u8; 4] = [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::ICMP];
const NAMES: [&str; 2] = ["web", "admin"];

#[test]
fn named_ports_decide_as_the_reference() {
    let seed = std::env::var("RAVELIN_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("named ports: RAVELIN_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut allowed = 0;
    for _ in 0..SETS {
        let set = policy_set(&mut rng);
        let image = compile(&set, 1, &Limits::default()).unwrap();
        for _ in 0..PACKETS {
            let packet = packet(&mut rng);
            let crossing = Crossing::sides(Side::Outside, Side::Inside);
            let expected = evaluate(&set, &packet, crossing);
            let said = image.view().classify(&packet, crossing);
            assert_eq!(said, expected, "seed {seed} {packet:?} {:#?}", set.policies);
            allowed += usize::from(said.verdict() == Verdict::Allow);
        }
    }
    println!("named ports: {allowed} allowed of {}", SETS * PACKETS);
    assert!(allowed > SETS && allowed < SETS * (PACKETS - 1));
}

/// A few overlapping objects that name ports, a service, and one policy of one rule for all.
fn policy_set(rng: &mut Rng) -> PolicySet {
    let mut set = PolicySet::new();
    for number in 0..rng.usize(1..4) {
        let net = format!("198.18.0.{}/{}", rng.u8(..4), rng.u8(29..=32));
        let kind = if rng.bool() { "a" } else { "b" };
        let named = |rng: &mut Rng| NamedPort {
            name: pick(rng, &NAMES).to_owned(),
            protocol: pick(rng, &PROTOCOLS[..3]),
            port: port(rng),
        };
        set.objects.push(Object {
            labels: Labels::from_iter([("kind", kind)]),
            nets: vec![net.parse::<ipnet::IpNet>().unwrap().trunc()],
            ports: (0..rng.usize(..4)).map(|_| named(rng)).collect(),
            ..Object::new(ObjectKind::GlobalNetworkSet, &format!("o{number}"))
        });
    }
    set.services.push(Service { name: service(), endpoints: vec![endpoint(rng), endpoint(rng)] });
    set.policies.push(Policy {
        applies_ingress: true,
        ingress: vec![rule(rng)],
        ..Policy::new("only")
    });
    set
}

fn rule(rng: &mut Rng) -> Rule {
    let mut rule = Rule::new(Action::Allow);
    match rng.u8(..4) {
        0 => rule.protocol = Some(pick(rng, &PROTOCOLS)),
        1 => rule.not_protocol = Some(pick(rng, &PROTOCOLS)),
        _ => {}
    }
    rule.destination = peer(rng);
    if rng.bool() {
        rule.source = peer(rng);
    }
    rule
}

fn peer(rng: &mut Rng) -> Peer {
    if rng.u8(..8) == 0 {
        return Peer { service: Some(service()), ..Peer::default() };
    }
    let ranges = |rng: &mut Rng| -> Vec<PortRange> {
        let range = |rng: &mut Rng| {
            let first = port(rng);
            PortRange { first, last: first + rng.u16(..2) }
        };
        (0..rng.usize(..3) / 2 * 2).map(|_| range(rng)).collect()
    };
    let names = |rng: &mut Rng| -> Vec<String> {
        (0..rng.usize(..3)).map(|_| pick(rng, &NAMES).to_owned()).collect()
    };
    let selector = |rng: &mut Rng| {
        let kind = if rng.bool() { "kind == 'a'" } else { "kind == 'b'" };
        (rng.u8(..4) == 0).then(|| Selector::parse(kind).unwrap())
    };
    Peer {
        selector: selector(rng),
        not_selector: selector(rng),
        ports: ranges(rng),
        not_ports: ranges(rng),
        named_ports: names(rng),
        not_named_ports: names(rng),
        ..Peer::default()
    }
}

fn service() -> ServiceName {
    ServiceName { namespace: "n".to_owned(), name: "s".to_owned() }
}

fn endpoint(rng: &mut Rng) -> ServiceEndpoint {
    let ports = (0..rng.usize(..3)).map(|_| (pick(rng, &PROTOCOLS[..3]), port(rng))).collect();
    ServiceEndpoint { address: address(rng), ports }
}

fn packet(rng: &mut Rng) -> PacketKey {
    let protocol = pick(rng, &PROTOCOLS);
    let transport = if protocol == protocol::ICMP {
        Transport::Icmp { kind: 8, code: 0 }
    } else if rng.u8(..8) == 0 {
        Transport::Opaque
    } else {
        Transport::Ports { src: port(rng), dst: port(rng) }
    };
    PacketKey { src: address(rng), dst: address(rng), protocol, transport }
}

fn port(rng: &mut Rng) -> u16 {
    rng.u16(80..84)
}

fn address(rng: &mut Rng) -> IpAddr {
    IpAddr::from([198, 18, 0, rng.u8(..6)])
}

fn pick<T: Copy>(rng: &mut Rng, items: &[T]) -> T {
    rng.choice(items.iter().copied()).unwrap()
}
