//! Things with labels and addresses.

use ipnet::IpNet;

use crate::label::Labels;

/// Something with labels and addresses: it can be protected when it is behind the gateway, and be a peer anywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What kind of resource it came from.
    pub kind: ObjectKind,
    /// Namespace of a namespaced kind. Its effect is in the labels already; here it names.
    pub namespace: Option<String>,
    /// Name, unique within its kind and namespace.
    pub name: String,
    /// Its labels, inherited and synthetic ones included.
    pub labels: Labels,
    /// Its addresses: `nets` of a network set, `expectedIPs` of a host endpoint and IPs of a pod as single addresses.
    pub nets: Vec<IpNet>,
    /// Its named ports.
    pub ports: Vec<NamedPort>,
    /// It is a peer in rules only: no policy protects it, and an address that it alone covers counts as uncovered where
    /// protection is asked for.
    pub peer_only: bool,
}

impl Object {
    /// An object without labels and addresses.
    #[must_use]
    pub fn new(kind: ObjectKind, name: &str) -> Self {
        Self {
            kind,
            namespace: None,
            name: name.to_owned(),
            labels: Labels::default(),
            nets: Vec::new(),
            ports: Vec::new(),
            peer_only: false,
        }
    }
}

/// A port that an object gives a name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NamedPort {
    /// The name.
    pub name: String,
    /// Protocol number: TCP, UDP or SCTP.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// The resource kinds that have labels and addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ObjectKind {
    /// `GlobalNetworkSet`
    GlobalNetworkSet,
    /// `HostEndpoint`, behind the gateway or (then `peer_only`) an interface of it.
    HostEndpoint,
    /// `NetworkSet`
    NetworkSet,
    /// Kubernetes `Pod`.
    Pod,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::GlobalNetworkSet, Self::HostEndpoint, Self::NetworkSet, Self::Pod];

    /// The kind's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GlobalNetworkSet => "GlobalNetworkSet",
            Self::HostEndpoint => "HostEndpoint",
            Self::NetworkSet => "NetworkSet",
            Self::Pod => "Pod",
        }
    }
}
