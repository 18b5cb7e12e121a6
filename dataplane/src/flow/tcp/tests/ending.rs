//! Half-closed, reset and closed connections.

use super::*;

/// T14 to T18, T51, T52.
#[test]
fn only_an_exact_reset_closes() {
    each(|mut talk| {
        talk.says(A, ACK, 1, 1, 100);
        talk.says(B, ACK, 1, 101, 200);
        for (seq, ack) in [(2_000_000, 1), (100, 1), (1, 1), (101 + u32::from(WINDOW) + 1, 1)] {
            talk.beyond(A, talk.of(A, RST, seq, ack, 0));
            talk.beyond(A, talk.of(A, RST | ACK, seq, ack, 0));
        }
        // The forged RST of OpenBSD's fakeack_rst: no acknowledgment that could be right, a little behind.
        let behind = Segment { ack: 0, ..talk.of(A, RST | ACK, 50, 0, 0) };
        talk.beyond(A, behind);
        let fake_ack = talk.of(A, RST | ACK, 101, 5_000_000, 0);
        talk.beyond(A, fake_ack);
        for seq in [102, 5_000, 101 + u32::from(WINDOW)] {
            talk.says(A, RST, seq, 0, 0);
            assert_eq!(talk.state, State::Established);
        }
        talk.says(A, ACK, 101, 201, 50);
        talk.says(B, ACK, 201, 151, 0);
        talk.says(A, RST, 151, 0, 0);
        assert_eq!(talk.state, State::Closed);
        talk.over(A, talk.of(A, ACK, 151, 201, 10));
        talk.over(A, talk.of(A, ACK, 101, 201, 10));
        talk.over(B, talk.of(B, ACK, 201, 151, 10));
        talk.over(B, talk.of(B, FIN | ACK, 201, 151, 0));
        talk.says(A, RST, 151, 0, 0);
        talk.says(B, ACK, 201, 151, 0);
    });
}

/// S-31, S-32 (Linux, `conntrack_inexact_rst`): data and at once a RST, which nobody acknowledged yet.
#[test]
fn reset_right_behind_data_closes_also_when_half_closed() {
    each(|mut talk| {
        talk.says(B, FIN | ACK, 1, 1, 0);
        talk.says(A, ACK, 1, 2, 0);
        assert_eq!(talk.state, State::HalfClosedByReply);
        talk.says(A, ACK, 1, 2, 24);
        talk.says(A, RST | ACK, 25, 2, 0);
        assert_eq!(talk.state, State::Closed);
        talk.says(A, RST | ACK, 25, 2, 0);
        talk.says(B, RST, 1, 0, 0);
    });
}

/// T33 to T39, CC-09, CC-13.
#[test]
fn closed_connection_passes_repetitions_and_never_data() {
    each(|mut talk| {
        talk.says(A, ACK, 1, 1, 100);
        talk.says(A, FIN | ACK, 101, 1, 0);
        assert_eq!(talk.state, State::HalfClosedByOriginal);
        talk.says(B, ACK, 1, 102, 300);
        talk.says(A, ACK, 102, 301, 0);
        talk.beyond(A, talk.of(A, ACK, 102, 301, 1));
        talk.says(B, ACK, 301, 102, 300);
        talk.says(B, FIN | ACK, 601, 102, 0);
        assert_eq!(talk.state, State::Closing);
        talk.beyond(B, talk.of(B, ACK, 602, 102, 1));
        talk.says(A, ACK, 102, 601, 0);
        assert_eq!(talk.state, State::Closing);
        talk.says(A, ACK, 102, 602, 0);
        assert_eq!(talk.state, State::Closed);
        for (way, seq, ack) in [(A, 102, 602), (B, 602, 102), (A, 50, 602), (B, 301, 102)] {
            talk.over(way, talk.of(way, ACK, seq, ack, 10));
            talk.over(way, talk.of(way, FIN | ACK, seq, ack, 1));
        }
        let last = talk.of(A, ACK, 102, 602, 0);
        assert_eq!(talk.take(A, last), Step::Linger);
        let fin = talk.of(B, FIN | ACK, 601, 102, 0);
        assert_eq!(talk.take(B, fin), Step::Linger);
        talk.over(B, talk.of(B, FIN | ACK, 602, 102, 0));
        talk.over(A, talk.of(A, ACK, 900, 602, 0));
        talk.over(A, talk.of(A, ACK, 102, 603, 0));
        talk.over(A, talk.of(A, SYN | ACK, 0, 602, 0));
        talk.over(A, talk.of(A, RST, 2_000_000, 0, 0));
        for (way, isn) in [(A, talk.a.wrapping_add(60_000)), (A, talk.a.wrapping_sub(9)), (B, 3)] {
            let step = talk.connection.step(talk.state, way, &seg(SYN, isn, 0, 0));
            assert_eq!(step, Step::Replace, "S-26: any SYN, by the ruleset");
        }
    });
}

/// S-25.
#[test]
fn simultaneous_close_closes() {
    each(|mut talk| {
        talk.says(A, FIN | ACK, 1, 1, 0);
        talk.says(B, FIN | ACK, 1, 1, 0);
        assert_eq!(talk.state, State::Closing);
        talk.says(A, ACK, 2, 2, 0);
        assert_eq!(talk.state, State::Closing);
        talk.says(B, ACK, 2, 2, 0);
        assert_eq!(talk.state, State::Closed);
    });
}

/// S-13: the other side may send on for as long as it likes.
#[test]
fn half_closed_connection_carries_data_the_other_way() {
    each(|mut talk| {
        talk.says(B, FIN | ACK, 1, 1, 0);
        for part in 0..1_000 {
            talk.says(A, ACK, 1 + part * 8_000, 2, 8_000);
            talk.says(B, ACK, 2, 8_001 + part * 8_000, 0);
        }
        assert_eq!(talk.state, State::HalfClosedByReply);
        assert_eq!(talk.state.timer(), crate::flow::Timer::TcpEstablished);
    });
}

#[test]
fn fin_before_the_handshake_is_complete_is_not_forgotten() {
    let mut talk = Talk::opening(1_000);
    talk.b = 5_000;
    talk.says(B, SYN | ACK, 0, 1, 0);
    talk.says(B, FIN | ACK, 1, 1, 10);
    assert_eq!(talk.state, State::Answered);
    talk.says(A, ACK, 1, 12, 0);
    assert_eq!(talk.state, State::HalfClosedByReply);
}

#[test]
fn fin_that_is_not_the_last_octet_ends_nothing() {
    each(|mut talk| {
        talk.says(A, ACK, 1, 1, 500);
        talk.says(A, FIN | ACK, 101, 1, 0);
        assert_eq!(talk.state, State::Established);
    });
}

/// The receiver has what it acknowledged, and may have all that was sent.
#[test]
fn reset_is_exact_at_what_is_acknowledged_and_at_what_is_sent() {
    for last in [1, 1_001] {
        each(|mut talk| {
            talk.says(A, ACK, 1, 1, 1_000);
            talk.says(A, RST, 500, 0, 0);
            assert_eq!(talk.state, State::Established);
            talk.says(A, RST, last, 0, 0);
            assert_eq!(talk.state, State::Closed);
        });
    }
    each(|mut talk| {
        talk.says(A, FIN | ACK, 1, 1, WINDOW);
        talk.beyond(A, talk.of(A, RST, 3 + u32::from(WINDOW), 0, 0));
        talk.says(A, RST, 2 + u32::from(WINDOW), 0, 0);
        assert_eq!(talk.state, State::Closed, "behind a FIN behind a full window");
    });
}

#[test]
fn closed_connection_passes_nothing_that_was_not_said_before() {
    each(|mut talk| {
        talk.says(A, ACK, 1, 1, 100);
        talk.says(B, ACK, 1, 101, 0);
        talk.says(B, RST, 1, 0, 0);
        talk.over(A, talk.of(A, FIN | ACK, 100, 1, 0));
        talk.over(A, talk.of(A, SYN | ACK, 101, 1, 0));
        talk.over(B, talk.of(B, SYN | ACK, 1, 101, 0));
        assert_eq!(talk.take(A, talk.of(A, ACK, 101, 1, 0)), Step::Linger);
    });
    // Refused at once: nothing is known of the other side.
    let mut talk = Talk::opening(1_000);
    talk.passes(B, seg(RST | ACK, 0, 1_001, 0));
    for flags in [ACK, FIN | ACK, SYN | ACK] {
        talk.over(A, seg(flags, 1_001, 5_000, 0));
        talk.over(B, seg(flags, 5_000, 1_001, 0));
    }
    talk.over(B, seg(RST | ACK, 0, 1_002, 0));
    assert_eq!(talk.take(B, seg(RST | ACK, 0, 1_001, 0)), Step::Linger);
    assert_eq!(talk.take(A, seg(RST, 1_001, 0, 0)), Step::Linger);
}
