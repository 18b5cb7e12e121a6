//! Tiers, policies and rules in their order, and how each action goes on.

use super::*;

/// Policies of one rule each, `(name, tier, order, action)`.
fn policies(list: &[(&str, &str, Option<f64>, Action)]) -> Vec<Policy> {
    let make = |&(name, tier, order, action): &(&str, &str, Option<f64>, Action)| Policy {
        tier: tier.to_owned(),
        order,
        ..ingress(name, [Rule::new(action)])
    };
    list.iter().map(make).collect()
}

fn reason(tiers: &[Tier], list: &[(&str, &str, Option<f64>, Action)]) -> Reason {
    let [lab, _] = labs();
    let set = PolicySet { tiers: tiers.to_vec(), ..lab.set(policies(list)) };
    ingress_reason(&set, &lab.packet())
}

#[test]
fn rules_are_tried_in_list_order() {
    let [lab, _] = labs();
    let mut other_port = Rule::new(Action::Deny);
    other_port.protocol = Some(protocol::UDP);
    let rules = [other_port, Rule::new(Action::Allow), Rule::new(Action::Deny)];
    assert_eq!(ingress_reason(&lab.set([ingress("p", rules)]), &lab.packet()), ingress_rule(0, 1));
}

#[test]
fn policies_of_a_tier_go_by_order_with_none_last() {
    let list = [
        ("a", "default", None, Action::Deny),
        ("b", "default", Some(10.5), Action::Deny),
        ("c", "default", Some(-1.0), Action::Allow),
    ];
    assert_eq!(reason(&Tier::fixed(), &list), ingress_rule(2, 0));
    assert_eq!(reason(&Tier::fixed(), &list[..2]), ingress_rule(1, 0));
}

#[test]
fn no_order_is_the_same_as_infinite() {
    let list = [
        ("b", "default", None, Action::Deny),
        ("a", "default", Some(f64::INFINITY), Action::Allow),
    ];
    assert_eq!(reason(&Tier::fixed(), &list), ingress_rule(1, 0));
}

#[test]
fn minus_zero_is_zero() {
    let list =
        [("b", "default", Some(-0.0), Action::Deny), ("a", "default", Some(0.0), Action::Allow)];
    assert_eq!(reason(&Tier::fixed(), &list), ingress_rule(1, 0));
}

#[test]
fn policies_of_equal_order_go_by_name_and_kind() {
    let list = [("b", "default", None, Action::Deny), ("a", "default", None, Action::Allow)];
    assert_eq!(reason(&Tier::fixed(), &list), ingress_rule(1, 0));
    // The text compared is `Name/Namespace/Kind`: `.` and `-` sort before the `/` behind a shorter name.
    let list = [("a", "default", None, Action::Deny), ("a-1", "default", None, Action::Allow)];
    assert_eq!(reason(&Tier::fixed(), &list), ingress_rule(1, 0));
}

#[test]
fn tiers_go_by_order_with_none_last_and_ties_by_name() {
    let tiers = [
        tier("late", None, TierAction::Deny),
        tier("z", Some(5.0), TierAction::Deny),
        tier("b", Some(7.0), TierAction::Deny),
        tier("a", Some(7.0), TierAction::Deny),
    ];
    let list = [
        ("p0", "late", None, Action::Deny),
        ("p1", "b", None, Action::Deny),
        ("p2", "a", None, Action::Deny),
        ("p3", "z", Some(9.0), Action::Deny),
    ];
    assert_eq!(reason(&tiers, &list), ingress_rule(3, 0));
    assert_eq!(reason(&tiers, &list[..3]), ingress_rule(2, 0));
    assert_eq!(reason(&tiers, &list[..2]), ingress_rule(1, 0));
    assert_eq!(reason(&tiers, &list[..1]), ingress_rule(0, 0));
}

#[test]
fn tiers_that_nobody_made_come_last_by_name_and_end_in_deny() {
    let tiers = [tier("late", None, TierAction::Pass)];
    let list = [
        ("p0", "missing-b", Some(1.0), Action::Deny),
        ("p1", "missing-a", Some(2.0), Action::Log),
        ("p2", "late", None, Action::Pass),
    ];
    // `late` passes on, `missing-a` only logs and denies at its end: tier number 1, after the one that exists.
    assert_eq!(reason(&tiers, &list), Reason::EndOfTier(1));
    assert_eq!(reason(&tiers, &list[..1]), ingress_rule(0, 0));
}

#[test]
fn pass_skips_the_rest_of_the_tier() {
    let list = [
        ("p0", "kube-admin", Some(1.0), Action::Pass),
        ("p1", "kube-admin", Some(2.0), Action::Deny),
        ("p2", "default", None, Action::Allow),
    ];
    assert_eq!(reason(&Tier::fixed(), &list), ingress_rule(2, 0));
}

#[test]
fn pass_skips_even_an_end_that_denies() {
    let tiers = [tier("a", Some(1.0), TierAction::Deny), tier("b", Some(2.0), TierAction::Deny)];
    let list = [("p0", "a", None, Action::Pass), ("p1", "b", None, Action::Allow)];
    assert_eq!(reason(&tiers, &list), ingress_rule(1, 0));
}

#[test]
fn pass_out_of_the_last_tier_is_denied() {
    let list = [("p0", "default", None, Action::Pass)];
    assert_eq!(reason(&Tier::fixed(), &list), Reason::NoTierDecided);
}

#[test]
fn the_end_of_a_tier_denies_or_passes_as_the_tier_says() {
    let tiers = [tier("a", Some(1.0), TierAction::Pass), tier("b", Some(2.0), TierAction::Deny)];
    let list = [("p0", "a", None, Action::Log), ("p1", "b", None, Action::Log)];
    assert_eq!(reason(&tiers, &list), Reason::EndOfTier(1));
    assert_eq!(reason(&tiers, &list[..1]), Reason::NoTierDecided);
}

#[test]
fn a_tier_whose_policies_select_something_else_is_skipped() {
    let [lab, _] = labs();
    let tiers =
        vec![tier("a", Some(1.0), TierAction::Deny), tier("b", Some(2.0), TierAction::Deny)];
    let mut list = policies(&[("p0", "a", None, Action::Deny), ("p1", "b", None, Action::Allow)]);
    list[0].selector = selector("role == 'client'");
    let set = PolicySet { tiers, ..lab.set(list) };
    assert_eq!(ingress_reason(&set, &lab.packet()), ingress_rule(1, 0));
}

#[test]
fn log_goes_on_and_the_first_is_kept_over_tiers() {
    let [lab, _] = labs();
    let mut unmatched = Rule::new(Action::Log);
    unmatched.protocol = Some(protocol::UDP);
    let admin = Policy {
        tier: "kube-admin".to_owned(),
        ..ingress("admin", [unmatched, log(), log(), Rule::new(Action::Pass)])
    };
    let set = lab.set([ingress("p", [log(), Rule::new(Action::Allow), log()]), admin]);
    let half = only_half(evaluate(&set, &lab.packet(), IN));
    assert_eq!(half.reason, ingress_rule(0, 1));
    assert_eq!(half.logged, Some(RuleRef { policy: 1, direction: Direction::Ingress, rule: 1 }));
}

#[test]
fn each_direction_has_its_own_log() {
    let [lab, _] = labs();
    let packet = PacketKey { src: lab.server, ..lab.packet() };
    let set = lab.set([
        ingress("p", [Rule::new(Action::Log), Rule::new(Action::Deny)]),
        egress("q", [Rule::new(Action::Log), Rule::new(Action::Allow)]),
    ]);
    let decision = evaluate(&set, &packet, ACROSS);
    let logged = |policy, direction| Some(RuleRef { policy, direction, rule: 0 });
    assert_eq!(decision.egress.unwrap().logged, logged(1, Direction::Egress));
    assert_eq!(decision.ingress.unwrap().logged, logged(0, Direction::Ingress));
    assert_eq!(decision.logged(), logged(1, Direction::Egress));
}
