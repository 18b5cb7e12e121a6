//! Batches of any length and mixture are decided as their packets one by one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

use classifier::compile::{Limits, compile};
use classifier::decision::{Decision, Verdict};
use classifier::label::Labels;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::resource::{Action, Object, ObjectKind, Policy, PolicySet, Rule, StagedAction};
use classifier::selector::Selector;
use fastrand::Rng;

const PREFIXES: [&str; 4] =
    ["198.18.0.0/16", "198.18.7.0/24", "2001:2:0:1::/64", "2001:2:0:1:8000::/65"];

#[test]
fn batch_of_any_length_is_decided_as_its_packets_one_by_one() {
    let image = compile(&policy_set(), 1, &Limits::default()).unwrap();
    let view = image.view();
    let mut rng = Rng::with_seed(0x5eed);
    let (mut allowed, mut logged, mut differ) = (0, 0, 0);
    for length in (0..=130).chain([63, 64, 65, 127, 128, 129]) {
        let packets: Vec<_> = (0..length).map(|_| (packet(&mut rng), crossing(&mut rng))).collect();
        let one_by_one: Vec<_> =
            packets.iter().map(|(packet, crossing)| view.classify(packet, *crossing)).collect();
        let mut decisions = vec![Decision::NOTHING_APPLIES; length];
        view.classify_batch(&packets, &mut decisions);
        assert_eq!(decisions, one_by_one);
        let pending = packets.iter().map(|(packet, way)| view.classify_pending(packet, *way));
        let pending: Vec<_> = pending.collect();
        view.classify_batch_pending(&packets, &mut decisions);
        assert_eq!(decisions, pending);
        allowed += one_by_one.iter().filter(|it| it.verdict() == Verdict::Allow).count();
        logged += one_by_one.iter().filter(|it| it.logged().is_some()).count();
        differ += one_by_one.iter().zip(&pending).filter(|(now, then)| now != then).count();
    }
    assert!(allowed > 500 && logged > 100 && differ > 500, "{allowed} {logged} {differ}");
}

/// Nested sets of both families, rules that log and allow, and a staged policy that denies some of it.
fn policy_set() -> PolicySet {
    let mut set = PolicySet::new();
    for (number, prefix) in PREFIXES.iter().enumerate() {
        let labels = [("name", format!("n{number}")), ("all", "yes".to_owned())];
        set.objects.push(Object {
            nets: vec![prefix.parse().unwrap()],
            labels: labels.iter().map(|(name, value)| (*name, value.as_str())).collect::<Labels>(),
            ..Object::new(ObjectKind::GlobalNetworkSet, &format!("o{number}"))
        });
    }
    let from = |action, selector: &str| {
        let mut rule = Rule::new(action);
        rule.source.selector = Some(Selector::parse(selector).unwrap());
        rule
    };
    let policy = Policy {
        applies_ingress: true,
        ingress: vec![
            from(Action::Log, "name == 'n1'"),
            from(Action::Deny, "name == 'n3'"),
            from(Action::Allow, "has(all)"),
        ],
        ..Policy::new("open")
    };
    let staged = Policy {
        staged: Some(StagedAction::Set),
        ingress: vec![from(Action::Allow, "name == 'n2'")],
        ..policy.clone()
    };
    set.policies = vec![policy, staged];
    set.defaults.allow_unselected = true;
    set
}

fn packet(rng: &mut Rng) -> PacketKey {
    let v4 = |rng: &mut Rng| [198, 18 + rng.u8(..2), rng.u8(6..9), rng.u8(..)].into();
    let v6 = |rng: &mut Rng| [0x2001, 2, 0, rng.u16(..3), rng.u16(..), 0, 0, 1].into();
    let (src, dst) = if rng.bool() { (v4(rng), v4(rng)) } else { (v6(rng), v6(rng)) };
    let transport = Transport::Ports { src: rng.u16(..), dst: rng.u16(..) };
    PacketKey { src, dst, protocol: protocol::UDP, transport }
}

fn crossing(rng: &mut Rng) -> Crossing {
    let sides = [Side::Inside, Side::Outside];
    Crossing::sides(sides[rng.usize(..2)], sides[rng.usize(..2)])
}
