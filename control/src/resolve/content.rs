//! What a resource holds, by what it is to the others.

use std::net::IpAddr;

use classifier::label::Labels;
use classifier::resource::{Action, NamedPort, Policy, Rule, ServiceEndpoint, ServiceName, Tier};
use classifier::selector::Selector;
use ipnet::IpNet;

use crate::diagnostic::Place;

/// What a resource holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    EndpointSlice(EndpointSlice),
    HostEndpoint(HostEndpoint),
    /// It is read and decides nothing, not even in the pending evaluation.
    Idle,
    /// Its labels.
    Namespace(Labels),
    NetworkSet(NetworkSet),
    Pod(Pod),
    Policy(Box<PolicyContent>),
    Profile(ProfileContent),
    /// Its labels.
    ServiceAccount(Labels),
    Tier(Tier),
}

/// A policy of whatever kind. Its effective selectors depend on nothing but itself, so they are made when it is read.
#[derive(Clone, Debug)]
pub(crate) struct PolicyContent {
    pub(crate) policy: Policy,
    /// Where the tier is named, if it is.
    pub(crate) tier_at: Option<Place>,
    pub(crate) uses: Uses,
}

/// What rules and policies name, with the places that findings about the whole set point to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    /// The policy's own selector and those of its rules.
    pub(crate) selectors: Vec<SelectorUse>,
    pub(crate) services: Vec<ServiceUse>,
    pub(crate) ports: Vec<PortUse>,
    /// Where the rules of a direction stand, in their order; none where documents have no such rules one by one.
    pub(crate) ingress_at: Vec<Place>,
    /// The same for egress.
    pub(crate) egress_at: Vec<Place>,
}

/// A port that a rule names.
#[derive(Clone, Debug)]
pub(crate) struct PortUse {
    pub(crate) name: String,
    pub(crate) at: Place,
}

/// A service that a rule names.
#[derive(Clone, Debug)]
pub(crate) struct ServiceUse {
    pub(crate) name: ServiceName,
    pub(crate) at: Place,
}

/// An effective selector of a policy, and what it is for.
#[derive(Clone, Debug)]
pub(crate) struct SelectorUse {
    pub(crate) selector: Selector,
    pub(crate) at: Place,
    pub(crate) role: SelectorRole,
}

/// What a selector does for its policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SelectorRole {
    /// Says what the policy protects.
    Protects,
    /// Says what a peer of a rule with this action must be.
    Peer(Action),
    /// Says what a peer must not be.
    NotPeer,
}

/// A network set, global or of a namespace.
#[derive(Clone, Debug)]
pub(crate) struct NetworkSet {
    pub(crate) labels: Labels,
    pub(crate) nets: Vec<IpNet>,
    /// List files whose nets belong to the set; whoever reads them puts those into `nets`.
    pub(crate) lists: Vec<ListUse>,
}

/// A list file that a network set names.
#[derive(Clone, Debug)]
pub(crate) struct ListUse {
    /// As written, relative to the document's directory.
    pub(crate) path: String,
    pub(crate) at: Place,
}

/// A host endpoint: of another machine, or an interface of this one.
#[derive(Clone, Debug)]
pub(crate) struct HostEndpoint {
    pub(crate) labels: Labels,
    pub(crate) node: String,
    /// The interface it names: `*` for all, nothing where its addresses say which.
    pub(crate) interface: Option<String>,
    pub(crate) expected_ips: Vec<IpAddr>,
    /// Names of its profiles, in order.
    pub(crate) profiles: Vec<String>,
    /// Where each of them is named.
    pub(crate) profiles_at: Vec<Place>,
    pub(crate) ports: Vec<NamedPort>,
}

/// A workload of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) labels: Labels,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) ports: Vec<NamedPort>,
    pub(crate) service_account: Option<String>,
}

/// Rules and labels that an endpoint can have by name.
#[derive(Clone, Debug)]
pub(crate) struct ProfileContent {
    pub(crate) labels_to_apply: Labels,
    pub(crate) ingress: Vec<Rule>,
    pub(crate) egress: Vec<Rule>,
    pub(crate) uses: Uses,
}

/// A part of the endpoints of a service in the same namespace.
#[derive(Clone, Debug)]
pub(crate) struct EndpointSlice {
    /// Name of the service; none where the slice says none.
    pub(crate) service: Option<String>,
    pub(crate) endpoints: Vec<ServiceEndpoint>,
}
