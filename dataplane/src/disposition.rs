//! What the pipeline does with a frame: a packet is never an error, it is a disposition with a counted reason.

use crate::fragment::Whole;
use crate::parse::Completion;

/// The fate of one frame.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub enum Disposition {
    /// It is counted under this reason and its memory goes back to the port that received it.
    Drop(DropReason),
    /// It leaves by the other port.
    Forward,
    /// It leaves by the other port with these two bytes written over what stands at `at`: a checksum that its sender left to
    /// hardware.
    Complete {
        /// Position in the frame.
        at: u16,
        /// What stands there when it leaves.
        value: [u8; 2],
    },
    /// It is a fragment that was copied; its memory goes back to the port that received it.
    Hold,
    /// It was copied too, and with it its datagram is whole: all fragments leave by the other port.
    Release(Whole),
}

impl Disposition {
    /// With a checksum written before the frame leaves, if it does.
    pub(crate) fn completed(self, completion: Option<Completion>) -> Self {
        match (self, completion) {
            (Self::Forward, Some(Completion { at, value })) => Self::Complete { at, value },
            _ => self,
        }
    }
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
    /// The checksum of the IPv4 header, or of TCP, UDP, ICMP or `ICMPv6`, is wrong.
    Checksum,
    /// A time to live or hop limit of 0: it should not have reached us (RFC 1812 section 5.3.1).
    HopLimit,
    /// An IPv4 option that does not pass (RFC 7126).
    IpOption,
    /// An IPv6 extension header or an option in one that does not pass (RFC 9288), or a chain of them that is too long.
    ExtensionHeader,
    /// The packet carries its own route: its destination address, which rules see, is not where it ends.
    SourceRoute,
    /// A source address that no packet may come from (RFC 6890; multicast, broadcast, loopback and their like).
    BogonSource,
    /// A destination address that no packet may be forwarded to (RFC 6890).
    BogonDestination,
    /// A source address that lives behind the other port, or does not live behind this one (RFC 2827).
    SpoofedSource,
    /// Source and destination are one address.
    Land,
    /// ARP that is not for IPv4 over Ethernet, or contradicts its frame.
    Arp,
    /// A neighbour discovery message that is not link-local traffic (hop limit below 255, RFC 4861 section 6.1), hides
    /// behind extension headers, or is fragmented (RFC 6980).
    NeighbourDiscovery,
    /// A fragment that cannot be part of a datagram: empty, not in units of eight, beyond 65,535, or too short a first one.
    FragmentInvalid,
    /// A fragment of a datagram whose fragments overlap: all of it is discarded (RFC 5722). Or one that only repeats another
    /// one exactly: it alone is dropped (RFC 8200 section 4.5).
    FragmentOverlap,
    /// A fragment of a datagram that was never whole.
    FragmentTimeout,
    /// No room for fragments, or for another one of this datagram or source; also one that waited and had to give way.
    FragmentLimit,
    /// Control bits that no TCP sends: none, SYN with FIN or RST, FIN without ACK.
    TcpFlags,
    /// A TCP segment that belongs to no flow and does not open one.
    TcpNotOpening,
    /// A TCP segment of a known flow whose sequence or acknowledgment number its peers cannot have meant.
    TcpWindow,
    /// A TCP segment with data, or one that is no repetition, of a connection that is closed.
    TcpClosed,
    /// An ICMP message that is never forwarded (RFC 4890 section 4.3.3; redirect, source quench).
    IcmpType,
    /// An ICMP error about, or a reply to, nothing that we know of.
    IcmpUnmatched,
    /// Policy denies the packet.
    PolicyDenied,
    /// Policy allows the packet, but there are too many half-open connections, in all, to the destination, or from the source.
    HalfOpenLimit,
    /// Policy allows the packet, but its source has too many flows.
    SourceFlowLimit,
    /// Policy allows the packet, but its source opens flows too fast.
    NewFlowRate,
    /// Policy allows the packet, but the flow table has no room for its flow.
    FlowTableFull,
    /// The transmit ring of the other port is full.
    TransmitRingFull,
    /// Our own mistake; never expected.
    Internal,
}

impl DropReason {
    /// Every reason, in the order of `index`.
    pub const ALL: [Self; 32] = [
        Self::NoPolicy,
        Self::Malformed,
        Self::VlanTags,
        Self::NonIp,
        Self::Checksum,
        Self::HopLimit,
        Self::IpOption,
        Self::ExtensionHeader,
        Self::SourceRoute,
        Self::BogonSource,
        Self::BogonDestination,
        Self::SpoofedSource,
        Self::Land,
        Self::Arp,
        Self::NeighbourDiscovery,
        Self::FragmentInvalid,
        Self::FragmentOverlap,
        Self::FragmentTimeout,
        Self::FragmentLimit,
        Self::TcpFlags,
        Self::TcpNotOpening,
        Self::TcpWindow,
        Self::TcpClosed,
        Self::IcmpType,
        Self::IcmpUnmatched,
        Self::PolicyDenied,
        Self::HalfOpenLimit,
        Self::SourceFlowLimit,
        Self::NewFlowRate,
        Self::FlowTableFull,
        Self::TransmitRingFull,
        Self::Internal,
    ];

    /// Position in `ALL`.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The stable name in `status`, settings and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoPolicy => "no-policy",
            Self::Malformed => "malformed",
            Self::VlanTags => "vlan-tags",
            Self::NonIp => "non-ip",
            Self::Checksum => "checksum",
            Self::HopLimit => "hop-limit",
            Self::IpOption => "ip-option",
            Self::ExtensionHeader => "extension-header",
            Self::SourceRoute => "source-route",
            Self::BogonSource => "bogon-source",
            Self::BogonDestination => "bogon-destination",
            Self::SpoofedSource => "spoofed-source",
            Self::Land => "land",
            Self::Arp => "arp",
            Self::NeighbourDiscovery => "neighbour-discovery",
            Self::FragmentInvalid => "fragment-invalid",
            Self::FragmentOverlap => "fragment-overlap",
            Self::FragmentTimeout => "fragment-timeout",
            Self::FragmentLimit => "fragment-limit",
            Self::TcpFlags => "tcp-flags",
            Self::TcpNotOpening => "tcp-not-opening",
            Self::TcpWindow => "tcp-window",
            Self::TcpClosed => "tcp-closed",
            Self::IcmpType => "icmp-type",
            Self::IcmpUnmatched => "icmp-unmatched",
            Self::PolicyDenied => "policy-denied",
            Self::HalfOpenLimit => "half-open-limit",
            Self::SourceFlowLimit => "source-flow-limit",
            Self::NewFlowRate => "new-flow-rate",
            Self::FlowTableFull => "flow-table-full",
            Self::TransmitRingFull => "transmit-ring-full",
            Self::Internal => "internal",
        }
    }

    /// Whether a setting may let such packets pass and count them only. What hides the packet from policy, what memory has
    /// no room for, and what policy itself says cannot be waived.
    #[must_use]
    pub fn can_be_counted_only(self) -> bool {
        match self {
            Self::Checksum
            | Self::HopLimit
            | Self::IpOption
            | Self::ExtensionHeader
            | Self::SourceRoute
            | Self::BogonSource
            | Self::BogonDestination
            | Self::SpoofedSource
            | Self::Land
            | Self::Arp
            | Self::NeighbourDiscovery
            | Self::TcpFlags
            | Self::TcpWindow
            | Self::TcpClosed
            | Self::IcmpType
            | Self::IcmpUnmatched
            | Self::HalfOpenLimit
            | Self::SourceFlowLimit
            | Self::NewFlowRate => true,
            Self::NoPolicy
            | Self::Malformed
            | Self::VlanTags
            | Self::NonIp
            | Self::FragmentInvalid
            | Self::FragmentOverlap
            | Self::FragmentTimeout
            | Self::FragmentLimit
            | Self::TcpNotOpening
            | Self::PolicyDenied
            | Self::FlowTableFull
            | Self::TransmitRingFull
            | Self::Internal => false,
        }
    }
}

/// A set of reasons.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Reasons(u64);

impl Reasons {
    /// With this reason as well.
    #[must_use]
    pub const fn with(self, reason: DropReason) -> Self {
        Self(self.0 | 1 << reason as u64)
    }

    /// Whether this reason is in the set.
    #[must_use]
    pub const fn has(self, reason: DropReason) -> bool {
        self.0 & 1 << reason as u64 != 0
    }

    /// Whether no reason is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The reasons of the set, in the order of `DropReason::ALL`.
    pub fn iter(self) -> impl Iterator<Item = DropReason> {
        DropReason::ALL.into_iter().filter(move |reason| self.has(*reason))
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

    #[test]
    fn set_has_what_was_put_into_it() {
        let set = Reasons::default().with(DropReason::Internal).with(DropReason::NoPolicy);
        assert_eq!(set.iter().collect::<Vec<_>>(), [DropReason::NoPolicy, DropReason::Internal]);
        assert!(!set.has(DropReason::Land) && !set.is_empty() && Reasons::default().is_empty());
    }
}
