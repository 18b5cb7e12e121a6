//! A follower decides as a full compile of the documents as they are, whatever goes on behind the changes.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "test helpers")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;

use classifier::compile::{Limits, changes, compile};
use classifier::image::Image;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::resource::{Action, Object, ObjectKind, Policy, PolicySet, Rule};
use classifier::selector::Selector;
use control::follow::Follower;
use fastrand::Rng;
use ipnet::{IpNet, Ipv4Net};

const INWARD: Crossing = Crossing::sides(Side::Outside, Side::Inside);
const SETS: usize = 40;
const CHANGES: u64 = 6_000;
const PROBES: usize = 2_000;

#[test]
fn many_changes_decide_as_a_full_compile_with_folds_behind_them() {
    let mut rng = Rng::with_seed(41);
    let mut set = Arc::new(policy_set(&mut rng));
    let mut follower = Follower::new(&set, 1, Limits::default()).unwrap();
    let mut moves = 0;
    for generation in 2..CHANGES {
        moves += u64::from(follower.tend(&set));
        let before = Arc::clone(&set);
        change(Arc::make_mut(&mut set), &mut rng);
        follower.change(&set, &changes(&before, &set).unwrap(), generation).unwrap();
        assert_eq!(follower.image().generation(), generation);
        if generation % 500 == 0 {
            assert_same(follower.image(), &set, &mut rng);
        }
    }
    assert!(moves > 1, "{moves} folds");
    assert_same(follower.image(), &set, &mut rng);
}

#[test]
fn a_policy_that_is_tidied_meanwhile_catches_up() {
    let mut rng = Rng::with_seed(42);
    let mut set = Arc::new(policy_set(&mut rng));
    let mut follower = Follower::new(&set, 1, Limits::default()).unwrap();
    follower.tidy(&set);
    assert!(!follower.is_busy(), "there is nothing to be rid of");
    for round in 0..20 {
        let mut generation = follower.image().generation() + 1;
        let mut step = |follower: &mut Follower, set: &mut Arc<PolicySet>| {
            let before = Arc::clone(set);
            change(Arc::make_mut(set), &mut rng);
            follower.change(set, &changes(&before, set).unwrap(), generation).unwrap();
            generation += 1;
        };
        step(&mut follower, &mut set);
        follower.tidy(&set);
        // Every other time nothing happens while it compiles.
        (0..round % 2 * 5).for_each(|_| step(&mut follower, &mut set));
        let base = follower.image().base_name();
        while !follower.tend(&set) {
            thread::yield_now();
        }
        assert_ne!(follower.image().base_name(), base);
        assert_same(follower.image(), &set, &mut Rng::with_seed(round));
        if round % 2 == 0 {
            let cold = compile(&set, 7, &Limits::default()).unwrap();
            assert!(follower.image().same_policy(&cold), "it is the very image of a full compile");
        }
    }
}

fn assert_same(image: &Image, set: &PolicySet, rng: &mut Rng) {
    let cold = compile(set, 1, &Limits::default()).unwrap();
    let (said, expected) = (image.view(), cold.view());
    for _ in 0..PROBES {
        let packet = packet(set, rng);
        assert_eq!(
            said.classify(&packet, INWARD),
            expected.classify(&packet, INWARD),
            "{packet:?}"
        );
    }
}

/// Mostly from an edge of some prefix.
fn packet(set: &PolicySet, rng: &mut Rng) -> PacketKey {
    let mut address = || {
        let nets = &set.objects[rng.usize(..SETS)].nets;
        match nets.get(rng.usize(..nets.len().max(1))) {
            Some(IpNet::V4(net)) if rng.bool() => net.network(),
            Some(IpNet::V4(net)) => Ipv4Addr::from_bits(net.broadcast().to_bits() + 1),
            Some(IpNet::V6(_)) | None => Ipv4Addr::from_bits(rng.u32(..)),
        }
    };
    let (src, dst) = (address().into(), address().into());
    let transport = Transport::Ports { src: 40_000, dst: 443 };
    PacketKey { src, dst, protocol: protocol::TCP, transport }
}

fn policy_set(rng: &mut Rng) -> PolicySet {
    let mut set = PolicySet::new();
    for number in 0..SETS {
        let labels = [("app", (number % 7).to_string()), ("set", number.to_string())];
        set.objects.push(Object {
            labels: labels.into_iter().collect(),
            nets: (0..20).map(|_| net(rng)).collect(),
            ..Object::new(ObjectKind::GlobalNetworkSet, &format!("set-{number}"))
        });
    }
    for number in 0..20 {
        set.policies.push(Policy {
            selector: Selector::parse(&format!("app == '{}'", number % 7)).unwrap(),
            applies_ingress: true,
            ingress: (0..4).map(|_| rule(rng)).collect(),
            ..Policy::new(&format!("policy-{number}"))
        });
    }
    set
}

fn change(set: &mut PolicySet, rng: &mut Rng) {
    let at = rng.usize(..SETS);
    match rng.u8(..20) {
        0..10 => set.objects[at].nets.push(net(rng)),
        10..18 if !set.objects[at].nets.is_empty() => {
            let nets = &mut set.objects[at].nets;
            nets.swap_remove(rng.usize(..nets.len()));
        }
        18 => {
            set.objects[at].labels.insert("app", rng.u8(..7).to_string());
        }
        _ => {
            let rules = &mut set.policies[rng.usize(..20)].ingress;
            let some = rng.usize(..4);
            rules[some] = rule(rng);
        }
    }
}

fn rule(rng: &mut Rng) -> Rule {
    let mut rule = Rule::new(if rng.bool() { Action::Allow } else { Action::Deny });
    let selector = format!("set == '{}'", rng.usize(..SETS));
    rule.source.selector = Some(Selector::parse(&selector).unwrap());
    rule
}

fn net(rng: &mut Rng) -> IpNet {
    let address = Ipv4Addr::from_bits(rng.u32(..) & 0x3fff_ffff);
    Ipv4Net::new(address, rng.u8(10..=32)).unwrap().trunc().into()
}
