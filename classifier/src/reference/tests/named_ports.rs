//! Named ports: `calico-semantics.md` 1.3, `rule_scanner.go` (`ruleToParsedRule`).

use super::*;
use crate::resource::NamedPort;

/// The server calls port 443 of TCP `web`, and 53 of UDP `dns`.
fn set(lab: &Lab, change: impl FnOnce(&mut Rule)) -> PolicySet {
    let mut rule = allow();
    change(&mut rule);
    let mut set = lab.set([ingress("p", [rule])]);
    set.objects[0].ports =
        vec![port_named("web", protocol::TCP, 443), port_named("dns", protocol::UDP, 53)];
    set
}

fn port_named(name: &str, protocol: u8, port: u16) -> NamedPort {
    NamedPort { name: name.to_owned(), protocol, port }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn matches(set: &PolicySet, packet: &PacketKey) -> bool {
    evaluate(set, packet, IN).verdict() == Verdict::Allow
}

fn to(lab: &Lab, protocol: u8, dst: u16) -> PacketKey {
    PacketKey { protocol, transport: Transport::Ports { src: 40_000, dst }, ..lab.packet() }
}

#[test]
fn a_name_is_the_port_that_the_object_gives_it() {
    for lab in labs() {
        let set = set(&lab, |rule| rule.destination.named_ports = names(&["web"]));
        assert!(matches(&set, &to(&lab, protocol::TCP, 443)));
        assert!(!matches(&set, &to(&lab, protocol::TCP, 80)));
        assert!(!matches(&set, &to(&lab, protocol::TCP, 53)), "of another name");
        assert!(!matches(&set, &to(&lab, protocol::UDP, 443)), "of another protocol");
    }
}

#[test]
fn a_name_is_of_the_rules_protocol_or_else_of_tcp() {
    for lab in labs() {
        let of = |number: Option<u8>| {
            let set = set(&lab, |rule| {
                rule.protocol = number;
                rule.destination.named_ports = names(&["dns"]);
            });
            matches(&set, &to(&lab, protocol::UDP, 53))
        };
        assert!(of(Some(protocol::UDP)));
        assert!(!of(None));
        assert!(!of(Some(protocol::UDPLITE)));
        for number in [protocol::UDP, protocol::SCTP, protocol::TCP] {
            let mut set = set(&lab, |rule| {
                rule.protocol = Some(number);
                rule.destination.named_ports = names(&["it"]);
            });
            set.objects[0].ports = vec![port_named("it", number, 7)];
            assert!(matches(&set, &to(&lab, number, 7)));
            set.objects[0].ports[0].protocol = protocol::UDPLITE;
            assert!(!matches(&set, &to(&lab, number, 7)));
        }
    }
}

#[test]
fn numbers_and_names_are_alternatives() {
    for lab in labs() {
        let set = set(&lab, |rule| {
            rule.protocol = Some(protocol::TCP);
            rule.destination.ports = vec![port(80)];
            rule.destination.named_ports = names(&["nobody", "web"]);
        });
        assert!(matches(&set, &to(&lab, protocol::TCP, 80)));
        assert!(matches(&set, &to(&lab, protocol::TCP, 443)));
        assert!(!matches(&set, &to(&lab, protocol::TCP, 22)));
    }
}

#[test]
fn a_name_that_nobody_gives_is_no_port() {
    for lab in labs() {
        let wanted = set(&lab, |rule| rule.destination.named_ports = names(&["nobody"]));
        assert!(!matches(&wanted, &lab.packet()));
        let unwanted = set(&lab, |rule| rule.destination.not_named_ports = names(&["nobody"]));
        assert!(matches(&unwanted, &lab.packet()));
    }
}

#[test]
fn unwanted_names_are_excluded_one_and_all() {
    for lab in labs() {
        let set = set(&lab, |rule| {
            rule.destination.not_named_ports = names(&["nobody", "web"]);
            rule.destination.not_ports = vec![port(22)];
        });
        assert!(!matches(&set, &to(&lab, protocol::TCP, 443)));
        assert!(!matches(&set, &to(&lab, protocol::TCP, 22)));
        assert!(matches(&set, &to(&lab, protocol::TCP, 80)));
        assert!(matches(&set, &to(&lab, protocol::UDP, 443)), "the name is of TCP");
    }
}

#[test]
fn a_packet_without_ports_has_none_of_any_name() {
    for lab in labs() {
        let message = PacketKey {
            protocol: if lab.family == IpVersion::V4 { protocol::ICMP } else { protocol::ICMPV6 },
            transport: Transport::Icmp { kind: 8, code: 0 },
            ..lab.packet()
        };
        let opaque = PacketKey { protocol: 47, transport: Transport::Opaque, ..lab.packet() };
        for packet in [message, opaque] {
            let wanted = set(&lab, |rule| rule.destination.named_ports = names(&["web"]));
            assert!(!matches(&wanted, &packet));
            let unwanted = set(&lab, |rule| rule.destination.not_named_ports = names(&["web"]));
            assert!(matches(&unwanted, &packet));
        }
    }
}

#[test]
fn of_ports_that_are_not_there_to_be_seen_nothing_can_be_told() {
    for lab in labs() {
        let fragment = PacketKey { transport: Transport::Opaque, ..lab.packet() };
        for name in ["web", "nobody"] {
            let unwanted = set(&lab, |rule| rule.destination.not_named_ports = names(&[name]));
            assert!(!matches(&unwanted, &fragment));
            assert!(matches(&unwanted, &PacketKey { protocol: protocol::UDP, ..fragment }));
        }
    }
}

#[test]
fn the_source_has_names_too() {
    for lab in labs() {
        let mut set = set(&lab, |rule| rule.source.named_ports = names(&["client-port"]));
        assert!(!matches(&set, &lab.packet()));
        set.objects[1].ports = vec![port_named("client-port", protocol::TCP, 40_000)];
        assert!(matches(&set, &lab.packet()));
        set.objects[1].ports[0].port = 443;
        assert!(
            !matches(&set, &lab.packet()),
            "the source's name is not of the destination's port"
        );
    }
}

#[test]
fn only_objects_of_the_positive_selector_give_names() {
    for lab in labs() {
        let of = |yes: Option<&str>, no: Option<&str>| {
            let mut set = set(&lab, |rule| {
                rule.destination = Peer {
                    selector: yes.map(selector),
                    not_selector: no.map(selector),
                    named_ports: names(&["web"]),
                    ..Peer::default()
                };
            });
            // The address is also of an object that gives no names.
            set.objects.push(object("site", &[("role", "building")], &[lab.site]));
            matches(&set, &lab.packet())
        };
        assert!(of(None, None));
        assert!(of(Some("role == 'server'"), None));
        assert!(of(Some("has(role)"), None));
        assert!(
            !of(Some("role == 'building'"), None),
            "the address matches, its name is not of it"
        );
        assert!(!of(Some("has(role)"), Some("role == 'server'")));
        assert!(of(Some("has(role)"), Some("role == 'building'")));
        assert!(of(None, Some("role == 'nobody'")), "alone it keeps no name away");
    }
}

#[test]
fn the_positive_selector_narrows_unwanted_names_too() {
    for lab in labs() {
        let of = |yes: Option<&str>| {
            let mut set = set(&lab, |rule| {
                rule.destination.selector = yes.map(selector);
                rule.destination.not_named_ports = names(&["web"]);
            });
            set.objects.push(object("site", &[("role", "building")], &[lab.site]));
            matches(&set, &lab.packet())
        };
        assert!(!of(None));
        assert!(!of(Some("role == 'server'")));
        assert!(of(Some("role == 'building'")));
    }
}

#[test]
fn every_object_of_an_address_gives_its_names_to_it_alone() {
    for lab in labs() {
        let mut set = set(&lab, |rule| rule.destination.named_ports = names(&["web"]));
        set.objects.push(object("site", &[], &[lab.site]));
        set.objects[2].ports = vec![port_named("web", protocol::TCP, 8443)];
        assert!(matches(&set, &to(&lab, protocol::TCP, 443)));
        assert!(matches(&set, &to(&lab, protocol::TCP, 8443)));
        set.objects[2].nets = networks(&[lab.clients]);
        assert!(!matches(&set, &to(&lab, protocol::TCP, 8443)));
    }
}

#[test]
fn what_is_a_peer_only_names_ports() {
    for lab in labs() {
        let mut set = set(&lab, |rule| rule.source.named_ports = names(&["client-port"]));
        set.objects[1].ports = vec![port_named("client-port", protocol::TCP, 40_000)];
        set.objects[1].peer_only = true;
        assert!(matches(&set, &lab.packet()));
    }
}
