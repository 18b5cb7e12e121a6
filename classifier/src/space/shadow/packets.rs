//! What a rule asks of the packet itself, as a set of packets, before there is an image.

use crate::packet::{IpVersion, protocol};
use crate::resource::{IcmpMatch, PortRange, Rule};
use crate::space::block::merged;
use crate::space::region::{Brick, Form, Region, Span};

/// The packets of the family that the rule matches when its addresses fit, named ports being any; `None` when it is not
/// about the family.
pub(super) fn of(rule: &Rule, version: IpVersion) -> Option<Region> {
    if !is_about(rule, version) {
        return None;
    }
    let mut packets = Region::everything(version);
    if let Some(number) = rule.protocol {
        packets = packets.intersection(&of_protocol(number));
    }
    if let Some(number) = rule.not_protocol {
        packets = packets.without(&of_protocol(number));
    }
    if let Some(wanted) = rule.icmp {
        packets = packets.intersection(&message(wanted));
    }
    if let Some(unwanted) = rule.not_icmp {
        packets = packets.without(&message(unwanted));
    }
    let (source, destination) = (&rule.source, &rule.destination);
    if source.is_about_ports() || destination.is_about_ports() {
        let wanted = |ports: &[PortRange], named: &[String]| {
            if named.is_empty() && !ports.is_empty() { spans(ports) } else { vec![Span::PORTS] }
        };
        let mut area = Region::default();
        for first in wanted(&source.ports, &source.named_ports) {
            for second in wanted(&destination.ports, &destination.named_ports) {
                area.join(brick(Form::Ports, Span::BYTES, first, second));
            }
        }
        packets = packets.intersection(&area);
    }
    for first in spans(&source.not_ports) {
        packets = packets.without(&brick(Form::Ports, Span::BYTES, first, Span::PORTS));
    }
    for second in spans(&destination.not_ports) {
        packets = packets.without(&brick(Form::Ports, Span::BYTES, Span::PORTS, second));
    }
    Some(packets)
}

fn is_about(rule: &Rule, version: IpVersion) -> bool {
    let implied = match rule.protocol {
        Some(protocol::ICMP) => Some(IpVersion::V4),
        Some(protocol::ICMPV6) => Some(IpVersion::V6),
        Some(_) | None => None,
    };
    let mut nets = [&rule.source, &rule.destination]
        .into_iter()
        .flat_map(|peer| peer.nets.iter().chain(&peer.not_nets));
    rule.ip_version.or(implied).is_none_or(|only| only == version)
        && nets.all(|net| IpVersion::of(net.addr()) == version)
}

fn of_protocol(number: u8) -> Region {
    let number = Span::one(number);
    let mut packets = brick(Form::Ports, number, Span::PORTS, Span::PORTS);
    packets.join(brick(Form::Icmp, number, Span::BYTES, Span::BYTES));
    packets.join(brick(Form::Opaque, number, Span::NOTHING, Span::NOTHING));
    packets
}

fn message(IcmpMatch { kind, code }: IcmpMatch) -> Region {
    let code = code.map_or(Span::BYTES, Span::one);
    brick(Form::Icmp, Span::BYTES, Span::one(kind), code)
}

fn spans(ports: &[PortRange]) -> Vec<Span> {
    merged(
        ports.iter().map(|PortRange { first, last }| Span { first: *first, last: *last }).collect(),
    )
}

fn brick(form: Form, protocols: Span, first: Span, second: Span) -> Region {
    Region::from_disjoint(vec![Brick { form, sides: [protocols, first, second] }])
}
