//! Random policy sets and packets, all from a few places, so that things overlap, touch and miss by one.

mod places;
mod rules;
mod things;

use std::collections::BTreeSet;
use std::net::IpAddr;

use classifier::packet::{Crossing, IpVersion, Place, Side, protocol};
use classifier::resource::{
    Defaults, Hook, Policy, PolicyKind, PolicySet, StagedAction, Tier, TierAction,
};
use classifier::selector::Selector;
use fastrand::Rng;
use ipnet::IpNet;

pub(crate) use self::places::{Places, rules_of};
pub(crate) use self::rules::rule;
pub(crate) use self::things::{endpoint, object, service};

const ANCHORS_V4: [&str; 8] = [
    "198.18.70.7",
    "198.18.70.8",
    "198.18.71.255",
    "198.19.0.0",
    "127.255.255.255",
    "128.0.0.0",
    "0.0.0.0",
    "255.255.255.255",
];
const LENGTHS_V4: [u8; 12] = [0, 1, 8, 15, 16, 23, 24, 25, 29, 31, 32, 32];

const ANCHORS_V6: [&str; 8] = [
    "2001:2:0:70::7",
    "2001:2:0:70::8",
    "2001:2:0:71:ffff:ffff:ffff:ffff",
    "2001:2:1::",
    "::ffff:198.18.70.7",
    "8000::",
    "::",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
const LENGTHS_V6: [u8; 12] = [0, 1, 32, 47, 48, 63, 64, 65, 96, 127, 128, 128];

const PORTS: [u16; 14] = [0, 1, 22, 79, 80, 80, 80, 81, 443, 443, 443, 1024, 65_534, 65_535];
/// Ports that have names and serve.
const KNOWN_PORTS: [u16; 4] = [80, 81, 443, 65_535];
const ICMP_NUMBERS: [u8; 6] = [0, 3, 4, 8, 128, 255];
const WITH_PORTS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::SCTP];
const PROTOCOLS: [u8; 11] = [
    protocol::TCP,
    protocol::TCP,
    protocol::UDP,
    protocol::UDP,
    protocol::SCTP,
    protocol::ICMP,
    protocol::ICMPV6,
    protocol::UDPLITE,
    47,
    0,
    255,
];
const LABEL_NAMES: [&str; 3] = ["a", "b", "c"];
const LABEL_VALUES: [&str; 4] = ["1", "2", "12", ""];
const NAMESPACES: [&str; 2] = ["n", "n-2"];
const POLICY_NAMES: [&str; 8] = ["a", "a-1", "a.b", "a0", "B", "b", "p10", "p9"];
const TIER_NAMES: [&str; 6] = ["default", "kube-admin", "net", "a", "b", "b-2"];
const MISSING_TIERS: [&str; 3] = ["missing-b", "missing-a", "0"];
const ORDERS: [Option<f64>; 8] =
    [None, None, Some(1.0), Some(1.0), Some(2.5), Some(-0.0), Some(0.0), Some(f64::INFINITY)];

/// How much of a thing there may be.
#[derive(Clone, Copy)]
struct Size {
    policies: usize,
    rules: usize,
    objects: usize,
    /// Rules ask for so much that few packets match one.
    is_narrow: bool,
}

/// Small, so that a difference is small and packets meet a rule.
const USUAL: Size = Size { policies: 7, rules: 5, objects: 7, is_narrow: false };

/// More policies, match sets and classes than a machine word has bits.
const LARGE: Size = Size { policies: 60, rules: 12, objects: 40, is_narrow: false };

/// Long lists of rules, which an image does not walk one by one, and packets that get far in them.
const LONG: Size = Size { policies: 3, rules: 150, objects: 12, is_narrow: true };

pub(crate) fn policy_set(rng: &mut Rng) -> PolicySet {
    let size = match rng.u8(..50) {
        0 => LARGE,
        1 | 2 => LONG,
        _ => USUAL,
    };
    let tiers = tiers(rng);
    let mut policies = Vec::new();
    let mut keys = BTreeSet::new();
    for number in 0..rng.usize(..=size.policies) {
        let policy = policy(rng, number, &tiers, size);
        let key = (policy.kind, policy.namespace.clone(), policy.name.clone());
        if keys.insert(key) {
            stage(rng, policy, &tiers, size, &mut policies);
        }
    }
    rng.shuffle(&mut policies);
    let objects = (0..rng.usize(..=size.objects)).map(|number| object(rng, number)).collect();
    let defaults = Defaults { allow_unselected: rng.bool(), allow_uncovered: rng.bool() };
    let mut set = PolicySet { tiers, policies, objects, defaults, ..PolicySet::new() };
    things::add_services(rng, &mut set);
    things::add_gateway(rng, &mut set);
    set
}

fn tiers(rng: &mut Rng) -> Vec<Tier> {
    let mut tiers = Vec::new();
    for name in TIER_NAMES {
        if rng.u8(..10) < 6 {
            let default_action = if rng.bool() { TierAction::Deny } else { TierAction::Pass };
            tiers.push(Tier { name: name.to_owned(), order: pick(rng, &ORDERS), default_action });
        }
    }
    rng.shuffle(&mut tiers);
    tiers
}

fn policy(rng: &mut Rng, number: usize, tiers: &[Tier], size: Size) -> Policy {
    let tier = match rng.choice(tiers) {
        Some(tier) if rng.u8(..10) < 8 => tier.name.clone(),
        _ => pick(rng, &MISSING_TIERS).to_owned(),
    };
    let name = if number < 10 { pick(rng, &POLICY_NAMES).to_owned() } else { format!("q{number}") };
    let kind =
        if rng.bool() { PolicyKind::GlobalNetworkPolicy } else { pick(rng, &PolicyKind::ALL) };
    let is_namespaced =
        matches!(kind, PolicyKind::NetworkPolicy | PolicyKind::KubernetesNetworkPolicy);
    let hook = match rng.u8(..20) {
        0..3 => Hook::Untracked,
        3..5 => Hook::PreDnat,
        5..10 => Hook::Forward,
        _ => Hook::Normal,
    };
    Policy {
        kind,
        namespace: is_namespaced.then(|| pick(rng, &NAMESPACES).to_owned()),
        hook,
        tier,
        order: pick(rng, &ORDERS),
        selector: selector(rng),
        applies_ingress: rng.u8(..4) > 0,
        applies_egress: rng.u8(..4) > 0,
        ingress: rules::of_size(rng, size),
        egress: rules::of_size(rng, size),
        ..Policy::new(&name)
    }
}

/// The policy as it is enforced, as it is staged, or both.
fn stage(rng: &mut Rng, policy: Policy, tiers: &[Tier], size: Size, into: &mut Vec<Policy>) {
    let changed = |rng: &mut Rng| {
        let Policy { kind, namespace, name, .. } = policy.clone();
        let staged = Some(StagedAction::Set);
        Policy { kind, namespace, name, staged, ..self::policy(rng, 0, tiers, size) }
    };
    let deleted = || Policy {
        staged: Some(StagedAction::Delete),
        ingress: Vec::new(),
        egress: Vec::new(),
        ..policy.clone()
    };
    match rng.u8(..12) {
        0 => into.push(Policy { staged: Some(StagedAction::Set), ..policy }),
        1 | 2 => into.extend([changed(rng), policy]),
        3 => into.extend([deleted(), policy]),
        4 => into.push(deleted()),
        _ => into.push(policy),
    }
}

pub(crate) fn nets(rng: &mut Rng, family: IpVersion) -> Vec<IpNet> {
    let count = rng.usize(1..=3);
    (0..count).map(|_| net(rng, family)).collect()
}

pub(crate) fn net(rng: &mut Rng, family: IpVersion) -> IpNet {
    let length = match family {
        IpVersion::V4 => pick(rng, &LENGTHS_V4),
        IpVersion::V6 => pick(rng, &LENGTHS_V6),
    };
    IpNet::new(anchor(rng, family), length).unwrap().trunc()
}

fn anchor(rng: &mut Rng, family: IpVersion) -> IpAddr {
    let anchors = match family {
        IpVersion::V4 => &ANCHORS_V4,
        IpVersion::V6 => &ANCHORS_V6,
    };
    pick(rng, anchors).parse().unwrap()
}

fn any_anchor(rng: &mut Rng) -> IpAddr {
    let family = family(rng);
    anchor(rng, family)
}

pub(crate) fn selector(rng: &mut Rng) -> Selector {
    let text = if rng.u8(..20) == 0 { String::new() } else { expression(rng, 2) };
    Selector::parse(&text).unwrap_or_else(|error| panic!("`{text}`: {error:?}"))
}

fn expression(rng: &mut Rng, depth: u8) -> String {
    if depth > 0 && rng.u8(..3) == 0 {
        let (left, right) = (expression(rng, depth - 1), expression(rng, depth - 1));
        return match rng.u8(..3) {
            0 => format!("!({left})"),
            1 => format!("({left}) && ({right})"),
            _ => format!("({left}) || ({right})"),
        };
    }
    let (name, value) = (pick(rng, &LABEL_NAMES), pick(rng, &LABEL_VALUES));
    match rng.u8(..12) {
        0 | 1 => "all()".to_owned(),
        2 => "global()".to_owned(),
        3 | 4 => format!("has({name})"),
        5 => format!("{name} == '{value}'"),
        6 => format!("{name} != '{value}'"),
        7 => format!("{name} contains '{value}'"),
        8 => format!("{name} starts with '{value}'"),
        9 => format!("{name} ends with '{value}'"),
        10 => format!("{name} in {{'{value}', '2'}}"),
        _ => format!("{name} not in {{'{value}', '1'}}"),
    }
}

/// A way through the gateway of that set, by ports that it knows and others.
pub(crate) fn crossing(rng: &mut Rng, set: &PolicySet) -> Crossing {
    // From and to the outside and without interfaces there is one answer only.
    let either = if set.interfaces.is_empty() { 5 } else { 6 };
    let [from, to] = match rng.u8(..either) {
        0 | 1 => [Side::Outside, Side::Inside],
        2 | 3 => [Side::Inside, Side::Outside],
        4 => [Side::Inside, Side::Inside],
        _ => [Side::Outside, Side::Outside],
    };
    let mut place = |side| {
        if rng.u8(..6) == 0 {
            return Place::Gateway;
        }
        let number = u16::try_from(rng.usize(..=set.ports.len())).unwrap();
        Place::Port { side, number: (rng.u8(..6) > 0).then_some(number) }
    };
    Crossing { from: place(from), to: place(to) }
}

pub(crate) fn family(rng: &mut Rng) -> IpVersion {
    if rng.bool() { IpVersion::V4 } else { IpVersion::V6 }
}

pub(crate) fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    *rng.choice(choices).unwrap()
}
