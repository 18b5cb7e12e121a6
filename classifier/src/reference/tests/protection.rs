//! What is protected, in which direction, and what happens where no policy speaks.

use super::*;
use crate::resource::Defaults;

fn back(packet: &PacketKey) -> PacketKey {
    PacketKey { src: packet.dst, dst: packet.src, ..*packet }
}

#[test]
fn outside_to_outside_is_nobodys_to_allow() {
    for lab in labs() {
        let mut set = lab.set([ingress("p", [allow()]), egress("q", [allow()])]);
        set.defaults = Defaults { allow_unselected: true, allow_uncovered: true };
        let decision = evaluate(&set, &lab.packet(), AWAY);
        assert_eq!(decision, Decision::NOTHING_APPLIES);
        assert_eq!(decision.verdict(), Verdict::Deny);
    }
}

#[test]
fn towards_inside_asks_ingress_of_the_destination_only() {
    for lab in labs() {
        let set = lab.set([ingress("p", [allow()]), egress("q", [deny()])]);
        let decision = evaluate(&set, &lab.packet(), IN);
        assert_eq!(decision.egress, None);
        assert_eq!(decision.ingress.unwrap().reason, ingress_rule(0, 0));
        assert_eq!(decision.verdict(), Verdict::Allow);
    }
}

#[test]
fn from_inside_asks_egress_of_the_source_only() {
    for lab in labs() {
        let set = lab.set([ingress("p", [deny()]), egress("q", [allow()])]);
        let decision = evaluate(&set, &back(&lab.packet()), OUT);
        assert_eq!(decision.ingress, None);
        assert_eq!(decision.egress.unwrap().reason, egress_rule(1, 0));
        assert_eq!(decision.verdict(), Verdict::Allow);
    }
}

#[test]
fn between_two_insides_both_must_allow() {
    for lab in labs() {
        let packet = PacketKey { src: lab.server, ..lab.packet() };
        let set = |out: Rule, into: Rule| lab.set([ingress("p", [into]), egress("q", [out])]);
        let verdict = |out, into| evaluate(&set(out, into), &packet, ACROSS).verdict();
        assert_eq!(verdict(allow(), allow()), Verdict::Allow);
        assert_eq!(verdict(allow(), deny()), Verdict::Deny);
        assert_eq!(verdict(deny(), allow()), Verdict::Deny);
        let denied_first = evaluate(&set(deny(), allow()), &packet, ACROSS);
        assert_eq!(denied_first.ingress, None, "ingress is not asked when egress denied");
    }
}

#[test]
fn unselected_is_denied_unless_opened() {
    for lab in labs() {
        // The policy applies in the other direction only, so ingress is unselected.
        let mut set = lab.set([egress("q", [allow()])]);
        let half = |set: &PolicySet| only_half(evaluate(set, &lab.packet(), IN));
        assert_eq!(
            half(&set),
            Half { verdict: Verdict::Deny, reason: Reason::Unselected, logged: None }
        );
        set.defaults.allow_uncovered = true;
        assert_eq!(half(&set).verdict, Verdict::Deny, "each default opens its own case only");
        set.defaults = Defaults { allow_unselected: true, allow_uncovered: false };
        assert_eq!(half(&set).verdict, Verdict::Allow);
    }
}

#[test]
fn uncovered_is_denied_unless_opened() {
    for lab in labs() {
        let mut set = lab.set([ingress("p", [allow()])]);
        let packet = PacketKey { dst: lab.stranger, ..lab.packet() };
        let half = |set: &PolicySet| only_half(evaluate(set, &packet, IN));
        assert_eq!(
            half(&set),
            Half { verdict: Verdict::Deny, reason: Reason::Uncovered, logged: None }
        );
        set.defaults.allow_unselected = true;
        assert_eq!(half(&set).verdict, Verdict::Deny, "each default opens its own case only");
        set.defaults = Defaults { allow_unselected: false, allow_uncovered: true };
        assert_eq!(half(&set).verdict, Verdict::Allow);
    }
}

#[test]
fn an_object_without_nets_covers_nothing() {
    for lab in labs() {
        let mut set = lab.set([ingress("p", [allow()])]);
        set.objects = vec![object("empty", &[("role", "server")], &[])];
        assert_eq!(ingress_reason(&set, &lab.packet()), Reason::Uncovered);
    }
}

#[test]
fn objects_of_the_other_family_cover_nothing() {
    let [v4, v6] = labs();
    for (lab, other) in [(&v4, &v6), (&v6, &v4)] {
        let mut set = lab.set([ingress("p", [allow()])]);
        set.objects = vec![object("all", &[("role", "server")], &[other.everything])];
        assert_eq!(ingress_reason(&set, &lab.packet()), Reason::Uncovered);
    }
}

#[test]
fn a_policy_without_rules_still_protects() {
    for lab in labs() {
        let set = lab.set([ingress("p", [])]);
        assert_eq!(ingress_reason(&set, &lab.packet()), Reason::EndOfTier(1));
    }
}

#[test]
fn rules_of_a_direction_the_policy_does_not_apply_to_are_not_read() {
    for lab in labs() {
        let silent = Policy { applies_ingress: false, ..ingress("p", [allow()]) };
        let set = lab.set([silent]);
        assert_eq!(ingress_reason(&set, &lab.packet()), Reason::Unselected);
    }
}

#[test]
fn a_narrower_prefix_does_not_shadow_a_wider_one() {
    for lab in labs() {
        let mut set = lab.set([ingress("p", [allow()])]);
        // The protecting object is the wide one; a narrow one without that label covers the address too.
        set.objects = vec![
            object("host", &[("role", "printer")], &[lab.rack]),
            object("site", &[("role", "server")], &[lab.site]),
        ];
        assert_eq!(ingress_reason(&set, &lab.packet()), ingress_rule(0, 0));
        set.objects.reverse();
        assert_eq!(ingress_reason(&set, &lab.packet()), ingress_rule(0, 0));
    }
}

#[test]
fn an_address_of_several_objects_has_the_policies_of_all_in_one_order() {
    for lab in labs() {
        let of = |name: &str, order, label: &str, rule| Policy {
            order: Some(order),
            selector: selector(label),
            ..ingress(name, [rule])
        };
        let mut set = lab.set([
            of("for-site", 2.0, "has(site)", allow()),
            of("for-rack", 1.0, "has(rack)", deny()),
        ]);
        set.objects = vec![
            object("site", &[("site", "")], &[lab.site]),
            object("rack", &[("rack", "")], &[lab.rack]),
        ];
        assert_eq!(ingress_reason(&set, &lab.packet()), ingress_rule(1, 0));
        set.policies[1].order = Some(3.0);
        assert_eq!(ingress_reason(&set, &lab.packet()), ingress_rule(0, 0));
    }
}

#[test]
fn labels_of_two_objects_never_merge_for_protection() {
    for lab in labs() {
        let both = selector("a == '1' && b == '2'");
        let mut set = lab.set([Policy { selector: both, ..ingress("p", [allow()]) }]);
        set.objects = vec![
            object("site", &[("a", "1")], &[lab.site]),
            object("rack", &[("b", "2")], &[lab.rack]),
        ];
        assert_eq!(ingress_reason(&set, &lab.packet()), Reason::Unselected);
        set.objects[1].labels.insert("a", "1");
        assert_eq!(ingress_reason(&set, &lab.packet()), ingress_rule(0, 0));
    }
}

#[test]
fn a_host_endpoint_is_protected_like_a_network_set() {
    for lab in labs() {
        let mut set = lab.set([ingress("p", [allow()])]);
        for object in &mut set.objects {
            object.kind = ObjectKind::HostEndpoint;
        }
        assert_eq!(ingress_reason(&set, &lab.packet()), ingress_rule(0, 0));
    }
}

#[test]
fn what_is_a_peer_only_is_not_protected() {
    for lab in labs() {
        let mut set = lab.set([ingress("p", [allow()])]);
        set.objects[0].peer_only = true;
        assert_eq!(ingress_reason(&set, &lab.packet()), Reason::Uncovered);
        set.objects.push(object("site", &[("role", "building")], &[lab.site]));
        assert_eq!(ingress_reason(&set, &lab.packet()), Reason::Unselected);
        set.objects[2].labels.insert("role", "server");
        assert_eq!(ingress_reason(&set, &lab.packet()), ingress_rule(0, 0));
    }
}

#[test]
fn what_is_a_peer_only_is_a_peer_as_anything_else() {
    for lab in labs() {
        let mut rule = allow();
        rule.source.selector = Some(selector("role == 'client'"));
        let mut set = lab.set([ingress("p", [rule])]);
        set.objects[1].peer_only = true;
        assert_eq!(ingress_reason(&set, &lab.packet()), ingress_rule(0, 0));
        set.policies[0].ingress[0].source.selector = None;
        set.policies[0].ingress[0].source.not_selector = Some(selector("role == 'client'"));
        assert_eq!(ingress_reason(&set, &lab.packet()), Reason::EndOfTier(1));
    }
}

#[test]
fn policies_for_forwarded_traffic_protect_what_is_behind_and_the_earlier_hooks_do_not() {
    for lab in labs() {
        for (hook, expected) in [
            (Hook::Normal, ingress_rule(0, 0)),
            (Hook::Forward, ingress_rule(0, 0)),
            (Hook::PreDnat, Reason::Unselected),
            (Hook::Untracked, Reason::Unselected),
        ] {
            let set = lab.set([Policy { hook, ..ingress("p", [allow()]) }]);
            assert_eq!(ingress_reason(&set, &lab.packet()), expected, "{hook:?}");
        }
    }
}
