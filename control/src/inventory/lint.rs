//! What is no mistake in one document but looks like one in the whole set. Warnings only.

mod carriers;
mod endpoints;
mod selectors;
mod shadows;

use std::collections::BTreeSet;

use classifier::packet::IpVersion;
use classifier::resource::PolicySet;
use ipnet::IpNet;

use crate::diagnostic::Diagnostic;
use crate::resolve::{Content, Gateway, NetworkSet, PolicyContent, Resource, Resources, Uses};

/// Everything that is worth a look.
pub(super) fn findings(
    resources: &Resources,
    set: &PolicySet,
    gateway: &Gateway,
) -> Vec<Diagnostic> {
    let mut findings: Vec<Diagnostic> = Vec::new();
    for resource in resources.iter() {
        if let Content::NetworkSet(set) = &resource.content {
            findings.extend(of_network_set(resource, set));
        }
        if let Content::Policy(policy) = &resource.content {
            findings.extend(unknown_tier(policy, set));
        }
    }
    findings.extend(unknown_names(resources, set));
    findings.extend(endpoints::findings(resources, set, gateway));
    findings.extend(selectors::findings(resources, set));
    findings.extend(shadows::findings(resources));
    findings
}

fn of_network_set(resource: &Resource, set: &NetworkSet) -> Vec<Diagnostic> {
    let name = &resource.key.name;
    let mut findings = Vec::new();
    if set.nets.is_empty() {
        let finding = Diagnostic::warning("object.empty", format!("`{name}` covers no address"))
            .at(resource.at.clone(), "no address")
            .help(
                "add `nets` or a `list`; until then it protects nothing and rules never match it",
            );
        findings.push(finding);
    }
    for (version, family) in [(IpVersion::V4, "IPv4"), (IpVersion::V6, "IPv6")] {
        if !covers_everything(&set.nets, version) {
            continue;
        }
        let message = format!("`{name}` covers every {family} address");
        let finding = Diagnostic::warning("object.everything", message)
            .at(resource.at.clone(), "covers everything")
            .help("if any address is meant, a rule without `selector` says so too");
        findings.push(finding);
    }
    findings
}

/// Whether the networks of the family make up all of it, together.
fn covers_everything(nets: &[IpNet], version: IpVersion) -> bool {
    let of_version = || nets.iter().filter(|net| IpVersion::of(net.addr()) == version);
    // The part of the family that each one is: less than all of it together needs no closer look.
    let share: f64 = of_version().map(|net| (-f64::from(net.prefix_len())).exp2()).sum();
    if share < 1.0 {
        return false;
    }
    let joined = IpNet::aggregate(&of_version().copied().collect());
    joined.iter().any(|net| net.prefix_len() == 0)
}

/// Calico enforces such a policy after all tiers and denies at its end (policy model, Q2).
fn unknown_tier(policy: &PolicyContent, set: &PolicySet) -> Option<Diagnostic> {
    let at = policy.tier_at.as_ref()?;
    let name = &policy.policy.tier;
    if set.tiers.iter().any(|tier| tier.name == *name) {
        return None;
    }
    let message = format!("there is no tier `{name}`");
    let finding = Diagnostic::warning("tier.unknown", message)
        .at(at.clone(), "enforced after all tiers, and what it does not decide is denied")
        .help(format!("add a tier `{name}` with its `order`, or correct the name"));
    Some(finding)
}

/// Services and names of ports that rules use and nothing has: they match nothing.
fn unknown_names(resources: &Resources, set: &PolicySet) -> Vec<Diagnostic> {
    let services: BTreeSet<_> = set.services.iter().map(|service| &service.name).collect();
    let ports = set.objects.iter().flat_map(|object| &object.ports);
    let ports: BTreeSet<&str> = ports.map(|port| port.name.as_str()).collect();
    let mut findings = Vec::new();
    for used in resources.iter().filter_map(uses) {
        for service in used.services.iter().filter(|used| !services.contains(&used.name)) {
            let name = format!("{}/{}", service.name.namespace, service.name.name);
            let message = format!("the service `{name}` has no endpoints");
            let finding = Diagnostic::warning("service.unknown", message)
                .at(service.at.clone(), "matches nothing")
                .help("add its `EndpointSlice`, or match by `selector`");
            findings.push(finding);
        }
        for port in used.ports.iter().filter(|used| !ports.contains(used.name.as_str())) {
            let message = format!("no endpoint has a port named `{}`", port.name);
            let finding = Diagnostic::warning("rule.port-name-unknown", message)
                .at(port.at.clone(), "stands for no port")
                .help("write the number, or give the port a name in `ports` of the host endpoint");
            findings.push(finding);
        }
    }
    findings
}

fn uses(resource: &Resource) -> Option<&Uses> {
    match &resource.content {
        Content::Policy(policy) => Some(&policy.uses),
        Content::Profile(profile) => Some(&profile.uses),
        Content::EndpointSlice(_)
        | Content::HostEndpoint(_)
        | Content::Idle
        | Content::Namespace(_)
        | Content::NetworkSet(_)
        | Content::Pod(_)
        | Content::ServiceAccount(_)
        | Content::Tier(_) => None,
    }
}
