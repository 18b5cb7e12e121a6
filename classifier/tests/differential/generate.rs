//! Random policy sets and packets, all from a few places, so that things overlap, touch and miss by one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use classifier::packet::{Crossing, IpVersion, PacketKey, Side, Transport, protocol};
use classifier::resource::{
    Action, Defaults, IcmpMatch, Object, ObjectKind, Peer, Policy, PolicySet, PortRange, Rule,
    Tier, TierAction,
};
use classifier::selector::Selector;
use fastrand::Rng;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

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

const PORTS: [u16; 10] = [0, 1, 22, 79, 80, 81, 443, 1024, 65_534, 65_535];
const ICMP_NUMBERS: [u8; 6] = [0, 3, 4, 8, 128, 255];
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
}

/// Small, so that a difference is small and packets meet a rule.
const USUAL: Size = Size { policies: 6, rules: 5, objects: 7 };

/// More policies, match sets and classes than a machine word has bits.
const LARGE: Size = Size { policies: 60, rules: 12, objects: 40 };

pub(crate) fn policy_set(rng: &mut Rng) -> PolicySet {
    let size = if rng.u8(..50) == 0 { LARGE } else { USUAL };
    let mut tiers = Vec::new();
    for name in TIER_NAMES {
        if rng.u8(..10) < 6 {
            let default_action = if rng.bool() { TierAction::Deny } else { TierAction::Pass };
            tiers.push(Tier { name: name.to_owned(), order: pick(rng, &ORDERS), default_action });
        }
    }
    rng.shuffle(&mut tiers);
    let mut names: Vec<String> = POLICY_NAMES.map(str::to_owned).to_vec();
    names.extend((names.len()..size.policies).map(|number| format!("q{number}")));
    rng.shuffle(&mut names);
    names.truncate(rng.usize(..=size.policies));
    let policies = names.iter().map(|name| policy(rng, name, &tiers, size)).collect();
    let objects = (0..rng.usize(..=size.objects)).map(|number| object(rng, number)).collect();
    let defaults = Defaults { allow_unselected: rng.bool(), allow_uncovered: rng.bool() };
    PolicySet { tiers, policies, objects, defaults, ..PolicySet::new() }
}

fn policy(rng: &mut Rng, name: &str, tiers: &[Tier], size: Size) -> Policy {
    let tier = match rng.choice(tiers) {
        Some(tier) if rng.u8(..10) < 8 => tier.name.clone(),
        _ => pick(rng, &MISSING_TIERS).to_owned(),
    };
    Policy {
        tier,
        order: pick(rng, &ORDERS),
        selector: selector(rng),
        applies_ingress: rng.u8(..4) > 0,
        applies_egress: rng.u8(..4) > 0,
        ingress: rules(rng, size),
        egress: rules(rng, size),
        ..Policy::new(name)
    }
}

fn rules(rng: &mut Rng, size: Size) -> Vec<Rule> {
    let count = rng.usize(..=size.rules);
    (0..count).map(|_| rule(rng)).collect()
}

pub(crate) fn rule(rng: &mut Rng) -> Rule {
    let actions =
        [Action::Allow, Action::Allow, Action::Deny, Action::Deny, Action::Log, Action::Pass];
    let mut rule = Rule::new(pick(rng, &actions));
    let family = family(rng);
    for _ in 0..pick(rng, &[0, 1, 1, 1, 2, 2, 3]) {
        add_field(rng, &mut rule, family);
    }
    rule
}

fn add_field(rng: &mut Rng, rule: &mut Rule, family: IpVersion) {
    match rng.u8(..12) {
        0 => rule.ip_version = Some(family),
        1 => rule.protocol = Some(pick(rng, &PROTOCOLS)),
        2 => rule.not_protocol = Some(pick(rng, &PROTOCOLS)),
        3 => {
            rule.icmp = Some(icmp(rng));
            needs_protocol(rng, rule, &[icmp_of(family)]);
        }
        4 => rule.not_icmp = Some(icmp(rng)),
        _ => {
            let side = if rng.bool() { &mut rule.source } else { &mut rule.destination };
            if add_peer_field(rng, side, family) {
                needs_protocol(rng, rule, &[protocol::TCP, protocol::UDP, protocol::SCTP]);
            }
        }
    }
}

/// Whether the field is one about ports.
fn add_peer_field(rng: &mut Rng, peer: &mut Peer, family: IpVersion) -> bool {
    let field = rng.u8(..7);
    match field {
        0 => peer.nets = nets(rng, family),
        1 => peer.not_nets = nets(rng, family),
        2 => peer.selector = Some(selector(rng)),
        3 => peer.not_selector = Some(selector(rng)),
        4 => {
            peer.selector = Some(selector(rng));
            peer.not_selector = Some(selector(rng));
        }
        5 => peer.ports = ports(rng),
        _ => peer.not_ports = ports(rng),
    }
    field >= 5
}

/// Mostly as a checked document has it; a rule that leaves it out still has a meaning.
fn needs_protocol(rng: &mut Rng, rule: &mut Rule, choices: &[u8]) {
    if rng.u8(..8) > 0 {
        rule.protocol = Some(pick(rng, choices));
    }
}

fn icmp(rng: &mut Rng) -> IcmpMatch {
    let kind = pick(rng, &ICMP_NUMBERS);
    IcmpMatch { kind, code: rng.bool().then(|| pick(rng, &ICMP_NUMBERS)) }
}

fn icmp_of(family: IpVersion) -> u8 {
    match family {
        IpVersion::V4 => protocol::ICMP,
        IpVersion::V6 => protocol::ICMPV6,
    }
}

/// One to three ranges, seldom many; overlapping, touching and unsorted as they come.
fn ports(rng: &mut Rng) -> Vec<PortRange> {
    let count = if rng.u8(..20) == 0 { 40 } else { rng.usize(1..=3) };
    let mut range = || {
        let (one, other) = (pick(rng, &PORTS), pick(rng, &PORTS));
        let other = if rng.bool() { one } else { other };
        PortRange { first: one.min(other), last: one.max(other) }
    };
    (0..count).map(|_| range()).collect()
}

fn nets(rng: &mut Rng, family: IpVersion) -> Vec<IpNet> {
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

pub(crate) fn object(rng: &mut Rng, number: usize) -> Object {
    let mut labels = Vec::new();
    for name in LABEL_NAMES {
        if rng.bool() {
            labels.push((name, pick(rng, &LABEL_VALUES)));
        }
    }
    let count = rng.usize(..=4);
    let mut random_net = || {
        let family = family(rng);
        net(rng, family)
    };
    let nets = (0..count).map(|_| random_net()).collect();
    let kind = if rng.bool() { ObjectKind::GlobalNetworkSet } else { ObjectKind::HostEndpoint };
    Object {
        kind,
        name: format!("o{number}"),
        labels: labels.into_iter().collect(),
        nets,
        ..Object::new(ObjectKind::GlobalNetworkSet, "")
    }
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

pub(crate) fn crossing(rng: &mut Rng) -> Crossing {
    let side = |inside: bool| if inside { Side::Inside } else { Side::Outside };
    // Outside to outside has one answer only.
    let (from, to) = pick(
        rng,
        &[(false, true), (false, true), (true, false), (true, false), (true, true), (false, false)],
    );
    Crossing::sides(side(from), side(to))
}

/// The addresses where a policy set may change its mind: the ends of every net it names, and their neighbours.
pub(crate) struct Places {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Places {
    pub(crate) fn of(set: &PolicySet) -> Self {
        let rules = set.policies.iter().flat_map(|p| p.ingress.iter().chain(&p.egress));
        let peers = rules.flat_map(|rule| [&rule.source, &rule.destination]);
        let in_rules = peers.flat_map(|peer| peer.nets.iter().chain(&peer.not_nets));
        let in_objects = set.objects.iter().flat_map(|object| &object.nets);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in in_objects.chain(in_rules) {
            match net {
                IpNet::V4(net) => v4.extend(ends_v4(*net).map(IpAddr::V4)),
                IpNet::V6(net) => v6.extend(ends_v6(*net).map(IpAddr::V6)),
            }
        }
        Self { v4, v6 }
    }

    /// The least address of the family, and all places: every piece of a table of disjoint pieces has one of them.
    pub(crate) fn all(&self, family: IpVersion) -> Vec<IpAddr> {
        let (places, zero) = match family {
            IpVersion::V4 => (&self.v4, Ipv4Addr::UNSPECIFIED.into()),
            IpVersion::V6 => (&self.v6, Ipv6Addr::UNSPECIFIED.into()),
        };
        let mut all = places.clone();
        all.push(zero);
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(crate) fn packet(&self, rng: &mut Rng) -> PacketKey {
        let family = family(rng);
        let protocol = match rng.u8(..6) {
            0 => icmp_of(family),
            _ => pick(rng, &PROTOCOLS),
        };
        PacketKey {
            src: self.address(rng, family),
            dst: self.address(rng, family),
            protocol,
            transport: transport(rng, protocol),
        }
    }

    fn address(&self, rng: &mut Rng, family: IpVersion) -> IpAddr {
        let places = match family {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        };
        match rng.choice(places) {
            Some(place) if rng.u8(..4) > 0 => *place,
            _ => anchor(rng, family),
        }
    }
}

/// What the parser makes of the protocol, and now and then what a fragment leaves of it.
fn transport(rng: &mut Rng, protocol: u8) -> Transport {
    let fragment = rng.u8(..12) == 0;
    match protocol {
        _ if fragment => Transport::Opaque,
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            Transport::Ports { src: pick(rng, &PORTS), dst: pick(rng, &PORTS) }
        }
        protocol::ICMP | protocol::ICMPV6 => {
            Transport::Icmp { kind: pick(rng, &ICMP_NUMBERS), code: pick(rng, &ICMP_NUMBERS) }
        }
        _ => Transport::Opaque,
    }
}

fn ends_v4(net: Ipv4Net) -> [Ipv4Addr; 4] {
    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
    [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(Ipv4Addr::from_bits)
}

fn ends_v6(net: Ipv6Net) -> [Ipv6Addr; 4] {
    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
    [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(Ipv6Addr::from_bits)
}

pub(crate) fn family(rng: &mut Rng) -> IpVersion {
    if rng.bool() { IpVersion::V4 } else { IpVersion::V6 }
}

pub(crate) fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    *rng.choice(choices).unwrap()
}
