//! From resources to what the classifier sees.

use std::collections::BTreeMap;

use classifier::resource::{
    Action, InterfaceEndpoint, InterfaceMatch, Object, ObjectKind, Policy, PolicySet, Profile,
    Rule, Service, ServiceEndpoint, ServiceName, Tier,
};
use ipnet::IpNet;

use super::{Content, Gateway, HostEndpoint, Kind, Resource, Resources};

/// A profile that exists always (Calico `libcalico-go/lib/resources/static.go`).
pub(crate) const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

impl Resources {
    /// What all of it means on this gateway. Tiers, policies, objects and interfaces stand in the order of their keys.
    #[must_use]
    pub fn policy_set(&self, gateway: &Gateway) -> PolicySet {
        let mut set = PolicySet {
            tiers: self.tiers(),
            policies: self.policies(),
            services: self.services(),
            ports: gateway.ports.clone(),
            defaults: gateway.defaults,
            ..PolicySet::new()
        };
        for resource in self.iter() {
            set.objects.extend(self.object(resource, gateway));
            set.interfaces.extend(self.interface(resource, gateway));
        }
        set.profiles = self.profiles(&set.interfaces);
        set
    }

    /// The fixed tiers and those of the documents.
    fn tiers(&self) -> Vec<Tier> {
        let mut tiers = Tier::fixed();
        for resource in self.iter() {
            if let Content::Tier(tier) = &resource.content
                && tiers.iter().all(|known| known.name != tier.name)
            {
                tiers.push(tier.clone());
            }
        }
        tiers
    }

    fn policies(&self) -> Vec<Policy> {
        let policies = self.iter().filter_map(|resource| {
            let Content::Policy(content) = &resource.content else { return None };
            Some(content.policy.clone())
        });
        policies.collect()
    }

    /// The object that a resource is; an interface of the gateway itself is one to rules only.
    fn object(&self, resource: &Resource, gateway: &Gateway) -> Option<Object> {
        let namespace = resource.key.namespace.as_deref();
        let object = match &resource.content {
            Content::NetworkSet(set) => Object {
                labels: self.network_set_labels(set, namespace),
                nets: set.nets.clone(),
                ..Object::new(network_set_kind(namespace), "")
            },
            Content::HostEndpoint(endpoint) => Object {
                labels: self.host_endpoint_labels(endpoint),
                nets: single_addresses(&endpoint.expected_ips),
                ports: endpoint.ports.clone(),
                peer_only: is_of(endpoint, gateway),
                ..Object::new(ObjectKind::HostEndpoint, "")
            },
            Content::Pod(pod) => Object {
                labels: self.pod_labels(pod, namespace.unwrap_or_default()),
                nets: single_addresses(&pod.addresses),
                ports: pod.ports.clone(),
                ..Object::new(ObjectKind::Pod, "")
            },
            Content::EndpointSlice(_)
            | Content::Idle
            | Content::Namespace(_)
            | Content::Policy(_)
            | Content::Profile(_)
            | Content::ServiceAccount(_)
            | Content::Tier(_) => return None,
        };
        let Resource { key, .. } = resource;
        Some(Object { namespace: key.namespace.clone(), name: key.name.clone(), ..object })
    }

    /// The interface of the gateway that a resource is.
    fn interface(&self, resource: &Resource, gateway: &Gateway) -> Option<InterfaceEndpoint> {
        let Content::HostEndpoint(endpoint) = &resource.content else { return None };
        is_of(endpoint, gateway).then(|| InterfaceEndpoint {
            name: resource.key.name.clone(),
            interface: interface_match(endpoint),
            labels: self.host_endpoint_labels(endpoint),
            profiles: endpoint.profiles.clone(),
        })
    }

    /// The profiles of documents, the one that exists always, and of those that Kubernetes' namespaces are, the ones
    /// that an interface names.
    fn profiles(&self, interfaces: &[InterfaceEndpoint]) -> Vec<Profile> {
        let mut profiles: BTreeMap<&str, Profile> = BTreeMap::new();
        for resource in self.iter() {
            if let Content::Profile(content) = &resource.content {
                let (ingress, egress) = (content.ingress.clone(), content.egress.clone());
                let name = resource.key.name.clone();
                profiles.insert(&resource.key.name, Profile { name, ingress, egress });
            }
        }
        profiles.entry(DEFAULT_ALLOW).or_insert_with(|| allow_all(DEFAULT_ALLOW));
        for name in interfaces.iter().flat_map(|interface| &interface.profiles) {
            if let Some(namespace) = name.strip_prefix("kns.")
                && self.named(Kind::Namespace, None, namespace).is_some()
            {
                profiles.entry(name).or_insert_with(|| allow_all(name));
            }
        }
        profiles.into_values().collect()
    }

    /// Services, each with the endpoints of all its slices.
    fn services(&self) -> Vec<Service> {
        let mut services: BTreeMap<ServiceName, Vec<ServiceEndpoint>> = BTreeMap::new();
        for resource in self.iter() {
            if let Content::EndpointSlice(slice) = &resource.content
                && let (Some(namespace), Some(name)) = (&resource.key.namespace, &slice.service)
            {
                let name = ServiceName { namespace: namespace.clone(), name: name.clone() };
                services.entry(name).or_default().extend(slice.endpoints.iter().cloned());
            }
        }
        services.into_iter().map(|(name, endpoints)| Service { name, endpoints }).collect()
    }
}

/// Whether the endpoint is an interface of this gateway.
pub(crate) fn is_of(endpoint: &HostEndpoint, gateway: &Gateway) -> bool {
    !gateway.name.is_empty() && endpoint.node == gateway.name
}

fn interface_match(endpoint: &HostEndpoint) -> InterfaceMatch {
    match endpoint.interface.as_deref() {
        Some("*") => InterfaceMatch::All,
        Some(name) => InterfaceMatch::Name(name.to_owned()),
        None => InterfaceMatch::Addresses(endpoint.expected_ips.clone()),
    }
}

fn network_set_kind(namespace: Option<&str>) -> ObjectKind {
    if namespace.is_some() { ObjectKind::NetworkSet } else { ObjectKind::GlobalNetworkSet }
}

fn single_addresses(addresses: &[std::net::IpAddr]) -> Vec<IpNet> {
    addresses.iter().copied().map(IpNet::from).collect()
}

fn allow_all(name: &str) -> Profile {
    let rules = || vec![Rule::new(Action::Allow)];
    Profile { name: name.to_owned(), ingress: rules(), egress: rules() }
}
