//! What a packet must be like, whatever policy says: the checks compiled for the packet path.
//!
//! Settings become a `Sanity` once, at start; all workers read the same one.

mod addresses;
mod headers;
mod networks;
mod special_purpose;

use std::net::IpAddr;

use self::addresses::AddressTable;
pub use self::headers::{
    HeaderRow, IPV4_OPTIONS, IPV6_HEADERS, IPV6_OPTIONS, ROUTING_TYPES, passes_ipv4_option,
    passes_ipv6_header, passes_ipv6_option, passes_routing_type,
};
pub use self::networks::{Networks, NetworksError};
pub use self::special_purpose::{SpecialPurpose, SpecialPurposeError};
use crate::checks::{Checks, Profile};
use crate::device::Port;
use crate::disposition::{DropReason, Reasons};

/// The checks of packets in force.
#[derive(Clone, Debug)]
pub struct Sanity {
    checks: Checks,
    addresses: AddressTable,
    /// Whether each port has networks: then no other source comes from it.
    confined: [bool; 2],
}

impl Sanity {
    /// Compiles the checks. `networks` are those that live behind each port, in the order of the ports.
    #[must_use]
    pub fn new(checks: Checks, special: &SpecialPurpose, networks: &[Networks; 2]) -> Self {
        let addresses = AddressTable::new(special, networks, checks.profile);
        let confined = networks.each_ref().map(|networks| !networks.is_empty());
        Self { checks, addresses, confined }
    }

    /// The settings.
    #[must_use]
    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Whether a packet that fails this check is dropped.
    #[must_use]
    pub fn refuses(&self, reason: DropReason) -> bool {
        self.checks.refuse(reason)
    }

    /// Whether checks are those of the Common Criteria profile.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.checks.profile == Profile::CcStrict
    }

    /// What is wrong with the addresses of a packet from `in_port`: a bogon, the wrong side, or one address twice.
    #[must_use]
    pub fn of_addresses(&self, src: IpAddr, dst: IpAddr, in_port: Port) -> Reasons {
        let mut wrong = self.of_source(src, in_port);
        if self.addresses.find(dst).is_refused_as_destination() {
            wrong = wrong.with(DropReason::BogonDestination);
        }
        if src == dst {
            wrong = wrong.with(DropReason::Land);
        }
        wrong
    }

    /// What is wrong with a source address.
    #[must_use]
    pub fn of_source(&self, src: IpAddr, in_port: Port) -> Reasons {
        let mut wrong = Reasons::default();
        let found = self.addresses.find(src);
        if found.is_refused_as_source() {
            wrong = wrong.with(DropReason::BogonSource);
        }
        let [a, b] = self.confined;
        let confined = if in_port == Port::A { a } else { b };
        if !found.lives_behind(in_port, confined) {
            wrong = wrong.with(DropReason::SpoofedSource);
        }
        wrong
    }
}

impl Default for Sanity {
    /// The checks as they are without any setting.
    fn default() -> Self {
        Self::new(Checks::default(), &SpecialPurpose::default(), &Default::default())
    }
}
