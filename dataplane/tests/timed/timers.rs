//! S-11 to S-18: how long who may be silent, and what time is.

use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::{IcmpUnmatched, PolicyDenied, TcpNotOpening};
use dataplane::flow::{Timer, Timers};

use crate::craft::{ACK, FIN, PSH, SYN};
use crate::family::Family;
use crate::gate::{Gate, Setup};

const DATA: u8 = PSH | ACK;

/// S-11: idle for 7,439 s, then data; a second after the limit nothing passes.
pub(crate) fn established_is_idle_for_two_hours(family: Family) {
    let (mut gate, web) = (Gate::new(Setup::default()), family.web(1));
    gate.open(&web);
    gate.wait_s(7_439);
    gate.pass(A, &web.send(A, DATA, 1, 1, b"still here"));
    gate.wait_s(7_439);
    gate.pass(B, &web.send(B, DATA, 1, 11, b"so are we"));
    gate.wait_s(7_441);
    gate.refuse(A, &web.send(A, DATA, 11, 10, b"too late"), TcpNotOpening);
    gate.refuse(B, &web.send(B, DATA, 10, 11, b"too late"), TcpNotOpening);
    // The limit is a setting.
    let timers = Timers::default().with(Timer::TcpEstablished, 600);
    let mut gate = Gate::new(Setup { timers, ..Setup::default() });
    gate.open(&web);
    gate.wait_s(599);
    gate.pass(A, &web.send(A, DATA, 1, 1, b"x"));
    gate.wait_s(601);
    gate.refuse(A, &web.send(A, DATA, 2, 1, b"x"), TcpNotOpening);
}

/// S-12: a SYN/ACK 239 s after the SYN.
pub(crate) fn opening_waits_for_four_minutes(family: Family) {
    let web = family.web(1);
    for (seconds, passes) in [(239, true), (241, false)] {
        let mut gate = Gate::new(Setup::default());
        gate.pass(A, &web.send(A, SYN, 0, 0, b""));
        gate.wait_s(seconds);
        assert_eq!(gate.passes(B, &web.send(B, SYN | ACK, 0, 1, b"")), passes, "{seconds} s");
    }
}

/// S-13: the client has closed its half; the server sends for two hours more.
pub(crate) fn half_closed_carries_data_for_hours(family: Family) {
    let (mut gate, web) = (Gate::new(Setup::default()), family.web(1));
    gate.open(&web);
    gate.pass(A, &web.send(A, FIN | ACK, 1, 1, b""));
    let mut sent = 1;
    for _ in 0..121 {
        gate.wait_s(60);
        gate.pass(B, &web.send(B, DATA, sent, 2, b"0123456789"));
        sent += 10;
        gate.pass(A, &web.send(A, ACK, 2, sent, b""));
    }
    // Silent for as long as an open one may be.
    gate.wait_s(7_439);
    gate.pass(B, &web.send(B, FIN | ACK, sent, 2, b""));
    gate.pass(A, &web.send(A, ACK, 2, sent + 1, b""));
}

/// S-14: an answer over UDP after 119 s; by default up to 300 s.
pub(crate) fn udp_waits_for_an_answer(family: Family) {
    for (seconds, passes) in [(119, true), (299, true), (301, false)] {
        let mut gate = Gate::new(Setup::default());
        gate.pass(A, &family.datagram(1, A, b"question"));
        gate.wait_s(seconds);
        assert_eq!(gate.passes(B, &family.datagram(1, B, b"answer")), passes, "{seconds} s");
    }
}

/// S-15: whoever sends, on either side, keeps a UDP flow alive (RFC 4787 REQ-6 wants it of what is inside, and allows it of
/// what is outside, where policy has admitted both).
pub(crate) fn udp_is_kept_alive_by_either_side(family: Family) {
    for talker in [A, B] {
        let mut gate = Gate::new(Setup::default());
        gate.pass(A, &family.datagram(1, A, b"question"));
        for _ in 0..20 {
            gate.wait_s(200);
            gate.pass(talker, &family.datagram(1, talker, b"more"));
        }
        gate.pass(B, &family.datagram(1, B, b"answer"));
        gate.wait_s(301);
        gate.refuse(B, &family.datagram(1, B, b"too late"), PolicyDenied);
    }
}

/// S-16: an echo reply 59 s after the request.
pub(crate) fn echo_waits_for_a_minute(family: Family) {
    let mut gate = Gate::new(Setup::default());
    gate.pass(A, &family.echo(1, A, 7));
    gate.wait_s(59);
    gate.pass(B, &family.echo(1, B, 7));
    let mut gate = Gate::new(Setup::default());
    gate.pass(A, &family.echo(1, A, 7));
    gate.wait_s(61);
    gate.refuse(B, &family.echo(1, B, 7), IcmpUnmatched);
}

/// S-17: no flow lives longer or shorter because the wall clock says something else. Expiry hangs on the worker's own clock,
/// which never jumps; the wall clock only stamps records.
pub(crate) fn wall_clock_ends_no_flow(family: Family) {
    const YEAR_NS: u64 = 365 * 86_400 * 1_000_000_000;
    let now = Setup::default().wall_offset_ns;
    for wall_offset_ns in [0, now - YEAR_NS, now, now + YEAR_NS, u64::MAX] {
        let mut gate = Gate::new(Setup { wall_offset_ns, ..Setup::default() });
        gate.open(&family.web(1));
        gate.wait_s(7_439);
        gate.pass(A, &family.web(1).send(A, DATA, 1, 1, b"x"));
        gate.wait_s(7_441);
        gate.refuse(A, &family.web(1).send(A, DATA, 2, 1, b"x"), TcpNotOpening);
    }
}

/// S-18: a keepalive, one octet before what comes next, with that octet or without (RFC 9293 section 3.8.4).
pub(crate) fn keepalives_keep_alive(family: Family) {
    for probe in [&b""[..], b"x"] {
        let (mut gate, web) = (Gate::new(Setup::default()), family.web(1));
        gate.open(&web);
        gate.pass(A, &web.send(A, DATA, 1, 1, b"x"));
        gate.pass(B, &web.send(B, ACK, 1, 2, b""));
        for _ in 0..5 {
            gate.wait_s(7_200);
            gate.pass(A, &web.send(A, ACK, 1, 1, probe));
            gate.pass(B, &web.send(B, ACK, 1, 2, b""));
            gate.wait_s(7_200);
            gate.pass(B, &web.send(B, ACK, 0, 2, probe));
            gate.pass(A, &web.send(A, ACK, 2, 1, b""));
        }
    }
}
