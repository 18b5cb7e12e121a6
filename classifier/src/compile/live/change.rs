//! What can change without a full compile, and how it is found.

use std::collections::HashMap;

use ipnet::IpNet;

use super::{NameKey, name_key};
use crate::compile::position;
use crate::resource::{Object, Policy, PolicySet};

/// One change of a policy set.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// An object is there that was not.
    Came(&'a Object),
    /// An object is there no more; as it was.
    Went(&'a Object),
    /// An object has other nets, and is the same else.
    Nets {
        /// As it is now.
        object: &'a Object,
        /// Nets that it did not have.
        added: Vec<IpNet>,
        /// Nets that it had.
        removed: Vec<IpNet>,
    },
    /// A policy has other rules, and is the same else.
    Rules {
        /// Its position in `PolicySet::policies`.
        policy: u32,
        /// As it is now.
        after: &'a Policy,
    },
}

/// What has changed from one policy set to another; `None` when that is for a full compile: other tiers, policies,
/// profiles, services, interfaces, ports or defaults, or objects that give ports a name. An object with other labels went
/// and came.
#[must_use]
pub fn changes<'a>(before: &'a PolicySet, after: &'a PolicySet) -> Option<Vec<Change<'a>>> {
    let same = before.tiers == after.tiers
        && before.profiles == after.profiles
        && before.services == after.services
        && before.interfaces == after.interfaces
        && before.ports == after.ports
        && before.defaults == after.defaults
        && before.policies.len() == after.policies.len();
    if !same {
        return None;
    }
    let mut changes = objects(&before.objects, &after.objects)?;
    for (at, (before, after)) in before.policies.iter().zip(&after.policies).enumerate() {
        if before.ingress == after.ingress && before.egress == after.egress {
            if before != after {
                return None;
            }
        } else {
            if !same_but_for_rules(before, after) {
                return None;
            }
            changes.push(Change::Rules { policy: position(at), after });
        }
    }
    Some(changes)
}

fn same_but_for_rules(before: &Policy, after: &Policy) -> bool {
    let Policy { ingress, egress, .. } = before;
    let with_old_rules =
        Policy { ingress: ingress.clone(), egress: egress.clone(), ..after.clone() };
    *before == with_old_rules
}

fn objects<'a>(before: &'a [Object], after: &'a [Object]) -> Option<Vec<Change<'a>>> {
    let mut changes = Vec::new();
    // Mostly they stand where they stood.
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for at in 0..before.len().max(after.len()) {
        match (before.get(at), after.get(at)) {
            (Some(a), Some(b)) if name_key(a) == name_key(b) => changed(a, b, &mut changes)?,
            (a, b) => {
                old.extend(a);
                new.extend(b);
            }
        }
    }
    let mut old: HashMap<NameKey<'_>, &Object> =
        old.into_iter().map(|object| (name_key(object), object)).collect();
    for object in new {
        match old.remove(&name_key(object)) {
            Some(before) => changed(before, object, &mut changes)?,
            None => changes.push(Change::Came(object)),
        }
    }
    changes.extend(old.into_values().map(Change::Went));
    let gives_ports = |change: &Change<'_>| match change {
        Change::Came(object) | Change::Went(object) => !object.ports.is_empty(),
        Change::Nets { .. } | Change::Rules { .. } => false,
    };
    (!changes.iter().any(gives_ports)).then_some(changes)
}

fn changed<'a>(before: &'a Object, after: &'a Object, changes: &mut Vec<Change<'a>>) -> Option<()> {
    if before.ports != after.ports {
        return None;
    }
    if before.labels != after.labels || before.peer_only != after.peer_only {
        changes.extend([Change::Went(before), Change::Came(after)]);
    } else if before.nets != after.nets {
        let [old, new] = [sorted(&before.nets), sorted(&after.nets)];
        let without = |a: &[IpNet], b: &[IpNet]| -> Vec<IpNet> {
            a.iter().filter(|net| b.binary_search(net).is_err()).copied().collect()
        };
        let (added, removed) = (without(&new, &old), without(&old, &new));
        changes.push(Change::Nets { object: after, added, removed });
    }
    Some(())
}

fn sorted(nets: &[IpNet]) -> Vec<IpNet> {
    let mut nets = nets.to_vec();
    nets.sort_unstable();
    nets.dedup();
    nets
}
