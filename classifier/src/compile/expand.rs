//! Rules as the image can say them.
//!
//! A row of the image asks for ports by number and for membership in sets. A named port is a pair of both (this port, at
//! these addresses), so a rule that names ports becomes several rows, each with the rule's number: one for its numbers, one
//! for each port that its names stand for. The rows of `notPorts` by name split the packets into those of other ports and,
//! for each port that a name stands for, those to addresses where it does not. A destination service is split by port.

use super::order::Order;
use super::position;
use super::sets::MatchSets;
use crate::image::layout::NONE;
use crate::image::rule::PeerSets;
use crate::packet::protocol;
use crate::resource::{Peer, PortRange, Rule, ServiceName};

/// One row: the rule it belongs to, with what differs from the rule's own fields.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub(super) rule: &'a Rule,
    /// Position of the rule in its list.
    pub(super) number: u32,
    pub(super) protocol: Option<u8>,
    /// Beside the rule's `notProtocol`.
    pub(super) not_protocol: Option<u8>,
    pub(super) source: PeerSets,
    pub(super) destination: PeerSets,
    /// Source ports, source notPorts, destination ports, destination notPorts.
    pub(super) ports: [Vec<PortRange>; 4],
    /// It stands for a rule that cannot match, so that the rule keeps its name.
    pub(super) never: bool,
}

/// The rows of each block. Fails with the number of rows when there are more than `limit`.
pub(super) fn rows<'a>(
    order: &Order<'a>,
    sets: &mut MatchSets<'a>,
    limit: usize,
) -> Result<Vec<Vec<Row<'a>>>, usize> {
    let mut count = 0;
    let mut blocks = Vec::with_capacity(order.blocks.len());
    for block in &order.blocks {
        let rows = rows_of(block.rules, sets, limit)?;
        count += rows.len();
        if count > limit {
            return Err(count);
        }
        blocks.push(rows);
    }
    Ok(blocks)
}

/// The rows of one list of rules. Fails as `rows` does.
pub(super) fn rows_of<'a>(
    rules: &'a [Rule],
    sets: &mut MatchSets<'a>,
    limit: usize,
) -> Result<Vec<Row<'a>>, usize> {
    let mut rows = Vec::with_capacity(rules.len());
    for (number, rule) in rules.iter().enumerate() {
        expand(rule, position(number), sets, limit, &mut rows)?;
    }
    if rows.len() > limit { Err(rows.len()) } else { Ok(rows) }
}

fn expand<'a>(
    rule: &'a Rule,
    number: u32,
    sets: &mut MatchSets<'a>,
    limit: usize,
    rows: &mut Vec<Row<'a>>,
) -> Result<(), usize> {
    let sources = alternatives(&rule.source, End::Source, rule, sets);
    let destinations = alternatives(&rule.destination, End::Destination, rule, sets);
    if sources.len().saturating_mul(destinations.len()) > limit {
        return Err(sources.len().saturating_mul(destinations.len()));
    }
    let before = rows.len();
    for source in &sources {
        rows.extend(destinations.iter().filter_map(|destination| {
            let protocol = agreed(agreed(rule.protocol, source.protocol)?, destination.protocol)?;
            let not_protocol = source.not_protocol.or(destination.not_protocol);
            if protocol.is_some() && protocol == not_protocol {
                return None;
            }
            let [source_ports, not_source_ports] = source.ports.clone();
            let [ports, not_ports] = destination.ports.clone();
            Some(Row {
                rule,
                number,
                protocol,
                not_protocol,
                source: source.sets,
                destination: destination.sets,
                ports: [source_ports, not_source_ports, ports, not_ports],
                never: false,
            })
        }));
    }
    if rows.len() == before {
        rows.push(Row {
            rule,
            number,
            protocol: rule.protocol,
            not_protocol: None,
            source: PeerSets::ANY,
            destination: PeerSets::ANY,
            ports: Default::default(),
            never: true,
        });
    }
    Ok(())
}

/// Both wishes for a protocol as one; the outer `None` when they contradict each other.
#[expect(clippy::option_option, reason = "no wish, or no packet at all")]
fn agreed(a: Option<u8>, b: Option<u8>) -> Option<Option<u8>> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => None,
        (a, b) => Some(a.or(b)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Source,
    Destination,
}

/// One way for a peer to match. Those of one peer exclude each other or overlap; together they are the peer.
#[derive(Clone, Debug)]
struct Alternative {
    protocol: Option<u8>,
    not_protocol: Option<u8>,
    sets: PeerSets,
    /// Ports and notPorts.
    ports: [Vec<PortRange>; 2],
}

fn alternatives<'a>(
    peer: &'a Peer,
    end: End,
    rule: &Rule,
    sets: &mut MatchSets<'a>,
) -> Vec<Alternative> {
    let addresses = sets.addresses(peer);
    let nets = match (&peer.service, end) {
        (None, _) => addresses.nets,
        (Some(service), End::Destination) => return of_service(service, sets),
        // Calico lets ports stand beside the service of a source.
        (Some(service), End::Source) => match sets.service(service) {
            NONE => return Vec::new(),
            nets => nets,
        },
    };
    let base = PeerSets {
        selector: addresses.selector,
        selector_negated: addresses.selector_negated,
        nets,
        not_nets: addresses.not_nets,
        ..PeerSets::ANY
    };
    let plain = Alternative {
        protocol: None,
        not_protocol: None,
        sets: base,
        ports: [peer.ports.clone(), peer.not_ports.clone()],
    };
    if peer.named_ports.is_empty() && peer.not_named_ports.is_empty() {
        return vec![plain];
    }
    let protocol = protocol_of_names(rule);
    let wanted = wanted(peer, &plain, protocol, sets);
    if peer.not_named_ports.is_empty() {
        return wanted;
    }
    let unwanted = sets.named_ports(peer, &peer.not_named_ports, protocol);
    wanted.iter().flat_map(|wanted| without(wanted, &unwanted, protocol)).collect()
}

/// Address, protocol and port of its endpoints.
fn of_service(service: &ServiceName, sets: &mut MatchSets<'_>) -> Vec<Alternative> {
    let ports = sets.service_ports(service).into_iter();
    ports
        .map(|(protocol, port, nets)| Alternative {
            protocol: Some(protocol),
            not_protocol: None,
            sets: PeerSets { nets, ..PeerSets::ANY },
            ports: [vec![only(port)], Vec::new()],
        })
        .collect()
}

/// Ports of that protocol are what names stand for in the rule (Calico `rule_scanner.go`, `ruleToParsedRule`).
fn protocol_of_names(rule: &Rule) -> u8 {
    match rule.protocol {
        Some(number @ (protocol::UDP | protocol::SCTP)) => number,
        _ => protocol::TCP,
    }
}

/// By number, or by each port that a name stands for.
fn wanted<'a>(
    peer: &'a Peer,
    plain: &Alternative,
    protocol: u8,
    sets: &mut MatchSets<'a>,
) -> Vec<Alternative> {
    let mut wanted = Vec::new();
    if peer.named_ports.is_empty() || !peer.ports.is_empty() {
        wanted.push(plain.clone());
    }
    for (port, at) in sets.named_ports(peer, &peer.named_ports, protocol) {
        let mut named = plain.clone();
        named.protocol = Some(protocol);
        named.sets.also = at;
        let [ports, _] = &mut named.ports;
        *ports = vec![only(port)];
        wanted.push(named);
    }
    wanted
}

/// What is left of `wanted` without the ports that names stand for: packets of another protocol, with ports or without;
/// in the protocol of the names all other ports, and each such port at addresses where no name stands for it.
fn without(wanted: &Alternative, unwanted: &[(u16, u32)], protocol: u8) -> Vec<Alternative> {
    let [ports, not_ports] = &wanted.ports;
    let mut left = Vec::new();
    if wanted.protocol.is_none() {
        left.push(Alternative { not_protocol: Some(protocol), ..wanted.clone() });
    }
    let of_protocol = Alternative { protocol: Some(protocol), ..wanted.clone() };
    let mut others = of_protocol.clone();
    let [ports_asked, excluded] = &mut others.ports;
    excluded.extend(unwanted.iter().map(|(port, _)| only(*port)));
    if ports_asked.is_empty() && excluded.is_empty() {
        ports_asked.push(PortRange { first: 0, last: u16::MAX });
    }
    left.push(others);
    for (port, at) in unwanted {
        let asked = ports.is_empty() || ports.iter().any(|range| contains(*range, *port));
        if !asked || not_ports.iter().any(|range| contains(*range, *port)) {
            continue;
        }
        let mut elsewhere = of_protocol.clone();
        let [ports, _] = &mut elsewhere.ports;
        *ports = vec![only(*port)];
        elsewhere.sets.also_not = *at;
        left.push(elsewhere);
    }
    left
}

fn only(port: u16) -> PortRange {
    PortRange { first: port, last: port }
}

fn contains(range: PortRange, port: u16) -> bool {
    range.first <= port && port <= range.last
}
