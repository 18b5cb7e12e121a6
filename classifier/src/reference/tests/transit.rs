//! What the gateway forwards through its own interfaces: the table of `calico-semantics.md` 1.6 and the algorithm of 1.7.

use super::*;

const NO_POLICY: (Verdict, Reason) = (Verdict::Allow, Reason::NoForwardPolicy);

fn through(policies: impl IntoIterator<Item = Policy>) -> Decision {
    let [lab, _] = labs();
    evaluate(&lab.gateway(policies), &lab.packet(), THROUGH)
}

fn forward(endpoint: &str, policy: Policy) -> Policy {
    at(Hook::Forward, endpoint, policy)
}

#[test]
fn a_port_without_endpoint_is_not_asked() {
    for lab in labs() {
        let mut set = lab.gateway([forward("h0", ingress("p", [deny()]))]);
        set.interfaces.clear();
        assert_eq!(evaluate(&set, &lab.packet(), THROUGH), Decision::NOTHING_APPLIES);
    }
}

#[test]
fn forwarded_without_any_policy_is_allowed() {
    let decision = through([]);
    assert_eq!(reasons(decision), [NO_POLICY, NO_POLICY]);
    assert_eq!(decision.verdict(), Verdict::Allow);
}

#[test]
fn policies_of_other_traffic_say_nothing_of_what_is_forwarded() {
    let normal = |endpoint| {
        let both = Policy { ingress: vec![deny()], applies_ingress: true, ..egress("p", [deny()]) };
        at(Hook::Normal, endpoint, both)
    };
    assert_eq!(reasons(through([normal("h0"), normal("h1")])), [NO_POLICY, NO_POLICY]);
}

#[test]
fn forwarded_that_no_rule_allows_is_denied_at_the_end_of_the_tier() {
    let decision = through([forward("h0", ingress("p", [other()]))]);
    assert_eq!(reasons(decision), [(Verdict::Deny, Reason::EndOfTier(1))]);
    let decision = through([forward("h1", egress("p", [other()]))]);
    assert_eq!(reasons(decision), [NO_POLICY, (Verdict::Deny, Reason::EndOfTier(1))]);
}

#[test]
fn a_policy_of_the_other_direction_says_nothing_of_this_one() {
    let policies = [forward("h0", egress("p", [deny()])), forward("h1", ingress("q", [deny()]))];
    assert_eq!(reasons(through(policies)), [NO_POLICY, NO_POLICY]);
}

#[test]
fn forwarded_that_every_tier_passes_on_is_allowed() {
    let [lab, _] = labs();
    let baseline = |policy| Policy { tier: "kube-baseline".to_owned(), ..policy };
    let policies = [
        forward("h0", ingress("p", [pass()])),
        forward("h0", baseline(ingress("q", [other()]))),
        forward("h1", egress("r", [pass()])),
    ];
    let decision = evaluate(&lab.gateway(policies), &lab.packet(), THROUGH);
    assert_eq!(reasons(decision), [NO_POLICY, NO_POLICY]);
}

#[test]
fn an_empty_policy_of_both_directions_is_the_default_deny_of_transit() {
    let both = Policy { applies_ingress: true, applies_egress: true, ..ingress("p", []) };
    let decision = through([Policy { hook: Hook::Forward, selector: selector("has(h)"), ..both }]);
    assert_eq!(reasons(decision), [(Verdict::Deny, Reason::EndOfTier(1))]);
}

#[test]
fn both_endpoints_must_allow() {
    let policies =
        |entry, exit| [forward("h0", ingress("in", [entry])), forward("h1", egress("out", [exit]))];
    assert_eq!(
        reasons(through(policies(allow(), allow()))),
        [(Verdict::Allow, ingress_rule(0, 0)), (Verdict::Allow, egress_rule(1, 0))]
    );
    assert_eq!(through(policies(allow(), deny())).verdict(), Verdict::Deny);
    let denied = through(policies(deny(), allow()));
    assert_eq!(reasons(denied), [(Verdict::Deny, ingress_rule(0, 0))], "the exit is not asked");
}

#[test]
fn profiles_are_never_asked_of_what_is_forwarded() {
    let [lab, _] = labs();
    let mut set = lab.gateway([]);
    let (name, rules) = ("closed".to_owned(), || vec![deny()]);
    let profile = crate::resource::Profile { name, ingress: rules(), egress: rules() };
    set.profiles.push(profile);
    for endpoint in &mut set.interfaces {
        endpoint.profiles.push("closed".to_owned());
    }
    assert_eq!(reasons(evaluate(&set, &lab.packet(), THROUGH)), [NO_POLICY, NO_POLICY]);
}

#[test]
fn untracked_is_asked_first_and_what_it_denies_is_denied() {
    let policies = [
        forward("h0", ingress("f", [allow()])),
        at(Hook::PreDnat, "h0", ingress("d", [allow()])),
        at(Hook::Untracked, "h0", ingress("u", [deny()])),
    ];
    let decision = through(policies);
    assert_eq!(reasons(decision), [(Verdict::Deny, ingress_rule(2, 0))]);
    assert!(!decision.untracked);
}

#[test]
fn what_untracked_allows_skips_the_rest_of_the_entry_but_not_the_exit() {
    let policies = |exit| {
        [
            at(Hook::Untracked, "h0", ingress("u", [allow()])),
            at(Hook::PreDnat, "h0", ingress("d", [deny()])),
            forward("h0", ingress("f", [deny()])),
            forward("h1", egress("x", [exit])),
        ]
    };
    let decision = through(policies(allow()));
    assert_eq!(
        reasons(decision),
        [(Verdict::Allow, ingress_rule(0, 0)), (Verdict::Allow, egress_rule(3, 0))]
    );
    assert!(decision.untracked);
    assert_eq!(through(policies(deny())).verdict(), Verdict::Deny);
}

#[test]
fn the_end_of_an_untracked_or_a_pre_dnat_tier_passes_on() {
    for hook in [Hook::Untracked, Hook::PreDnat] {
        let policies = [
            at(hook, "h0", ingress("early", [other()])),
            forward("h0", ingress("f", [other(), allow()])),
        ];
        let decision = through(policies);
        let expected = [(Verdict::Allow, ingress_rule(1, 1)), NO_POLICY];
        assert_eq!(reasons(decision), expected, "{hook:?}");
        assert!(!decision.untracked);
        let alone = [at(hook, "h0", ingress("early", [other()]))];
        assert_eq!(reasons(through(alone)), [NO_POLICY, NO_POLICY], "{hook:?}");
    }
}

#[test]
fn early_hooks_go_on_to_their_next_tier() {
    for hook in [Hook::Untracked, Hook::PreDnat] {
        for first in [other(), pass()] {
            let admin = Policy { tier: "kube-admin".to_owned(), ..ingress("admin", [first]) };
            let policies = [at(hook, "h0", ingress("early", [deny()])), at(hook, "h0", admin)];
            assert_eq!(reasons(through(policies)), [(Verdict::Deny, ingress_rule(0, 0))]);
        }
    }
}

#[test]
fn pre_dnat_denies_or_allows_past_the_forward_policies() {
    let policies =
        |rule| [at(Hook::PreDnat, "h0", ingress("d", [rule])), forward("h0", ingress("f", []))];
    assert_eq!(reasons(through(policies(deny()))), [(Verdict::Deny, ingress_rule(0, 0))]);
    let allowed = through(policies(allow()));
    assert_eq!(reasons(allowed), [(Verdict::Allow, ingress_rule(0, 0)), NO_POLICY]);
    assert!(!allowed.untracked);
}

#[test]
fn what_leaves_meets_no_early_hook() {
    for hook in [Hook::Untracked, Hook::PreDnat] {
        let both = Policy { ingress: vec![deny()], applies_ingress: true, ..egress("p", [deny()]) };
        assert_eq!(reasons(through([at(hook, "h1", both)])), [NO_POLICY, NO_POLICY], "{hook:?}");
    }
}

#[test]
fn an_endpoint_of_all_interfaces_takes_every_policy_but_untracked_ones() {
    let [lab, _] = labs();
    for (hook, denied) in [(Hook::Forward, true), (Hook::PreDnat, true), (Hook::Untracked, false)] {
        let mut set = lab.gateway([at(hook, "all", ingress("p", [deny()]))]);
        set.interfaces = vec![endpoint("all", InterfaceMatch::All)];
        let decision = evaluate(&set, &lab.packet(), THROUGH);
        assert_eq!(decision.verdict() == Verdict::Deny, denied, "{hook:?}");
    }
}

#[test]
fn what_is_behind_is_asked_between_the_endpoints() {
    for lab in labs() {
        let set = |entry, behind, exit| {
            let mut set = lab.gateway([
                forward("h0", ingress("entry", [entry])),
                ingress("behind", [behind]),
                forward("h1", egress("exit", [exit])),
            ]);
            set.interfaces[1].interface = InterfaceMatch::Name("lan".to_owned());
            set.ports.push(gateway_port("lan", &[]));
            set
        };
        let inside = Place::Port { side: Side::Inside, number: Some(2) };
        let asked = |set: &PolicySet| {
            let decision = evaluate(set, &lab.packet(), Crossing { from: WAN0, to: inside });
            reasons(decision).len()
        };
        assert_eq!(asked(&set(allow(), allow(), allow())), 3);
        assert_eq!(asked(&set(deny(), allow(), allow())), 1);
        assert_eq!(asked(&set(allow(), deny(), allow())), 2);
    }
}

#[test]
fn the_first_log_of_any_stage_is_the_one_of_the_checkpoint() {
    let stages = [
        at(Hook::Untracked, "h0", ingress("u", [other(), log()])),
        at(Hook::PreDnat, "h0", ingress("d", [log()])),
        forward("h0", ingress("f", [log(), allow()])),
    ];
    for first in 0..stages.len() {
        let logged = through(stages[first..].to_vec()).entry.unwrap().logged.unwrap();
        let rule = u32::from(first == 0);
        assert_eq!((logged.policy, logged.rule), (0, rule));
    }
}
