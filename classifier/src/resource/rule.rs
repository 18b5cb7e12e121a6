//! Rules, and what they ask of a packet and its two ends.

use ipnet::IpNet;

use super::ServiceName;
use crate::packet::IpVersion;
use crate::selector::Selector;

/// One line of a policy: matches when every field that is present matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What to do on a match.
    pub action: Action,
    /// Only this family. When absent, protocol ICMP means IPv4, `ICMPv6` means IPv6, and any entry of `nets` or
    /// `not_nets` of either peer means its own family (Calico `rule_convert.go:216`, `policy.go:146-230`).
    pub ip_version: Option<IpVersion>,
    /// Only this IP protocol.
    pub protocol: Option<u8>,
    /// Any IP protocol but this.
    pub not_protocol: Option<u8>,
    /// Only these ICMP messages.
    pub icmp: Option<IcmpMatch>,
    /// Any packet but these ICMP messages.
    pub not_icmp: Option<IcmpMatch>,
    /// What the source must be.
    pub source: Peer,
    /// What the destination must be.
    pub destination: Peer,
}

impl Rule {
    /// A rule that matches every packet.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self {
            action,
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: Peer::default(),
            destination: Peer::default(),
        }
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Terminal: the direction allows.
    Allow,
    /// Terminal: the direction denies.
    Deny,
    /// Log and go on with the next rule.
    Log,
    /// Skip the rest of the tier.
    Pass,
}

/// Which ICMP messages: a type, or a type and a code.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IcmpMatch {
    /// Type, 0 to 254.
    pub kind: u8,
    /// Code; any when absent.
    pub code: Option<u8>,
}

/// One end of a rule. Empty lists and absent selectors match anything; present fields must all match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peer {
    /// The address lies in one of these.
    pub nets: Vec<IpNet>,
    /// The address lies in none of these.
    pub not_nets: Vec<IpNet>,
    /// Some object that covers the address matches. With `not_selector`, that same object must not match the latter.
    pub selector: Option<Selector>,
    /// Alone: no object that covers the address matches; true also where no object covers it.
    pub not_selector: Option<Selector>,
    /// The port lies in one of these, or is one that `named_ports` names.
    pub ports: Vec<PortRange>,
    /// The port lies in none of these, and is none that `not_named_ports` names.
    pub not_ports: Vec<PortRange>,
    /// Names of ports: such a name stands for the ports that objects give it which cover the address and match
    /// `selector` without matching `not_selector` (all objects when there is no `selector`). Only ports of the rule's
    /// protocol count, or of TCP when the rule's is none of TCP, UDP and SCTP (Calico `rule_scanner.go`,
    /// `ruleToParsedRule`).
    pub named_ports: Vec<String>,
    /// As `named_ports`, for `not_ports`.
    pub not_named_ports: Vec<String>,
    /// As a source: the address is one of the service's endpoints. As a destination: address, protocol and port are
    /// those of an endpoint. A service that is not known has no endpoints. Stands alone in its peer, but for the ports of
    /// a source.
    pub service: Option<ServiceName>,
}

impl Peer {
    /// Whether the peer asks anything of a packet's ports.
    #[must_use]
    pub fn is_about_ports(&self) -> bool {
        !(self.ports.is_empty()
            && self.not_ports.is_empty()
            && self.named_ports.is_empty()
            && self.not_named_ports.is_empty())
    }
}

/// Ports `first..=last`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, not below `first`.
    pub last: u16,
}
