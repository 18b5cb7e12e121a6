//! ICMP (RFC 792) and `ICMPv6` (RFC 4443): which messages pass, and what they say.

use std::net::IpAddr;

use classifier::packet::{PacketKey, Transport, protocol};

use super::inspection::Inspection;
use super::transport::{self, Datagram};
use super::{Packet, Parsed, Query, Signal, behind, discovery, quote};
use crate::disposition::DropReason;

/// Every message is at least this long (RFC 792; the messages of RFC 4443 as well).
pub(super) const HEADER_BYTES: usize = 8;
const CHECKSUM_AT: usize = 2;
/// Neighbour discovery that passes below policy: router and neighbour, solicitation and advertisement.
const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const PACKET_TOO_BIG: u8 = 2;
/// Every IPv6 link carries packets this long (RFC 8200 section 5).
const MTU_MIN: u32 = 1_280;

/// The first words of a message.
#[derive(Clone, Copy)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) code: u8,
    /// What stands behind the checksum; of a query, identifier and sequence number.
    pub(super) rest: [u8; 4],
}

impl Message {
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let [kind, code, _, _, rest @ ..] = *payload.first_chunk::<HEADER_BYTES>()?;
        Some(Self { kind, code, rest })
    }

    /// The request that it is or answers, and whether it is the request. Queries have code 0 and nothing else (RFC 792, RFC 4443
    /// section 4): another code is no query that gets a reply.
    pub(super) fn query(self, is_v4: bool) -> Option<(Query, bool)> {
        let (request, is_request) = match (is_v4, self.kind, self.code) {
            (true, 8, 0) => (8, true),
            (true, 0, 0) => (8, false),
            (true, 13, 0) => (13, true),
            (true, 14, 0) => (13, false),
            (false, 128, 0) => (128, true),
            (false, 129, 0) => (128, false),
            _ => return None,
        };
        let [high, low, ..] = self.rest;
        let query = Query { kind: request, identifier: u16::from_be_bytes([high, low]) };
        Some((query, is_request))
    }

    /// Whether it is about another packet, which it quotes.
    pub(super) fn is_error(self, is_v4: bool) -> bool {
        if is_v4 { matches!(self.kind, 3 | 11 | 12) } else { matches!(self.kind, 1..=4) }
    }
}

/// Whether ICMP means ICMP here: `ICMPv6` in IPv4, or the other way round, is only a protocol number.
pub(super) fn is_of_family(datagram: &Datagram<'_>) -> bool {
    match datagram.src {
        IpAddr::V4(_) => datagram.protocol == protocol::ICMP,
        IpAddr::V6(_) => datagram.protocol == protocol::ICMPV6,
    }
}

/// Reads a message.
pub(super) fn read(
    look: &mut Inspection<'_>,
    datagram: &Datagram<'_>,
) -> Result<Parsed, DropReason> {
    let Datagram { src, dst, protocol, payload, .. } = *datagram;
    let message = Message::read(payload).ok_or(DropReason::Malformed)?;
    if is_discovery(datagram) && !discovery::has_fixed_part(payload) {
        return Err(DropReason::Malformed);
    }
    let completion = transport::verify(look, datagram, payload, CHECKSUM_AT)?;
    if is_discovery(datagram) {
        discovery::check(look, datagram)?;
        return Ok(Parsed::NeighbourDiscovery(look.noticed));
    }
    if is_never_forwarded(look, datagram, message) {
        look.refuse(DropReason::IcmpType)?;
    }
    let signal = match message.query(src.is_ipv4()) {
        Some((query, true)) => Signal::Request(query),
        Some((query, false)) => Signal::Reply(query),
        None if message.is_error(src.is_ipv4()) => {
            error(look, behind(payload, HEADER_BYTES), src.is_ipv4())?
        }
        None => Signal::Message,
    };
    let transport = Transport::Icmp { kind: message.kind, code: message.code };
    let key = PacketKey { src, dst, protocol, transport };
    let (vlans, noticed) = (look.vlans, look.noticed);
    Ok(Parsed::Ip(Packet { key, vlans, signal, completion, noticed }))
}

/// An error that quotes nothing which could be of a conversation is about nothing that we know of.
fn error(look: &mut Inspection<'_>, quoted: &[u8], is_v4: bool) -> Result<Signal, DropReason> {
    if let Some(quote) = quote::read(look, quoted, is_v4)? {
        return Ok(Signal::Error(quote));
    }
    look.refuse(DropReason::IcmpUnmatched)?;
    Ok(Signal::Message)
}

/// Whether it is any message of neighbour discovery, which must not be fragmented (RFC 6980 section 5).
pub(super) fn is_neighbour_discovery(datagram: &Datagram<'_>) -> bool {
    matches!(kind_of_v6(datagram), Some(ROUTER_SOLICITATION..=REDIRECT))
}

/// Whether it is a message of the link that nobody forwarded: multicast listener discovery (RFC 2710, RFC 3810), multicast
/// router discovery (RFC 4286), both with hop limit 1, or certification paths (RFC 3971), from no address beyond the link.
pub(super) fn is_link_scoped(datagram: &Datagram<'_>) -> bool {
    let IpAddr::V6(src) = datagram.src else { return false };
    let hop_limit = match kind_of_v6(datagram) {
        Some(130..=132 | 143 | 151..=153) => 1,
        Some(148 | 149) => u8::MAX,
        _ => return false,
    };
    datagram.hop_limit == hop_limit && (src.is_unspecified() || src.is_unicast_link_local())
}

/// The type, if it is an `ICMPv6` message.
fn kind_of_v6(datagram: &Datagram<'_>) -> Option<u8> {
    let is_v6 = datagram.src.is_ipv6() && datagram.protocol == protocol::ICMPV6;
    datagram.payload.first().copied().filter(|_| is_v6)
}

/// Whether a message is for the link only, or for nobody any more.
///
/// IPv4: source quench (RFC 6633), redirect, and what RFC 6918 made obsolete. IPv6: RFC 4890 sections 4.3.3 and 4.3.5.
fn is_never_forwarded(look: &Inspection<'_>, datagram: &Datagram<'_>, message: Message) -> bool {
    match (datagram.src, message.kind) {
        (IpAddr::V4(_), kind) => matches!(kind, 4..=6 | 15..=18 | 30..=39),
        (IpAddr::V6(_), 100 | 101 | 127 | 137..=142 | 200 | 201 | 255) => true,
        (IpAddr::V6(_), 130..=132 | 143 | 148 | 149 | 151..=153) => !is_link_scoped(datagram),
        // Nothing smaller is ever too big (RFC 8201 section 4); lies about it make an endpoint fragment.
        (IpAddr::V6(_), PACKET_TOO_BIG) => {
            look.sanity.is_strict() && u32::from_be_bytes(message.rest) < MTU_MIN
        }
        (IpAddr::V6(_), _) => false,
    }
}

/// Whether it passes below policy if it is valid.
pub(super) fn is_discovery(datagram: &Datagram<'_>) -> bool {
    matches!(kind_of_v6(datagram), Some(ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT))
}
