//! The fields that rules have.

use classifier::resource::{Peer, PolicySet, Rule};

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Field {
    IpVersion,
    Protocol,
    NotProtocol,
    Icmp,
    NotIcmp,
    Source(PeerField),
    Destination(PeerField),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum PeerField {
    Nets,
    NotNets,
    Selector,
    NotSelector,
    SelectorAndNotSelector,
    Ports,
    NotPorts,
    NamedPorts(Selectors),
    NotNamedPorts(Selectors),
    /// Numbers and names.
    NamedPortsOrPorts,
    Service(ServiceIs),
    /// Of a source only.
    ServiceAndPorts,
}

/// Which selectors stand beside a name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Selectors {
    Neither,
    Positive,
    Negative,
    Both,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum ServiceIs {
    Served,
    WithoutEndpoints,
    Unknown,
}

impl Field {
    pub(super) fn all() -> Vec<Self> {
        let mut all =
            vec![Self::IpVersion, Self::Protocol, Self::NotProtocol, Self::Icmp, Self::NotIcmp];
        let fields = PeerField::all();
        all.extend(fields.iter().copied().map(Self::Source));
        let of_destination = |field: &&PeerField| **field != PeerField::ServiceAndPorts;
        all.extend(fields.iter().filter(of_destination).copied().map(Self::Destination));
        all
    }

    /// Whether any packet matches.
    pub(super) fn can_match(self) -> bool {
        let (Self::Source(of_peer) | Self::Destination(of_peer)) = self else { return true };
        let PeerField::Service(service) = of_peer else { return true };
        service == ServiceIs::Served
    }
}

impl PeerField {
    fn all() -> Vec<Self> {
        let selectors =
            [Selectors::Neither, Selectors::Positive, Selectors::Negative, Selectors::Both];
        let services = [ServiceIs::Served, ServiceIs::WithoutEndpoints, ServiceIs::Unknown];
        let mut all = vec![
            Self::Nets,
            Self::NotNets,
            Self::Selector,
            Self::NotSelector,
            Self::SelectorAndNotSelector,
            Self::Ports,
            Self::NotPorts,
            Self::NamedPortsOrPorts,
            Self::ServiceAndPorts,
        ];
        all.extend(selectors.map(Self::NamedPorts));
        all.extend(selectors.map(Self::NotNamedPorts));
        all.extend(services.map(Self::Service));
        all
    }
}

/// The fields that a rule has, each with a rule that has only that one and what it is about.
pub(super) fn fields_of(set: &PolicySet, rule: &Rule) -> Vec<(Field, Rule)> {
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
    // What a name stands for is a matter of the protocol too.
    let of = |peer: &Peer| {
        let names = !peer.named_ports.is_empty() || !peer.not_named_ports.is_empty();
        Rule { protocol: rule.protocol.filter(|_| names), ..bare() }
    };
    for (field, source) in peer_fields_of(set, &rule.source) {
        found.push((Field::Source(field), Rule { source: source.clone(), ..of(&source) }));
    }
    for (field, destination) in peer_fields_of(set, &rule.destination) {
        found.push((
            Field::Destination(field),
            Rule { destination: destination.clone(), ..of(&destination) },
        ));
    }
    found
}

fn peer_fields_of(set: &PolicySet, peer: &Peer) -> Vec<(PeerField, Peer)> {
    let mut found = Vec::new();
    let selected = Peer {
        selector: peer.selector.clone(),
        not_selector: peer.not_selector.clone(),
        ..Peer::default()
    };
    if !peer.nets.is_empty() {
        found.push((PeerField::Nets, Peer { nets: peer.nets.clone(), ..Peer::default() }));
    }
    if !peer.not_nets.is_empty() {
        let not_nets = peer.not_nets.clone();
        found.push((PeerField::NotNets, Peer { not_nets, ..Peer::default() }));
    }
    let (selectors, field) = match (&peer.selector, &peer.not_selector) {
        (None, None) => (Selectors::Neither, None),
        (Some(_), None) => (Selectors::Positive, Some(PeerField::Selector)),
        (None, Some(_)) => (Selectors::Negative, Some(PeerField::NotSelector)),
        (Some(_), Some(_)) => (Selectors::Both, Some(PeerField::SelectorAndNotSelector)),
    };
    found.extend(field.map(|field| (field, selected.clone())));
    let ports = Peer { ports: peer.ports.clone(), ..Peer::default() };
    if !peer.ports.is_empty() {
        found.push((PeerField::Ports, ports.clone()));
    }
    if !peer.not_ports.is_empty() {
        let not_ports = peer.not_ports.clone();
        found.push((PeerField::NotPorts, Peer { not_ports, ..Peer::default() }));
    }
    if !peer.named_ports.is_empty() {
        let named_ports = peer.named_ports.clone();
        let named = Peer { named_ports, ..selected.clone() };
        let both = Peer { ports: peer.ports.clone(), ..named.clone() };
        found.push((PeerField::NamedPorts(selectors), named));
        if !both.ports.is_empty() {
            found.push((PeerField::NamedPortsOrPorts, both));
        }
    }
    if !peer.not_named_ports.is_empty() {
        let not_named_ports = peer.not_named_ports.clone();
        found.push((PeerField::NotNamedPorts(selectors), Peer { not_named_ports, ..selected }));
    }
    if let Some(name) = &peer.service {
        let known = set.services.iter().find(|service| service.name == *name);
        let is = match known {
            None => ServiceIs::Unknown,
            Some(service) if service.endpoints.is_empty() => ServiceIs::WithoutEndpoints,
            Some(_) => ServiceIs::Served,
        };
        let served = Peer { service: Some(name.clone()), ..Peer::default() };
        found.push((PeerField::Service(is), served.clone()));
        if !ports.ports.is_empty() {
            found.push((PeerField::ServiceAndPorts, Peer { service: served.service, ..ports }));
        }
    }
    found
}
