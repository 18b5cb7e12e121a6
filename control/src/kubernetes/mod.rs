//! Kubernetes resources as policy and identity, exactly as Calico converts them.
//!
//! Policies come out with effective selectors, so the classifier knows nothing of namespaces. The facts are Calico's
//! `libcalico-go/lib/backend/k8s/conversion` and the update processors behind it. What the API server of a cluster would
//! refuse is refused here with its place; Calico itself, which never sees it, would drop such a rule or widen it.

mod admin_policy;
mod cluster_policy;
mod cluster_rule;
mod identity;
mod label_selector;
mod network_policy;
mod ports;
mod rules;
mod service;

pub(crate) use self::admin_policy::{admin_network_policy, baseline_admin_network_policy};
pub(crate) use self::cluster_policy::cluster_network_policy;
pub(crate) use self::identity::{NAMESPACE, POD, SERVICE_ACCOUNT, namespace, pod, service_account};
pub(crate) use self::network_policy::{network_policy, staged_network_policy};
pub(crate) use self::service::{ENDPOINT_SLICE, SERVICE, endpoint_slice, service};
