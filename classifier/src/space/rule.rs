//! What a rule asks of the packet itself, as a set of packets.

use super::block::merged;
use super::region::{Brick, Form, Region, Span};
use crate::image::View;
use crate::image::rule::{PortList, RuleWords};

/// The packets that a rule matches when its family and its addresses fit.
pub(super) fn packets(view: &View<'_>, rule: &RuleWords) -> Region {
    let [protocol, unwanted @ ..] = rule.protocols();
    let mut packets = with_ports(view, rule, protocol);
    packets.join(with_icmp(rule, protocol));
    if !asks_for_ports(rule) && rule.icmp()[0].is_none() {
        packets.join(brick(Form::Opaque, protocol, Span::NOTHING, Span::NOTHING));
    }
    for protocol in unwanted.into_iter().flatten() {
        packets = packets.without(&of_protocol(protocol));
    }
    packets
}

fn of_protocol(protocol: u8) -> Region {
    let mut packets = brick(Form::Ports, Some(protocol), Span::PORTS, Span::PORTS);
    packets.join(brick(Form::Icmp, Some(protocol), Span::BYTES, Span::BYTES));
    packets.join(brick(Form::Opaque, Some(protocol), Span::NOTHING, Span::NOTHING));
    packets
}

fn asks_for_ports(rule: &RuleWords) -> bool {
    rule.ports().iter().any(|list| list.count > 0)
}

/// Packets that have ports: no ICMP message of any type.
fn with_ports(view: &View<'_>, rule: &RuleWords, protocol: Option<u8>) -> Region {
    if rule.icmp()[0].is_some() {
        return Region::default();
    }
    let spans = |list: PortList| {
        merged(view.ports(list).map(|(first, last)| Span { first, last }).collect())
    };
    let or_any = |spans: Vec<Span>| if spans.is_empty() { vec![Span::PORTS] } else { spans };
    let [source, not_source, destination, not_destination] = rule.ports().map(spans);
    let mut packets = Region::default();
    let destination = or_any(destination);
    for first in or_any(source) {
        for second in &destination {
            packets.join(brick(Form::Ports, protocol, first, *second));
        }
    }
    for first in not_source {
        packets = packets.without(&brick(Form::Ports, None, first, Span::PORTS));
    }
    for second in not_destination {
        packets = packets.without(&brick(Form::Ports, None, Span::PORTS, second));
    }
    packets
}

/// ICMP messages: a rule about ports is only about packets that have ports.
fn with_icmp(rule: &RuleWords, protocol: Option<u8>) -> Region {
    if asks_for_ports(rule) {
        return Region::default();
    }
    let message = |protocol, (kind, code): (u8, Option<u8>)| {
        brick(Form::Icmp, protocol, Span::one(kind), code.map_or(Span::BYTES, Span::one))
    };
    let [wanted, unwanted] = rule.icmp();
    let packets = match wanted {
        Some(wanted) => message(protocol, wanted),
        None => brick(Form::Icmp, protocol, Span::BYTES, Span::BYTES),
    };
    match unwanted {
        Some(unwanted) => packets.without(&message(None, unwanted)),
        None => packets,
    }
}

fn brick(form: Form, protocol: Option<u8>, first: Span, second: Span) -> Region {
    let protocol = protocol.map_or(Span::BYTES, Span::one);
    Region::from_disjoint(vec![Brick { form, sides: [protocol, first, second] }])
}
