//! What stands in the middle, and what is sent through it.

use std::fmt;

use super::estate::Estate;

/// What stands between source and sink.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gateway {
    /// Nothing: packets are dropped by an XDP program on the gateway's first port. The cost of sending.
    DropAtXdp,
    /// Nothing: packets are dropped by an nftables ingress hook on the gateway's first port, without XDP.
    DropAtIngress,
    /// Kernel routing, nftables with conntrack, so many rules one behind the other, the last of which allows the traffic.
    KernelRules(u16),
    /// The real data plane, a policy of so many rules of which the last allows the traffic.
    RavelinRules(u16),
    /// The real data plane and an estate.
    Ravelin(Estate),
    /// Kernel routing, conntrack, nftables with an interval set of the prefixes and a verdict map by destination.
    Nftables(Estate),
    /// Kernel routing, conntrack, iptables with an ipset of the prefixes and one of the rules.
    Ipset(Estate),
}

impl Gateway {
    /// What is worth sending through it.
    pub(crate) fn traffic(self) -> &'static [Traffic] {
        match self {
            Self::DropAtIngress | Self::RavelinRules(_) => &[Traffic::Unanswered],
            Self::KernelRules(_) => &[Traffic::Unanswered, Traffic::Answered],
            // One-way UDP is no established flow to conntrack, but it is one here from its second packet on.
            Self::DropAtXdp | Self::Ravelin(_) => &[Traffic::Unanswered, Traffic::Fresh],
            Self::Nftables(_) | Self::Ipset(_) => &[Traffic::Answered, Traffic::Fresh],
        }
    }

    pub(super) fn is_kernel(self) -> bool {
        match self {
            Self::KernelRules(_) | Self::Nftables(_) | Self::Ipset(_) => true,
            Self::DropAtXdp | Self::DropAtIngress | Self::RavelinRules(_) | Self::Ravelin(_) => {
                false
            }
        }
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropAtXdp => f.write_str("XDP_DROP"),
            Self::DropAtIngress => f.write_str("drop at ingress"),
            Self::KernelRules(rules) => write!(f, "nftables + conntrack, {rules} rules in a row"),
            Self::RavelinRules(rules) => write!(f, "Ravelin, {rules} rules in a row"),
            Self::Ravelin(estate) => write!(f, "Ravelin, {estate}"),
            Self::Nftables(estate) => write!(f, "nftables sets + conntrack, {estate}"),
            Self::Ipset(estate) => write!(f, "iptables, ipset + conntrack, {estate}"),
        }
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Traffic {
    /// 64 flows that were answered before.
    Answered,
    /// Every packet begins a flow.
    Fresh,
    /// 64 flows that were opened before, and never answered.
    Unanswered,
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "64 flows, answered",
            Self::Fresh => "every packet a new flow",
            Self::Unanswered => "64 flows",
        })
    }
}
