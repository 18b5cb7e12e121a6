//! CC-31, CC-33, CC-34: what frames must not carry, what records must say, and what is counted.

use classifier::packet::{PacketKey, Transport, protocol};
use classifier::record::RecordKind;
use classifier::resource::{Action, Rule};
use dataplane::device::Port::{self, A, B};
use dataplane::disposition::DropReason::TransmitRingFull;

use crate::craft::{Connection, SYN, UDP, V4, V6, fragments, fragments_v6, frame, ip, udp};
use crate::family::Family;
use crate::gate::{Fate, Gate, Setup};
use crate::policy::{image, open};

/// What was in all buffers before.
const MARK: u8 = 0xa5;

/// CC-31: all buffers were full of a mark; small frames, and datagrams that were put together and taken apart again, leave
/// without a byte of it.
pub(super) fn no_frame_carries_what_another_left(family: Family) {
    let mut gate = Gate::new(Setup { policy: Some(open(1)), ..Setup::default() });
    let (src, dst) = (family.client(1), family.server(1));
    for _ in 0..2_000 {
        gate.pass(A, &family.datagram(1, A, &[MARK; 1_900]));
    }
    for number in 0..2_000 {
        let small = family.datagram(1, A, &[u8::try_from(number % 100).unwrap()]);
        let Fate::Left(left) = gate.send(A, &small) else { panic!("{number} does not pass") };
        assert_eq!(left, [small]);
        assert!(!left[0].windows(4).any(|four| four == [MARK; 4]), "{number}");
    }
    for id in 0..100 {
        let payload = udp(src, dst, [5_353, 53], &[0; 40]);
        let pieces = cut(family, id, payload);
        assert_eq!(gate.send(A, &pieces[0]), Fate::Held);
        assert_eq!(gate.send(A, &pieces[1]), Fate::Left(pieces.clone()));
    }
}

/// CC-33: the record of a packet that a rule logs says source and destination, ports, protocol and interface as they were sent.
pub(super) fn records_say_what_was_sent(family: Family) {
    let rules = vec![Rule::new(Action::Log), Rule::new(Action::Allow)];
    let policy = Some(image(7, rules.clone(), rules));
    let mut gate = Gate::new(Setup { policy, ..Setup::default() });
    let (client, server) = (family.client(1), family.server(1));
    let (message, kind) =
        if family == Family::V4 { (protocol::ICMP, 8) } else { (protocol::ICMPV6, 128) };
    let key = |src, dst, protocol, transport| PacketKey { src, dst, protocol, transport };
    let ports = |src, dst| Transport::Ports { src, dst };
    for number in 0..200 {
        let (sport, dport) = (1_000 + number, 80 + number);
        let web = Connection { ports: [sport, dport], ..family.web(1) };
        let outwards = udp(server, client, [dport, sport], b"x");
        let sent: [(Port, Vec<u8>, PacketKey); 3] = [
            (
                A,
                web.send(A, SYN, 0, 0, b""),
                key(client, server, protocol::TCP, ports(sport, dport)),
            ),
            (
                B,
                frame(B, &ip(server, client, UDP, outwards)),
                key(server, client, protocol::UDP, ports(dport, sport)),
            ),
            (
                A,
                family.echo(1, A, sport),
                key(client, server, message, Transport::Icmp { kind, code: 0 }),
            ),
        ];
        for (from, frame, packet) in sent {
            gate.pass(from, &frame);
            // That it began something, and that a rule wants it in the log.
            let records: Vec<_> = std::iter::from_fn(|| gate.records.pop().ok()).collect();
            let kinds: Vec<_> = records.iter().map(|record| record.kind).collect();
            assert_eq!(kinds, [RecordKind::Started, RecordKind::Logged]);
            for record in records {
                assert_eq!(record.packet, packet);
                let of_port = |port: Port| u8::try_from(port.index()).unwrap();
                let ports = (record.in_port, record.out_port);
                assert_eq!(ports, (of_port(from), of_port(from.other())));
                assert_eq!((record.generation, usize::from(record.length)), (7, frame.len()));
                assert!(record.logged.is_some_and(|rule| rule.rule == 0));
            }
        }
    }
}

/// CC-34: more comes in by a port than leaves by the other: what is dropped is counted where it came in, exactly. (What the
/// card drops before us is counted by the kernel for each interface: the test on real interfaces.)
pub(super) fn overload_is_counted_by_port(family: Family) {
    let mut gate = Gate::new(Setup { policy: Some(open(1)), ..Setup::default() });
    for (from, frames) in [(A, 400), (B, 300)] {
        let burst: Vec<Vec<u8>> = (0..frames).map(|_| family.datagram(1, from, b"x")).collect();
        let before = gate.counters();
        let burst: Vec<&Vec<u8>> = burst.iter().collect();
        let (left, dropped) = gate.send_all(from, &burst);
        assert_eq!(left.len(), Gate::TRANSMIT_RING);
        assert_eq!(dropped, [(TransmitRingFull, (frames - Gate::TRANSMIT_RING) as u64)]);
        let after = gate.counters();
        let received =
            |port| after.port(port).received.packets - before.port(port).received.packets;
        assert_eq!((received(from), received(from.other())), (frames as u64, 0));
    }
}

/// A datagram in two fragments.
fn cut(family: Family, id: u16, payload: Vec<u8>) -> Vec<Vec<u8>> {
    let packets: Vec<Vec<u8>> = match (family.client(1), family.server(1)) {
        (std::net::IpAddr::V4(src), std::net::IpAddr::V4(dst)) => {
            let whole = V4 { id, ..V4::new(src, dst, UDP, payload) };
            fragments(&whole, &[24]).iter().map(V4::bytes).collect()
        }
        (std::net::IpAddr::V6(src), std::net::IpAddr::V6(dst)) => {
            let whole = V6::new(src, dst, UDP, payload);
            fragments_v6(&whole, id.into(), &[24]).iter().map(V6::bytes).collect()
        }
        _ => unreachable!("one family"),
    };
    packets.iter().map(|packet| frame(A, packet)).collect()
}
