//! The question: what a rule can see of a packet, and the way the packet crosses the gateway.

use std::fmt;
use std::net::IpAddr;

/// IP protocol numbers that have a meaning here (IANA protocol numbers).
pub mod protocol {
    /// ICMP, RFC 792.
    pub const ICMP: u8 = 1;
    /// TCP, RFC 9293.
    pub const TCP: u8 = 6;
    /// UDP, RFC 768.
    pub const UDP: u8 = 17;
    /// `ICMPv6`, RFC 4443.
    pub const ICMPV6: u8 = 58;
    /// SCTP, RFC 9260.
    pub const SCTP: u8 = 132;
    /// UDP-Lite, RFC 3828.
    pub const UDPLITE: u8 = 136;
}

/// The family of a packet or of a rule.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum IpVersion {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl IpVersion {
    /// The family that `address` belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// What stands behind the IP header, as far as a rule can match it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Transport {
    /// TCP, UDP or SCTP.
    Ports {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// ICMP or `ICMPv6`.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// Any other protocol: only its number can be matched.
    Opaque,
}

/// What a rule can match of a packet: fixed-size plain data, also the material of the flow key.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PacketKey {
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family as `src`.
    pub dst: IpAddr,
    /// IP protocol number (IPv6: of the upper layer, extension headers walked).
    pub protocol: u8,
    /// Ports, ICMP type and code, or nothing.
    pub transport: Transport,
}

impl PacketKey {
    /// The packet's family.
    #[must_use]
    pub fn version(&self) -> IpVersion {
        IpVersion::of(self.src)
    }
}

/// The side a port faces. What is reached through an inside port is *behind* the gateway.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Side {
    /// Towards the protected things.
    Inside,
    /// Towards the rest of the world.
    Outside,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
        })
    }
}

/// Where a packet comes from or goes to, seen from the gateway.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// Through a port.
    Port {
        /// The side it faces.
        side: Side,
        /// Its position in `PolicySet::ports`; `None` for a port that the policy set does not know: then only an
        /// endpoint of all interfaces governs it.
        number: Option<u16>,
    },
    /// The gateway itself.
    Gateway,
}

impl Place {
    /// Whether what is there is behind the gateway.
    #[must_use]
    pub fn is_inside(self) -> bool {
        matches!(self, Self::Port { side: Side::Inside, .. })
    }

    /// The side of a port.
    #[must_use]
    pub fn side(self) -> Option<Side> {
        match self {
            Self::Port { side, .. } => Some(side),
            Self::Gateway => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { side, number: None } => write!(f, "{side}"),
            Self::Port { side, number: Some(number) } => write!(f, "{side} port {number}"),
            Self::Gateway => f.write_str("the gateway"),
        }
    }
}

/// The way of a packet: where it comes from and where it would go.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Crossing {
    /// The port it was received on.
    pub from: Place,
    /// The port it would be sent from.
    pub to: Place,
}

impl Crossing {
    /// The way between two sides, through ports that no interface endpoint governs by name.
    #[must_use]
    pub const fn sides(from: Side, to: Side) -> Self {
        Self {
            from: Place::Port { side: from, number: None },
            to: Place::Port { side: to, number: None },
        }
    }
}
