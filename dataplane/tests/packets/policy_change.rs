//! What a new policy does to open flows.

use classifier::packet::protocol;
use classifier::record::RecordKind;
use dataplane::device::Port;
use dataplane::disposition::{Disposition, DropReason};
use dataplane::flow::FlowKey;
use dataplane::parse::Parsed;

use crate::support::frames::{ACK, Layer, SYN, parse, tagged};
use crate::support::gate::Gate;
use crate::support::policy::{
    CLIENT, SERVER, anything, closed, image, ingress, services, to_ports,
};

const DENIED: Disposition = Disposition::Drop(DropReason::PolicyDenied);

/// Requests that open a flow, a later packet of the same direction, and one of the other.
const FLOWS: [[Layer; 3]; 5] = [
    [Layer::Tcp(9, 22, SYN), Layer::Tcp(9, 22, ACK), Layer::Tcp(22, 9, SYN | ACK)],
    [Layer::Udp(9, 53), Layer::Udp(9, 53), Layer::Udp(53, 9)],
    [Layer::Sctp(9, 2905), Layer::Sctp(9, 2905), Layer::Sctp(2905, 9)],
    [Layer::Ping(9), Layer::Ping(9), Layer::Pong(9)],
    [Layer::Raw(47), Layer::Raw(47), Layer::Raw(47)],
];

fn open(layers: [Layer; 3], tags: &[u16], family: usize) -> (Gate, [Vec<u8>; 3]) {
    let (client, server) = (CLIENT[family], SERVER[family]);
    let [opening, later, reply] = layers;
    let frames = [
        tagged(tags, client, server, opening),
        tagged(tags, client, server, later),
        tagged(tags, server, client, reply),
    ];
    let mut gate = Gate::with(ingress(1, services()));
    assert!(gate.passes(Port::A, &frames[0]));
    assert!(gate.passes(Port::B, &frames[2]));
    assert_eq!(gate.next_record().unwrap().kind, RecordKind::Started);
    (gate, frames)
}

#[test]
fn flow_that_loses_its_permission_is_cut_at_its_next_packet_of_either_direction() {
    for layers in FLOWS {
        for (tags, family) in [(&[][..], 0), (&[5], 1)] {
            for (port, index) in [(Port::A, 1), (Port::B, 2)] {
                let (mut gate, frames) = open(layers, tags, family);
                // From the server everything is allowed: only the direction that opened the flow counts.
                gate.slot.publish(image(2, Vec::new(), vec![anything()]));
                assert_eq!(gate.send(port, &frames[index]), DENIED, "{layers:?}");
                let record = gate.next_record().unwrap();
                let Ok(Parsed::Ip(opening)) = parse(&frames[0]) else { panic!("not judged") };
                assert_eq!((record.kind, record.generation), (RecordKind::Cut, 2));
                assert_eq!((record.packet, record.in_port), (opening.key, 0), "{layers:?}");
                assert_eq!((gate.counters().flows_cut, gate.flows.live()), (1, 0));
                assert!(!gate.passes(Port::A, &frames[1]), "and stays cut");
            }
        }
    }
}

#[test]
fn flow_that_keeps_its_permission_goes_on() {
    for layers in FLOWS {
        for (port, index) in [(Port::A, 1), (Port::B, 2)] {
            let (mut gate, frames) = open(layers, &[], 0);
            gate.slot.publish(ingress(2, services()));
            assert!(gate.passes(port, &frames[index]), "{layers:?}");
            assert!(gate.passes(port.other(), &frames[3 - index]), "{layers:?}");
            let counters = gate.counters();
            assert_eq!((counters.flows_started, counters.flows_cut), (1, 0));
            assert!(gate.next_record().is_none(), "nothing started, nothing was cut");
            let Ok(Parsed::Ip(opening)) = parse(&frames[0]) else { panic!("not judged") };
            let (key, _) = FlowKey::of(&opening, Port::A).unwrap();
            let flow = gate.flows.find(&key, gate.now.into()).unwrap();
            assert_eq!(flow.epoch(), 2, "judged again once, not for each packet");
        }
    }
}

#[test]
fn every_publication_counts_whatever_generation_it_carries() {
    for generation in [0, 1, 2] {
        let (mut gate, frames) = open(FLOWS[0], &[], 0);
        gate.slot.publish(closed(generation));
        assert_eq!(gate.send(Port::A, &frames[1]), DENIED, "generation {generation} after 1");
    }
}

#[test]
fn flow_that_was_silent_over_many_changes_is_judged_by_the_last() {
    let (mut gate, frames) = open(FLOWS[0], &[], 1);
    for generation in 2..50 {
        gate.slot.publish(closed(generation));
    }
    gate.slot.publish(ingress(50, vec![to_ports(protocol::TCP, [22])]));
    assert!(gate.passes(Port::B, &frames[2]));
    gate.slot.publish(closed(51));
    assert_eq!(gate.send(Port::B, &frames[2]), DENIED);
}

#[test]
fn cut_flow_can_be_opened_again_when_policy_allows_it_again() {
    let (mut gate, frames) = open(FLOWS[0], &[], 0);
    gate.slot.publish(closed(2));
    assert_eq!(gate.send(Port::A, &frames[1]), DENIED);
    gate.slot.publish(ingress(3, services()));
    let not_opening = Disposition::Drop(DropReason::TcpNotOpening);
    assert_eq!(gate.send(Port::A, &frames[1]), not_opening);
    assert!(gate.passes(Port::A, &frames[0]));
    assert!(gate.passes(Port::B, &frames[2]));
}
