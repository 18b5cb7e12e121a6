//! When a rule matches.

use super::*;

fn peer(yes: Option<&str>, no: Option<&str>) -> Peer {
    Peer { selector: yes.map(selector), not_selector: no.map(selector), ..Peer::default() }
}

#[test]
fn a_rule_without_fields_matches_everything() {
    for lab in labs() {
        assert!(lab.matches(&lab.packet(), |_| {}));
        let opaque = PacketKey { protocol: 47, transport: Transport::Opaque, ..lab.packet() };
        assert!(lab.matches(&opaque, |_| {}));
    }
}

#[test]
fn every_field_that_is_present_must_match() {
    for lab in labs() {
        let full = |destination: u16| {
            lab.matches(&lab.packet(), |rule| {
                rule.ip_version = Some(lab.family);
                rule.protocol = Some(protocol::TCP);
                rule.not_protocol = Some(protocol::UDP);
                rule.source = peer(Some("role == 'client'"), None);
                rule.source.nets = networks(&[lab.clients]);
                rule.destination.ports = vec![port(destination)];
            })
        };
        assert!(full(443));
        assert!(!full(80));
    }
}

#[test]
fn protocol_is_a_number() {
    for lab in labs() {
        let gre = PacketKey { protocol: 47, transport: Transport::Opaque, ..lab.packet() };
        assert!(lab.matches(&gre, |rule| rule.protocol = Some(47)));
        assert!(!lab.matches(&gre, |rule| rule.protocol = Some(protocol::TCP)));
        assert!(!lab.matches(&gre, |rule| rule.not_protocol = Some(47)));
        assert!(lab.matches(&gre, |rule| rule.not_protocol = Some(protocol::TCP)));
    }
}

#[test]
fn ip_version_is_the_family() {
    for lab in labs() {
        let with = |version| lab.matches(&lab.packet(), |rule| rule.ip_version = Some(version));
        assert_eq!(with(IpVersion::V4), lab.family == IpVersion::V4);
        assert_eq!(with(IpVersion::V6), lab.family == IpVersion::V6);
    }
}

#[test]
fn an_icmp_protocol_implies_its_family() {
    for lab in labs() {
        let packet = |protocol| PacketKey {
            protocol,
            transport: Transport::Icmp { kind: 8, code: 0 },
            ..lab.packet()
        };
        let matches =
            |protocol| lab.matches(&packet(protocol), |rule| rule.protocol = Some(protocol));
        assert_eq!(matches(protocol::ICMP), lab.family == IpVersion::V4);
        assert_eq!(matches(protocol::ICMPV6), lab.family == IpVersion::V6);
        // A negated one implies nothing.
        assert!(lab.matches(&lab.packet(), |rule| rule.not_protocol = Some(protocol::ICMP)));
        assert!(lab.matches(&lab.packet(), |rule| rule.not_protocol = Some(protocol::ICMPV6)));
    }
}

#[test]
fn nets_of_either_peer_imply_their_family() {
    let [v4, v6] = labs();
    for (lab, other) in [(&v4, &v6), (&v6, &v4)] {
        let foreign = networks(&[other.everything]);
        let foreign_host = networks(&[other.clients]);
        let never = |change: &dyn Fn(&mut Rule)| !lab.matches(&lab.packet(), |rule| change(rule));
        assert!(never(&|rule| rule.source.nets.clone_from(&foreign)));
        assert!(never(&|rule| rule.destination.nets.clone_from(&foreign)));
        assert!(never(&|rule| rule.source.not_nets.clone_from(&foreign_host)));
        assert!(never(&|rule| rule.destination.not_nets.clone_from(&foreign_host)));
    }
}

#[test]
fn nets_are_alternatives() {
    for lab in labs() {
        let both = networks(&[lab.rack, lab.clients]);
        assert!(lab.matches(&lab.packet(), |rule| rule.source.nets.clone_from(&both)));
        assert!(lab.matches(&lab.packet(), |rule| rule.destination.nets.clone_from(&both)));
        assert!(!lab.matches(&lab.packet(), |rule| rule.source.nets = networks(&[lab.rack])));
    }
}

#[test]
fn not_nets_are_excluded_one_and_all() {
    for lab in labs() {
        let both = networks(&[lab.rack, lab.clients]);
        assert!(!lab.matches(&lab.packet(), |rule| rule.source.not_nets.clone_from(&both)));
        assert!(lab.matches(&lab.packet(), |rule| rule.source.not_nets = networks(&[lab.rack])));
        assert!(!lab.matches(&lab.packet(), |rule| {
            rule.source.nets = networks(&[lab.clients]);
            rule.source.not_nets = networks(&[lab.clients]);
        }));
    }
}

#[test]
fn excluding_everything_never_matches() {
    for lab in labs() {
        let everything = networks(&[lab.everything]);
        assert!(!lab.matches(&lab.packet(), |rule| rule.source.not_nets = everything));
    }
}

#[test]
fn nets_and_selector_of_a_peer_must_both_match() {
    for lab in labs() {
        let matches = |nets: &str, label: &str| {
            lab.matches(&lab.packet(), |rule| {
                rule.source = Peer { nets: networks(&[nets]), ..peer(Some(label), None) };
            })
        };
        assert!(matches(lab.clients, "role == 'client'"));
        assert!(!matches(lab.rack, "role == 'client'"));
        assert!(!matches(lab.clients, "role == 'server'"));
    }
}

#[test]
fn a_selector_never_matches_an_uncovered_address() {
    for lab in labs() {
        let packet = PacketKey { src: lab.stranger, ..lab.packet() };
        for label in ["", "all()", "global()", "!has(role)", "role != 'client'"] {
            assert!(!lab.matches(&packet, |rule| rule.source = peer(Some(label), None)), "{label}");
        }
    }
}

#[test]
fn not_selector_alone_also_matches_an_uncovered_address() {
    for lab in labs() {
        let packet = PacketKey { src: lab.stranger, ..lab.packet() };
        assert!(lab.matches(&packet, |rule| rule.source = peer(None, Some("all()"))));
        let covered =
            |label| lab.matches(&lab.packet(), |rule| rule.source = peer(None, Some(label)));
        assert!(covered("role == 'server'"));
        assert!(!covered("role == 'client'"));
    }
}

#[test]
fn selector_with_not_selector_needs_one_object_that_is_both() {
    for lab in labs() {
        let mut rule = Rule::new(Action::Allow);
        rule.source = peer(Some("has(a)"), Some("has(b)"));
        let mut set = lab.set([ingress("p", [rule])]);
        set.objects.push(object("a", &[("a", "")], &[lab.clients]));
        set.objects.push(object("b", &[("b", "")], &[lab.clients]));
        let verdict = |set: &PolicySet| evaluate(set, &lab.packet(), IN).verdict();
        assert_eq!(verdict(&set), Verdict::Allow, "the object `a` has no label b of its own");
        set.objects[2].labels.insert("b", "");
        assert_eq!(verdict(&set), Verdict::Deny);
        let stranger = PacketKey { src: lab.stranger, ..lab.packet() };
        assert_eq!(evaluate(&set, &stranger, IN).verdict(), Verdict::Deny);
    }
}

#[test]
fn a_peer_belongs_to_every_object_that_covers_it() {
    for lab in labs() {
        let with = |yes: Option<&str>, no: Option<&str>| {
            let mut rule = Rule::new(Action::Allow);
            rule.source = peer(yes, no);
            let mut set = lab.set([ingress("p", [rule])]);
            set.objects.push(object("world", &[("wide", "1")], &[lab.everything]));
            evaluate(&set, &lab.packet(), IN).verdict() == Verdict::Allow
        };
        assert!(with(Some("role == 'client'"), None));
        assert!(with(Some("wide == '1'"), None), "longest prefix plays no part");
        assert!(!with(Some("wide == '1' && role == 'client'"), None), "labels never merge");
        assert!(!with(None, Some("wide == '1'")), "one object that matches is enough to exclude");
    }
}

#[test]
fn ports_are_ranges_with_both_ends() {
    for lab in labs() {
        let to = |dst| PacketKey { transport: Transport::Ports { src: 0, dst }, ..lab.packet() };
        let ranges = vec![PortRange { first: 80, last: 90 }, port(0), port(65_535)];
        for (number, inside) in [
            (0, true),
            (1, false),
            (79, false),
            (80, true),
            (90, true),
            (91, false),
            (65_535, true),
        ] {
            assert_eq!(
                lab.matches(&to(number), |rule| rule.destination.ports.clone_from(&ranges)),
                inside,
                "{number}"
            );
            assert_eq!(
                lab.matches(&to(number), |rule| rule.destination.not_ports.clone_from(&ranges)),
                !inside,
                "not {number}"
            );
        }
        assert!(lab.matches(&to(80), |rule| rule.source.ports = vec![port(0)]));
        assert!(!lab.matches(&to(80), |rule| rule.source.ports = vec![port(80)]));
    }
}

#[test]
fn a_rule_about_ports_is_only_about_packets_that_have_ports() {
    for lab in labs() {
        for transport in [Transport::Opaque, Transport::Icmp { kind: 8, code: 0 }] {
            let packet = PacketKey { transport, ..lab.packet() };
            let all = vec![PortRange { first: 0, last: 65_535 }];
            assert!(!lab.matches(&packet, |rule| rule.source.ports = all));
            assert!(!lab.matches(&packet, |rule| rule.destination.not_ports = vec![port(1)]));
        }
    }
}

#[test]
fn icmp_is_a_type_or_a_type_and_a_code() {
    for lab in labs() {
        let packet = PacketKey { transport: Transport::Icmp { kind: 3, code: 4 }, ..lab.packet() };
        let cases = [(3, None, true), (3, Some(4), true), (3, Some(5), false), (4, None, false)];
        for (kind, code, expected) in cases {
            let message = Some(IcmpMatch { kind, code });
            assert_eq!(lab.matches(&packet, |rule| rule.icmp = message), expected);
            assert_eq!(lab.matches(&packet, |rule| rule.not_icmp = message), !expected);
        }
    }
}

#[test]
fn what_is_not_icmp_is_no_icmp_message() {
    for lab in labs() {
        let message = Some(IcmpMatch { kind: 0, code: None });
        let opaque = PacketKey { transport: Transport::Opaque, ..lab.packet() };
        for packet in [lab.packet(), opaque] {
            assert!(!lab.matches(&packet, |rule| rule.icmp = message));
            assert!(lab.matches(&packet, |rule| rule.not_icmp = message));
        }
    }
}
