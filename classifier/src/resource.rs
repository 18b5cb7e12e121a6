//! Checked resources: what `control` makes of documents, and all that the compiler and the reference evaluator see.
//!
//! Field names and meanings are Calico v3's (`api/pkg/apis/projectcalico/v3`). Whoever builds these values has checked
//! them: nets have no host bits, ports stand with a protocol that has ports, a rule holds one IP family, names are unique.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::label::Labels;
use crate::packet::IpVersion;
use crate::selector::Selector;

/// Everything that decides, as one value: what is in force is a function of this and nothing else.
#[derive(Clone, Debug)]
pub struct PolicySet {
    /// Tiers that exist as objects, the fixed ones included, in any order.
    pub tiers: Vec<Tier>,
    /// Policies in any order; `RuleRef::policy` counts in this one.
    pub policies: Vec<Policy>,
    /// Everything that has labels and addresses.
    pub objects: Vec<Object>,
    /// Rules that an interface endpoint falls back on, in any order; `RuleRef::policy` counts on through these behind
    /// the policies.
    pub profiles: Vec<Profile>,
    /// What rules name by `services`, in any order.
    pub services: Vec<Service>,
    /// Host endpoints that are interfaces of this gateway itself, in any order.
    pub interfaces: Vec<InterfaceEndpoint>,
    /// The ports of this gateway; `Place::Port` counts in this one.
    pub ports: Vec<GatewayPort>,
    /// What happens where no policy speaks.
    pub defaults: Defaults,
}

impl PolicySet {
    /// The fixed tiers and nothing else: denies everything.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tiers: Tier::fixed(),
            policies: Vec::new(),
            objects: Vec::new(),
            profiles: Vec::new(),
            services: Vec::new(),
            interfaces: Vec::new(),
            ports: Vec::new(),
            defaults: Defaults::default(),
        }
    }

    /// Names of all tiers that a decision can point to: `tiers` in their order, then the names that policies use and
    /// no tier object has, in name order.
    #[must_use]
    pub fn tier_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.tiers.iter().map(|tier| tier.name.as_str()).collect();
        let known: BTreeSet<&str> = names.iter().copied().collect();
        let used: BTreeSet<&str> =
            self.policies.iter().map(|policy| policy.tier.as_str()).collect();
        names.extend(used.difference(&known).copied());
        names
    }
}

impl Default for PolicySet {
    fn default() -> Self {
        Self::new()
    }
}

/// What to do where no policy speaks. Both are closed unless the administrator opens them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Defaults {
    /// Allow packets of objects that no policy selects in the direction.
    pub allow_unselected: bool,
    /// Allow packets of addresses behind the gateway that no object covers.
    pub allow_uncovered: bool,
}

/// A tier: a stage of policies that is evaluated before the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// Name; no dots.
    pub name: String,
    /// Lower is earlier; `None` is last. Ties go by name.
    pub order: Option<f64>,
    /// What happens at the tier's end to packets that its policies applied to and did not decide.
    pub default_action: TierAction,
}

impl Tier {
    /// Name of the tier that policies without a tier belong to.
    pub const DEFAULT: &str = "default";

    /// The tiers that exist always (Calico `tier.go:37-42`).
    #[must_use]
    pub fn fixed() -> Vec<Self> {
        let tier = |name: &str, order, default_action| Self {
            name: name.to_owned(),
            order: Some(order),
            default_action,
        };
        vec![
            tier("kube-admin", 1_000.0, TierAction::Pass),
            tier(Self::DEFAULT, 1_000_000.0, TierAction::Deny),
            tier("kube-baseline", 10_000_000.0, TierAction::Pass),
        ]
    }
}

/// What a tier does at its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TierAction {
    /// Drop.
    Deny,
    /// Go on with the next tier.
    Pass,
}

/// A policy: selects objects and says what may reach them and what they may reach.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What kind of resource it came from.
    pub kind: PolicyKind,
    /// Namespace of a namespaced kind. Its effect is in the selectors already; here it names.
    pub namespace: Option<String>,
    /// Name, unique among the policies of its kind and namespace.
    pub name: String,
    /// Not enforced, only evaluated beside what is: the pending evaluation.
    pub staged: Option<StagedAction>,
    /// At which points of a packet's way it is asked.
    pub hook: Hook,
    /// Name of its tier.
    pub tier: String,
    /// Lower is earlier within the tier; `None` is last. Ties go by `tie_break`.
    pub order: Option<f64>,
    /// Which objects it protects.
    pub selector: Selector,
    /// Whether it applies to packets towards its objects.
    pub applies_ingress: bool,
    /// Whether it applies to packets from its objects.
    pub applies_egress: bool,
    /// Rules for packets towards its objects, in order. Only read when `applies_ingress`.
    pub ingress: Vec<Rule>,
    /// Rules for packets from its objects, in order. Only read when `applies_egress`.
    pub egress: Vec<Rule>,
}

impl Policy {
    /// An enforced global policy of the default tier that selects everything and applies to no direction.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            kind: PolicyKind::GlobalNetworkPolicy,
            namespace: None,
            name: name.to_owned(),
            staged: None,
            hook: Hook::Normal,
            tier: Tier::DEFAULT.to_owned(),
            order: None,
            selector: Selector::default(),
            applies_ingress: false,
            applies_egress: false,
            ingress: Vec::new(),
            egress: Vec::new(),
        }
    }

    /// The text that orders policies of equal `order` (Calico `policy_sorter.go:388-400`: `Name/Namespace/Kind`).
    #[must_use]
    pub fn tie_break(&self) -> String {
        let staged = if self.staged.is_some() { "Staged" } else { "" };
        let namespace = self.namespace.as_deref().unwrap_or_default();
        format!("{}/{namespace}/{staged}{}", self.name, self.kind.name())
    }
}

/// The resource kinds that policies come from.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PolicyKind {
    /// Calico `GlobalNetworkPolicy`
    GlobalNetworkPolicy,
    /// Calico `NetworkPolicy`
    NetworkPolicy,
    /// `networking.k8s.io/v1` `NetworkPolicy`
    KubernetesNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha2` `ClusterNetworkPolicy`
    KubernetesClusterNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha1` `AdminNetworkPolicy`
    KubernetesAdminNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha1` `BaselineAdminNetworkPolicy`
    KubernetesBaselineAdminNetworkPolicy,
}

impl PolicyKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::GlobalNetworkPolicy,
        Self::NetworkPolicy,
        Self::KubernetesNetworkPolicy,
        Self::KubernetesClusterNetworkPolicy,
        Self::KubernetesAdminNetworkPolicy,
        Self::KubernetesBaselineAdminNetworkPolicy,
    ];

    /// The kind's name as Calico's Felix says it; a staged policy's has `Staged` before it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::KubernetesNetworkPolicy => "KubernetesNetworkPolicy",
            Self::KubernetesClusterNetworkPolicy => "KubernetesClusterNetworkPolicy",
            Self::KubernetesAdminNetworkPolicy => "KubernetesAdminNetworkPolicy",
            Self::KubernetesBaselineAdminNetworkPolicy => "KubernetesBaselineAdminNetworkPolicy",
        }
    }
}

/// What the pending evaluation does with a staged policy. It judges by all enforced policies, changed as if every staged
/// one had been applied: an enforced policy of the same kind, namespace and name gives way to the staged one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StagedAction {
    /// The policy is there.
    Set,
    /// The enforced policy of that kind, namespace and name is not there, and this one has no rules.
    Delete,
}

/// At which points a policy is asked (Calico `event_sequencer.go:1163-1198`). Objects behind the gateway are asked by
/// `Normal` and `Forward` policies alike.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Hook {
    /// Traffic of the protected thing itself; for an interface of the gateway: to and from the gateway.
    Normal,
    /// `applyOnForward`: as `Normal`, and what the gateway forwards through its interface.
    Forward,
    /// `preDNAT`: everything that enters by the interface, before `Forward` and `Normal`. The end of a tier passes.
    PreDnat,
    /// `doNotTrack`: everything that enters by the interface, before all else and without state; not for endpoints of
    /// all interfaces. From the gateway itself also what leaves. The end of a tier passes.
    Untracked,
}

/// One line of a policy: matches when every field that is present matches.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What to do on a match.
    pub action: Action,
    /// Only this family. When absent, protocol ICMP means IPv4, `ICMPv6` means IPv6, and any entry of `nets` or
    /// `not_nets` of either peer means its own family (Calico `rule_convert.go:216`, `policy.go:146-230`).
    pub ip_version: Option<IpVersion>,
    /// Only this IP protocol.
    pub protocol: Option<u8>,
    /// Any IP protocol but this.
    pub not_protocol: Option<u8>,
    /// Only these ICMP messages.
    pub icmp: Option<IcmpMatch>,
    /// Any packet but these ICMP messages.
    pub not_icmp: Option<IcmpMatch>,
    /// What the source must be.
    pub source: Peer,
    /// What the destination must be.
    pub destination: Peer,
}

impl Rule {
    /// A rule that matches every packet.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self {
            action,
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: Peer::default(),
            destination: Peer::default(),
        }
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Terminal: the direction allows.
    Allow,
    /// Terminal: the direction denies.
    Deny,
    /// Log and go on with the next rule.
    Log,
    /// Skip the rest of the tier.
    Pass,
}

/// Which ICMP messages: a type, or a type and a code.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IcmpMatch {
    /// Type, 0 to 254.
    pub kind: u8,
    /// Code; any when absent.
    pub code: Option<u8>,
}

/// One end of a rule. Empty lists and absent selectors match anything; present fields must all match.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The address lies in one of these.
    pub nets: Vec<IpNet>,
    /// The address lies in none of these.
    pub not_nets: Vec<IpNet>,
    /// Some object that covers the address matches. With `not_selector`, that same object must not match the latter.
    pub selector: Option<Selector>,
    /// Alone: no object that covers the address matches; true also where no object covers it.
    pub not_selector: Option<Selector>,
    /// The port lies in one of these, or is one that `named_ports` names.
    pub ports: Vec<PortRange>,
    /// The port lies in none of these, and is none that `not_named_ports` names.
    pub not_ports: Vec<PortRange>,
    /// Names of ports: such a name stands for the ports that objects give it which cover the address and match
    /// `selector` without matching `not_selector` (all objects when there is no `selector`). Only ports of the rule's
    /// protocol count, or of TCP when the rule's is none of TCP, UDP and SCTP (Calico `rule_scanner.go`,
    /// `ruleToParsedRule`).
    pub named_ports: Vec<String>,
    /// As `named_ports`, for `not_ports`.
    pub not_named_ports: Vec<String>,
    /// As a source: the address is one of the service's endpoints. As a destination: address, protocol and port are
    /// those of an endpoint. A service that is not known has no endpoints. Stands alone in its peer, but for the ports of
    /// a source.
    pub service: Option<ServiceName>,
}

impl Peer {
    /// Whether the peer asks anything of a packet's ports.
    #[must_use]
    pub fn is_about_ports(&self) -> bool {
        !(self.ports.is_empty()
            && self.not_ports.is_empty()
            && self.named_ports.is_empty()
            && self.not_named_ports.is_empty())
    }
}

/// Names a service.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A Kubernetes Service, as its `EndpointSlice`s tell it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name, unique.
    pub name: ServiceName,
    /// Where it is served.
    pub endpoints: Vec<ServiceEndpoint>,
}

/// One address that serves a service.
#[derive(Clone, Debug)]
pub struct ServiceEndpoint {
    /// The address.
    pub address: IpAddr,
    /// Protocol number and port of each of its ports.
    pub ports: Vec<(u8, u16)>,
}

/// Rules for an interface endpoint that no tier has decided: for traffic of the gateway itself only. Pass denies.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Name, unique.
    pub name: String,
    /// Rules for packets to the gateway, in order.
    pub ingress: Vec<Rule>,
    /// Rules for packets from the gateway, in order.
    pub egress: Vec<Rule>,
}

/// A host endpoint that is an interface of the gateway itself. Policies select it by its labels, but what it polices is
/// what crosses the interface, whatever the addresses. As a peer in rules it is an `Object` that is `peer_only`.
#[derive(Clone, Debug)]
pub struct InterfaceEndpoint {
    /// Name, unique among host endpoints.
    pub name: String,
    /// Which ports of the gateway it governs. Of several for a port the first by name wins; one of all interfaces only
    /// governs ports that have no other (Calico `endpoint_mgr.go:1196-1316`).
    pub interface: InterfaceMatch,
    /// Its labels, those of its profiles included.
    pub labels: Labels,
    /// Names of its profiles, in order of evaluation; one that is not known has no rules.
    pub profiles: Vec<String>,
}

/// Which ports an interface endpoint governs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InterfaceMatch {
    /// The one of that interface name; `expectedIPs` plays no part.
    Name(String),
    /// Those that carry one of these addresses.
    Addresses(Vec<IpAddr>),
    /// All that no other endpoint governs: `interfaceName: "*"`.
    All,
}

/// A port of this gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GatewayPort {
    /// Name of its interface, unique.
    pub interface: String,
    /// Addresses that it carries, if any.
    pub addresses: Vec<IpAddr>,
}

/// Ports `first..=last`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, not below `first`.
    pub last: u16,
}

/// Something with labels and addresses: it can be protected when it is behind the gateway, and be a peer anywhere.
#[derive(Clone, Debug)]
pub struct Object {
    /// What kind of resource it came from.
    pub kind: ObjectKind,
    /// Namespace of a namespaced kind. Its effect is in the labels already; here it names.
    pub namespace: Option<String>,
    /// Name, unique within its kind and namespace.
    pub name: String,
    /// Its labels, inherited and synthetic ones included.
    pub labels: Labels,
    /// Its addresses: `nets` of a network set, `expectedIPs` of a host endpoint and IPs of a pod as single addresses.
    pub nets: Vec<IpNet>,
    /// Its named ports.
    pub ports: Vec<NamedPort>,
    /// It is a peer in rules only: no policy protects it, and an address that it alone covers counts as uncovered where
    /// protection is asked for.
    pub peer_only: bool,
}

impl Object {
    /// An object without labels and addresses.
    #[must_use]
    pub fn new(kind: ObjectKind, name: &str) -> Self {
        Self {
            kind,
            namespace: None,
            name: name.to_owned(),
            labels: Labels::default(),
            nets: Vec::new(),
            ports: Vec::new(),
            peer_only: false,
        }
    }
}

/// A port that an object gives a name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NamedPort {
    /// The name.
    pub name: String,
    /// Protocol number: TCP, UDP or SCTP.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// The resource kinds that have labels and addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ObjectKind {
    /// `GlobalNetworkSet`
    GlobalNetworkSet,
    /// `HostEndpoint`, behind the gateway or (then `peer_only`) an interface of it.
    HostEndpoint,
    /// `NetworkSet`
    NetworkSet,
    /// Kubernetes `Pod`.
    Pod,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::GlobalNetworkSet, Self::HostEndpoint, Self::NetworkSet, Self::Pod];

    /// The kind's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GlobalNetworkSet => "GlobalNetworkSet",
            Self::HostEndpoint => "HostEndpoint",
            Self::NetworkSet => "NetworkSet",
            Self::Pod => "Pod",
        }
    }
}
