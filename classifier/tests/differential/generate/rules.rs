//! Random rules.

use classifier::packet::IpVersion;
use classifier::resource::{Action, IcmpMatch, Peer, PortRange, Rule};
use fastrand::Rng;

use super::places::icmp_of;
use super::things::{PORT_NAMES, service_name};
use super::{ICMP_NUMBERS, PORTS, PROTOCOLS, Size, WITH_PORTS, family, net, nets, pick, selector};

pub(super) fn list(rng: &mut Rng, most: usize) -> Vec<Rule> {
    let count = rng.usize(..=most);
    (0..count).map(|_| rule(rng)).collect()
}

pub(super) fn of_size(rng: &mut Rng, size: Size) -> Vec<Rule> {
    let mut rules = list(rng, size.rules);
    for rule in rules.iter_mut().filter(|_| size.is_narrow) {
        if rng.u8(..80) > 0 {
            narrow(rng, rule);
        }
    }
    rules
}

/// Asks for one end by who it is and mostly for one port besides whatever else the rule asks.
fn narrow(rng: &mut Rng, rule: &mut Rule) {
    let family = family(rng);
    for peer in [&mut rule.source, &mut rule.destination] {
        if peer.service.is_none() && rng.bool() {
            match rng.u8(..3) {
                0 => peer.nets = vec![net(rng, family)],
                _ => peer.selector = Some(selector(rng)),
            }
        }
    }
    if rule.destination.service.is_none() && rng.u8(..12) > 0 {
        rule.protocol = Some(pick(rng, &WITH_PORTS));
        let port = pick(rng, &PORTS);
        rule.destination.ports = vec![PortRange { first: port, last: port }];
    }
    if rng.u8(..4) > 0 {
        rule.icmp = None;
        rule.not_protocol = None;
    }
}

pub(crate) fn rule(rng: &mut Rng) -> Rule {
    let actions =
        [Action::Allow, Action::Allow, Action::Deny, Action::Deny, Action::Log, Action::Pass];
    let mut rule = Rule::new(pick(rng, &actions));
    let family = family(rng);
    for _ in 0..pick(rng, &[0, 1, 1, 1, 2, 2, 3]) {
        add_field(rng, &mut rule, family);
    }
    stand_alone(&mut rule);
    rule
}

fn add_field(rng: &mut Rng, rule: &mut Rule, family: IpVersion) {
    match rng.u8(..14) {
        0 => rule.ip_version = Some(family),
        1 => rule.protocol = Some(pick(rng, &PROTOCOLS)),
        2 => rule.not_protocol = Some(pick(rng, &PROTOCOLS)),
        3 => {
            rule.icmp = Some(icmp(rng));
            needs_protocol(rng, rule, &[icmp_of(family)]);
        }
        4 => rule.not_icmp = Some(icmp(rng)),
        _ => {
            let is_source = rng.bool();
            let peer = if is_source { &mut rule.source } else { &mut rule.destination };
            if add_peer_field(rng, peer, is_source, family) {
                needs_protocol(rng, rule, &WITH_PORTS);
            }
        }
    }
}

/// Whether the field asks for a protocol that has ports.
fn add_peer_field(rng: &mut Rng, peer: &mut Peer, is_source: bool, family: IpVersion) -> bool {
    match rng.u8(..15) {
        0 => peer.nets = nets(rng, family),
        1 => peer.not_nets = nets(rng, family),
        2 => peer.selector = Some(selector(rng)),
        3 => peer.not_selector = Some(selector(rng)),
        4 => {
            peer.selector = Some(selector(rng));
            peer.not_selector = Some(selector(rng));
        }
        5 => peer.ports = ports(rng),
        6 => peer.not_ports = ports(rng),
        7 => peer.named_ports = names(rng),
        8 => peer.not_named_ports = names(rng),
        9..12 => {
            peer.named_ports = names(rng);
            some_selectors(rng, peer);
        }
        12 | 13 => {
            peer.not_named_ports = names(rng);
            some_selectors(rng, peer);
        }
        _ => {
            peer.service = Some(service_name(rng));
            if is_source && rng.u8(..3) == 0 {
                peer.ports = ports(rng);
            }
        }
    }
    // Names are asked for without a protocol too.
    let asks_names = !peer.named_ports.is_empty() || !peer.not_named_ports.is_empty();
    !(peer.ports.is_empty() && peer.not_ports.is_empty()) || asks_names && rng.bool()
}

/// A service stands alone in its peer, but for the ports of a source.
fn stand_alone(rule: &mut Rule) {
    if let service @ Some(_) = rule.destination.service.take() {
        rule.destination = Peer { service, ..Peer::default() };
    }
    if rule.source.service.is_some() {
        let Peer { nets, not_nets, selector, not_selector, .. } = &mut rule.source;
        nets.clear();
        not_nets.clear();
        (*selector, *not_selector) = (None, None);
    }
}

fn some_selectors(rng: &mut Rng, peer: &mut Peer) {
    let which = rng.u8(..3);
    peer.selector = (which != 0).then(|| selector(rng));
    peer.not_selector = (which != 1).then(|| selector(rng));
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

/// One or two names; some that nobody gives.
fn names(rng: &mut Rng) -> Vec<String> {
    let count = rng.usize(1..=2);
    (0..count).map(|_| pick(rng, &PORT_NAMES).to_owned()).collect()
}
