//! A difference, for people.

use std::fmt::{Debug, Write as _};

use classifier::compile::{Limits, compile};
use classifier::packet::{Crossing, PacketKey};
use classifier::reference;
use classifier::resource::{Peer, PolicySet, Rule};

/// The policy set, the packet, and both answers.
pub(crate) fn difference(set: &PolicySet, packet: &PacketKey, crossing: Crossing) -> String {
    let mut out = policy_set(set);
    let Crossing { from, to } = crossing;
    writeln!(out, "packet from {from} to {to}: {packet:?}").unwrap();
    writeln!(out, "reference: {:?}", reference::evaluate(set, packet, crossing)).unwrap();
    match compile(set, 0, &Limits::default()) {
        Ok(image) => {
            writeln!(out, "compiled:  {:?}", image.view().classify(packet, crossing)).unwrap();
        }
        Err(errors) => writeln!(out, "compile refuses: {errors:?}").unwrap(),
    }
    out
}

fn policy_set(set: &PolicySet) -> String {
    let mut out = format!("{:?}\n", set.defaults);
    for tier in &set.tiers {
        let (name, order, action) = (&tier.name, tier.order, tier.default_action);
        writeln!(out, "tier `{name}` order {order:?} ends in {action:?}").unwrap();
    }
    for object in &set.objects {
        let (kind, name, nets) = (object.kind, &object.name, &object.nets);
        let labels: Vec<String> =
            object.labels.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        writeln!(out, "{kind:?} `{name}` {{{}}} {nets:?}", labels.join(", ")).unwrap();
    }
    for (number, policy) in set.policies.iter().enumerate() {
        let (name, tier, order) = (&policy.name, &policy.tier, policy.order);
        let selector = &policy.selector;
        writeln!(out, "policy {number} `{name}` tier `{tier}` order {order:?} for {selector}")
            .unwrap();
        for (applies, direction, rules) in [
            (policy.applies_ingress, "ingress", &policy.ingress),
            (policy.applies_egress, "egress", &policy.egress),
        ] {
            if applies {
                writeln!(out, "  applies to {direction}").unwrap();
            }
            for (number, rule) in rules.iter().enumerate() {
                writeln!(out, "    {direction} {number}: {}", self::rule(rule)).unwrap();
            }
        }
    }
    out
}

fn rule(rule: &Rule) -> String {
    let Rule { action, ip_version, protocol, not_protocol, icmp, not_icmp, source, destination } =
        rule;
    let mut out = format!("{action:?}");
    optional(&mut out, "ipVersion", ip_version.as_ref());
    optional(&mut out, "protocol", protocol.as_ref());
    optional(&mut out, "notProtocol", not_protocol.as_ref());
    optional(&mut out, "icmp", icmp.as_ref());
    optional(&mut out, "notICMP", not_icmp.as_ref());
    for (side, peer) in [("source", source), ("destination", destination)] {
        let Peer { nets, not_nets, selector, not_selector, ports, not_ports, .. } = peer;
        some(&mut out, side, "nets", nets);
        some(&mut out, side, "notNets", not_nets);
        optional(&mut out, &format!("{side}.selector"), selector.as_ref().map(ToString::to_string));
        let not_selector = not_selector.as_ref().map(ToString::to_string);
        optional(&mut out, &format!("{side}.notSelector"), not_selector);
        some(&mut out, side, "ports", ports);
        some(&mut out, side, "notPorts", not_ports);
    }
    out
}

fn optional(out: &mut String, name: &str, value: Option<impl Debug>) {
    if let Some(value) = value {
        write!(out, " {name}={value:?}").unwrap();
    }
}

fn some(out: &mut String, side: &str, name: &str, values: &[impl Debug]) {
    if !values.is_empty() {
        write!(out, " {side}.{name}={values:?}").unwrap();
    }
}
