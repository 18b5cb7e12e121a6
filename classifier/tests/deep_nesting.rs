//! Addresses that lie in hundreds of sets, one prefix inside the other: every set still counts, on its own.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::net::IpAddr;

use classifier::compile::{Limits, compile};
use classifier::label::Labels;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::reference::evaluate;
use classifier::resource::{Action, Object, ObjectKind, Policy, PolicySet, Rule};
use classifier::selector::Selector;
use fastrand::Rng;

const SETS: usize = 60;
const PACKETS: usize = 300;

#[test]
fn deep_nesting_decides_as_the_reference() {
    let seed = std::env::var("RAVELIN_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("deep nesting: RAVELIN_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (mut by_rule, mut deepest) = (0, 0);
    for _ in 0..SETS {
        let set = policy_set(&mut rng);
        let image = compile(&set, 1, &Limits::default()).unwrap();
        for _ in 0..PACKETS {
            let (src, dst) = (address(&mut rng), address(&mut rng));
            let transport = Transport::Ports { src: 1, dst: 1 };
            let packet = PacketKey { src, dst, protocol: protocol::UDP, transport };
            let crossing = Crossing::sides(Side::Outside, Side::Inside);
            let expected = evaluate(&set, &packet, crossing);
            assert_eq!(
                image.view().classify(&packet, crossing),
                expected,
                "seed {seed} {packet:?}"
            );
            let around = set.objects.iter().filter(|o| o.nets.iter().any(|net| net.contains(&src)));
            deepest = deepest.max(around.count());
            by_rule += usize::from(expected.verdict() == classifier::decision::Verdict::Allow);
        }
    }
    println!("deep nesting: up to {deepest} sets around an address, {by_rule} allowed by a rule");
    assert!(deepest > 100 && by_rule > 1_000);
}

/// Up to two hundred sets along a few addresses, and rules that name one, two or the absence of one of them.
fn policy_set(rng: &mut Rng) -> PolicySet {
    let mut set = PolicySet::new();
    let count = rng.usize(60..200);
    for number in 0..count {
        let name = format!("n{number}");
        let net = |rng: &mut Rng| format!("{}/{}", address(rng), rng.u8(8..=32));
        let nets = (0..rng.usize(1..3)).map(|_| net(rng).parse::<ipnet::IpNet>().unwrap().trunc());
        set.objects.push(Object {
            nets: nets.collect(),
            labels: Labels::from_iter([("name", name.as_str()), ("even", even(number))]),
            ..Object::new(ObjectKind::GlobalNetworkSet, &name)
        });
    }
    let selector = |rng: &mut Rng| match rng.u8(..6) {
        0 => "even == 'yes'".to_owned(),
        _ => format!("name == 'n{}'", rng.usize(..count)),
    };
    let rule = |rng: &mut Rng| {
        let mut rule = Rule::new(if rng.bool() { Action::Allow } else { Action::Deny });
        rule.source.selector = Some(Selector::parse(&selector(rng)).unwrap());
        if rng.u8(..3) == 0 {
            rule.source.not_selector = Some(Selector::parse(&selector(rng)).unwrap());
        }
        if rng.u8(..3) == 0 {
            rule.destination.not_selector = Some(Selector::parse(&selector(rng)).unwrap());
        }
        rule
    };
    set.policies.push(Policy {
        applies_ingress: true,
        ingress: (0..rng.usize(5..120)).map(|_| rule(rng)).collect(),
        ..Policy::new("deep")
    });
    set
}

fn even(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "yes" } else { "no" }
}

/// Near one of three addresses.
fn address(rng: &mut Rng) -> IpAddr {
    let near = [0xc612_0a05_u32, 0xc612_0a80, 0xc633_0001];
    let away = if rng.bool() { 0 } else { rng.u32(..) >> rng.u8(8..31) };
    IpAddr::from((near.get(rng.usize(..near.len())).unwrap() ^ away).to_be_bytes())
}
