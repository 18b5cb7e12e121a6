//! Small changes of a policy set, as people make them.

use classifier::resource::{
    Action, Hook, InterfaceMatch, Policy, PolicySet, PortRange, Rule, TierAction,
};
use fastrand::Rng;

use crate::generate;

/// The set with one small change. It may mean the same as before.
pub(crate) fn changed(rng: &mut Rng, set: &PolicySet) -> PolicySet {
    let mut set = set.clone();
    match rng.u8(..16) {
        0 => set.defaults.allow_unselected ^= true,
        1 => set.defaults.allow_uncovered ^= true,
        2 => change_tier(rng, &mut set),
        3 => change_object(rng, &mut set),
        4 => {
            let number = set.objects.len();
            set.objects.push(generate::object(rng, number));
        }
        5 => {
            if !set.policies.is_empty() {
                set.policies.remove(rng.usize(..set.policies.len()));
            }
        }
        6 => {
            if let Some(policy) = some(rng, &mut set.policies) {
                policy.selector = generate::selector(rng);
            }
        }
        7 => set.policies.reverse(),
        8 => change_service(rng, &mut set),
        9 | 10 => change_gateway(rng, &mut set),
        11 => {
            if let Some(policy) = some(rng, &mut set.policies) {
                policy.hook = generate::pick(rng, &[Hook::Normal, Hook::Forward, Hook::PreDnat]);
            }
        }
        _ => {
            if let Some(policy) = some(rng, &mut set.policies) {
                change_rules(rng, policy);
            }
        }
    }
    set
}

fn change_tier(rng: &mut Rng, set: &mut PolicySet) {
    let Some(tier) = some(rng, &mut set.tiers) else { return };
    tier.default_action = match tier.default_action {
        TierAction::Deny => TierAction::Pass,
        TierAction::Pass => TierAction::Deny,
    };
}

fn change_object(rng: &mut Rng, set: &mut PolicySet) {
    let Some(object) = some(rng, &mut set.objects) else { return };
    let family = generate::family(rng);
    match rng.u8(..5) {
        0 => object.nets.push(generate::net(rng, family)),
        1 => drop(object.nets.pop()),
        2 => object.peer_only ^= true,
        3 => match object.ports.last_mut() {
            Some(named) => named.port = named.port.wrapping_add(1),
            None => object.ports = generate::object(rng, 0).ports,
        },
        _ => object.labels = [("a", generate::pick(rng, &["1", "2"]))].into_iter().collect(),
    }
}

fn change_service(rng: &mut Rng, set: &mut PolicySet) {
    if rng.bool() {
        set.services.pop();
    } else if let Some(service) = some(rng, &mut set.services) {
        *service = generate::service(rng, service.name.clone());
    }
}

fn change_gateway(rng: &mut Rng, set: &mut PolicySet) {
    match rng.u8(..4) {
        0 => drop(set.interfaces.pop()),
        1 => {
            if let Some(endpoint) = some(rng, &mut set.interfaces) {
                endpoint.interface = InterfaceMatch::All;
            }
        }
        2 => {
            if let Some(endpoint) = some(rng, &mut set.interfaces) {
                *endpoint = generate::endpoint(rng, &endpoint.name.clone());
            }
        }
        _ => {
            if let Some(profile) = some(rng, &mut set.profiles) {
                profile.ingress.insert(0, generate::rule(rng));
            }
        }
    }
}

fn change_rules(rng: &mut Rng, policy: &mut Policy) {
    let rules = if rng.bool() { &mut policy.ingress } else { &mut policy.egress };
    let place = rng.usize(..=rules.len());
    match rng.u8(..4) {
        0 => rules.insert(place, generate::rule(rng)),
        1 if place < rules.len() => drop(rules.remove(place)),
        2 => {
            if let Some(rule) = some(rng, rules) {
                change_rule(rng, rule);
            }
        }
        _ => {
            if let Some(rule) = some(rng, rules) {
                rule.action = generate::pick(rng, &[Action::Allow, Action::Deny, Action::Pass]);
            }
        }
    }
}

fn change_rule(rng: &mut Rng, rule: &mut Rule) {
    let peer = if rng.bool() { &mut rule.source } else { &mut rule.destination };
    match rng.u8(..3) {
        0 => peer.selector = Some(generate::selector(rng)),
        1 => drop(peer.nets.pop()),
        _ => match peer.ports.last_mut() {
            Some(range) => range.last = range.last.saturating_add(1),
            None => peer.ports.push(PortRange { first: 80, last: 81 }),
        },
    }
}

fn some<'a, T>(rng: &mut Rng, things: &'a mut [T]) -> Option<&'a mut T> {
    let place = rng.usize(..things.len().max(1));
    things.get_mut(place)
}
