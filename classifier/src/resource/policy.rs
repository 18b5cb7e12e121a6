//! Tiers and policies.

use super::Rule;
use crate::selector::Selector;

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
#[derive(Clone, Debug, PartialEq)]
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
