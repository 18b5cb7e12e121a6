//! CC-07 to CC-13, CC-30: what belongs to a session, from when and until when.

use std::time::Duration;

use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::{
    HalfOpenLimit, IcmpUnmatched, PolicyDenied, TcpClosed, TcpFlags, TcpNotOpening, TcpWindow,
};
use dataplane::flow::{Limit, Limits};

use crate::craft::{ACK, Connection, FIN, PSH, RST, SYN, UDP, URG, frame, icmp, ip, udp};
use crate::family::Family;
use crate::gate::{Gate, Setup};
use crate::limits;

const DATA: u8 = PSH | ACK;

fn gate() -> Gate {
    Gate::new(Setup::default())
}

/// CC-07: flags that open no session: each is dropped, and leaves none behind.
pub(super) fn wrong_flags_open_nothing(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    for flags in [SYN | FIN, SYN | RST, 0, FIN | PSH | URG, SYN | FIN | ACK] {
        gate.refuse(A, &web.send(A, flags, 0, 0, b""), TcpFlags);
    }
    for flags in [ACK, SYN | ACK, RST, RST | ACK, FIN | ACK] {
        gate.refuse(A, &web.send(A, flags, 0, 0, b""), TcpNotOpening);
        gate.refuse(B, &web.send(B, flags, 0, 0, b""), TcpNotOpening);
    }
    assert_eq!(gate.flows.live(), 0);
    // Nor do they get anywhere while a session is being set up.
    gate.pass(A, &web.send(A, SYN, 0, 0, b""));
    for flags in [SYN | FIN, 0, FIN | PSH | URG] {
        gate.refuse(B, &web.send(B, flags, 0, 1, b""), TcpFlags);
    }
    gate.refuse(A, &web.send(A, DATA, 1, 1, b"early"), TcpWindow);
    gate.pass(B, &web.send(B, SYN | ACK, 0, 1, b""));
}

/// CC-08: after set-up, one attribute at a time is another: source, destination, both ports, sequence number, flags.
pub(super) fn altered_segments_are_not_the_session(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    gate.open(&web);
    let altered = [
        Connection { ends: [family.client(2), web.ends[1]], ..web },
        Connection { ends: [web.ends[0], family.server(2)], ..web },
        Connection { ports: [web.ports[0] + 1, web.ports[1]], ..web },
        Connection { ports: [web.ports[0], web.ports[1] + 1], ..web },
    ];
    for other in altered {
        gate.refuse(A, &other.send(A, DATA, 1, 1, b"x"), TcpNotOpening);
        gate.refuse(B, &other.send(B, DATA, 1, 1, b"x"), TcpNotOpening);
    }
    for from in [A, B] {
        gate.refuse(from, &web.send(from, DATA, 1 + 1_000_000, 1, b"x"), TcpWindow);
        gate.refuse(from, &web.send(from, 0, 1, 0, b"x"), TcpFlags);
        gate.refuse(from, &web.send(from, SYN | FIN, 1, 0, b""), TcpFlags);
        gate.refuse(from, &web.send(from, FIN, 1, 0, b""), TcpFlags);
    }
    gate.pass(A, &web.send(A, DATA, 1, 1, b"x"));
    gate.pass(B, &web.send(B, DATA, 1, 2, b"x"));
}

/// CC-09: a session has ended, by two FINs or a RST. A tenth of a second and almost a second later, its packets are none of it.
pub(super) fn nothing_rides_a_closed_session(family: Family) {
    for by_reset in [false, true] {
        let (mut gate, web) = (gate(), family.web(1));
        gate.open(&web);
        let next = if by_reset {
            gate.pass(A, &web.send(A, RST, 1, 0, b""));
            1
        } else {
            gate.pass(A, &web.send(A, FIN | ACK, 1, 1, b""));
            gate.pass(B, &web.send(B, FIN | ACK, 1, 2, b""));
            gate.pass(A, &web.send(A, ACK, 2, 2, b""));
            2
        };
        for millis in [100, 800] {
            gate.wait(Duration::from_millis(millis));
            gate.refuse(A, &web.send(A, DATA, next, next, b"x"), TcpClosed);
            gate.refuse(B, &web.send(B, DATA, next, next, b"x"), TcpClosed);
        }
        // The rules decide over a new one.
        gate.policy.publish(crate::policy::closed(2));
        gate.refuse(A, &web.send(A, SYN, 100_000, 0, b""), PolicyDenied);
    }
}

/// CC-10: a second before the end of its time a packet passes, a second after it the rules decide.
pub(super) fn sessions_end_in_time(family: Family) {
    for (seconds, passes) in [(7_439, true), (7_441, false)] {
        let (mut gate, web) = (gate(), family.web(1));
        gate.open(&web);
        gate.wait_s(seconds);
        assert_eq!(gate.passes(B, &web.send(B, DATA, 1, 1, b"x")), passes, "TCP {seconds}");
    }
    for (seconds, passes) in [(299, true), (301, false)] {
        let mut gate = gate();
        gate.pass(A, &family.datagram(1, A, b"x"));
        gate.wait_s(seconds);
        assert_eq!(gate.passes(B, &family.datagram(1, B, b"x")), passes, "UDP {seconds}");
    }
    for (seconds, passes) in [(59, true), (61, false)] {
        let mut gate = gate();
        gate.pass(A, &family.echo(1, A, 7));
        gate.wait_s(seconds);
        assert_eq!(gate.passes(B, &family.echo(1, B, 7)), passes, "ICMP {seconds}");
    }
}

/// CC-11: an answer over UDP with one of four attributes altered.
pub(super) fn altered_datagrams_are_not_the_session(family: Family) {
    let (client, server) = (family.client(1), family.server(1));
    let answer = |src, dst, ports| frame(B, &ip(src, dst, UDP, udp(src, dst, ports, b"answer")));
    let mut gate = gate();
    gate.pass(A, &family.datagram(1, A, b"question"));
    for altered in [
        answer(family.server(2), client, [53, 5353]),
        answer(server, family.client(2), [53, 5353]),
        answer(server, client, [54, 5353]),
        answer(server, client, [53, 5354]),
    ] {
        gate.refuse(B, &altered, PolicyDenied);
    }
    gate.pass(B, &answer(server, client, [53, 5353]));
}

/// CC-12: an answer over ICMP with one of its attributes altered: source, destination, type, code, identifier.
pub(super) fn altered_messages_are_not_the_session(family: Family) {
    let (client, server) = (family.client(1), family.server(1));
    let (protocol, kind) = if family == Family::V4 { (1, 0) } else { (58, 129) };
    let answer = |src, dst, kind: [u8; 2], identifier| {
        frame(B, &ip(src, dst, protocol, icmp(src, dst, kind, [0, identifier, 0, 1], b"echo")))
    };
    let mut gate = gate();
    gate.pass(A, &family.echo(1, A, 7));
    gate.refuse(B, &answer(family.server(2), client, [kind, 0], 7), IcmpUnmatched);
    gate.refuse(B, &answer(server, family.client(2), [kind, 0], 7), IcmpUnmatched);
    gate.refuse(B, &answer(server, client, [kind, 0], 8), IcmpUnmatched);
    // A request of the server's own, and something else altogether.
    let request = if family == Family::V4 { 8 } else { 128 };
    gate.refuse(B, &answer(server, client, [request, 0], 7), PolicyDenied);
    assert!(!gate.passes(B, &answer(server, client, [kind, 1], 7)), "no such code");
    gate.pass(B, &answer(server, client, [kind, 0], 7));
}

/// CC-13: what comes in the same moment as the packet that ends a session is behind it: the session is over with that packet.
pub(super) fn session_ends_with_its_last_packet(family: Family) {
    let (mut gate, web) = (gate(), family.web(1));
    gate.open(&web);
    let last = web.send(A, RST, 1, 0, b"");
    let data = web.send(A, DATA, 1, 1, b"x");
    let (left, dropped) = gate.send_all(A, &[&last, &data, &data]);
    assert_eq!((left, dropped), (vec![last], vec![(TcpClosed, 2)]));
    // Rules are as immediate: what comes behind a publication is judged by it.
    let (mut gate, web) = (self::gate(), family.web(2));
    gate.open(&web);
    gate.policy.publish(crate::policy::closed(2));
    let data = web.send(A, DATA, 1, 1, b"x");
    assert_eq!(gate.send_all(A, &[&data]).1, [(PolicyDenied, 1)]);
}

/// CC-30: at each limit of N half-open sessions, exactly N of 2 N SYNs get through, and places are freed.
pub(super) fn half_open_limits_are_exact(family: Family) {
    const MOST: u16 = 1_000;
    limits::half_open_limit_is_exact(family);
    limits::half_open_places_are_freed(family);
    for limit in [Limit::HalfOpenPerDestination, Limit::HalfOpenPerSource] {
        let limits = Limits::default().with(limit, MOST.into());
        let mut gate = Gate::new(Setup { slots: 1 << 14, limits, ..Setup::default() });
        let passed = (0..2 * MOST).filter(|number| {
            let client = if limit == Limit::HalfOpenPerSource { 1 } else { u32::from(*number) };
            let web = Connection { ports: [1_000 + number, 80], ..family.web(client) };
            gate.passes(A, &web.send(A, SYN, 0, 0, b""))
        });
        assert_eq!(passed.count(), usize::from(MOST), "{limit:?}");
        assert_eq!(gate.dropped(HalfOpenLimit), u64::from(MOST));
    }
}
