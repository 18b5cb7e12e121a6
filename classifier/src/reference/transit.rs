//! The way of a packet through the gateway, checkpoint by checkpoint, and what is asked at the gateway's own interfaces:
//! the *transit verdict* of Calico (`felix/rules/static.go`, `endpoints.go:422-781`), as far as it needs no state.

use crate::decision::{Decision, Direction, Half, Reason, RuleRef, Verdict};
use crate::packet::{Crossing, Place};
use crate::resource::{GatewayPort, Hook, InterfaceEndpoint, InterfaceMatch, PolicySet};

use super::tiers::{self, End, Outcome, Stage};
use super::{Asked, protection};

/// Each checkpoint that applies, until one denies (6).
pub(super) fn decide(asked: &Asked<'_>, crossing: Crossing) -> Decision {
    let Crossing { from, to } = crossing;
    let mut decision = Decision::NOTHING_APPLIES;
    let denied = |half: Option<Half>| half.is_some_and(|half| half.verdict == Verdict::Deny);
    if let Some(governed) = governed(asked.set, from) {
        let (half, untracked) = at_entry(asked, governed, to);
        decision.entry = Some(half);
        decision.untracked |= untracked;
    }
    if denied(decision.entry) {
        return decision;
    }
    if from.is_inside() {
        decision.egress = Some(protection::half(asked, Direction::Egress));
    }
    if denied(decision.egress) {
        return decision;
    }
    if to.is_inside() {
        decision.ingress = Some(protection::half(asked, Direction::Ingress));
    }
    if denied(decision.ingress) {
        return decision;
    }
    if let Some(governed) = governed(asked.set, to) {
        let (half, untracked) = at_exit(asked, governed, from);
        decision.exit = Some(half);
        decision.untracked |= untracked;
    }
    decision
}

/// The interface endpoint of a port.
#[derive(Clone, Copy)]
struct Governed<'a> {
    endpoint: &'a InterfaceEndpoint,
    /// The endpoint is one of this interface and not of all.
    is_specific: bool,
}

/// Of the endpoints that are of the port by name or by address, the first by name, whichever way it is of it; without
/// one, the first of those of all interfaces (`endpoint_mgr.go:1196-1316`).
fn governed(set: &PolicySet, place: Place) -> Option<Governed<'_>> {
    let Place::Port { number, .. } = place else { return None };
    let port = number.and_then(|number| set.ports.get(usize::from(number)));
    let is_of_port = |endpoint: &&InterfaceEndpoint| port.is_some_and(|p| is_of(endpoint, p));
    let is_of_all = |endpoint: &&InterfaceEndpoint| endpoint.interface == InterfaceMatch::All;
    let by_name = |endpoint: &&InterfaceEndpoint| endpoint.name.clone();
    let specific = set.interfaces.iter().filter(is_of_port).min_by_key(by_name);
    let general = set.interfaces.iter().filter(is_of_all).min_by_key(by_name);
    match (specific, general) {
        (Some(endpoint), _) => Some(Governed { endpoint, is_specific: true }),
        (None, Some(endpoint)) => Some(Governed { endpoint, is_specific: false }),
        (None, None) => None,
    }
}

fn is_of(endpoint: &InterfaceEndpoint, port: &GatewayPort) -> bool {
    match &endpoint.interface {
        InterfaceMatch::Name(name) => *name == port.interface,
        InterfaceMatch::Addresses(own) => own.iter().any(|own| port.addresses.contains(own)),
        InterfaceMatch::All => false,
    }
}

/// What enters by the interface: untracked, preDNAT, then forward or normal policies, and whether it is untracked. What
/// an earlier stage allows no later one judges.
fn at_entry(asked: &Asked<'_>, governed: Governed<'_>, to: Place) -> (Half, bool) {
    let mut logged = None;
    if let Some(half) = untracked(asked, governed, Direction::Ingress, &mut logged) {
        return (half, half.verdict == Verdict::Allow);
    }
    let endpoint = governed.endpoint;
    let pre_dnat = stage(endpoint, &[Hook::PreDnat], Direction::Ingress, End::Passes);
    if let Outcome::Decided(verdict, reason) = tiers::walk(asked, &pre_dnat, &mut logged) {
        return (Half { verdict, reason, logged }, false);
    }
    let half = match to {
        Place::Port { .. } => forward(asked, endpoint, Direction::Ingress, logged),
        Place::Gateway => normal(asked, endpoint, Direction::Ingress, logged),
    };
    (half, false)
}

/// What leaves by the interface. What is forwarded meets no untracked policy here, only forward ones, and these whatever
/// has allowed it before.
fn at_exit(asked: &Asked<'_>, governed: Governed<'_>, from: Place) -> (Half, bool) {
    let endpoint = governed.endpoint;
    let mut logged = None;
    if let Place::Port { .. } = from {
        return (forward(asked, endpoint, Direction::Egress, logged), false);
    }
    if let Some(half) = untracked(asked, governed, Direction::Egress, &mut logged) {
        return (half, half.verdict == Verdict::Allow);
    }
    (normal(asked, endpoint, Direction::Egress, logged), false)
}

/// `doNotTrack` policies say nothing of an endpoint of all interfaces (`endpoint_mgr.go:1328-1341`).
fn untracked(
    asked: &Asked<'_>,
    Governed { endpoint, is_specific }: Governed<'_>,
    direction: Direction,
    logged: &mut Option<RuleRef>,
) -> Option<Half> {
    if !is_specific {
        return None;
    }
    let stage = stage(endpoint, &[Hook::Untracked], direction, End::Passes);
    match tiers::walk(asked, &stage, logged) {
        Outcome::Decided(verdict, reason) => Some(Half { verdict, reason, logged: *logged }),
        Outcome::AllPassed | Outcome::NoPolicy => None,
    }
}

/// What is forwarded is allowed when nobody decides: there is no policy at all (`endpoints.go:724-737`), none of this
/// direction, or every tier passed it on (Q1).
fn forward(
    asked: &Asked<'_>,
    endpoint: &InterfaceEndpoint,
    direction: Direction,
    mut logged: Option<RuleRef>,
) -> Half {
    let stage = stage(endpoint, &[Hook::Forward], direction, End::OfTier);
    let (verdict, reason) = match tiers::walk(asked, &stage, &mut logged) {
        Outcome::Decided(verdict, reason) => (verdict, reason),
        Outcome::AllPassed | Outcome::NoPolicy => (Verdict::Allow, Reason::NoForwardPolicy),
    };
    Half { verdict, reason, logged }
}

/// What is the gateway's own goes on to the profiles when no tier decides, and is denied behind them.
fn normal(
    asked: &Asked<'_>,
    endpoint: &InterfaceEndpoint,
    direction: Direction,
    mut logged: Option<RuleRef>,
) -> Half {
    let stage = stage(endpoint, &[Hook::Normal, Hook::Forward], direction, End::OfTier);
    let (verdict, reason) = match tiers::walk(asked, &stage, &mut logged) {
        Outcome::Decided(verdict, reason) => (verdict, reason),
        Outcome::AllPassed | Outcome::NoPolicy => {
            tiers::walk_profiles(asked, &endpoint.profiles, direction, &mut logged)
                .unwrap_or((Verdict::Deny, Reason::NoProfile))
        }
    };
    Half { verdict, reason, logged }
}

fn stage<'a>(
    endpoint: &'a InterfaceEndpoint,
    hooks: &'a [Hook],
    direction: Direction,
    end: End,
) -> Stage<'a> {
    Stage { hooks, direction, protected: vec![&endpoint.labels], end }
}
