//! Checked resources: what `control` makes of documents, and all that the compiler and the reference evaluator see.
//!
//! Field names and meanings are Calico v3's (`api/pkg/apis/projectcalico/v3`). Whoever builds these values has checked
//! them: nets have no host bits, ports stand with a protocol that has ports, a rule holds one IP family, names are unique.

mod interface;
mod object;
mod policy;
mod rule;
mod service;

use std::collections::BTreeSet;

pub use self::interface::{GatewayPort, InterfaceEndpoint, InterfaceMatch, Profile};
pub use self::object::{NamedPort, Object, ObjectKind};
pub use self::policy::{Hook, Policy, PolicyKind, StagedAction, Tier, TierAction};
pub use self::rule::{Action, IcmpMatch, Peer, PortRange, Rule};
pub use self::service::{Service, ServiceEndpoint, ServiceName};

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
