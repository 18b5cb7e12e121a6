//! Checked resources: what `control` makes of documents, and all that the compiler and the reference evaluator see.
//!
//! Field names and meanings are Calico v3's (`api/pkg/apis/projectcalico/v3`). Whoever builds these values has checked
//! them: nets have no host bits, ports stand with a protocol that has ports, a rule holds one IP family, names are unique.

use std::collections::BTreeSet;

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
    /// Name, unique among the policies of its kind.
    pub name: String,
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
    /// The text that orders policies of equal `order` (Calico `policy_sorter.go:388-400`: `Name/Namespace/Kind`).
    #[must_use]
    pub fn tie_break(&self) -> String {
        format!("{}//GlobalNetworkPolicy", self.name)
    }
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
    /// The port lies in one of these.
    pub ports: Vec<PortRange>,
    /// The port lies in none of these.
    pub not_ports: Vec<PortRange>,
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
    /// Name, unique within its kind.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its addresses: `nets` of a network set, `expectedIPs` of a host endpoint as single addresses.
    pub nets: Vec<IpNet>,
}

/// The resource kinds that have labels and addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ObjectKind {
    /// `GlobalNetworkSet`
    GlobalNetworkSet,
    /// `HostEndpoint` behind the gateway.
    HostEndpoint,
}
