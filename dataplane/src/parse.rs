//! From the bytes of a frame to what the flow table and the classifier see of it: in place, without copying, strict.
//!
//! What does not add up is a drop with a reason, never a guess. Lengths are taken from the headers and must fit the
//! frame; what follows the IP packet in the frame (Ethernet padding) is not looked at.

mod network;
mod transport;

use std::fmt;
use std::net::IpAddr;

use classifier::packet::PacketKey;
use etherparse::{ArpHardwareId, ArpPacketSlice, EtherType, Ethernet2HeaderSlice};
use etherparse::{SingleVlanHeaderSlice, ether_type};

use crate::disposition::DropReason;

/// A tag that stacked before IEEE 802.1ad gave stacking its own number, still common.
const VLAN_STACKED: EtherType = ether_type::VLAN_DOUBLE_TAGGED_FRAME;
/// Length of an Ethernet II header without a tag.
const ETHERNET_BYTES: usize = 14;
/// Length of one VLAN tag, with the `EtherType` that follows it.
const TAG_BYTES: usize = 4;

/// VLAN identifiers of a frame, outer first.
pub type Vlans = [Option<u16>; 2];

/// What a frame is, as far as its headers say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parsed {
    /// ARP for IPv4 over Ethernet (RFC 826).
    Arp,
    /// An IPv6 neighbour or router solicitation or advertisement from the link itself (RFC 4861).
    NeighbourDiscovery,
    /// Neither IPv4, IPv6 nor ARP, and none of these in an IEEE 802.3 frame.
    NonIp,
    /// A fragment of an IP packet: policy judges it when it is whole.
    Fragment(Piece),
    /// An IP packet that policy judges.
    Ip(Packet),
}

/// One fragment of an IP packet (RFC 791 section 3.2, RFC 8200 section 4.5), as its own header says; nothing was compared
/// with others yet. An atomic fragment (RFC 6946) is no fragment.
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

/// Reads the headers of a frame.
///
/// # Errors
/// The reason to drop it, when its headers do not add up or hide what policy would have to see. Never panics.
pub fn parse(frame: &[u8]) -> Result<Parsed, DropReason> {
    let header = Ethernet2HeaderSlice::from_slice(frame).map_err(|_| DropReason::Malformed)?;
    let payload = behind(frame, ETHERNET_BYTES);
    let (ether_type, vlans, payload) = look_through_tags(header.ether_type(), payload)?;
    match ether_type {
        ether_type::ARP => arp(payload),
        ether_type::IPV4 => network::ipv4(payload, vlans),
        ether_type::IPV6 => network::ipv6(payload, vlans),
        length if is_length(length) && is_ip_behind_llc(payload) => Err(DropReason::NonIp),
        _ => Ok(Parsed::NonIp),
    }
}

/// IEEE 802.3: what would be the `EtherType` is the length of the frame, and an LLC header follows.
fn is_length(ether_type: EtherType) -> bool {
    ether_type.0 < 0x0600
}

/// Whether a host that still reads such frames (RFC 948, RFC 1042) would find IP, ARP or a VLAN tag in it. Nobody looks into
/// it here, so no setting lets it pass.
fn is_ip_behind_llc(payload: &[u8]) -> bool {
    match payload {
        // LLC has a number of its own for IP.
        [0x06, ..] | [_, 0x06, ..] => true,
        // SNAP, whatever the organisation says that it is.
        [0xAA, 0xAA, _, _, _, _, high, low, ..] => {
            let ether_type = EtherType(u16::from_be_bytes([*high, *low]));
            is_tag(ether_type)
                || matches!(ether_type, ether_type::ARP | ether_type::IPV4 | ether_type::IPV6)
        }
        _ => false,
    }
}

/// The first `EtherType` that is no VLAN tag, the tags before it, and what follows.
fn look_through_tags(
    mut ether_type: EtherType,
    mut payload: &[u8],
) -> Result<(EtherType, Vlans, &[u8]), DropReason> {
    let mut vlans: Vlans = [None; 2];
    for vlan in &mut vlans {
        if !is_tag(ether_type) {
            return Ok((ether_type, vlans, payload));
        }
        let tag = SingleVlanHeaderSlice::from_slice(payload).map_err(|_| DropReason::Malformed)?;
        *vlan = Some(tag.vlan_identifier().value());
        ether_type = tag.ether_type();
        payload = behind(payload, TAG_BYTES);
    }
    if is_tag(ether_type) {
        return Err(DropReason::VlanTags);
    }
    Ok((ether_type, vlans, payload))
}

fn is_tag(ether_type: EtherType) -> bool {
    matches!(
        ether_type,
        ether_type::VLAN_TAGGED_FRAME | ether_type::PROVIDER_BRIDGING | VLAN_STACKED
    )
}

/// Passes below policy, so it must be what it says: addresses of Ethernet and IPv4, and whole.
fn arp(payload: &[u8]) -> Result<Parsed, DropReason> {
    let arp = ArpPacketSlice::from_slice(payload).map_err(|_| DropReason::Malformed)?;
    let resolves_ipv4 = arp.hw_addr_type() == ArpHardwareId::ETHERNET
        && arp.hw_addr_size() == 6
        && arp.proto_addr_type() == ether_type::IPV4
        && arp.proto_addr_size() == 4;
    if resolves_ipv4 { Ok(Parsed::Arp) } else { Err(DropReason::Malformed) }
}

/// `bytes` without its first `count` bytes.
fn behind(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(count..).unwrap_or_default()
}
