//! The kinds of resources that Calico and Kubernetes have, and what becomes of each here.

use crate::diagnostic::Severity;

/// A kind that a document can hold.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Tier,
    GlobalNetworkSet,
    HostEndpoint,
    GlobalNetworkPolicy,
}

impl Kind {
    /// Every kind, in the order in which a document is written.
    pub(crate) const ALL: [Self; 4] =
        [Self::Tier, Self::GlobalNetworkSet, Self::HostEndpoint, Self::GlobalNetworkPolicy];

    /// As `kind` says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tier => "Tier",
            Self::GlobalNetworkSet => "GlobalNetworkSet",
            Self::HostEndpoint => "HostEndpoint",
            Self::GlobalNetworkPolicy => "GlobalNetworkPolicy",
        }
    }

    /// As TOML's arrays of tables are named.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Tier => "tiers",
            Self::GlobalNetworkSet => "globalNetworkSets",
            Self::HostEndpoint => "hostEndpoints",
            Self::GlobalNetworkPolicy => "globalNetworkPolicies",
        }
    }
}

/// What to do about a kind that is not supported.
pub(crate) const UNSUPPORTED_HELP: &str = "remove it; the kinds are `globalNetworkPolicies`, `globalNetworkSets`, `hostEndpoints` and \
     `tiers`";

/// A kind as its name in `kind` says it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    /// The versions that it is written in, ours first; none where any will do, since it is not read.
    pub(crate) api_versions: &'static [&'static str],
    /// What it is here; else how bad it is that it is nothing.
    pub(crate) support: Result<Kind, Severity>,
    /// What to do about a kind that is not supported.
    pub(crate) help: &'static str,
}

const CALICO: &[&str] = &["projectcalico.org/v3", "crd.projectcalico.org/v1"];

/// The kind with this name.
pub(crate) fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

static KNOWN: &[Known] = &[
    supported(Kind::GlobalNetworkPolicy),
    supported(Kind::GlobalNetworkSet),
    supported(Kind::HostEndpoint),
    supported(Kind::Tier),
    policy("AdminNetworkPolicy"),
    policy("BaselineAdminNetworkPolicy"),
    policy("ClusterNetworkPolicy"),
    policy("NetworkPolicy"),
    staged("StagedGlobalNetworkPolicy"),
    staged("StagedKubernetesNetworkPolicy"),
    staged("StagedNetworkPolicy"),
    identity("EndpointSlice"),
    identity("Endpoints"),
    identity("Namespace"),
    identity("NetworkSet"),
    identity("Pod"),
    identity("Profile"),
    identity("Service"),
    identity("ServiceAccount"),
    identity("WorkloadEndpoint"),
    foreign("BGPConfiguration"),
    foreign("BGPFilter"),
    foreign("BGPPeer"),
    foreign("BlockAffinity"),
    foreign("CalicoNodeStatus"),
    foreign("ClusterInformation"),
    foreign("ConfigMap"),
    foreign("CustomResourceDefinition"),
    foreign("DaemonSet"),
    foreign("Deployment"),
    foreign("FelixConfiguration"),
    foreign("IPAMBlock"),
    foreign("IPAMConfiguration"),
    foreign("IPPool"),
    foreign("IPReservation"),
    foreign("KubeControllersConfiguration"),
    foreign("Node"),
    foreign("Secret"),
    foreign("StatefulSet"),
];

const fn supported(kind: Kind) -> Known {
    let name = match kind {
        Kind::Tier => "Tier",
        Kind::GlobalNetworkSet => "GlobalNetworkSet",
        Kind::HostEndpoint => "HostEndpoint",
        Kind::GlobalNetworkPolicy => "GlobalNetworkPolicy",
    };
    Known { name, api_versions: CALICO, support: Ok(kind), help: "" }
}

const fn policy(name: &'static str) -> Known {
    let help = "write it as a `GlobalNetworkPolicy` that selects by labels of your own, or move it to \
                another directory";
    Known { name, api_versions: &[], support: Err(Severity::Error), help }
}

const fn identity(name: &'static str) -> Known {
    let help =
        "write its addresses and labels as a `GlobalNetworkSet`, or move it to another directory";
    Known { name, api_versions: &[], support: Err(Severity::Error), help }
}

/// Staged policies are never enforced, so nothing changes when they are not looked at.
const fn staged(name: &'static str) -> Known {
    let help = "staged policies are not evaluated yet; remove it to silence this";
    Known { name, api_versions: &[], support: Err(Severity::Warning), help }
}

/// Settings of a cluster and things that run in it: nothing of them is policy.
const fn foreign(name: &'static str) -> Known {
    let help = "move it to another directory: it holds no policy";
    Known { name, api_versions: &[], support: Err(Severity::Error), help }
}
