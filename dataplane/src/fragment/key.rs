//! Which datagram a fragment belongs to, and whose it is.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use super::sources::SOURCES;
use crate::device::Port;
use crate::parse::{Piece, Vlans};

/// What fragments of one datagram have in common (RFC 791 section 3.2, RFC 8200 section 4.5), and where they came in. In IPv4
/// the protocol is part of it, in IPv6 it is not.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    src: IpAddr,
    dst: IpAddr,
    identification: u32,
    protocol: Option<u8>,
    vlans: Vlans,
    pub(super) in_port: Port,
}

impl Key {
    pub(super) fn of(piece: &Piece, in_port: Port) -> Self {
        let Piece { src, dst, identification, protocol, vlans, .. } = *piece;
        let protocol = src.is_ipv4().then_some(protocol);
        Self { src, dst, identification, protocol, vlans, in_port }
    }

    pub(super) fn is_ipv4(&self) -> bool {
        self.src.is_ipv4()
    }

    /// The account of its source. A host chooses the lower half of its IPv6 address, so all of a /64 are one source.
    pub(super) fn source(&self, random: &RandomState) -> usize {
        let source = match self.src {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64),
        };
        // The remainder is below a number that fits.
        usize::try_from(random.hash_one((source, self.in_port)) % SOURCES as u64)
            .unwrap_or_default()
    }
}
