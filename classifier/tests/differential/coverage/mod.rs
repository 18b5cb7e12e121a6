//! What the random pairs reached. A run that missed something proves less than it says, so it fails.

mod event;
mod fields;

use std::collections::HashMap;
use std::net::IpAddr;

use classifier::decision::{Checkpoint, Decision, Half, Reason, Verdict};
use classifier::packet::{Crossing, PacketKey, Place, Transport};
use classifier::reference;
use classifier::resource::{
    GatewayPort, InterfaceEndpoint, InterfaceMatch, Object, Policy, PolicySet, Rule, StagedAction,
};

use self::event::{DEPTHS, Event, Governed, Pending, Settled, Spot};
use self::fields::{Field, PeerField, fields_of};
use crate::compare::{Judged, Named, Plane, find_rule, staged_twin};
use crate::say;
use crate::visit::Visit;

/// How often everything must have happened.
const LEAST: u64 = 50;

/// How often each thing happened.
#[derive(Default)]
pub(crate) struct Coverage(HashMap<Event, u64>);

impl Coverage {
    /// Takes note of one pair, whose decisions are right.
    pub(crate) fn observe(
        &mut self,
        set: &PolicySet,
        packet: &PacketKey,
        crossing: Crossing,
        [enforced, pending]: &[Judged<'_>; 2],
    ) {
        let Crossing { from, to } = crossing;
        self.count(Event::Crossed(packet.version(), Spot::of(from), Spot::of(to)));
        for place in [from, to] {
            self.observe_governed(set, place);
        }
        for address in [packet.src, packet.dst] {
            self.observe_covered(set, address);
        }
        for (plane, judged) in Plane::ALL.into_iter().zip([enforced, pending]) {
            self.observe_decision(set, packet, plane, judged.decision);
        }
        self.observe_pending(set, enforced.decision, pending.decision);
        for visit in &enforced.visits {
            self.observe_rule(set, packet, visit);
        }
    }

    fn observe_decision(
        &mut self,
        set: &PolicySet,
        packet: &PacketKey,
        plane: Plane,
        decision: Decision,
    ) {
        for (at, half) in decision.halves() {
            let settled = settled(set, half);
            self.count(Event::Settled(plane, at, packet.version(), settled));
            if let Reason::Rule(rule) = half.reason {
                for depth in DEPTHS.into_iter().filter(|depth| rule.rule >= *depth) {
                    self.count(Event::Deep(at, depth));
                }
            }
            if half.logged.is_some() {
                self.count(Event::Logged(plane, at));
            }
            if let (Checkpoint::Entry, Settled::Rule(Some(hook), Verdict::Allow), Some(exit)) =
                (at, settled, decision.exit)
            {
                self.count(Event::ExitAfter(hook, exit.verdict));
            }
        }
        if decision.untracked {
            self.count(Event::Untracked(plane, decision.verdict()));
        }
    }

    fn observe_governed(&mut self, set: &PolicySet, place: Place) {
        let Place::Port { number, .. } = place else { return };
        let port = number.and_then(|number| set.ports.get(usize::from(number)));
        let is_of = |e: &&InterfaceEndpoint| port.is_some_and(|port| is_specific(e, port));
        let mut specific: Vec<_> = set.interfaces.iter().filter(is_of).collect();
        specific.sort_by_key(|endpoint| &endpoint.name);
        let has_all = set.interfaces.iter().any(|e| e.interface == InterfaceMatch::All);
        let how = match (specific.as_slice(), has_all, port) {
            ([], false, _) => Governed::Nobody,
            ([], true, Some(_)) => Governed::All,
            ([], true, None) => Governed::AllForUnknown,
            ([_], true, _) => Governed::SpecificBeforeAll,
            ([one], false, _) if matches!(one.interface, InterfaceMatch::Name(_)) => Governed::Name,
            ([_], false, _) => Governed::Addresses,
            ([first, ..], ..) if matches!(first.interface, InterfaceMatch::Name(_)) => {
                Governed::NameOfSeveral
            }
            ([_, ..], ..) => Governed::AddressesOfSeveral,
        };
        self.count(Event::Governed(how));
    }

    fn observe_covered(&mut self, set: &PolicySet, address: IpAddr) {
        let covering = covering(set, address);
        match covering.as_slice() {
            [] => {}
            all if all.iter().all(|object| object.peer_only) => {
                self.count(Event::CoveredByPeersOnly);
            }
            [_] => self.count(Event::Covered(false)),
            [_, ..] => self.count(Event::Covered(true)),
        }
    }

    fn observe_pending(&mut self, set: &PolicySet, enforced: Decision, pending: Decision) {
        let policy_of = |decision: Decision| {
            let Reason::Rule(rule) = decision.deciding()?.1.reason else { return None };
            let Named::Policy(policy) = find_rule(set, rule)?.0 else { return None };
            Some(policy)
        };
        if let Some(policy) = policy_of(enforced) {
            match staged_twin(set, policy).and_then(|twin| twin.staged) {
                Some(StagedAction::Set) => self.count(Event::Pending(Pending::ReplacedDecided)),
                Some(StagedAction::Delete) => self.count(Event::Pending(Pending::DeletedDecided)),
                None => {}
            }
        }
        if let Some(policy) = policy_of(pending).filter(|policy| policy.staged.is_some()) {
            let has_twin = set.policies.iter().any(|other| is_enforced_twin(policy, other));
            let how = if has_twin { Pending::ReplacingDecides } else { Pending::NewDecides };
            self.count(Event::Pending(how));
        }
        if let Some((_, Half { reason: Reason::EndOfTier(tier), .. })) = pending.deciding() {
            let name = set.tier_names()[tier as usize];
            let mut of_tier = set.policies.iter().filter(|policy| policy.tier == name);
            if of_tier.all(|policy| policy.staged.is_some()) {
                self.count(Event::Pending(Pending::EndOfStagedTier));
            }
        }
        if enforced.verdict() != pending.verdict() {
            self.count(Event::Pending(Pending::Becomes(pending.verdict())));
        }
    }

    fn observe_rule(&mut self, set: &PolicySet, packet: &PacketKey, visit: &Visit<'_>) {
        let Visit { at, rule, matched } = *visit;
        let matches = |rule: &Rule| reference::rule_matches(set, packet, rule);
        self.count(Event::Reached(at, rule.action, matched));
        for (field, alone) in fields_of(set, rule) {
            let matched = matches(&alone);
            self.count(Event::Field(field, matched));
            let asks_nobody = |side: fn(PeerField) -> Field, address| {
                field == side(PeerField::NotSelector) && covering(set, address).is_empty()
            };
            if asks_nobody(Field::Source, packet.src) || asks_nobody(Field::Destination, packet.dst)
            {
                self.count(Event::NotSelectorOfUncovered);
            }
            let (Field::Source(of_peer) | Field::Destination(of_peer)) = field else { continue };
            let has_ports = matches!(packet.transport, Transport::Ports { .. });
            if matches!(of_peer, PeerField::NamedPorts(_)) && rule.protocol.is_none() && has_ports {
                self.count(Event::NameWithoutProtocol(matched));
            }
            if matches!(of_peer, PeerField::NotNamedPorts(_)) && !has_ports && matched {
                self.count(Event::UnwantedNameWithoutPort);
            }
        }
    }

    fn count(&mut self, event: Event) {
        *self.0.entry(event).or_default() += 1;
    }

    /// Fails when something did not happen often enough.
    pub(crate) fn assert_complete(&self) {
        let count = |event: &Event| self.0.get(event).copied().unwrap_or_default();
        let mut all = Event::all();
        all.sort_by_key(count);
        say(&format!("differential: {} things reached; the rarest:", all.len()));
        for event in all.iter().take(5) {
            say(&format!("  {} times {event:?}", count(event)));
        }
        let missed: Vec<_> = all.iter().filter(|event| count(event) < LEAST).collect();
        assert!(missed.is_empty(), "reached less than {LEAST} times: {missed:?}");
        let unknown: Vec<_> = self.0.keys().filter(|event| !all.contains(event)).collect();
        assert!(unknown.is_empty(), "reached, and not known to be possible: {unknown:?}");
    }
}

fn settled(set: &PolicySet, half: Half) -> Settled {
    match half.reason {
        Reason::Rule(rule) => {
            let hook = match find_rule(set, rule).unwrap().0 {
                Named::Policy(policy) => Some(policy.hook),
                Named::Profile(_) => None,
            };
            Settled::Rule(hook, half.verdict)
        }
        Reason::EndOfTier(tier) if (tier as usize) < set.tiers.len() => Settled::EndOfTier,
        Reason::EndOfTier(_) => Settled::EndOfMissingTier,
        Reason::NoTierDecided => Settled::NoTierDecided,
        Reason::Unselected => Settled::Unselected(half.verdict),
        Reason::Uncovered => Settled::Uncovered(half.verdict),
        Reason::NoForwardPolicy => Settled::NoForwardPolicy,
        Reason::NoProfile => Settled::NoProfile,
    }
}

fn is_specific(endpoint: &InterfaceEndpoint, port: &GatewayPort) -> bool {
    match &endpoint.interface {
        InterfaceMatch::Name(name) => *name == port.interface,
        InterfaceMatch::Addresses(list) => list.iter().any(|a| port.addresses.contains(a)),
        InterfaceMatch::All => false,
    }
}

fn is_enforced_twin(staged: &Policy, other: &Policy) -> bool {
    other.staged.is_none()
        && (other.kind, &other.namespace, &other.name)
            == (staged.kind, &staged.namespace, &staged.name)
}

fn covering(set: &PolicySet, address: IpAddr) -> Vec<&Object> {
    let covers = |object: &&Object| object.nets.iter().any(|net| net.contains(&address));
    set.objects.iter().filter(covers).collect()
}
