//! Replies of allowed flows pass by state; nothing else does.

use std::time::Duration;

use classifier::record::RecordKind;
use dataplane::device::Port;
use dataplane::disposition::{Disposition, DropReason};

use crate::support::frames::{ACK, FIN, Layer, RST, SYN, tagged};
use crate::support::gate::{Gate, RULES};
use crate::support::policy::{CLIENT, SERVER, closed, ingress, of_protocol, services};

const TAGS: [&[u16]; 3] = [&[], &[7], &[7, 8]];

/// Allowed requests with their replies, and replies that differ in one thing.
fn conversations() -> Vec<(Layer, Layer, Vec<Layer>)> {
    vec![
        (
            Layer::Tcp(40_000, 22, SYN),
            Layer::Tcp(22, 40_000, SYN | ACK),
            vec![Layer::Tcp(23, 40_000, SYN | ACK), Layer::Tcp(22, 40_001, SYN | ACK)],
        ),
        (
            Layer::Udp(40_000, 53),
            Layer::Udp(53, 40_000),
            vec![Layer::Udp(54, 40_000), Layer::Udp(53, 40_001), Layer::Sctp(53, 40_000)],
        ),
        (
            Layer::Sctp(5, 2905),
            Layer::Sctp(2905, 5),
            vec![Layer::Sctp(2906, 5), Layer::Sctp(2905, 6), Layer::Udp(2905, 5)],
        ),
        (
            Layer::Ping(77),
            Layer::Pong(77),
            vec![Layer::Pong(78), Layer::Ping(77), Layer::Icmp(0, 1), Layer::Icmp(129, 1)],
        ),
        (Layer::Raw(47), Layer::Raw(47), vec![Layer::Raw(48)]),
    ]
}

#[test]
fn replies_of_allowed_flows_pass_and_others_do_not() {
    for (client, server) in CLIENT.into_iter().zip(SERVER) {
        for (request, reply, strangers) in conversations() {
            for tags in TAGS {
                let mut gate = Gate::with(ingress(1, services()));
                let request = tagged(tags, client, server, request);
                let reply = tagged(tags, server, client, reply);
                assert!(!gate.passes(Port::B, &reply), "before the request");
                assert!(gate.passes(Port::A, &request));
                assert!(gate.passes(Port::B, &reply));
                assert!(gate.passes(Port::A, &request), "again");
                for stranger in &strangers {
                    let stranger = tagged(tags, server, client, *stranger);
                    assert!(!gate.passes(Port::B, &stranger), "another conversation");
                }
                assert_eq!(gate.flows.live(), 1);
            }
        }
    }
}

#[test]
fn reply_from_the_wrong_side_vlan_or_address_does_not_pass() {
    for (client, server) in CLIENT.into_iter().zip(SERVER) {
        for (request, reply, _) in conversations() {
            let mut gate = Gate::with(ingress(1, services()));
            assert!(gate.passes(Port::A, &tagged(&[7], client, server, request)));
            assert!(!gate.passes(Port::A, &tagged(&[7], server, client, reply)), "wrong side");
            for tags in [&[][..], &[8], &[7, 7]] {
                assert!(!gate.passes(Port::B, &tagged(tags, server, client, reply)), "{tags:?}");
            }
            let other = if client == CLIENT[0] { "198.18.10.2" } else { "2001:2:0:10::2" };
            assert!(!gate.passes(Port::B, &tagged(&[7], server, other, reply)), "other client");
            assert!(gate.passes(Port::B, &tagged(&[7], server, client, reply)));
        }
    }
}

#[test]
fn denied_packet_leaves_no_flow() {
    let mut gate = Gate::with(closed(1));
    for (client, server) in CLIENT.into_iter().zip(SERVER) {
        for (request, _, _) in conversations() {
            let frame = tagged(&[], client, server, request);
            for _ in 0..2 {
                let sent = gate.send(Port::A, &frame);
                assert_eq!(sent, Disposition::Drop(DropReason::PolicyDenied));
                assert_eq!(gate.next_record().unwrap().kind, RecordKind::Denied);
            }
        }
    }
    assert_eq!((gate.flows.live(), gate.counters().flows_started), (0, 0));
}

#[test]
fn only_a_pure_syn_opens_a_connection() {
    for (client, server) in CLIENT.into_iter().zip(SERVER) {
        let mut gate = Gate::with(ingress(1, services()));
        let sent = |gate: &mut Gate, flags| {
            let frame = tagged(&[], client, server, Layer::Tcp(40_000, 22, flags));
            gate.send(Port::A, &frame)
        };
        for flags in [ACK, SYN | ACK, RST, RST | ACK, FIN | ACK] {
            let refused = Disposition::Drop(DropReason::TcpNotOpening);
            assert_eq!(sent(&mut gate, flags), refused, "{flags:#04x}");
        }
        for flags in [0, SYN | FIN, SYN | RST, FIN] {
            let refused = Disposition::Drop(DropReason::TcpFlags);
            assert_eq!(sent(&mut gate, flags), refused, "{flags:#04x}");
        }
        assert_eq!(gate.flows.live(), 0);
        assert!(gate.passes(Port::A, &tagged(&[], client, server, Layer::Tcp(40_000, 22, SYN))));
    }
}

#[test]
fn unsolicited_echo_reply_is_dropped_whatever_policy_says() {
    for (family, protocol) in [(0, 1), (1, 58)] {
        let reply = tagged(&[], CLIENT[family], SERVER[family], Layer::Pong(9));
        let mut gate = Gate::with(ingress(1, vec![of_protocol(protocol)]));
        let unmatched = Disposition::Drop(DropReason::IcmpUnmatched);
        assert_eq!(gate.send(Port::A, &reply), unmatched);
        assert_eq!(gate.flows.live(), 0, "no flow");
    }
}

#[test]
fn icmp_that_is_neither_query_nor_error_is_judged_one_by_one() {
    for (family, protocol, kind) in [(0, 1, 9), (1, 58, 144)] {
        let (client, server) = (CLIENT[family], SERVER[family]);
        let frame = tagged(&[], client, server, Layer::Icmp(kind, 0));
        let mut gate = Gate::with(ingress(1, services()));
        let denied = Disposition::Drop(DropReason::PolicyDenied);
        assert_eq!(gate.send(Port::A, &frame), denied);
        gate.slot.publish(ingress(2, vec![of_protocol(protocol)]));
        assert!(gate.passes(Port::A, &frame));
        assert_eq!(gate.flows.live(), 0, "no flow");
        gate.slot.publish(closed(3));
        assert_eq!(gate.send(Port::A, &frame), denied);
    }
}

#[test]
fn silent_flow_ends_and_a_busy_one_does_not() {
    let (client, server) = (CLIENT[0], SERVER[0]);
    let timeouts = [
        (Layer::Udp(40_000, 53), Layer::Udp(53, 40_000), 300),
        (Layer::Ping(7), Layer::Pong(7), 60),
        (Layer::Tcp(40_000, 22, SYN), Layer::Tcp(22, 40_000, SYN | ACK), 240),
        (Layer::Raw(47), Layer::Raw(47), 300),
    ];
    for (request, reply, seconds) in timeouts {
        let mut gate = Gate::with(ingress(1, services()));
        let reply = tagged(&[], server, client, reply);
        assert!(gate.passes(Port::A, &tagged(&[], client, server, request)));
        for _ in 0..3 {
            gate.now += Duration::from_secs(seconds - 1);
            assert!(gate.passes(Port::B, &reply), "{request:?}");
        }
        gate.now += Duration::from_secs(seconds + 1);
        assert!(!gate.passes(Port::B, &reply), "{request:?}");
        let counters = gate.counters();
        assert_eq!(counters.flows_started, counters.flows_ended + gate.flows.live());
    }
}

#[test]
fn established_connection_outlives_two_hours_of_silence() {
    let (client, server) = (CLIENT[1], SERVER[1]);
    let mut gate = Gate::with(ingress(1, services()));
    let data = tagged(&[], server, client, Layer::Tcp(22, 40_000, ACK));
    assert!(gate.passes(Port::A, &tagged(&[], client, server, Layer::Tcp(40_000, 22, SYN))));
    assert!(gate.passes(Port::B, &tagged(&[], server, client, Layer::Tcp(22, 40_000, SYN | ACK))));
    assert!(gate.passes(Port::A, &tagged(&[], client, server, Layer::Tcp(40_000, 22, ACK))));
    gate.now += Duration::from_secs(7_439);
    assert!(gate.passes(Port::B, &data));
    gate.now += Duration::from_secs(7_441);
    assert_eq!(gate.send(Port::B, &data), Disposition::Drop(DropReason::TcpNotOpening));
}

#[test]
fn syn_after_a_reset_opens_a_new_flow_by_policy() {
    let (client, server) = (CLIENT[0], SERVER[0]);
    let syn = tagged(&[], client, server, Layer::Tcp(40_000, 22, SYN));
    let reset = tagged(&[], server, client, Layer::Tcp(22, 40_000, RST | ACK));
    let backwards = tagged(&[], server, client, Layer::Tcp(22, 40_000, SYN));
    let mut gate = Gate::with(ingress(1, services()));
    assert!(gate.passes(Port::A, &syn));
    assert!(gate.passes(Port::B, &reset));
    let denied = Disposition::Drop(DropReason::PolicyDenied);
    assert_eq!(gate.send(Port::B, &backwards), denied, "judged in its own direction");
    assert!(gate.passes(Port::A, &syn));
    let counters = gate.counters();
    assert_eq!((counters.flows_started, counters.flows_ended, gate.flows.live()), (2, 1, 1));
}

#[test]
fn full_table_drops_what_policy_allows() {
    let mut gate = Gate::new(RULES, 0, 1 << 8);
    gate.slot.publish(ingress(1, services()));
    let capacity = u16::try_from(gate.flows.capacity()).unwrap();
    // Each of another client: nobody may have more than half of the table.
    let client = |port: u16| format!("198.18.10.{}", port + 1);
    let query = |port| tagged(&[], &client(port), SERVER[0], Layer::Udp(port, 53));
    let answer = |port| tagged(&[], SERVER[0], &client(port), Layer::Udp(53, port));
    for port in 0..capacity {
        assert!(gate.passes(Port::A, &query(port)) && gate.passes(Port::B, &answer(port)));
    }
    let full = Disposition::Drop(DropReason::FlowTableFull);
    assert_eq!(gate.send(Port::A, &query(capacity)), full);
    assert!(gate.passes(Port::A, &query(3)), "known flows go on");
    gate.now += Duration::from_secs(200);
    assert!(gate.passes(Port::A, &query(3)));
    gate.now += Duration::from_secs(200);
    assert!(gate.passes(Port::A, &query(capacity)), "silent flows make room");
    assert!(gate.passes(Port::A, &query(3)));
}

#[test]
fn source_with_half_of_the_table_gets_no_more_and_others_do() {
    let mut gate = Gate::new(RULES, 0, 1 << 8);
    gate.slot.publish(ingress(1, services()));
    let share = u16::try_from(gate.flows.capacity() / 2).unwrap();
    let query = |client: &str, port| tagged(&[], client, SERVER[0], Layer::Udp(port, 53));
    assert!((0..share).all(|port| gate.passes(Port::A, &query("198.18.10.1", port))));
    let refused = Disposition::Drop(DropReason::SourceFlowLimit);
    assert_eq!(gate.send(Port::A, &query("198.18.10.1", 999)), refused);
    assert!(gate.passes(Port::A, &query("198.18.10.1", 0)), "what it has goes on");
    assert!(gate.passes(Port::A, &query("198.18.10.2", 999)));
}
