//! What the pipeline does with a frame: a packet is never an error, it is a disposition with a counted reason.

/// The fate of one frame.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub enum Disposition {
    /// It is counted under this reason and its memory goes back to the port that received it.
    Drop(DropReason),
    /// It leaves by the other port.
    Forward,
}

/// Why a frame was dropped: exactly one for each dropped frame.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DropReason {
    /// No policy image is in force.
    NoPolicy,
    /// The frame is too short for an Ethernet header, or its headers do not add up.
    Malformed,
    /// More VLAN tags than are looked through.
    VlanTags,
    /// Neither IPv4, IPv6 nor ARP, and the port does not pass such frames.
    NonIp,
    /// A fragment: no ports can be seen, so no rule can be applied to it.
    Fragment,
    /// The packet carries its own route: its destination address, which rules see, is not where it ends.
    SourceRoute,
    /// A neighbour discovery message that is not link-local traffic (hop limit below 255, RFC 4861 section 6.1), or
    /// hides behind extension headers.
    NeighbourDiscovery,
    /// A TCP segment that belongs to no flow and does not open one.
    TcpNotOpening,
    /// Policy denies the packet.
    PolicyDenied,
    /// Policy allows the packet, but the flow table has no room for its flow.
    FlowTableFull,
    /// The transmit ring of the other port is full.
    TransmitRingFull,
    /// Our own mistake; never expected.
    Internal,
}

impl DropReason {
    /// Every reason, in the order of `index`.
    pub const ALL: [Self; 12] = [
        Self::NoPolicy,
        Self::Malformed,
        Self::VlanTags,
        Self::NonIp,
        Self::Fragment,
        Self::SourceRoute,
        Self::NeighbourDiscovery,
        Self::TcpNotOpening,
        Self::PolicyDenied,
        Self::FlowTableFull,
        Self::TransmitRingFull,
        Self::Internal,
    ];

    /// Position in `ALL`.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The stable name in `status` and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoPolicy => "no-policy",
            Self::Malformed => "malformed",
            Self::VlanTags => "vlan-tags",
            Self::NonIp => "non-ip",
            Self::Fragment => "fragment",
            Self::SourceRoute => "source-route",
            Self::NeighbourDiscovery => "neighbour-discovery",
            Self::TcpNotOpening => "tcp-not-opening",
            Self::PolicyDenied => "policy-denied",
            Self::FlowTableFull => "flow-table-full",
            Self::TransmitRingFull => "transmit-ring-full",
            Self::Internal => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_own_index() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
