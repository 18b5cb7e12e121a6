//! Host endpoints that are interfaces of the gateway: which of them govern nothing, and what is not asked at them.

use classifier::resource::{GatewayPort, Hook, InterfaceEndpoint, InterfaceMatch, PolicySet};

use crate::diagnostic::Diagnostic;
use crate::resolve::{
    Content, DEFAULT_ALLOW, Gateway, HostEndpoint, Kind, Resource, Resources, SelectorRole, is_of,
};

/// Everything that is worth a look.
pub(super) fn findings(
    resources: &Resources,
    set: &PolicySet,
    gateway: &Gateway,
) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for own in &set.interfaces {
        let Some(resource) = resources.named(Kind::HostEndpoint, None, &own.name) else { continue };
        findings.extend(without_port(own, resource, gateway));
        findings.extend(loser(own, resource, resources, set));
    }
    for resource in resources.iter() {
        if let Content::HostEndpoint(endpoint) = &resource.content {
            findings.extend(unknown_profiles(endpoint, resources));
            findings.extend(without_address(endpoint, resource, gateway));
        }
        findings.extend(untracked_at_all(resource, set));
    }
    findings
}

/// Another machine's endpoint is known by its addresses only.
fn without_address(
    endpoint: &HostEndpoint,
    resource: &Resource,
    gateway: &Gateway,
) -> Option<Diagnostic> {
    if !endpoint.expected_ips.is_empty() || is_of(endpoint, gateway) {
        return None;
    }
    let this = if gateway.name.is_empty() {
        "if it is the gateway itself, check the documents by its `ravelin.toml`".to_owned()
    } else {
        format!("the name of this gateway is `{}`", gateway.name)
    };
    let name = &resource.key.name;
    let message = format!("`{name}` is an interface of `{}` and has no address", endpoint.node);
    let finding = Diagnostic::warning("endpoint.no-address", message)
        .at(resource.at.clone(), "protects nothing, and rules never match it")
        .help(format!("add `expectedIPs`; {this}"));
    Some(finding)
}

/// An interface of the gateway that is none of its ports. Frames on it are not ours.
fn without_port(
    own: &InterfaceEndpoint,
    resource: &Resource,
    gateway: &Gateway,
) -> Option<Diagnostic> {
    let governs_any = gateway.ports.iter().any(|port| names(&own.interface, port));
    if governs_any || own.interface == InterfaceMatch::All {
        return None;
    }
    let ports: Vec<String> =
        gateway.ports.iter().map(|port| format!("`{}`", port.interface)).collect();
    let help = match &own.interface {
        InterfaceMatch::Addresses(_) => {
            "write the address of the port into `addresses` of its `[[ports]]` in `ravelin.toml`, or name the interface \
             by `interfaceName`"
                .to_owned()
        }
        InterfaceMatch::All | InterfaceMatch::Name(_) => {
            format!("the ports of this gateway are {}", ports.join(" and "))
        }
    };
    let message = format!("`{}` is no port of this gateway", own.name);
    let finding = Diagnostic::warning("endpoint.no-port", message)
        .at(resource.at.clone(), "governs nothing")
        .help(help);
    Some(finding)
}

/// Of several endpoints for one port the first by name governs it (Calico `endpoint_mgr.go`; policy model, Q13).
fn loser(
    own: &InterfaceEndpoint,
    resource: &Resource,
    resources: &Resources,
    set: &PolicySet,
) -> Option<Diagnostic> {
    let earlier = |other: &&InterfaceEndpoint| {
        let same = match (&own.interface, &other.interface) {
            (InterfaceMatch::All, InterfaceMatch::All) => true,
            (InterfaceMatch::All, _) | (_, InterfaceMatch::All) => false,
            (mine, theirs) => set.ports.iter().any(|port| names(mine, port) && names(theirs, port)),
        };
        other.name < own.name && same
    };
    let winner = set.interfaces.iter().filter(earlier).min_by_key(|other| &other.name)?;
    let what = if own.interface == InterfaceMatch::All { "all interfaces" } else { "its port" };
    let message = format!("`{}` does not govern {what}: `{}` does", own.name, winner.name);
    let mut finding = Diagnostic::warning("endpoint.loser", message)
        .at(resource.at.clone(), "not the first by name")
        .help("of several endpoints for one port the first by name counts, as in Calico; remove one of them");
    if let Some(winner) = resources.named(Kind::HostEndpoint, None, &winner.name) {
        finding = finding.related(winner.at.clone(), "the first by name");
    }
    Some(finding)
}

/// Whether the endpoint names the port.
fn names(interface: &InterfaceMatch, port: &GatewayPort) -> bool {
    match interface {
        InterfaceMatch::Addresses(addresses) => {
            addresses.iter().any(|address| port.addresses.contains(address))
        }
        InterfaceMatch::All => false,
        InterfaceMatch::Name(name) => *name == port.interface,
    }
}

fn unknown_profiles(endpoint: &HostEndpoint, resources: &Resources) -> Vec<Diagnostic> {
    let is_known = |name: &str| name == DEFAULT_ALLOW || resources.has_profile(name);
    let unknown = endpoint.profiles.iter().zip(&endpoint.profiles_at);
    let unknown = unknown.filter(|(name, _)| !is_known(name));
    let finding = |(name, at): (&String, &crate::diagnostic::Place)| {
        Diagnostic::warning("profile.unknown", format!("there is no profile `{name}`"))
            .at(at.clone(), "gives no labels and no rules")
            .help(format!("add a profile `{name}`, or correct the name"))
    };
    unknown.map(finding).collect()
}

/// `doNotTrack` is not asked at an endpoint of all interfaces (policy model, Q12).
fn untracked_at_all(resource: &Resource, set: &PolicySet) -> Option<Diagnostic> {
    let Content::Policy(content) = &resource.content else { return None };
    if content.policy.hook != Hook::Untracked {
        return None;
    }
    let is_hit = |own: &&InterfaceEndpoint| {
        own.interface == InterfaceMatch::All && content.policy.selector.matches(&own.labels)
    };
    let endpoint = set.interfaces.iter().find(is_hit)?;
    let selects = content.uses.selectors.iter().find(|used| used.role == SelectorRole::Protects)?;
    let message = format!("`doNotTrack` has no effect at `{}`", endpoint.name);
    let finding = Diagnostic::warning("policy.untracked-at-all", message)
        .at(selects.at.clone(), "matches an endpoint of all interfaces")
        .help("give each port an endpoint of its own, with the name of the interface");
    Some(finding)
}
