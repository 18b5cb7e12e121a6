//! From the bytes of a frame to what the flow table and the classifier see of it: in place, without copying, strict.
//!
//! What does not add up is a drop with a reason, never a guess. Lengths are taken from the headers and must fit the
//! frame; what follows the IP packet in the frame (Ethernet padding) is not looked at. Checks beside that go from the outer header
//! to the inner one, and the first that fails names the reason: those of the IP header and its options or extension headers,
//! of addresses, of the transport header, of its checksum, of what it says.

mod addresses;
mod discovery;
mod icmp;
mod inspection;
mod ipv4;
mod ipv6;
mod link;
mod quote;
mod tcp;
mod transport;

use std::fmt;
use std::net::IpAddr;

use classifier::packet::PacketKey;

use self::inspection::Inspection;
use crate::device::Port;
use crate::disposition::{DropReason, Reasons};
use crate::sanity::Sanity;

/// VLAN identifiers of a frame, outer first.
pub type Vlans = [Option<u16>; 2];

/// What a frame is, as far as its headers say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parsed {
    /// ARP for IPv4 over Ethernet (RFC 826), with the checks that it failed and passed all the same.
    Arp(Reasons),
    /// An IPv6 neighbour or router solicitation or advertisement from the link itself (RFC 4861), with the checks that it failed
    /// and passed all the same.
    NeighbourDiscovery(Reasons),
    /// Neither IPv4, IPv6 nor ARP, and none of these in an IEEE 802.3 frame.
    NonIp,
    /// A fragment of an IP packet: policy judges it when it is whole.
    Fragment(Piece),
    /// An IP packet that policy judges.
    Ip(Packet),
}

/// One fragment of an IP packet (RFC 791 section 3.2, RFC 8200 section 4.5), as its own header says; nothing was compared
/// with others yet. An atomic fragment (RFC 6946) is no fragment. Checks that it failed and passed all the same are noted when
/// the packet is whole.
///
/// To judge the whole packet, its data is put behind the headers of the piece at offset 0, the length of the packet is corrected,
/// and the offset and the flag for more are set to 0 (in IPv4 the header's checksum is corrected too; in IPv6 the fragment header
/// stays, so that what must not be fragmented is still refused). `parse` reads that like any frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// What the pieces have in common: identification, and for IPv4 the protocol. In IPv6 the next header of the piece at
    /// offset 0 alone counts.
    pub identification: u32,
    /// Protocol of IPv4, or next header in the fragment header of IPv6.
    pub protocol: u8,
    /// Position of its data in the data of the whole packet, in bytes.
    pub offset: u16,
    /// Whether more pieces follow.
    pub more: bool,
    /// Position in the frame of the IP header.
    pub header_at: u16,
    /// Position in the frame of the first byte that is fragmented, behind the IP header or the fragment header.
    pub data_at: u16,
    /// Bytes of data.
    pub data_bytes: u16,
    /// The VLANs it travels in.
    pub vlans: Vlans,
}

/// An IP packet: what rules match, and what the flow table needs besides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet {
    /// What a rule can match.
    pub key: PacketKey,
    /// The VLANs it travels in.
    pub vlans: Vlans,
    /// What it says about the conversation it belongs to.
    pub signal: Signal,
    /// A checksum that is to be written before the packet leaves.
    pub completion: Option<Completion>,
    /// The checks that it failed and passed all the same.
    pub noticed: Reasons,
}

/// The checksum that a sender's kernel left to hardware which is not there (veth, virtio): its field holds the sum of the pseudo
/// header only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Completion {
    /// Position in the frame of the field.
    pub at: u16,
    /// What belongs there.
    pub value: [u8; 2],
}

/// What a packet says about its conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// An ICMP or `ICMPv6` message that asks.
    Request(Query),
    /// An ICMP or `ICMPv6` message that answers.
    Reply(Query),
    /// An ICMP or `ICMPv6` message about a packet that went the other way.
    Error(Quote),
    /// Any other ICMP or `ICMPv6` message.
    Message,
    /// A packet of a protocol without a handshake that we know.
    Datagram,
    /// A TCP segment.
    Tcp(Segment),
}

/// What an ICMP or `ICMPv6` query and its answers have in common.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Query {
    /// Type of the request: 8 for echo and 13 for timestamp (RFC 792), 128 for echo (RFC 4443).
    pub kind: u8,
    /// The identifier.
    pub identifier: u16,
}

/// What an ICMP error quotes of the packet that it is about (RFC 792, RFC 4443 section 3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quote {
    /// The quoted packet, in the direction that it went.
    pub key: PacketKey,
    /// What it was of its conversation.
    pub part: Quoted,
}

/// The part of a conversation that an ICMP error is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quoted {
    /// A TCP segment with this sequence number.
    Tcp(u32),
    /// A query, or the answer to one.
    Query(Query),
    /// A packet of another protocol.
    Datagram,
}

/// A TCP segment (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number of the first octet of data, or of the SYN.
    pub seq: u32,
    /// Acknowledgment number; without meaning unless the ACK bit is set.
    pub ack: u32,
    /// The window, as in the header, unscaled.
    pub window: u16,
    /// Octets of data. SYN and FIN are not counted.
    pub data_bytes: u16,
    /// The window scale option of a SYN (RFC 7323 section 2), at most 14; `None` when there is none.
    pub scale: Option<u8>,
}

/// The control bits of a TCP segment (RFC 9293 section 3.1).
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    /// No more data from the sender.
    #[must_use]
    pub fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }

    /// Synchronise sequence numbers.
    #[must_use]
    pub fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }

    /// Reset the connection.
    #[must_use]
    pub fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }

    /// The acknowledgment field is significant.
    #[must_use]
    pub fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }

    /// A pure SYN: the only segment that begins a connection.
    #[must_use]
    pub fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpFlags({:#04x})", self.0)
    }
}

/// Reads the headers of a frame that came in by `in_port`, with all checks of packets. The frame may be as long as an IP packet
/// that was put together of fragments.
///
/// # Errors
/// The reason to drop it, when its headers do not add up, hide what policy would have to see, or fail a check. Never panics.
pub fn parse(frame: &[u8], sanity: &Sanity, in_port: Port) -> Result<Parsed, DropReason> {
    link::read(&mut Inspection::new(frame, sanity, in_port))
}

/// `bytes` without its first `count` bytes.
fn behind(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(count..).unwrap_or_default()
}

/// A position in a frame. Headers stand near its begin.
fn position(at: usize) -> Result<u16, DropReason> {
    u16::try_from(at).map_err(|_| DropReason::Malformed)
}
