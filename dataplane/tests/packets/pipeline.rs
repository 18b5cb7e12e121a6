//! The order of judgement, what passes below policy, and what is recorded.

use std::net::IpAddr;

use classifier::decision::{Checkpoint, Direction, Reason, RuleRef};
use classifier::packet::protocol;
use classifier::record::{FlowRecord, RecordKind};
use classifier::resource::{Action, PolicySet, Rule};
use dataplane::device::Port;
use dataplane::disposition::{Disposition, DropReason};
use dataplane::parse::Parsed;
use dataplane::pipeline::PortRules;

use crate::support::frames::{Layer, SYN, arp, discovery, foreign, frame, parse, tag};
use crate::support::gate::{Gate, RULES, WALL_NS};
use crate::support::policy::{CLIENT, SERVER, anything, closed, image, ingress, to_ports};

const SEED: u64 = 0x5eed_0003;

#[test]
fn without_a_policy_nothing_passes() {
    let pass = RULES.map(|rules| PortRules { pass_non_ip: true, ..rules });
    let mut gate = Gate::new(pass, 32, 32);
    let judged = frame(CLIENT[0], SERVER[0], Layer::Udp(1, 53));
    for bytes in [arp(), discovery(135), foreign(0x88CC), judged, vec![1; 3], Vec::new()] {
        for port in Port::BOTH {
            assert_eq!(gate.send(port, &bytes), Disposition::Drop(DropReason::NoPolicy));
        }
    }
    assert!(gate.next_record().is_none());
}

#[test]
fn link_control_passes_below_every_policy_both_ways() {
    let mut gate = Gate::with(closed(1));
    for port in Port::BOTH {
        assert!(gate.passes(port, &arp()));
        assert!(gate.passes(port, &tag(&arp(), 0x8100, 3)));
        for kind in 133..=136 {
            assert!(gate.passes(port, &discovery(kind)));
        }
    }
    assert_eq!(gate.flows.live(), 0);
    assert!(gate.next_record().is_none());
}

#[test]
fn other_frames_pass_by_the_setting_of_the_port_they_came_in_by() {
    let mut ports = RULES;
    ports[1].pass_non_ip = true;
    let mut gate = Gate::new(ports, 32, 32);
    gate.slot.publish(ingress(1, vec![anything()]));
    let bytes = foreign(0x88CC);
    assert_eq!(gate.send(Port::A, &bytes), Disposition::Drop(DropReason::NonIp));
    assert!(gate.passes(Port::B, &bytes));
}

#[test]
fn policy_is_asked_in_the_direction_of_the_packet() {
    let to_web = vec![to_ports(protocol::TCP, [80])];
    let from_web = vec![to_ports(protocol::UDP, [123])];
    for (client, server) in CLIENT.into_iter().zip(SERVER) {
        let mut gate = Gate::with(image(1, to_web.clone(), from_web.clone()));
        assert!(gate.passes(Port::A, &frame(client, server, Layer::Tcp(1, 80, SYN))));
        assert!(!gate.passes(Port::A, &frame(client, server, Layer::Udp(1, 123))));
        assert!(gate.passes(Port::B, &frame(server, client, Layer::Udp(1, 123))));
        assert!(!gate.passes(Port::B, &frame(server, client, Layer::Tcp(1, 80, SYN))));
    }
}

#[test]
fn records_say_what_was_decided_and_why() {
    let log = Rule::new(Action::Log);
    let mut gate = Gate::with(ingress(41, vec![to_ports(17, [53]), log, to_ports(17, [54])]));
    let rule = |rule| RuleRef { policy: 0, direction: Direction::Ingress, rule };
    let by = |number| Some((Checkpoint::Ingress, Reason::Rule(rule(number))));
    let tier = PolicySet::new().tier_names().iter().position(|tier| *tier == "default").unwrap();
    let end = Some((Checkpoint::Ingress, Reason::EndOfTier(u32::try_from(tier).unwrap())));
    let logged = Some(rule(1));
    let expected = [
        (53, vec![(RecordKind::Started, by(0), None)]),
        (54, vec![(RecordKind::Started, by(2), logged), (RecordKind::Logged, by(2), logged)]),
        (55, vec![(RecordKind::Denied, end, logged)]),
    ];
    for (port, records) in expected {
        let bytes = tag(&frame(CLIENT[0], SERVER[0], Layer::Udp(9, port)), 0x8100, 12);
        assert_eq!(gate.passes(Port::A, &bytes), port != 55);
        for (kind, decided, logged) in records {
            let record = gate.next_record().unwrap();
            let expected = FlowRecord {
                time_ns: WALL_NS + 100_000_000_000,
                generation: 41,
                kind,
                in_port: 0,
                out_port: 1,
                vlans: [Some(12), None],
                length: u16::try_from(bytes.len()).unwrap(),
                packet: match parse(&bytes) {
                    Ok(Parsed::Ip(packet)) => packet.key,
                    other => panic!("{other:?}"),
                },
                decided,
                logged,
                pending: None,
            };
            assert_eq!(record, expected);
        }
        assert!(gate.next_record().is_none());
    }
    let server: IpAddr = SERVER[0].parse().unwrap();
    assert!(!gate.passes(Port::B, &frame(SERVER[0], CLIENT[0], Layer::Udp(1, 1))));
    let record = gate.next_record().unwrap();
    assert_eq!((record.in_port, record.out_port, record.packet.src), (1, 0, server));
}

#[test]
fn full_queue_costs_records_and_never_packets() {
    let mut gate = Gate::new(RULES, 1 << 8, 3);
    gate.slot.publish(ingress(1, vec![to_ports(17, [53])]));
    for port in 0..10 {
        assert!(gate.passes(Port::A, &frame(CLIENT[0], SERVER[0], Layer::Udp(port, 53))));
    }
    let counters = gate.counters();
    assert_eq!((counters.records_queued, counters.records_lost), (3, 7));
}

#[test]
fn broken_and_random_frames_never_pass() {
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut unconfigured = Gate::new(RULES, 32, 32);
    let [mut closed, mut open] = [1, 2].map(|generation| Gate::with(closed(generation)));
    open.slot.publish(ingress(3, vec![anything()]));
    let layers = [Layer::Tcp(1, 22, SYN), Layer::Udp(1, 53), Layer::Ping(1), Layer::Sctp(1, 2)];
    let families = CLIENT.into_iter().zip(SERVER);
    let mut valid: Vec<_> =
        families.flat_map(|(c, s)| layers.map(|layer| frame(c, s, layer))).collect();
    valid.extend(valid.clone().iter().map(|bytes| tag(bytes, 0x88A8, 9)));
    valid.extend(valid.clone().iter().map(|bytes| tag(bytes, 0x8100, 9)));
    valid.extend([arp(), discovery(133), discovery(134), discovery(135), discovery(136)]);
    for bytes in &valid {
        for port in Port::BOTH {
            for length in 0..bytes.len() {
                for gate in [&mut unconfigured, &mut closed, &mut open] {
                    assert!(!gate.passes(port, &bytes[..length]), "{length} of {bytes:02x?}");
                }
            }
        }
    }
    for _ in 0..20_000 {
        let mut bytes = vec![0; random.usize(..128)];
        random.fill(&mut bytes);
        if random.bool() {
            bytes = random.choice(&valid).unwrap().clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
        }
        let port = Port::BOTH[random.usize(..2)];
        let below = matches!(parse(&bytes), Ok(Parsed::Arp(_) | Parsed::NeighbourDiscovery(_)));
        assert!(!unconfigured.passes(port, &bytes));
        assert_eq!(closed.passes(port, &bytes), below, "{bytes:02x?}");
    }
}
