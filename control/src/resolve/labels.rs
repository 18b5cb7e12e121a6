//! Effective labels: own ones, those that Calico adds, and those that namespace, service account and profiles give.

use classifier::label::Labels;

use super::{Content, HostEndpoint, Kind, NetworkSet, Pod, Resources};

/// Set by Calico on what is in a namespace.
pub(crate) const NAMESPACE: &str = "projectcalico.org/namespace";
/// Set by Calico on pods.
pub(crate) const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";
/// Set by Calico on pods that have a service account.
pub(crate) const SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";
/// Stands before the labels of a namespace on what is in it.
pub(crate) const NAMESPACE_PREFIX: &str = "pcns.";
/// Stands before the labels of a service account on pods that have it.
pub(crate) const SERVICE_ACCOUNT_PREFIX: &str = "pcsa.";
/// The name of a namespace or service account, behind its prefix.
const NAME: &str = "projectcalico.org/name";

impl Resources {
    /// Labels of a network set; `namespace` for one that is in a namespace.
    pub(super) fn network_set_labels(&self, set: &NetworkSet, namespace: Option<&str>) -> Labels {
        let mut labels = set.labels.clone();
        if let Some(namespace) = namespace {
            labels.insert(NAMESPACE, namespace);
            inherit(&mut labels, &self.namespace_labels(namespace));
        }
        labels
    }

    /// Labels of a host endpoint: its own win, then its profiles in their order.
    pub(super) fn host_endpoint_labels(&self, endpoint: &HostEndpoint) -> Labels {
        let mut labels = endpoint.labels.clone();
        for profile in &endpoint.profiles {
            inherit(&mut labels, &self.profile_labels(profile));
        }
        labels
    }

    /// Labels of a pod (Calico `conversion/workload_endpoint_default.go`).
    pub(super) fn pod_labels(&self, pod: &Pod, namespace: &str) -> Labels {
        let is_own = |name: &str| {
            !name.starts_with(NAMESPACE_PREFIX) && !name.starts_with(SERVICE_ACCOUNT_PREFIX)
        };
        let mut labels: Labels = pod.labels.iter().filter(|(name, _)| is_own(name)).collect();
        labels.insert(NAMESPACE, namespace);
        labels.insert(ORCHESTRATOR, "k8s");
        // Longer ones are no label values; Calico leaves them to the labels behind the prefix.
        if let Some(account) = pod.service_account.as_ref().filter(|account| account.len() < 63) {
            labels.insert(SERVICE_ACCOUNT, account);
        }
        inherit(&mut labels, &self.namespace_labels(namespace));
        if let Some(account) = &pod.service_account {
            inherit(&mut labels, &self.service_account_labels(namespace, account));
        }
        labels
    }

    /// The labels that a profile gives. Namespaces and service accounts are profiles too, by the names that Calico gives
    /// them (`libcalico-go/lib/backend/k8s/conversion`).
    fn profile_labels(&self, profile: &str) -> Labels {
        let resource = self.named(Kind::Profile, None, profile);
        if let Some(Content::Profile(profile)) = resource.map(|resource| &resource.content) {
            return profile.labels_to_apply.clone();
        }
        if let Some(namespace) = profile.strip_prefix("kns.") {
            return self.namespace_labels(namespace);
        }
        match profile.strip_prefix("ksa.").and_then(|account| account.split_once('.')) {
            Some((namespace, name)) => self.service_account_labels(namespace, name),
            None => Labels::new(),
        }
    }

    /// Whether a profile of that name gives labels or rules.
    pub(crate) fn has_profile(&self, name: &str) -> bool {
        self.named(Kind::Profile, None, name).is_some() || !self.profile_labels(name).is_empty()
    }

    /// What a namespace gives to what is in it; nothing if it is not known.
    fn namespace_labels(&self, name: &str) -> Labels {
        let resource = self.named(Kind::Namespace, None, name);
        let Some(Content::Namespace(labels)) = resource.map(|resource| &resource.content) else {
            return Labels::new();
        };
        prefixed(labels, NAMESPACE_PREFIX, name)
    }

    /// What a service account gives to pods that have it; nothing if it is not known.
    fn service_account_labels(&self, namespace: &str, name: &str) -> Labels {
        let resource = self.named(Kind::ServiceAccount, Some(namespace), name);
        let Some(Content::ServiceAccount(labels)) = resource.map(|resource| &resource.content)
        else {
            return Labels::new();
        };
        prefixed(labels, SERVICE_ACCOUNT_PREFIX, name)
    }
}

fn prefixed(labels: &Labels, prefix: &str, name: &str) -> Labels {
    let mut prefixed: Labels =
        labels.iter().map(|(name, value)| (format!("{prefix}{name}"), value)).collect();
    prefixed.insert(format!("{prefix}{NAME}"), name);
    prefixed
}

/// Adds the labels whose names are not taken.
fn inherit(labels: &mut Labels, from: &Labels) {
    for (name, value) in from {
        if labels.get(name).is_none() {
            labels.insert(name, value);
        }
    }
}
