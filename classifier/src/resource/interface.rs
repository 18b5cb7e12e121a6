//! The gateway itself: its ports, the host endpoints that are interfaces of it, and their profiles.

use std::net::IpAddr;

use super::Rule;
use crate::label::Labels;

/// Rules for an interface endpoint that no tier has decided: for traffic of the gateway itself only. Pass denies.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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
