//! What a rule says, for people: in flow logs and `trace`.

use std::fmt::{self, Display};

use crate::packet::{IpVersion, protocol};
use crate::resource::{Action, IcmpMatch, Peer, PortRange, Rule, ServiceName};

/// Shows a rule on one line: `Allow TCP from zone == "noc" to ports 22`.
pub(super) struct RuleText<'a>(pub(super) &'a Rule);

/// Items beyond these are counted, not shown: a rule may hold thousands of nets.
const LIST_SHOWN: usize = 4;

impl Display for RuleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.0;
        f.write_str(match rule.action {
            Action::Allow => "Allow",
            Action::Deny => "Deny",
            Action::Log => "Log",
            Action::Pass => "Pass",
        })?;
        match rule.ip_version {
            Some(IpVersion::V4) => f.write_str(" IPv4")?,
            Some(IpVersion::V6) => f.write_str(" IPv6")?,
            None => {}
        }
        if let Some(number) = rule.protocol {
            write!(f, " {}", Protocol(number))?;
        }
        if let Some(number) = rule.not_protocol {
            write!(f, " not {}", Protocol(number))?;
        }
        icmp(f, "", rule.icmp)?;
        icmp(f, "not ", rule.not_icmp)?;
        peer(f, "from", &rule.source)?;
        peer(f, "to", &rule.destination)
    }
}

struct Protocol(u8);

impl Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            protocol::ICMP => f.write_str("ICMP"),
            protocol::ICMPV6 => f.write_str("ICMPv6"),
            protocol::SCTP => f.write_str("SCTP"),
            protocol::TCP => f.write_str("TCP"),
            protocol::UDP => f.write_str("UDP"),
            protocol::UDPLITE => f.write_str("UDPLite"),
            number => write!(f, "protocol {number}"),
        }
    }
}

fn icmp(f: &mut fmt::Formatter<'_>, not: &str, wanted: Option<IcmpMatch>) -> fmt::Result {
    match wanted {
        None => Ok(()),
        Some(IcmpMatch { kind, code: None }) => write!(f, " {not}type {kind}"),
        Some(IcmpMatch { kind, code: Some(code) }) => write!(f, " {not}type {kind} code {code}"),
    }
}

fn peer(f: &mut fmt::Formatter<'_>, word: &str, peer: &Peer) -> fmt::Result {
    let Peer { nets, not_nets, selector, not_selector, .. } = peer;
    if let Some(ServiceName { namespace, name }) = &peer.service {
        return write!(f, " {word} service {namespace}/{name}");
    }
    let lists = nets.len() + not_nets.len();
    if lists == 0 && selector.is_none() && not_selector.is_none() && !peer.is_about_ports() {
        return Ok(());
    }
    write!(f, " {word}")?;
    if let Some(selector) = selector {
        write!(f, " {selector}")?;
    }
    if let Some(selector) = not_selector {
        write!(f, " not ({selector})")?;
    }
    list(f, "", nets)?;
    list(f, " not", not_nets)?;
    list(f, " ports", &show(&peer.ports, &peer.named_ports))?;
    list(f, " not ports", &show(&peer.not_ports, &peer.not_named_ports))
}

fn list<T: Display>(f: &mut fmt::Formatter<'_>, word: &str, items: &[T]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    f.write_str(word)?;
    for (at, item) in items.iter().take(LIST_SHOWN).enumerate() {
        write!(f, "{}{item}", if at == 0 { " " } else { "," })?;
    }
    match items.len().checked_sub(LIST_SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => write!(f, " and {more} more"),
    }
}

fn show(ranges: &[PortRange], names: &[String]) -> Vec<String> {
    let text = |range: &PortRange| {
        if range.first == range.last {
            range.first.to_string()
        } else {
            format!("{}:{}", range.first, range.last)
        }
    };
    ranges.iter().map(text).chain(names.iter().cloned()).collect()
}
