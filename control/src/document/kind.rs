//! The kinds of resources that Calico and Kubernetes have, and what becomes of each here.

use super::reader::Thing;
use crate::kubernetes::{ENDPOINT_SLICE, NAMESPACE, POD, SERVICE, SERVICE_ACCOUNT};

/// A kind that a document can hold. Keys of resources are in this order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Calico `Tier`
    Tier,
    /// Kubernetes `Namespace`
    Namespace,
    /// Kubernetes `ServiceAccount`
    ServiceAccount,
    /// Calico `Profile`
    Profile,
    /// Calico `GlobalNetworkSet`
    GlobalNetworkSet,
    /// Calico `NetworkSet`
    NetworkSet,
    /// Calico `HostEndpoint`
    HostEndpoint,
    /// Kubernetes `Pod`
    Pod,
    /// Kubernetes `Service`
    Service,
    /// Kubernetes `EndpointSlice`
    EndpointSlice,
    /// Calico `GlobalNetworkPolicy`
    GlobalNetworkPolicy,
    /// Calico `NetworkPolicy`
    NetworkPolicy,
    /// Kubernetes `NetworkPolicy`
    KubernetesNetworkPolicy,
    /// Kubernetes `ClusterNetworkPolicy`
    ClusterNetworkPolicy,
    /// Kubernetes `AdminNetworkPolicy`
    AdminNetworkPolicy,
    /// Kubernetes `BaselineAdminNetworkPolicy`
    BaselineAdminNetworkPolicy,
    /// Calico `StagedGlobalNetworkPolicy`
    StagedGlobalNetworkPolicy,
    /// Calico `StagedNetworkPolicy`
    StagedNetworkPolicy,
    /// Calico `StagedKubernetesNetworkPolicy`
    StagedKubernetesNetworkPolicy,
}

/// How a kind is written.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) kind: Kind,
    /// As `kind` says it.
    pub(crate) name: &'static str,
    /// As TOML's arrays of tables are named.
    pub(crate) plural: &'static str,
    /// The versions that it is written in, the one that is written first.
    pub(crate) api_versions: &'static [&'static str],
    /// Whether its resources are in namespaces.
    pub(crate) has_namespace: bool,
    /// What is read of a thing that a cluster made: the fields of this, wherever in the resource they stand. The rest is
    /// passed over, since a cluster keeps much there that no policy asks for.
    pub(crate) picked: Option<&'static Thing>,
    /// How messages call several of them.
    pub(crate) several: &'static str,
}

impl Form {
    /// The version that is written.
    pub(crate) fn api_version(&self) -> &'static str {
        self.api_versions.first().copied().unwrap_or_default()
    }
}

impl Kind {
    /// Every kind, in the order in which a document is written.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        FORMS.iter().map(|form| form.kind)
    }

    /// How it is written.
    pub(crate) fn form(self) -> &'static Form {
        #[expect(clippy::expect_used, reason = "a test asks for the form of every kind")]
        FORMS.iter().find(|form| form.kind == self).expect("every kind has a form")
    }

    /// As `kind` says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.form().name
    }

    /// As TOML's arrays of tables are named.
    pub(crate) fn plural(self) -> &'static str {
        self.form().plural
    }
}

const CALICO: &[&str] = &["projectcalico.org/v3", "crd.projectcalico.org/v1"];

const fn calico(
    kind: Kind,
    name: &'static str,
    plural: &'static str,
    several: &'static str,
    has_namespace: bool,
) -> Form {
    Form { kind, name, plural, api_versions: CALICO, has_namespace, picked: None, several }
}

/// A policy that Kubernetes has beside Calico's.
const fn kubernetes(
    kind: Kind,
    name: &'static str,
    plural: &'static str,
    several: &'static str,
    api_versions: &'static [&'static str],
) -> Form {
    let has_namespace = matches!(kind, Kind::KubernetesNetworkPolicy);
    Form { api_versions, ..calico(kind, name, plural, several, has_namespace) }
}

/// A thing of a cluster that has labels or addresses.
const fn identity(
    kind: Kind,
    name: &'static str,
    plural: &'static str,
    several: &'static str,
    picked: &'static Thing,
) -> Form {
    let api_versions: &[&str] = if matches!(kind, Kind::EndpointSlice) {
        &["discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"]
    } else {
        &["v1"]
    };
    let has_namespace = !matches!(kind, Kind::Namespace);
    let form = calico(kind, name, plural, several, has_namespace);
    Form { api_versions, picked: Some(picked), ..form }
}

static FORMS: &[Form] = &[
    calico(Kind::Tier, "Tier", "tiers", "tiers", false),
    calico(
        Kind::GlobalNetworkSet,
        "GlobalNetworkSet",
        "globalNetworkSets",
        "global network sets",
        false,
    ),
    calico(Kind::NetworkSet, "NetworkSet", "networkSets", "network sets", true),
    calico(Kind::Profile, "Profile", "profiles", "profiles", false),
    calico(Kind::HostEndpoint, "HostEndpoint", "hostEndpoints", "host endpoints", false),
    calico(
        Kind::GlobalNetworkPolicy,
        "GlobalNetworkPolicy",
        "globalNetworkPolicies",
        "global network policies",
        false,
    ),
    calico(Kind::NetworkPolicy, "NetworkPolicy", "networkPolicies", "network policies", true),
    calico(
        Kind::StagedGlobalNetworkPolicy,
        "StagedGlobalNetworkPolicy",
        "stagedGlobalNetworkPolicies",
        "staged global network policies",
        false,
    ),
    calico(
        Kind::StagedNetworkPolicy,
        "StagedNetworkPolicy",
        "stagedNetworkPolicies",
        "staged network policies",
        true,
    ),
    kubernetes(
        Kind::KubernetesNetworkPolicy,
        "NetworkPolicy",
        "kubernetesNetworkPolicies",
        "Kubernetes network policies",
        &["networking.k8s.io/v1"],
    ),
    kubernetes(
        Kind::ClusterNetworkPolicy,
        "ClusterNetworkPolicy",
        "clusterNetworkPolicies",
        "cluster network policies",
        &["policy.networking.k8s.io/v1alpha2"],
    ),
    kubernetes(
        Kind::AdminNetworkPolicy,
        "AdminNetworkPolicy",
        "adminNetworkPolicies",
        "admin network policies",
        &["policy.networking.k8s.io/v1alpha1"],
    ),
    kubernetes(
        Kind::BaselineAdminNetworkPolicy,
        "BaselineAdminNetworkPolicy",
        "baselineAdminNetworkPolicies",
        "baseline admin network policies",
        &["policy.networking.k8s.io/v1alpha1"],
    ),
    calico(
        Kind::StagedKubernetesNetworkPolicy,
        "StagedKubernetesNetworkPolicy",
        "stagedKubernetesNetworkPolicies",
        "staged Kubernetes network policies",
        true,
    ),
    identity(Kind::Namespace, "Namespace", "namespaces", "namespaces", &NAMESPACE),
    identity(
        Kind::ServiceAccount,
        "ServiceAccount",
        "serviceAccounts",
        "service accounts",
        &SERVICE_ACCOUNT,
    ),
    identity(Kind::Pod, "Pod", "pods", "pods", &POD),
    identity(Kind::Service, "Service", "services", "services", &SERVICE),
    identity(
        Kind::EndpointSlice,
        "EndpointSlice",
        "endpointSlices",
        "endpoint slices",
        &ENDPOINT_SLICE,
    ),
];

/// What a name in `kind` can mean.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    Read(&'static Form),
    /// It is known and not read: what to do about that.
    Unread {
        name: &'static str,
        help: &'static str,
    },
}

/// The versions of all kinds of that name.
pub(crate) fn versions_of(name: &str) -> Vec<&'static str> {
    let name = |form: &&Form| form.name == name || name.strip_suffix("List") == Some(form.name);
    FORMS.iter().filter(name).flat_map(|form| form.api_versions).copied().collect()
}

/// What a name in `kind` means; `api_version` tells kinds of one name apart.
pub(crate) fn known(name: &str, api_version: Option<&str>) -> Option<Known> {
    let mut forms = FORMS.iter().filter(|form| form.name == name);
    let first = forms.next();
    let other =
        forms.find(|form| api_version.is_some_and(|version| form.api_versions.contains(&version)));
    if let Some(form) = other.or(first) {
        return Some(Known::Read(form));
    }
    let mut unread =
        UNREAD.iter().flat_map(|(names, help)| names.iter().map(move |name| (name, help)));
    let (name, help) = unread.find(|(unread, _)| **unread == name)?;
    Some(Known::Unread { name, help })
}

/// Kinds that are known and not read.
const UNREAD: [(&[&str], &str); 2] = [
    (
        &["Endpoints", "WorkloadEndpoint"],
        "write its addresses and labels as a `GlobalNetworkSet`, or move it to another directory",
    ),
    // Settings of a cluster and things that run in it: nothing of them is policy.
    (
        &[
            "BGPConfiguration",
            "BGPFilter",
            "BGPPeer",
            "BlockAffinity",
            "CalicoNodeStatus",
            "ClusterInformation",
            "ConfigMap",
            "CustomResourceDefinition",
            "DaemonSet",
            "Deployment",
            "FelixConfiguration",
            "IPAMBlock",
            "IPAMConfiguration",
            "IPPool",
            "IPReservation",
            "KubeControllersConfiguration",
            "Node",
            "Secret",
            "StatefulSet",
        ],
        "move it to another directory: it holds no policy",
    ),
];
