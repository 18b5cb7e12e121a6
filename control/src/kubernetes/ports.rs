//! Ports of a rule, gathered by protocol: Calico makes one rule of each protocol.

use std::collections::BTreeMap;

use classifier::packet::protocol;
use classifier::resource::PortRange;

use crate::document::{Fields, Reader};

/// The protocols that Kubernetes' rules can name, in the order of Calico's rules: that of their names.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Protocol {
    Sctp,
    Tcp,
    Udp,
}

const PROTOCOLS: &[(&str, Protocol)] =
    &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];

impl Protocol {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Sctp => protocol::SCTP,
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
        }
    }
}

/// The `protocol` of a port; TCP if it names none.
pub(super) fn protocol_of(fields: &Fields<'_>, reader: &mut Reader) -> Option<Protocol> {
    match fields.entry("protocol") {
        Some(entry) => reader.choice("protocol", &entry.node, PROTOCOLS),
        None => Some(Protocol::Tcp),
    }
}

/// One port of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Port {
    /// Every port of the protocol.
    All,
    Named(String),
    Range(PortRange),
}

/// What of one protocol a rule matches.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Ports {
    /// None if all of the protocol, or of every protocol, match.
    pub(super) protocol: Option<u8>,
    pub(super) ranges: Vec<PortRange>,
    pub(super) names: Vec<String>,
}

/// Ports by protocol; without any port, everything.
pub(super) fn gathered(ports: Vec<(Protocol, Port)>) -> Vec<Ports> {
    if ports.is_empty() {
        return vec![Ports::default()];
    }
    let mut protocols: BTreeMap<Protocol, Vec<Port>> = BTreeMap::new();
    for (protocol, port) in ports {
        protocols.entry(protocol).or_default().push(port);
    }
    protocols.into_iter().map(|(protocol, ports)| of_protocol(protocol, ports)).collect()
}

fn of_protocol(protocol: Protocol, ports: Vec<Port>) -> Ports {
    let mut of = Ports { protocol: Some(protocol.number()), ..Ports::default() };
    if ports.contains(&Port::All) {
        return of;
    }
    for port in ports {
        match port {
            Port::All => {}
            Port::Named(name) => of.names.push(name),
            Port::Range(range) => of.ranges.push(range),
        }
    }
    of.ranges = merged(of.ranges);
    of
}

/// The fewest ranges that cover the same ports (Calico `SimplifyPorts`).
fn merged(mut ranges: Vec<PortRange>) -> Vec<PortRange> {
    ranges.sort();
    let mut merged: Vec<PortRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if u32::from(range.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(range.last);
            }
            Some(_) | None => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange { first, last }
    }

    #[test]
    fn adjacent_and_overlapping_ports_become_one_range() {
        let cases = [
            (vec![range(80, 80)], vec![range(80, 80)]),
            (vec![range(82, 82), range(80, 80), range(81, 81)], vec![range(80, 82)]),
            (
                vec![range(80, 90), range(85, 86), range(9090, 9090)],
                vec![range(80, 90), range(9090, 9090)],
            ),
            (vec![range(1, 65535), range(65535, 65535)], vec![range(1, 65535)]),
            (vec![range(80, 80), range(82, 82)], vec![range(80, 80), range(82, 82)]),
        ];
        for (ranges, expected) in cases {
            assert_eq!(merged(ranges), expected);
        }
    }

    #[test]
    fn a_protocol_without_a_port_takes_all_of_its_ports() {
        let port = |number| Port::Range(range(number, number));
        let gathered = gathered(vec![
            (Protocol::Udp, port(53)),
            (Protocol::Tcp, port(80)),
            (Protocol::Tcp, Port::All),
            (Protocol::Tcp, Port::Named("web".to_owned())),
        ]);
        let tcp = Ports { protocol: Some(protocol::TCP), ..Ports::default() };
        let udp =
            Ports { protocol: Some(protocol::UDP), ranges: vec![range(53, 53)], names: Vec::new() };
        assert_eq!(gathered, [tcp, udp]);
    }
}
