//! The compiled image decides as the reference does: verdict, deciding rule and logged rule, on random policy sets.
//!
//! The seed is printed; `RAVELIN_SEED` repeats a run. A difference is shrunk before it is shown.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers")]

mod coverage;
mod describe;
mod generate;
mod mutate;
mod packets;
mod shrink;
mod space;

use std::io::Write as _;

use classifier::compile::{Limits, compile};
use classifier::decision::{Decision, Reason, RuleRef};
use classifier::image::View;
use classifier::packet::{Crossing, PacketKey};
use classifier::reference;
use classifier::resource::{PolicySet, Rule};
use fastrand::Rng;

use crate::coverage::Coverage;

const POLICY_SETS: u64 = 20_000;
const PACKETS_PER_SET: u64 = 50;

#[test]
fn compiled_policy_decides_as_the_reference() {
    let (seed, mut rng) = seeded("differential");
    let mut coverage = Coverage::default();
    for number in 0..POLICY_SETS {
        let set = generate::policy_set(&mut rng);
        let image = compile(&set, number, &Limits::default()).unwrap();
        let view = image.view();
        let places = generate::Places::of(&set);
        for _ in 0..PACKETS_PER_SET {
            let packet = places.packet(&mut rng);
            let crossing = generate::crossing(&mut rng);
            let expected = reference::evaluate(&set, &packet, crossing);
            if let Err(complaint) = compare(&set, &view, &packet, crossing, expected) {
                let smallest = shrink::smallest(set, |set| differs(set, &packet, crossing));
                let shown = describe::difference(&smallest, &packet, crossing);
                panic!("policy set {number} of RAVELIN_SEED={seed}: {complaint}\n{shown}");
            }
            coverage.observe(&set, &view, &packet, crossing, expected);
        }
    }
    let pairs = POLICY_SETS * PACKETS_PER_SET;
    say(&format!("differential: {pairs} (policy set, packet) pairs, 0 differences"));
    coverage.assert_complete();
}

/// A new seed, or the one to repeat, and what it grows.
fn seeded(test: &str) -> (u64, Rng) {
    let seed = std::env::var("RAVELIN_SEED").map_or_else(
        |_| fastrand::u64(..),
        |text| text.parse().expect("RAVELIN_SEED is a number, as the run that failed printed it"),
    );
    say(&format!("{test}: RAVELIN_SEED={seed}"));
    (seed, Rng::with_seed(seed))
}

fn differs(set: &PolicySet, packet: &PacketKey, crossing: Crossing) -> bool {
    let Ok(image) = compile(set, 0, &Limits::default()) else { return false };
    let expected = reference::evaluate(set, packet, crossing);
    compare(set, &image.view(), packet, crossing, expected).is_err()
}

/// What the image says otherwise than the reference.
fn compare(
    set: &PolicySet,
    view: &View<'_>,
    packet: &PacketKey,
    crossing: Crossing,
    expected: Decision,
) -> Result<(), String> {
    let decided = view.classify(packet, crossing);
    if decided != expected {
        return Err("another decision".to_owned());
    }
    if view.trace(packet, crossing).decision != expected {
        return Err("another decision in the trace".to_owned());
    }
    for half in [decided.egress, decided.ingress].into_iter().flatten() {
        let named = match half.reason {
            Reason::Rule(rule) => names_rule(set, view, rule),
            Reason::EndOfTier(tier) => {
                view.tier_name(tier) == set.tier_names().get(tier as usize).copied()
            }
            Reason::NoTierDecided
            | Reason::Unselected
            | Reason::Uncovered
            | Reason::NoForwardPolicy
            | Reason::NoProfile => true,
        };
        if !named || !half.logged.is_none_or(|rule| names_rule(set, view, rule)) {
            return Err(format!("wrong names for {half:?}"));
        }
    }
    Ok(())
}

/// Whether the image calls the rule what the policy set calls it.
fn names_rule(set: &PolicySet, view: &View<'_>, rule: RuleRef) -> bool {
    let Some(policy) = set.policies.get(rule.policy as usize) else { return false };
    let Some(info) = view.rule(rule) else { return false };
    let Some(Rule { action, .. }) =
        coverage::rules_of(policy, rule.direction).get(rule.rule as usize)
    else {
        return false;
    };
    (info.tier, info.policy, info.direction, info.rule, info.action)
        == (&policy.tier, &policy.name, rule.direction, rule.rule, *action)
}

/// Past the test harness, which hides what a passing test prints.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
