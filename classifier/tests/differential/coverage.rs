//! What the random pairs reached. A run that missed something proves less than it says, so it fails.

use std::collections::HashMap;

use classifier::decision::{Decision, Direction, Half, Reason, Verdict};
use classifier::image::View;
use classifier::packet::{Crossing, IpVersion, PacketKey, Side};
use classifier::reference;
use classifier::resource::{Action, Peer, Policy, PolicySet, Rule};

use crate::say;

/// How often everything must have happened.
const LEAST: u64 = 50;

/// How often each thing happened.
#[derive(Default)]
pub(crate) struct Coverage(HashMap<Event, u64>);

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Event {
    /// A packet of that family crossed that way.
    Crossed(IpVersion, Side, Side),
    /// A direction was settled so.
    Settled(Direction, IpVersion, Settled),
    /// A rule with that action was reached and matched, or not.
    Reached(Direction, Action, bool),
    /// A rule that was reached has that field, and the field alone matched, or not.
    Field(Field, bool),
    /// `notSelector` alone was asked of an address that no object covers.
    NotSelectorOfUncovered,
    /// So many objects covered the protected address: one, or several.
    Covered(bool),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Settled {
    Rule(Verdict),
    EndOfTier,
    EndOfMissingTier,
    NoTierDecided,
    Unselected(Verdict),
    Uncovered(Verdict),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Field {
    IpVersion,
    Protocol,
    NotProtocol,
    Icmp,
    NotIcmp,
    Source(PeerField),
    Destination(PeerField),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum PeerField {
    Nets,
    NotNets,
    Selector,
    NotSelector,
    SelectorAndNotSelector,
    Ports,
    NotPorts,
}

impl Coverage {
    /// Takes note of one pair, whose decision is right.
    pub(crate) fn observe(
        &mut self,
        set: &PolicySet,
        view: &View<'_>,
        packet: &PacketKey,
        crossing: Crossing,
        decision: Decision,
    ) {
        if let (Some(from), Some(to)) = (crossing.from.side(), crossing.to.side()) {
            self.count(Event::Crossed(packet.version(), from, to));
        }
        for (direction, half) in
            [(Direction::Egress, decision.egress), (Direction::Ingress, decision.ingress)]
        {
            let Some(half) = half else { continue };
            self.count(Event::Settled(direction, packet.version(), settled(set, half)));
            let protected = match direction {
                Direction::Egress => packet.src,
                Direction::Ingress => packet.dst,
            };
            match covering(set, protected) {
                0 => {}
                count => self.count(Event::Covered(count > 1)),
            }
        }
        for half in view.trace(packet, crossing).halves {
            for visited in half.tiers.iter().flat_map(|tier| &tier.policies) {
                let policy = set.policies.iter().find(|policy| policy.name == visited.name);
                let rules = rules_of(policy.unwrap(), half.at.direction());
                for rule in &visited.rules {
                    let rule = rules.get(rule.index as usize).unwrap();
                    self.observe_rule(set, packet, half.at.direction(), rule);
                }
            }
        }
    }

    fn observe_rule(
        &mut self,
        set: &PolicySet,
        packet: &PacketKey,
        direction: Direction,
        rule: &Rule,
    ) {
        let matches = |rule: &Rule| reference::rule_matches(set, packet, rule);
        self.count(Event::Reached(direction, rule.action, matches(rule)));
        for (field, alone) in fields_of(rule) {
            self.count(Event::Field(field, matches(&alone)));
            let asks_nobody = |side: fn(PeerField) -> Field, address| {
                field == side(PeerField::NotSelector) && covering(set, address) == 0
            };
            if asks_nobody(Field::Source, packet.src) || asks_nobody(Field::Destination, packet.dst)
            {
                self.count(Event::NotSelectorOfUncovered);
            }
        }
    }

    fn count(&mut self, event: Event) {
        *self.0.entry(event).or_default() += 1;
    }

    /// Fails when something did not happen often enough.
    pub(crate) fn assert_complete(&self) {
        let count = |event: &Event| self.0.get(event).copied().unwrap_or_default();
        let all = Event::all();
        let rarest = all.iter().min_by_key(|event| count(event)).unwrap();
        say(&format!(
            "differential: {} things reached, the rarest {} times: {rarest:?}",
            all.len(),
            count(rarest)
        ));
        let missed: Vec<_> = all.iter().filter(|event| count(event) < LEAST).collect();
        assert!(missed.is_empty(), "reached less than {LEAST} times: {missed:?}");
    }
}

impl Event {
    fn all() -> Vec<Self> {
        let directions = [Direction::Egress, Direction::Ingress];
        let families = [IpVersion::V4, IpVersion::V6];
        let sides = [Side::Inside, Side::Outside];
        let mut all = vec![Self::NotSelectorOfUncovered, Self::Covered(false), Self::Covered(true)];
        for family in families {
            for from in sides {
                all.extend(sides.map(|to| Self::Crossed(family, from, to)));
            }
            for direction in directions {
                all.extend(Settled::ALL.map(|how| Self::Settled(direction, family, how)));
            }
        }
        for matched in [false, true] {
            for direction in directions {
                for action in [Action::Allow, Action::Deny, Action::Log, Action::Pass] {
                    all.push(Self::Reached(direction, action, matched));
                }
            }
            all.extend(Field::all().into_iter().map(|field| Self::Field(field, matched)));
        }
        all
    }
}

impl Settled {
    const ALL: [Self; 9] = [
        Self::Rule(Verdict::Allow),
        Self::Rule(Verdict::Deny),
        Self::EndOfTier,
        Self::EndOfMissingTier,
        Self::NoTierDecided,
        Self::Unselected(Verdict::Allow),
        Self::Unselected(Verdict::Deny),
        Self::Uncovered(Verdict::Allow),
        Self::Uncovered(Verdict::Deny),
    ];
}

impl Field {
    fn all() -> Vec<Self> {
        let mut all =
            vec![Self::IpVersion, Self::Protocol, Self::NotProtocol, Self::Icmp, Self::NotIcmp];
        all.extend(PeerField::ALL.map(Self::Source));
        all.extend(PeerField::ALL.map(Self::Destination));
        all
    }
}

impl PeerField {
    const ALL: [Self; 7] = [
        Self::Nets,
        Self::NotNets,
        Self::Selector,
        Self::NotSelector,
        Self::SelectorAndNotSelector,
        Self::Ports,
        Self::NotPorts,
    ];
}

fn settled(set: &PolicySet, half: Half) -> Settled {
    match half.reason {
        Reason::Rule(_) => Settled::Rule(half.verdict),
        Reason::EndOfTier(tier) if (tier as usize) < set.tiers.len() => Settled::EndOfTier,
        Reason::EndOfTier(_) => Settled::EndOfMissingTier,
        Reason::NoTierDecided | Reason::NoForwardPolicy | Reason::NoProfile => {
            Settled::NoTierDecided
        }
        Reason::Unselected => Settled::Unselected(half.verdict),
        Reason::Uncovered => Settled::Uncovered(half.verdict),
    }
}

fn covering(set: &PolicySet, address: std::net::IpAddr) -> usize {
    let covers = |nets: &[ipnet::IpNet]| nets.iter().any(|net| net.contains(&address));
    set.objects.iter().filter(|object| covers(&object.nets)).count()
}

pub(crate) fn rules_of(policy: &Policy, direction: Direction) -> &[Rule] {
    match direction {
        Direction::Egress => &policy.egress,
        Direction::Ingress => &policy.ingress,
    }
}

/// The fields that a rule has, each with a rule that has only that one.
fn fields_of(rule: &Rule) -> Vec<(Field, Rule)> {
    let bare = || Rule::new(rule.action);
    let mut found = Vec::new();
    if rule.ip_version.is_some() {
        found.push((Field::IpVersion, Rule { ip_version: rule.ip_version, ..bare() }));
    }
    if rule.protocol.is_some() {
        found.push((Field::Protocol, Rule { protocol: rule.protocol, ..bare() }));
    }
    if rule.not_protocol.is_some() {
        found.push((Field::NotProtocol, Rule { not_protocol: rule.not_protocol, ..bare() }));
    }
    if rule.icmp.is_some() {
        found.push((Field::Icmp, Rule { icmp: rule.icmp, ..bare() }));
    }
    if rule.not_icmp.is_some() {
        found.push((Field::NotIcmp, Rule { not_icmp: rule.not_icmp, ..bare() }));
    }
    for (field, source) in peer_fields_of(&rule.source) {
        found.push((Field::Source(field), Rule { source, ..bare() }));
    }
    for (field, destination) in peer_fields_of(&rule.destination) {
        found.push((Field::Destination(field), Rule { destination, ..bare() }));
    }
    found
}

fn peer_fields_of(peer: &Peer) -> Vec<(PeerField, Peer)> {
    let mut found = Vec::new();
    if !peer.nets.is_empty() {
        found.push((PeerField::Nets, Peer { nets: peer.nets.clone(), ..Peer::default() }));
    }
    if !peer.not_nets.is_empty() {
        let not_nets = peer.not_nets.clone();
        found.push((PeerField::NotNets, Peer { not_nets, ..Peer::default() }));
    }
    let field = match (&peer.selector, &peer.not_selector) {
        (None, None) => None,
        (Some(_), None) => Some(PeerField::Selector),
        (None, Some(_)) => Some(PeerField::NotSelector),
        (Some(_), Some(_)) => Some(PeerField::SelectorAndNotSelector),
    };
    if let Some(field) = field {
        let (selector, not_selector) = (peer.selector.clone(), peer.not_selector.clone());
        found.push((field, Peer { selector, not_selector, ..Peer::default() }));
    }
    if !peer.ports.is_empty() {
        found.push((PeerField::Ports, Peer { ports: peer.ports.clone(), ..Peer::default() }));
    }
    if !peer.not_ports.is_empty() {
        let not_ports = peer.not_ports.clone();
        found.push((PeerField::NotPorts, Peer { not_ports, ..Peer::default() }));
    }
    found
}
