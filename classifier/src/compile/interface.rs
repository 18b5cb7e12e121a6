//! What polices the ports of the gateway itself: the interface endpoint of each, and its programs.

use std::borrow::Cow;

use super::order::Order;
use crate::decision::Direction;
use crate::image::Plane;
use crate::resource::{GatewayPort, Hook, InterfaceEndpoint, InterfaceMatch, PolicySet, Profile};

/// One port, or all that have no row of their own.
#[derive(Debug)]
pub(super) struct Interface<'a> {
    /// Its interface name; empty for the last one.
    pub(super) name: Cow<'a, str>,
    /// What governs it.
    pub(super) endpoint: Option<Endpoint<'a>>,
}

#[derive(Debug)]
pub(super) struct Endpoint<'a> {
    pub(super) name: &'a str,
    pub(super) enforced: Programs,
    pub(super) pending: Programs,
}

/// Ranks of blocks for each place where an interface endpoint is asked: ingress untracked, preDNAT, forward and normal,
/// egress untracked, forward and normal.
pub(super) type Programs = [Vec<u32>; 7];

/// In which of the programs the end of every tier passes.
pub(super) const ENDS_PASS: [bool; 7] = [true, true, false, false, true, false, false];

/// The interfaces in the order of `PolicySet::ports`, and behind them all other ports. Adds the blocks of profiles.
pub(super) fn interfaces<'a>(set: &'a PolicySet, order: &mut Order<'a>) -> Vec<Interface<'a>> {
    let all = first_by_name(set, |endpoint| endpoint.interface == InterfaceMatch::All);
    let mut interfaces: Vec<Interface<'a>> = Vec::with_capacity(set.ports.len() + 1);
    for port in &set.ports {
        let specific = first_by_name(set, |endpoint| is_about(endpoint, port));
        let endpoint = match (specific, all) {
            (Some(endpoint), _) => Some(governed(set, order, endpoint, true)),
            (None, Some(endpoint)) => Some(governed(set, order, endpoint, false)),
            (None, None) => None,
        };
        interfaces.push(Interface { name: Cow::Borrowed(&port.interface), endpoint });
    }
    let endpoint = all.map(|endpoint| governed(set, order, endpoint, false));
    interfaces.push(Interface { name: Cow::Borrowed(""), endpoint });
    interfaces
}

fn first_by_name(
    set: &PolicySet,
    wanted: impl Fn(&InterfaceEndpoint) -> bool,
) -> Option<&InterfaceEndpoint> {
    set.interfaces.iter().filter(|endpoint| wanted(endpoint)).min_by(|a, b| a.name.cmp(&b.name))
}

fn is_about(endpoint: &InterfaceEndpoint, port: &GatewayPort) -> bool {
    match &endpoint.interface {
        InterfaceMatch::Name(name) => *name == port.interface,
        InterfaceMatch::Addresses(addresses) => {
            addresses.iter().any(|address| port.addresses.contains(address))
        }
        InterfaceMatch::All => false,
    }
}

fn governed<'a>(
    set: &'a PolicySet,
    order: &mut Order<'a>,
    endpoint: &'a InterfaceEndpoint,
    specific: bool,
) -> Endpoint<'a> {
    let selects: Vec<bool> =
        set.policies.iter().map(|policy| policy.selector.matches(&endpoint.labels)).collect();
    let [profile_ingress, profile_egress] =
        [Direction::Ingress, Direction::Egress].map(|d| profiles(set, order, endpoint, d));
    let programs = |plane| {
        let ranks = |direction, hooks: &[Hook]| ranks(order, &selects, plane, direction, hooks);
        let untracked: &[Hook] = if specific { &[Hook::Untracked] } else { &[] };
        let normal = |direction, profiles: &[u32]| {
            [&ranks(direction, &[Hook::Normal, Hook::Forward]), profiles].concat()
        };
        let (ingress, egress) = (Direction::Ingress, Direction::Egress);
        [
            ranks(ingress, untracked),
            ranks(ingress, &[Hook::PreDnat]),
            ranks(ingress, &[Hook::Forward]),
            normal(ingress, &profile_ingress),
            ranks(egress, untracked),
            ranks(egress, &[Hook::Forward]),
            normal(egress, &profile_egress),
        ]
    };
    Endpoint {
        name: &endpoint.name,
        enforced: programs(Plane::Enforced),
        pending: programs(Plane::Pending),
    }
}

fn ranks(
    order: &Order<'_>,
    selects: &[bool],
    plane: Plane,
    direction: Direction,
    hooks: &[Hook],
) -> Vec<u32> {
    (0..)
        .zip(&order.blocks)
        .filter(|(_, block)| {
            block.direction == direction
                && block.planes.has(plane)
                && block.hook.is_some_and(|hook| hooks.contains(&hook))
                && selects.get(block.policy as usize) == Some(&true)
        })
        .map(|(rank, _)| rank)
        .collect()
}

/// Blocks for the endpoint's profiles, in its own order.
fn profiles<'a>(
    set: &'a PolicySet,
    order: &mut Order<'a>,
    endpoint: &InterfaceEndpoint,
    direction: Direction,
) -> Vec<u32> {
    let known = |name: &String| -> Option<(usize, &'a Profile)> {
        set.profiles.iter().enumerate().find(|(_, profile)| profile.name == *name)
    };
    let profiles: Vec<_> = endpoint.profiles.iter().filter_map(known).collect();
    profiles
        .into_iter()
        .map(|(number, profile)| order.add_profile(number, profile, direction))
        .collect()
}
