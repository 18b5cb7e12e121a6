//! Handshakes of every kind, and SYNs where none is due.

use super::*;

#[test]
fn impossible_flags_are_refused_whatever_the_state() {
    for state in State::ALL.into_iter().filter(|state| state.is_tcp()) {
        for bits in [0, PSH, URG, FIN, FIN | PSH | URG, SYN | FIN, SYN | RST, SYN | FIN | ACK, 0xff]
        {
            let talk = Talk::established(1, 1);
            let step = talk.connection.step(state, A, &seg(bits, 2, 2, 0));
            assert_eq!(step, Step::Refuse(DropReason::TcpFlags), "{bits:#04x} in {state:?}");
        }
    }
}

/// T50, TFO (RFC 7413): data on both SYNs, acknowledged in part.
#[test]
fn syns_may_carry_data() {
    let mut talk = Talk::open(seg(SYN, 1_000, 0, 500));
    talk.b = 5_000;
    talk.passes(A, seg(SYN, 1_000, 0, 0));
    talk.beyond(B, seg(SYN | ACK, 5_000, 1_502, 0));
    talk.beyond(B, seg(SYN | ACK, 5_000, 1_501, WINDOW + 1));
    talk.passes(B, seg(SYN | ACK, 5_000, 1_001, 800));
    talk.says(A, ACK, 1, 801, 500);
    assert_eq!(talk.state, State::Established);
    talk.says(B, ACK, 801, 501, 0);
}

/// T07, S-24: the handshake reordered and duplicated.
#[test]
fn handshake_completes_in_any_order_of_its_segments() {
    let mut talk = Talk::opening(1_000);
    talk.b = 5_000;
    talk.says(A, SYN, 0, 0, 0);
    talk.says(B, SYN | ACK, 0, 1, 0);
    talk.says(A, SYN, 0, 0, 0);
    talk.says(B, SYN | ACK, 0, 1, 0);
    // Data overtakes the ACK before it.
    talk.says(A, ACK, 101, 1, 100);
    assert_eq!(talk.state, State::Established);
    talk.says(A, ACK, 1, 1, 100);
    talk.says(A, ACK, 1, 1, 0);
    talk.says(B, SYN | ACK, 0, 1, 0);
    talk.says(B, ACK, 1, 201, 300);
    assert_eq!(talk.state, State::Established);
}

/// T06, T21, T22, T27, T28, T53.
#[test]
fn answer_must_acknowledge_the_syn() {
    let mut talk = Talk::opening(1_000);
    talk.b = 5_000;
    for ack in [0, 1_000, 1_002, 900, 3_000_000_000] {
        talk.beyond(B, seg(SYN | ACK, 5_000, ack, 0));
        talk.beyond(B, seg(RST | ACK, 0, ack, 0));
    }
    talk.beyond(B, seg(RST, 1_001, 1_001, 0));
    talk.beyond(B, seg(ACK, 5_001, 1_001, 10));
    talk.beyond(B, seg(FIN | ACK, 5_001, 1_001, 0));
    talk.beyond(A, seg(ACK, 1_001, 5_001, 0));
    talk.beyond(A, seg(SYN | ACK, 1_000, 5_001, 0));
    let mut refused = Talk { connection: talk.connection, ..talk };
    refused.passes(B, seg(RST | ACK, 0, 1_001, 0));
    assert_eq!(refused.state, State::Closed);

    talk.passes(B, seg(SYN | ACK, 5_000, 1_001, 0));
    for ack in [0, 5_000, 5_002, 4_000] {
        talk.beyond(A, seg(ACK, 1_001, ack, 100));
    }
    assert_eq!(talk.state, State::Answered);
    talk.passes(A, seg(ACK, 1_001, 5_001, 100));
    assert_eq!(talk.state, State::Established);
}

#[test]
fn answer_to_a_copy_of_the_syn_counts_until_one_is_acknowledged() {
    let mut talk = Talk::opening(1_000);
    talk.passes(B, seg(SYN | ACK, 5_000, 1_001, 0));
    talk.passes(A, seg(SYN, 1_000, 0, 0));
    talk.passes(B, seg(SYN | ACK, 9_000_000, 1_001, 0));
    talk.beyond(A, seg(ACK, 1_001, 5_001, 0));
    talk.passes(A, seg(ACK, 1_001, 9_000_001, 0));
    assert_eq!(talk.state, State::Established);
    talk.beyond(B, seg(SYN | ACK, 5_000, 1_001, 0));
}

/// T29 to T32, S-27.
#[test]
fn simultaneous_open_and_split_handshakes_complete_and_never_flip() {
    for (a, b) in STARTS {
        let mut talk = Talk::opening(a);
        talk.b = b;
        talk.says(B, SYN, 0, 0, 0);
        assert_eq!(talk.state, State::Answered);
        talk.says(A, SYN | ACK, 0, 1, 0);
        assert_eq!(talk.state, State::Answered, "one SYN of two is acknowledged");
        talk.says(B, SYN | ACK, 0, 1, 0);
        assert_eq!(talk.state, State::Established);
        talk.says(A, ACK, 1, 1, 100);
        talk.says(B, ACK, 1, 101, 100);

        // The server answers by an ACK, then by a SYN of its own, as a split handshake does.
        let mut split = Talk::opening(a);
        split.b = b;
        split.says(B, ACK, 77, 1, 0);
        split.says(B, SYN, 0, 0, 0);
        split.says(A, SYN | ACK, 0, 1, 0);
        split.says(B, ACK, 1, 1, 0);
        assert_eq!(split.state, State::Established);
    }
}

/// T23 to T26.
#[test]
fn challenge_ack_and_its_reset_pass_before_the_syn_is_answered() {
    each(|_| {
        let mut talk = Talk::opening(70_000);
        talk.passes(B, seg(ACK, 900_000, 400_000, 0));
        talk.beyond(A, seg(RST, 400_001, 0, 0));
        talk.passes(A, seg(RST, 400_000, 0, 0));
        assert_eq!(talk.state, State::Opening);
        talk.passes(A, seg(SYN, 70_000, 0, 0));
        talk.passes(B, seg(SYN | ACK, 5_000, 70_001, 0));
        talk.passes(A, seg(ACK, 70_001, 5_001, 0));
        assert_eq!(talk.state, State::Established);
    });
    let mut gives_up = Talk::opening(70_000);
    gives_up.passes(A, seg(RST, 70_001, 0, 0));
    assert_eq!(gives_up.state, State::Closed);
}

/// T19 to T22, D11.
#[test]
fn syn_on_a_live_connection_replaces_it_only_when_its_peer_says_so() {
    each(|mut talk| {
        talk.says(A, ACK, 1, 1, 100);
        talk.says(B, ACK, 1, 101, 100);
        let own = talk.connection;
        assert_eq!(
            talk.connection.step(talk.state, A, &talk.of(A, SYN, 0, 0, 0)),
            Step::Judge(None)
        );
        let other = talk.a.wrapping_add(500_000_000);
        talk.passes(A, Segment { scale: Some(9), ..seg(SYN, other, 0, 0) });
        assert_eq!((talk.connection.peers, talk.state), (own.peers, State::Established));
        // The old connection goes on, its challenge ACK travels back.
        talk.says(B, ACK, 101, 101, 0);
        talk.says(A, ACK, 101, 101, 50);
        // Nothing but the number of that SYN will do.
        for ack in [other, other.wrapping_add(2), talk.a.wrapping_add(1), 0] {
            let wrong = seg(SYN | ACK, 123_456_789, ack, 0);
            talk.beyond(B, wrong);
        }
        talk.beyond(A, seg(SYN | ACK, 123_456_789, other.wrapping_add(1), 0));
        // A refusal of that SYN reaches its sender and changes nothing.
        talk.passes(B, seg(RST | ACK, 0, other.wrapping_add(1), 0));
        assert_eq!(talk.state, State::Established);
        let answer = Segment { scale: Some(3), ..seg(SYN | ACK, 77, other.wrapping_add(1), 0) };
        assert!(matches!(talk.take(B, answer), Step::Restart(_)));
        assert_eq!(talk.state, State::Answered);
        talk.passes(A, seg(ACK, other.wrapping_add(1), 78, 100));
        assert_eq!(talk.state, State::Established);
        talk.beyond(A, talk.of(A, ACK, 151, 101, 10));
        assert_eq!(talk.connection.terms.shift(A), 9);
        assert_eq!(talk.connection.terms.shift(B), 3);
    });
}

#[test]
fn second_syn_before_the_answer_is_kept_beside_the_first() {
    let mut talk = Talk::opening(1_000);
    assert!(matches!(talk.take(A, seg(SYN, 50_000, 0, 0)), Step::Judge(Some(_))));
    let mut first = Talk { connection: talk.connection, ..talk };
    first.passes(B, seg(SYN | ACK, 5_000, 1_001, 0));
    first.passes(A, seg(ACK, 1_001, 5_001, 0));
    assert_eq!(first.state, State::Established);
    talk.passes(B, seg(SYN | ACK, 5_000, 50_001, 0));
    talk.beyond(A, seg(ACK, 1_001, 5_001, 0));
    talk.passes(A, seg(ACK, 50_001, 5_001, 0));
    assert_eq!(talk.state, State::Established);
}

#[test]
fn connection_of_a_syn_the_other_way_is_opened_by_its_sender() {
    let mut talk = Talk::established(1_000, 5_000);
    talk.passes(B, Segment { window: 100, ..seg(SYN, 9_000, 0, 0) });
    talk.beyond(B, seg(SYN | ACK, 40, 9_001, 0));
    let Step::Restart(next) = talk.take(A, seg(SYN | ACK, 40, 9_001, 0)) else {
        panic!("the SYN is answered");
    };
    assert_eq!(next.initial.of(Way::Original), 9_000, "who sent the SYN is the original side now");
    assert_eq!(next.initial.of(Way::Reply), 40);
    let (within, beyond) = (seg(ACK, 41, 9_001, 100), seg(ACK, 41, 9_001, 101));
    assert!(matches!(next.step(State::Answered, Way::Reply, &within), Step::Advance(..)));
    let refused = Step::Refuse(DropReason::TcpWindow);
    assert_eq!(next.step(State::Answered, Way::Reply, &beyond), refused);
}

#[test]
fn who_opened_may_give_up_and_a_later_syn_may_be_refused() {
    for last in [1_001, 1_501] {
        let mut talk = Talk::open(seg(SYN, 1_000, 0, 500));
        for wrong in [1_000, 1_002, 1_500, 1_502] {
            talk.beyond(A, seg(RST, wrong, 0, 0));
        }
        talk.passes(A, seg(RST, last, 0, 0));
        assert_eq!(talk.state, State::Closed, "at {last}");
    }
    let mut talk = Talk::opening(1_000);
    talk.passes(A, seg(SYN, 50_000, 0, 0));
    assert_eq!(talk.take(B, seg(RST | ACK, 0, 50_001, 0)), Step::Repeat);
    assert_eq!(talk.state, State::Opening, "the first SYN may still be answered");
}

#[test]
fn copies_of_syns_and_answers_change_nothing() {
    let mut talk = Talk::opening(1_000);
    talk.b = 5_000;
    talk.passes(B, seg(SYN | ACK, 5_000, 1_001, WINDOW));
    talk.says(B, ACK, 1 + u32::from(WINDOW), 1, 0);
    assert_eq!(talk.take(A, seg(SYN, 1_000, 0, 0)), Step::Repeat);
    talk.says(B, SYN | ACK, 0, 1, 0);
    // What came with the first answer is acknowledged.
    talk.says(A, ACK, 1, 1 + u32::from(WINDOW), 0);
    assert_eq!(talk.state, State::Established);

    // A window in a copy of an answer is not scaled either.
    let mut talk = Talk::scaled(1_000, 5_000, Some(7), Some(7));
    talk.says(B, SYN | ACK, 0, 1, 0);
    talk.beyond(A, talk.of(A, ACK, 1 + u32::from(WINDOW), 1, 1));
    // Of another number it is no copy, however near.
    talk.beyond(B, talk.of(B, SYN | ACK, 1, 1, 0));
    talk.beyond(A, talk.of(A, SYN | ACK, 2, 1, 0));
}

#[test]
fn acknowledged_syn_is_not_answered_anew() {
    let mut talk = Talk::opening(1_000);
    talk.b = 5_000;
    talk.says(B, SYN, 0, 0, 0);
    // The whole window of a SYN that acknowledged nothing counts from behind the other's.
    talk.says(A, SYN | ACK, 0, 1, 0);
    talk.says(A, ACK, 1, 1, WINDOW);
    talk.beyond(A, talk.of(A, ACK, 2, 1, WINDOW));
    talk.beyond(B, seg(SYN | ACK, 9_000, 1_001, 0));
    talk.says(B, ACK, 1, 1 + u32::from(WINDOW), 0);
    assert_eq!(talk.state, State::Established);
}
