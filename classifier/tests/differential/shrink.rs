//! Makes a policy set smaller as long as it still shows the fault.

use classifier::resource::{Hook, Peer, Policy, PolicySet, Rule};
use classifier::selector::Selector;

/// A set from which nothing more can be taken away.
pub(crate) fn smallest(mut set: PolicySet, fails: impl Fn(&PolicySet) -> bool) -> PolicySet {
    while let Some(smaller) = smaller(&set).into_iter().find(|candidate| fails(candidate)) {
        set = smaller;
    }
    set
}

/// Every set that is one thing smaller, the large things first.
fn smaller(set: &PolicySet) -> Vec<PolicySet> {
    let mut found = Vec::new();
    without_one(set, &mut found, |set| Some(&mut set.policies));
    without_one(set, &mut found, |set| Some(&mut set.objects));
    without_one(set, &mut found, |set| Some(&mut set.tiers));
    without_one(set, &mut found, |set| Some(&mut set.interfaces));
    without_one(set, &mut found, |set| Some(&mut set.profiles));
    without_one(set, &mut found, |set| Some(&mut set.services));
    smaller_things(set, &mut found);
    for number in 0..set.policies.len() {
        without_one(set, &mut found, |set| policy_at(set, number).map(|p| &mut p.ingress));
        without_one(set, &mut found, |set| policy_at(set, number).map(|p| &mut p.egress));
        push_if_changed(set, &mut found, |set| {
            policy_at(set, number)
                .is_some_and(|p| replaced(&mut p.selector, Selector::parse("").unwrap()))
        });
        let simplifications: [fn(&mut Policy) -> bool; 4] = [
            |policy| policy.order.take().is_some(),
            |policy| policy.staged.take().is_some(),
            |policy| replaced(&mut policy.hook, Hook::Normal),
            |policy| replaced(&mut policy.applies_egress, false),
        ];
        for simplify in simplifications {
            push_if_changed(set, &mut found, |set| policy_at(set, number).is_some_and(simplify));
        }
    }
    smaller_rules(set, &mut found);
    found
}

fn smaller_things(set: &PolicySet, found: &mut Vec<PolicySet>) {
    for number in 0..set.objects.len() {
        without_one(set, found, |set| set.objects.get_mut(number).map(|o| &mut o.nets));
        without_one(set, found, |set| set.objects.get_mut(number).map(|o| &mut o.ports));
        push_if_changed(set, found, |set| {
            set.objects.get_mut(number).is_some_and(|o| replaced(&mut o.peer_only, false))
        });
    }
    for number in 0..set.services.len() {
        without_one(set, found, |set| set.services.get_mut(number).map(|s| &mut s.endpoints));
    }
    for number in 0..set.interfaces.len() {
        without_one(set, found, |set| set.interfaces.get_mut(number).map(|i| &mut i.profiles));
    }
    for number in 0..set.profiles.len() {
        without_one(set, found, |set| set.profiles.get_mut(number).map(|p| &mut p.ingress));
        without_one(set, found, |set| set.profiles.get_mut(number).map(|p| &mut p.egress));
    }
}

fn policy_at(set: &mut PolicySet, number: usize) -> Option<&mut Policy> {
    set.policies.get_mut(number)
}

fn smaller_rules(set: &PolicySet, found: &mut Vec<PolicySet>) {
    let simplifications: [fn(&mut Rule) -> bool; 5] = [
        |rule| rule.ip_version.take().is_some(),
        |rule| rule.protocol.take().is_some(),
        |rule| rule.not_protocol.take().is_some(),
        |rule| rule.icmp.take().is_some(),
        |rule| rule.not_icmp.take().is_some(),
    ];
    let of_peers: [fn(&mut Peer) -> bool; 9] = [
        |peer| peer.selector.take().is_some(),
        |peer| peer.not_selector.take().is_some(),
        |peer| peer.nets.pop().is_some(),
        |peer| peer.not_nets.pop().is_some(),
        |peer| peer.ports.pop().is_some(),
        |peer| peer.not_ports.pop().is_some(),
        |peer| peer.named_ports.pop().is_some(),
        |peer| peer.not_named_ports.pop().is_some(),
        |peer| peer.service.take().is_some(),
    ];
    for number in 0..rules_of(&mut set.clone()).count() {
        for simplify in simplifications {
            push_if_changed(set, found, |set| rules_of(set).nth(number).is_some_and(simplify));
        }
        for simplify in of_peers {
            push_if_changed(set, found, |set| {
                rules_of(set).nth(number).is_some_and(|r| simplify(&mut r.source))
            });
            push_if_changed(set, found, |set| {
                rules_of(set).nth(number).is_some_and(|r| simplify(&mut r.destination))
            });
        }
    }
}

fn rules_of(set: &mut PolicySet) -> impl Iterator<Item = &mut Rule> {
    set.policies.iter_mut().flat_map(|policy| policy.ingress.iter_mut().chain(&mut policy.egress))
}

fn without_one<T>(
    set: &PolicySet,
    found: &mut Vec<PolicySet>,
    list: impl Fn(&mut PolicySet) -> Option<&mut Vec<T>>,
) {
    let count = list(&mut set.clone()).map_or(0, |list| list.len());
    for number in 0..count {
        push_if_changed(set, found, |set| list(set).map(|list| list.remove(number)).is_some());
    }
}

fn push_if_changed(
    set: &PolicySet,
    found: &mut Vec<PolicySet>,
    change: impl FnOnce(&mut PolicySet) -> bool,
) {
    let mut candidate = set.clone();
    if change(&mut candidate) {
        found.push(candidate);
    }
}

fn replaced<T: PartialEq>(place: &mut T, value: T) -> bool {
    let changed = *place != value;
    *place = value;
    changed
}
