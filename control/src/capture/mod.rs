//! Recorded captures: one packet after the other, never a whole file in memory.
//!
//! `reader` knows the files (pcap, pcapng), `link` what stands before the IP header, `network` and `transport` the headers
//! that a rule can match. They say of a packet what the data plane would see of it.

mod link;
mod network;
mod reader;
mod transport;

pub use self::link::{Link, packet};
pub use self::reader::{CaptureError, Format, Recorded, read};

use classifier::packet::PacketKey;

/// VLAN identifiers of a frame, outer first.
pub type Vlans = [Option<u16>; 2];

/// A packet that policy judges.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet {
    /// What a rule can match.
    pub key: PacketKey,
    /// The VLANs it travels in.
    pub vlans: Vlans,
    /// What it says about the conversation it belongs to.
    pub signal: Signal,
}

/// What a packet says about its conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// An ICMP or `ICMPv6` echo request with this identifier.
    EchoRequest(u16),
    /// An ICMP or `ICMPv6` echo reply with this identifier.
    EchoReply(u16),
    /// Any other ICMP or `ICMPv6` message: it belongs to no flow.
    Message,
    /// A packet of a protocol without a handshake that we know.
    Datagram,
    /// TCP: a pure SYN, the only segment that begins a connection.
    Opening,
    /// TCP: SYN and ACK, the answer to one.
    Answer,
    /// TCP: any other segment.
    Segment,
}

/// Why policy does not judge what was recorded.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Unjudged {
    /// ARP: passes below policy.
    Arp,
    /// IPv6 neighbour discovery of the link itself: passes below policy.
    NeighbourDiscovery,
    /// Neither IP nor ARP: the port's `nonIp` setting decides.
    NonIp,
    /// A fragment: judged by the gateway when its datagram is whole, which is not put together here.
    Fragment,
    /// It carries its own route: dropped.
    SourceRoute,
    /// A neighbour discovery message that does not come from the link, or hides: dropped.
    FalseDiscovery,
    /// More VLAN tags than are looked through: dropped.
    VlanTags,
    /// Its headers do not add up: dropped.
    Malformed,
    /// The capture holds too little of it.
    CutShort,
    /// It was recorded on a kind of link that is not read here (`LINKTYPE_` number).
    Link(u32),
}

impl Unjudged {
    /// The stable name for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::NeighbourDiscovery => "neighbour-discovery",
            Self::NonIp => "non-ip",
            Self::Fragment => "fragment",
            Self::SourceRoute => "source-route",
            Self::FalseDiscovery => "false-neighbour-discovery",
            Self::VlanTags => "vlan-tags",
            Self::Malformed => "malformed",
            Self::CutShort => "cut-short",
            Self::Link(_) => "link-type",
        }
    }

    /// What it is and what the gateway does with it, for people.
    #[must_use]
    pub fn words(self) -> String {
        let words = match self {
            Self::Arp => "ARP: passes below policy",
            Self::NeighbourDiscovery => "IPv6 neighbour discovery: passes below policy",
            Self::NonIp => "neither IP nor ARP: the port's `nonIp` setting decides",
            Self::Fragment => {
                "fragments: not put together here; the gateway judges the whole datagram"
            }
            Self::SourceRoute => "with a route of its own: the gateway drops them",
            Self::FalseDiscovery => "neighbour discovery from afar: the gateway drops it",
            Self::VlanTags => "more than two VLAN tags: the gateway drops them",
            Self::Malformed => "headers that do not add up: the gateway drops them",
            Self::CutShort => "recorded too short to judge: record with a larger snapshot length",
            Self::Link(number) => {
                return format!("recorded on a link of type {number}, which is not read here");
            }
        };
        words.to_owned()
    }
}

/// Bytes of a packet, as far as they were recorded.
#[derive(Clone, Copy, Debug)]
struct Rest<'a> {
    bytes: &'a [u8],
    /// How many there were when it was recorded.
    length: usize,
}

impl<'a> Rest<'a> {
    fn of(bytes: &'a [u8], length: usize) -> Self {
        Self { bytes, length: length.max(bytes.len()) }
    }

    fn is_cut(&self) -> bool {
        self.bytes.len() < self.length
    }

    /// The first `count` bytes, and what follows.
    fn split(self, count: usize) -> Result<(&'a [u8], Self), Unjudged> {
        match self.bytes.split_at_checked(count) {
            Some((head, bytes)) => Ok((head, Self { bytes, length: self.length - count })),
            None if count <= self.length => Err(Unjudged::CutShort),
            None => Err(Unjudged::Malformed),
        }
    }

    fn array<const N: usize>(self) -> Result<&'a [u8; N], Unjudged> {
        self.split(N)?.0.try_into().map_err(|_| Unjudged::Malformed)
    }

    fn without(self, count: usize) -> Result<Self, Unjudged> {
        Ok(self.split(count)?.1)
    }

    /// Without what follows the first `length` bytes, which must have been there.
    fn first(self, length: usize) -> Result<Self, Unjudged> {
        if length > self.length {
            return Err(Unjudged::Malformed);
        }
        Ok(Self { bytes: self.bytes.get(..length).unwrap_or(self.bytes), length })
    }

    /// What a header is that cannot be read.
    fn unreadable(&self) -> Unjudged {
        if self.is_cut() { Unjudged::CutShort } else { Unjudged::Malformed }
    }
}
