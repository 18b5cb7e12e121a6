//! What is the gateway's own: normal policies and profiles of its interfaces (`calico-semantics.md` 1.6, 1.7).

use super::*;
use crate::resource::Profile;

/// Both ways, by endpoints that have `profiles`.
fn own(policies: &[Policy], profiles: &[Profile]) -> [Half; 2] {
    let [lab, _] = labs();
    let mut set = lab.gateway(policies.iter().cloned());
    set.profiles = profiles.iter().rev().cloned().collect();
    for endpoint in &mut set.interfaces {
        endpoint.profiles = profiles.iter().map(|profile| profile.name.clone()).collect();
    }
    let to = evaluate(&set, &lab.packet(), TO_GATEWAY);
    let from = evaluate(&set, &lab.packet(), FROM_GATEWAY);
    assert_eq!(reasons(to).len() + reasons(from).len(), 2);
    [to.entry.unwrap(), from.exit.unwrap()]
}

/// For packets to the gateway by the first port and from it by the second.
fn both(hook: Hook, name: &str, rule: &Rule) -> Policy {
    let rules = || vec![rule.clone()];
    Policy {
        hook,
        selector: selector("has(h)"),
        applies_ingress: true,
        applies_egress: true,
        ingress: rules(),
        egress: rules(),
        ..Policy::new(name)
    }
}

fn profile(name: &str, rules: &[Rule]) -> Profile {
    Profile { name: name.to_owned(), ingress: rules.to_vec(), egress: rules.to_vec() }
}

fn both_denied(reason: Reason) -> [Half; 2] {
    [Half { verdict: Verdict::Deny, reason, logged: None }; 2]
}

/// Both halves were decided by the same rule of the two directions.
fn by_rule(halves: [Half; 2], verdict: Verdict, policy: u32, rule: u32) {
    assert_eq!(halves.map(|half| half.verdict), [verdict; 2]);
    let expected = [ingress_rule(policy, rule), egress_rule(policy, rule)];
    assert_eq!(halves.map(|half| half.reason), expected);
}

#[test]
fn own_traffic_that_nothing_selects_is_denied() {
    assert_eq!(own(&[], &[]), both_denied(Reason::NoProfile));
}

#[test]
fn own_traffic_that_no_rule_matches_is_denied_at_the_end_of_the_tier() {
    let halves = own(&[both(Hook::Normal, "p", &other())], &[profile("open", &[allow()])]);
    assert_eq!(halves, both_denied(Reason::EndOfTier(1)));
}

#[test]
fn own_traffic_meets_normal_and_forward_policies() {
    for hook in [Hook::Normal, Hook::Forward] {
        by_rule(own(&[both(hook, "p", &allow())], &[]), Verdict::Allow, 0, 0);
    }
    let policies = [both(Hook::Forward, "b", &deny()), both(Hook::Normal, "a", &allow())];
    by_rule(own(&policies, &[]), Verdict::Allow, 1, 0);
}

#[test]
fn profiles_decide_what_no_tier_has_decided() {
    let open = [profile("open", &[other(), allow()])];
    by_rule(own(&[], &open), Verdict::Allow, 0, 1);
    by_rule(own(&[both(Hook::Normal, "p", &pass())], &open), Verdict::Allow, 1, 1);
    by_rule(own(&[both(Hook::Normal, "p", &deny())], &open), Verdict::Deny, 0, 0);
}

#[test]
fn profiles_go_in_the_order_of_the_endpoint() {
    // The set holds them the other way round, and counts them so behind the policies.
    let profiles = [profile("z", &[other()]), profile("y", &[allow()]), profile("x", &[deny()])];
    by_rule(own(&[both(Hook::Normal, "p", &pass())], &profiles), Verdict::Allow, 2, 0);
}

#[test]
fn a_profile_that_passes_denies() {
    let profiles = [profile("a", &[pass()]), profile("b", &[allow()])];
    by_rule(own(&[], &profiles), Verdict::Deny, 1, 0);
}

#[test]
fn a_log_rule_of_a_profile_logs() {
    let halves = own(&[], &[profile("a", &[log()])]);
    assert_eq!(halves.map(|half| half.reason), [Reason::NoProfile; 2]);
    let directions = [Direction::Ingress, Direction::Egress];
    let logged = directions.map(|direction| Some(RuleRef { policy: 0, direction, rule: 0 }));
    assert_eq!(halves.map(|half| half.logged), logged);
}

#[test]
fn a_profile_that_nobody_knows_has_no_rules() {
    let [lab, _] = labs();
    let mut set = lab.gateway([]);
    set.interfaces[0].profiles = vec!["nobody".to_owned(), "open".to_owned()];
    set.profiles = vec![profile("open", &[allow()])];
    let decision = evaluate(&set, &lab.packet(), TO_GATEWAY);
    assert_eq!(reasons(decision), [(Verdict::Allow, ingress_rule(0, 0))]);
}

#[test]
fn untracked_goes_before_all_both_ways() {
    let policies = [both(Hook::Normal, "a", &deny()), both(Hook::Untracked, "z", &allow())];
    by_rule(own(&policies, &[]), Verdict::Allow, 1, 0);
    by_rule(own(&[both(Hook::Untracked, "u", &deny())], &[]), Verdict::Deny, 0, 0);
    let undecided = [both(Hook::Untracked, "u", &other()), both(Hook::Normal, "n", &allow())];
    by_rule(own(&undecided, &[]), Verdict::Allow, 1, 0);
}

#[test]
fn own_traffic_that_untracked_allows_leaves_no_state() {
    let [lab, _] = labs();
    let mut set = lab.gateway([both(Hook::Untracked, "u", &allow())]);
    assert!(evaluate(&set, &lab.packet(), TO_GATEWAY).untracked);
    assert!(evaluate(&set, &lab.packet(), FROM_GATEWAY).untracked);
    for endpoint in &mut set.interfaces {
        endpoint.interface = InterfaceMatch::All;
    }
    for crossing in [TO_GATEWAY, FROM_GATEWAY] {
        let decision = evaluate(&set, &lab.packet(), crossing);
        assert_eq!(reasons(decision), [(Verdict::Deny, Reason::NoProfile)]);
        assert!(!decision.untracked);
    }
}

#[test]
fn pre_dnat_is_asked_of_what_comes_and_not_of_what_leaves() {
    let policies = [both(Hook::PreDnat, "d", &allow()), both(Hook::Normal, "n", &deny())];
    let [to, from] = own(&policies, &[]);
    assert_eq!((to.verdict, to.reason), (Verdict::Allow, ingress_rule(0, 0)));
    assert_eq!((from.verdict, from.reason), (Verdict::Deny, egress_rule(1, 0)));
}

#[test]
fn what_is_behind_is_still_asked() {
    for lab in labs() {
        let inside = Place::Port { side: Side::Inside, number: None };
        let set = lab.set([ingress("p", [deny()]), egress("q", [deny()])]);
        let away = PacketKey { src: lab.server, ..lab.packet() };
        let to = evaluate(&set, &away, Crossing { from: inside, to: Place::Gateway });
        assert_eq!(to.egress.unwrap().reason, egress_rule(1, 0));
        let from = evaluate(&set, &lab.packet(), Crossing { from: Place::Gateway, to: inside });
        assert_eq!(from.ingress.unwrap().reason, ingress_rule(0, 0));
    }
}

#[test]
fn nothing_is_asked_of_the_gateway_alone() {
    let [lab, _] = labs();
    let set = lab.gateway([both(Hook::Normal, "p", &deny())]);
    let crossing = Crossing { from: Place::Gateway, to: Place::Gateway };
    assert_eq!(evaluate(&set, &lab.packet(), crossing), Decision::NOTHING_APPLIES);
}
