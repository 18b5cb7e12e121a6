//! S-26 to S-30: the same numbers, addresses and ports again, and who is taken for whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use classifier::packet::{PacketKey, Transport};
use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::{PolicyDenied, TcpClosed, TcpNotOpening};
use dataplane::flow::FlowKey;
use dataplane::parse::{Packet, Parsed, parse};
use dataplane::sanity::Sanity;

use crate::craft::{ACK, Connection, FIN, PSH, RST, SYN};
use crate::family::Family;
use crate::gate::{Fate, Gate, Setup};
use crate::policy::closed;

const DATA: u8 = PSH | ACK;

fn gate() -> Gate {
    Gate::new(Setup::default())
}

/// S-26: a SYN of the same ends with a lower number, in TIME-WAIT and after a RST: policy decides, and if it allows, the
/// connection is a new one.
pub(crate) fn lower_number_opens_anew(family: Family) {
    type Ending = fn(&mut Gate, &Connection);
    let by_fin: Ending = |gate, web| {
        gate.pass(A, &web.send(A, FIN | ACK, 1, 1, b""));
        gate.pass(B, &web.send(B, FIN | ACK, 1, 2, b""));
        gate.pass(A, &web.send(A, ACK, 2, 2, b""));
    };
    let by_reset: Ending = |gate, web| gate.pass(A, &web.send(A, RST, 1, 0, b""));
    for ending in [by_fin, by_reset] {
        let (mut gate, old) = (gate(), family.web(1));
        let new = Connection { isn: [old.isn[0] - 500_000, old.isn[1] - 700_000], ..old };
        gate.open(&old);
        ending(&mut gate, &old);
        gate.open(&new);
        gate.pass(A, &new.send(A, DATA, 1, 1, b"anew"));
        // Nothing of the old one is left.
        assert!(!gate.passes(A, &old.send(A, DATA, 2, 2, b"old")));
        // Where policy says no, there is no new one.
        let mut gate = self::gate();
        gate.open(&old);
        ending(&mut gate, &old);
        gate.policy.publish(closed(2));
        gate.refuse(A, &new.send(A, SYN, 0, 0, b""), PolicyDenied);
        gate.refuse(A, &new.send(A, DATA, 1, 1, b"x"), TcpNotOpening);
    }
}

/// S-27: the server answers a SYN with a SYN, or with an ACK and then a SYN. Who opened stays who opened: policy is asked for
/// the way in, and only once.
pub(crate) fn split_handshake_keeps_its_direction(family: Family) {
    for with_ack_first in [false, true] {
        let (mut gate, web) = (gate(), family.web(1));
        gate.pass(A, &web.send(A, SYN, 0, 0, b""));
        if with_ack_first {
            gate.pass(B, &web.send(B, ACK, 0, 1, b""));
        }
        gate.pass(B, &web.send(B, SYN, 0, 0, b""));
        gate.pass(A, &web.send(A, SYN | ACK, 0, 1, b""));
        gate.pass(B, &web.send(B, ACK, 1, 1, b""));
        gate.pass(A, &web.send(A, DATA, 1, 1, b"question"));
        gate.pass(B, &web.send(B, DATA, 1, 9, b"answer"));
        assert_eq!(gate.counters().flows_started, 1);
        let started = gate.records.pop().unwrap();
        assert_eq!((started.packet.src, started.packet.dst), (web.ends[0], web.ends[1]));
        // Were it the server's connection, policy would have been asked for the way out, which it denies.
        gate.policy.publish(crate::policy::reference(2));
        gate.pass(B, &web.send(B, DATA, 7, 9, b"more"));
        gate.policy.publish(closed(3));
        assert_eq!(gate.send(B, &web.send(B, DATA, 11, 9, b"x")), Fate::Dropped(PolicyDenied, 1));
    }
}

/// S-28: the same addresses and ports in two VLANs, and from both sides, are different connections.
pub(crate) fn same_ends_elsewhere_are_others(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    let handshake = web.handshake([&[], &[]]);
    let data = web.send(A, DATA, 1, 1, b"x");
    for vlan in [None, Some(100), Some(200)] {
        // Nobody has opened it here, whatever there is elsewhere.
        gate.refuse(A, &tagged(vlan, &data), TcpNotOpening);
        for (from, frame) in &handshake {
            gate.pass(*from, &tagged(vlan, frame));
        }
        gate.pass(A, &tagged(vlan, &data));
    }
    assert_eq!(gate.flows.live(), 3);
    // One ends; the others go on.
    gate.pass(A, &tagged(Some(100), &web.send(A, RST, 2, 0, b"")));
    gate.refuse(A, &tagged(Some(100), &data), TcpClosed);
    gate.pass(A, &tagged(Some(200), &data));
    gate.pass(A, &data);
    // The client's addresses at the servers' side are nobody's.
    gate.refuse(B, &data, TcpNotOpening);
}

/// S-30: the answer comes in by the port that the question came in by: it is no answer, and policy does not allow it.
pub(crate) fn answer_by_the_wrong_port_is_none(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    gate.pass(A, &web.send(A, SYN, 0, 0, b""));
    gate.refuse(A, &web.send(B, SYN | ACK, 0, 1, b""), TcpNotOpening);
    gate.pass(B, &web.send(B, SYN | ACK, 0, 1, b""));
    gate.pass(A, &family.datagram(1, A, b"question"));
    gate.refuse(A, &family.datagram(1, B, b"answer"), PolicyDenied);
    gate.pass(B, &family.datagram(1, B, b"answer"));
}

/// S-29: an IPv4 and an IPv6 packet whose addresses are the same words are never of one flow; nor are any two that differ in
/// anything.
pub(crate) fn families_share_no_flow(family: Family) {
    const PAIRS: u32 = 5_000_000;
    let mut random = fastrand::Rng::with_seed(29);
    let Ok(Parsed::Ip(datagram)) = parse(&family.datagram(1, A, b"x"), &Sanity::default(), A)
    else {
        panic!("it is one")
    };
    for _ in 0..PAIRS {
        let words: [u32; 2] = [random.u32(..), random.u32(..)];
        let ports = Transport::Ports { src: random.u16(..), dst: random.u16(..) };
        let v4 = key(&datagram, words.map(|word| Ipv4Addr::from(word).into()), ports);
        // The same word in front, behind, everywhere, or in the mapped form.
        let place = random.usize(..5);
        let v6 = key(&datagram, words.map(|word| spread(word, place).into()), ports);
        let (this, other) = if family == Family::V4 { (v4, v6) } else { (v6, v4) };
        assert_ne!(this, other, "{words:x?} {place}");
    }
}

fn key(datagram: &Packet, [src, dst]: [IpAddr; 2], transport: Transport) -> FlowKey {
    let key = PacketKey { src, dst, protocol: 17, transport };
    let packet = Packet { key, ..*datagram };
    FlowKey::of(&packet, A).expect("it has a flow").0
}

fn spread(word: u32, place: usize) -> Ipv6Addr {
    let word = u128::from(word);
    let bits = match place {
        0 => word << 96,
        1 => word,
        2 => word << 96 | word << 64 | word << 32 | word,
        3 => 0xffff_u128 << 32 | word,
        _ => word << 32,
    };
    bits.into()
}

fn tagged(vlan: Option<u16>, frame: &[u8]) -> Vec<u8> {
    let Some(vlan) = vlan else { return frame.to_vec() };
    let [high, low] = vlan.to_be_bytes();
    [&frame[..12], &[0x81, 0x00, high, low], &frame[12..]].concat()
}
