//! Staged policies: not there for what is enforced, there for what is pending (`calico-semantics.md` 1.1, *Staged*).

use super::*;
use crate::reference::evaluate_pending;
use crate::resource::{PolicyKind, StagedAction};

fn staged(action: StagedAction, policy: Policy) -> Policy {
    Policy { staged: Some(action), ..policy }
}

/// What is enforced and what is pending.
fn both(policies: impl IntoIterator<Item = Policy>) -> [Reason; 2] {
    let [lab, _] = labs();
    let set = lab.set(policies);
    let decisions = [evaluate, evaluate_pending].map(|how| how(&set, &lab.packet(), IN));
    decisions.map(|decision| only_half(decision).reason)
}

#[test]
fn without_staged_policies_both_are_the_same() {
    assert_eq!(both([ingress("p", [allow()])]), [ingress_rule(0, 0); 2]);
}

#[test]
fn a_staged_policy_is_not_enforced_and_judges_what_is_pending() {
    let policies = [ingress("b", [allow()]), staged(StagedAction::Set, ingress("a", [deny()]))];
    assert_eq!(both(policies), [ingress_rule(0, 0), ingress_rule(1, 0)]);
}

#[test]
fn a_tier_with_staged_policies_only_has_no_end() {
    let admin = Policy { tier: "strict".to_owned(), ..ingress("a", [other()]) };
    let [lab, _] = labs();
    let policies = [staged(StagedAction::Set, admin), ingress("b", [allow()])];
    let mut set = lab.set(policies);
    set.tiers.push(tier("strict", Some(1.0), TierAction::Deny));
    assert_eq!(ingress_reason(&set, &lab.packet()), ingress_rule(1, 0));
    let pending = evaluate_pending(&set, &lab.packet(), IN);
    assert_eq!(only_half(pending).reason, Reason::EndOfTier(3));
}

#[test]
fn staged_policies_alone_leave_a_thing_unselected() {
    let policies = [staged(StagedAction::Set, ingress("a", [allow()]))];
    assert_eq!(both(policies), [Reason::Unselected, ingress_rule(0, 0)]);
}

#[test]
fn what_is_staged_takes_the_place_of_the_enforced_one() {
    let policies = [ingress("a", [allow()]), staged(StagedAction::Set, ingress("a", [other()]))];
    assert_eq!(both(policies), [ingress_rule(0, 0), Reason::EndOfTier(1)]);
}

#[test]
fn a_staged_delete_takes_the_enforced_one_away() {
    let policies = [
        ingress("a", [deny()]),
        ingress("b", [allow()]),
        staged(StagedAction::Delete, ingress("a", [])),
    ];
    assert_eq!(both(policies), [ingress_rule(0, 0), ingress_rule(1, 0)]);
}

#[test]
fn a_staged_delete_is_no_policy() {
    let policies = [staged(StagedAction::Delete, ingress("a", [allow()]))];
    assert_eq!(both(policies), [Reason::Unselected; 2]);
}

#[test]
fn only_the_policy_of_the_same_kind_namespace_and_name_gives_way() {
    let gone = || staged(StagedAction::Delete, ingress("a", []));
    let of = |change: fn(&mut Policy)| {
        let mut policy = ingress("a", [allow()]);
        change(&mut policy);
        both([policy, gone()])[1]
    };
    assert_eq!(of(|_| {}), Reason::Unselected);
    assert_eq!(of(|policy| policy.tier = "kube-admin".to_owned()), Reason::Unselected);
    let stays = ingress_rule(0, 0);
    assert_eq!(of(|policy| policy.name = "b".to_owned()), stays);
    assert_eq!(of(|policy| policy.namespace = Some("n".to_owned())), stays);
    assert_eq!(of(|policy| policy.kind = PolicyKind::NetworkPolicy), stays);
}

#[test]
fn a_staged_policy_of_equal_order_goes_by_its_own_kind() {
    // `a/n/KubernetesNetworkPolicy` goes before `a/n/NetworkPolicy`, and `a/n/StagedKubernetesNetworkPolicy` behind it.
    let of = |kind, rule| Policy { kind, namespace: Some("n".to_owned()), ..ingress("a", [rule]) };
    let policies = [
        of(PolicyKind::NetworkPolicy, allow()),
        staged(StagedAction::Set, of(PolicyKind::KubernetesNetworkPolicy, deny())),
    ];
    assert_eq!(both(policies)[1], ingress_rule(0, 0));
    let enforced =
        [of(PolicyKind::NetworkPolicy, allow()), of(PolicyKind::KubernetesNetworkPolicy, deny())];
    assert_eq!(both(enforced)[1], ingress_rule(1, 0));
}

#[test]
fn staged_policies_of_an_interface_are_pending_there() {
    for lab in labs() {
        let policy = at(Hook::Forward, "h0", ingress("p", [deny()]));
        let set = lab.gateway([staged(StagedAction::Set, policy)]);
        assert_eq!(evaluate(&set, &lab.packet(), THROUGH).verdict(), Verdict::Allow);
        assert_eq!(evaluate_pending(&set, &lab.packet(), THROUGH).verdict(), Verdict::Deny);
    }
}
