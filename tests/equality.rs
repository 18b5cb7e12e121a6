//! Compiled equals reference on the estates of the benches, smaller than there; `cargo bench --bench equality` has them whole.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use classifier::resource::{Action, PolicySet};
use fastrand::Rng;
use ravelin::equality::{Tally, compare, compare_image, questions};
use ravelin::scenario::{
    Scenario, bank::bank, corporate::corporate, feeds::feeds, nesting::nesting,
};

const QUESTIONS: usize = 5_000;

#[test]
fn a_corporation_is_judged_as_the_reference_says() {
    let tally = judge(&corporate(3, 0.03, 1_000));
    assert!(tally.allowed > 0 && tally.denied_by_default > 0, "{tally}");
    assert!(tally.denied_by_rule > 0 && tally.denied_by_tier > 0, "{tally}");
}

#[test]
fn a_bank_is_judged_as_the_reference_says() {
    let tally = judge(&bank(3, 0.05));
    assert!(tally.allowed > 0 && tally.denied_by_rule > 0 && tally.denied_by_tier > 0, "{tally}");
    assert!(tally.pending_differs > 0, "{tally}");
}

#[test]
fn feeds_are_judged_as_the_reference_says() {
    let tally = judge(&feeds(3, 0.02));
    assert!(tally.allowed > 0 && tally.denied_by_rule > 0, "{tally}");
}

#[test]
fn deep_nesting_is_judged_as_the_reference_says() {
    let tally = judge(&nesting(3, 300, 30));
    assert!(tally.allowed > 0 && tally.covering_max > 5, "{tally}");
}

#[test]
fn another_rule_is_noticed() {
    let scenario = feeds(3, 0.02);
    let asked = questions(&scenario, QUESTIONS, &mut Rng::with_seed(5));
    let image = compiled(&scenario.set);
    let mut other = scenario.set;
    for policy in &mut other.policies {
        let denying = policy.ingress.iter_mut().filter(|rule| rule.action == Action::Deny);
        denying.take(1).for_each(|rule| rule.action = Action::Pass);
    }
    let told = compare_image(&other, &image, &asked).unwrap_err().to_string();
    assert!(told.contains("classify"), "{told}");
}

#[test]
fn another_prefix_is_noticed() {
    let scenario = nesting(3, 300, 30);
    let asked = questions(&scenario, QUESTIONS, &mut Rng::with_seed(5));
    let image = compiled(&scenario.set);
    let mut other = scenario.set;
    for object in &mut other.objects {
        object.nets.truncate(20);
    }
    assert!(compare_image(&other, &image, &asked).is_err());
}

fn judge(scenario: &Scenario) -> Tally {
    let asked = questions(scenario, QUESTIONS, &mut Rng::with_seed(5));
    let tally = compare(&scenario.set, &asked).unwrap();
    assert_eq!(tally.questions, QUESTIONS);
    tally
}

fn compiled(set: &PolicySet) -> classifier::image::Image {
    let limits = classifier::compile::Limits::default();
    classifier::compile::compile(set, 1, &limits).unwrap()
}
