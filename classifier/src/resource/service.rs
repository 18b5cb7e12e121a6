//! Services: addresses and ports under one name.

use std::net::IpAddr;

/// Names a service.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A Kubernetes Service, as its `EndpointSlice`s tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name, unique.
    pub name: ServiceName,
    /// Where it is served.
    pub endpoints: Vec<ServiceEndpoint>,
}

/// One address that serves a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceEndpoint {
    /// The address.
    pub address: IpAddr,
    /// Protocol number and port of each of its ports.
    pub ports: Vec<(u8, u16)>,
}
