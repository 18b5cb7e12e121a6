//! A difference, for people.

use std::fmt::{Debug, Write as _};

use classifier::compile::{Limits, compile};
use classifier::packet::{Crossing, PacketKey};
use classifier::resource::{Object, Peer, Policy, PolicySet, Rule};

use crate::compare::Plane;

/// The policy set, the packet, and both answers.
pub(crate) fn difference(set: &PolicySet, packet: &PacketKey, crossing: Crossing) -> String {
    let mut out = policy_set(set);
    let Crossing { from, to } = crossing;
    writeln!(out, "packet from {from} to {to}: {packet:?}").unwrap();
    let image = compile(set, 0, &Limits::default());
    for plane in Plane::ALL {
        let expected = plane.expected(set, packet, crossing);
        writeln!(out, "reference: {plane:?} {expected:?}").unwrap();
        match &image {
            Ok(image) => {
                let decided = plane.decided(&image.view(), packet, crossing);
                writeln!(out, "compiled:  {plane:?} {decided:?}").unwrap();
            }
            Err(errors) => writeln!(out, "compile refuses: {errors:?}").unwrap(),
        }
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
        let Object { kind, namespace, name, labels, nets, ports, peer_only } = object;
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        write!(out, "{kind:?} {namespace:?} `{name}` {{{}}} {nets:?}", labels.join(", ")).unwrap();
        writeln!(out, " ports {ports:?} peer only: {peer_only}").unwrap();
    }
    for service in &set.services {
        writeln!(out, "{service:?}").unwrap();
    }
    for (number, port) in set.ports.iter().enumerate() {
        writeln!(out, "port {number} {port:?}").unwrap();
    }
    for endpoint in &set.interfaces {
        writeln!(out, "{endpoint:?}").unwrap();
    }
    for (number, policy) in set.policies.iter().enumerate() {
        let Policy { kind, namespace, name, staged, hook, tier, order, selector, .. } = policy;
        write!(out, "policy {number} {kind:?} {namespace:?} `{name}` staged {staged:?}").unwrap();
        writeln!(out, " {hook:?} tier `{tier}` order {order:?} for {selector}").unwrap();
        if policy.applies_ingress {
            writeln!(out, "  applies to ingress").unwrap();
        }
        if policy.applies_egress {
            writeln!(out, "  applies to egress").unwrap();
        }
        rules(&mut out, &policy.ingress, &policy.egress);
    }
    for (number, profile) in set.profiles.iter().enumerate() {
        let number = set.policies.len() + number;
        writeln!(out, "policy {number} is profile `{}`", profile.name).unwrap();
        rules(&mut out, &profile.ingress, &profile.egress);
    }
    out
}

fn rules(out: &mut String, ingress: &[Rule], egress: &[Rule]) {
    for (direction, rules) in [("ingress", ingress), ("egress", egress)] {
        for (number, rule) in rules.iter().enumerate() {
            writeln!(out, "    {direction} {number}: {}", self::rule(rule)).unwrap();
        }
    }
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
        let Peer { named_ports, not_named_ports, service, .. } = peer;
        some(&mut out, side, "nets", nets);
        some(&mut out, side, "notNets", not_nets);
        optional(&mut out, &format!("{side}.selector"), selector.as_ref().map(ToString::to_string));
        let not_selector = not_selector.as_ref().map(ToString::to_string);
        optional(&mut out, &format!("{side}.notSelector"), not_selector);
        some(&mut out, side, "ports", ports);
        some(&mut out, side, "notPorts", not_ports);
        some(&mut out, side, "named ports", named_ports);
        some(&mut out, side, "named notPorts", not_named_ports);
        optional(&mut out, &format!("{side}.service"), service.as_ref());
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
