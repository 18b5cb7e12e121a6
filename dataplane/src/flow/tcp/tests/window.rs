//! How far a segment may be ahead or behind.

use super::*;

/// T08 to T13, S-19.
#[test]
fn data_passes_within_what_was_granted_and_no_octet_further() {
    each(|mut talk| {
        talk.says(A, ACK, 1, 1, 100);
        talk.says(A, ACK, 1, 1, WINDOW);
        talk.beyond(A, talk.of(A, ACK, 2, 1, WINDOW));
        talk.beyond(A, talk.of(A, ACK, 20_000, 1, 1));
        talk.beyond(A, talk.of(A, ACK, 0x8000_0001, 1, 0));
        talk.says(B, ACK, 1, 1 + u32::from(WINDOW), 0);
        talk.says(A, ACK, 1 + u32::from(WINDOW), 1, WINDOW);
    });
}

#[test]
fn what_is_old_passes_while_it_is_within_one_window() {
    each(|mut talk| {
        for part in 0..20 {
            let at = 1 + part * 1_000;
            talk.says(A, ACK, at, 1, 1_000);
            talk.says(B, ACK, 1, at + 1_000, 0);
        }
        let end = 20_001_u32;
        let oldest = end - u32::from(WINDOW);
        talk.says(A, ACK, oldest, 1, 100);
        talk.beyond(A, talk.of(A, ACK, oldest - 1, 1, 100));
        talk.beyond(A, talk.of(A, ACK, end.wrapping_sub(66_100), 1, 100));
        // Acknowledgments of B: 20,001 is the highest.
        talk.says(B, ACK, 1, 1, 0);
        talk.says(B, ACK, 1, end.wrapping_sub(66_000), 0);
        talk.beyond(B, talk.of(B, ACK, 1, end.wrapping_sub(66_001), 0));
        talk.beyond(B, talk.of(B, ACK, 1, end + 1, 0));
        talk.beyond(B, talk.of(B, ACK, 1, end + 1_000_000, 0));
        talk.says(A, ACK, end, 1, 1_000);
    });
}

/// T40 to T43, S-21.
#[test]
fn windows_scale_by_what_both_syns_said() {
    let mut talk = Talk::scaled(1_000, 5_000, Some(0), Some(7));
    talk.passes(B, Segment { window: 512, ..talk.of(B, ACK, 1, 1, 0) });
    talk.says(A, ACK, 60_001, 1, 100);
    talk.beyond(A, talk.of(A, ACK, 1 + (512 << 7), 1, 1));

    let mut talk = Talk::scaled(1_000, 5_000, None, Some(7));
    talk.passes(B, Segment { window: 512, ..talk.of(B, ACK, 1, 1, 0) });
    talk.beyond(A, talk.of(A, ACK, 60_001, 1, 100));
    talk.beyond(A, talk.of(A, ACK, 200_001, 1, 100));

    let mut talk = Talk::scaled(1_000, 5_000, Some(1), Some(15));
    talk.passes(B, Segment { window: 4, ..talk.of(B, ACK, 1, 1, 0) });
    talk.says(A, ACK, 60_001, 1, 100);
    talk.beyond(A, talk.of(A, ACK, 1 + (4 << 14), 1, 1));

    let mut talk = Talk::scaled(u32::MAX, 5_000, Some(14), Some(14));
    talk.passes(B, Segment { window: u16::MAX, ..talk.of(B, ACK, 1, 1, 0) });
    talk.says(A, ACK, 1 + 900_000_000, 1, 1_000);
    let edge = 1 + (65_535 << 14);
    talk.says(A, ACK, edge - 1_000, 1, 1_000);
    talk.beyond(A, talk.of(A, ACK, edge, 1, 1));
    talk.says(B, ACK, 1, 1, 0);
}

#[test]
fn window_of_a_syn_is_not_scaled() {
    let mut talk = Talk::open(Segment { scale: Some(14), ..seg(SYN, 1_000, 0, 0) });
    talk.b = 5_000;
    talk.passes(B, Segment { scale: Some(14), ..seg(SYN | ACK, 5_000, 1_001, 0) });
    talk.says(A, ACK, 1, 1, WINDOW);
    talk.beyond(A, talk.of(A, ACK, 1 + u32::from(WINDOW), 1, 1));
}

/// T44, S-18, S-20.
#[test]
fn zero_windows_are_probed_and_keepalives_pass() {
    each(|mut talk| {
        talk.says(A, ACK, 1, 1, WINDOW);
        let full = 1 + u32::from(WINDOW);
        let zero = |talk: &Talk, ack| Segment { window: 0, ..talk.of(B, ACK, 1, ack, 0) };
        talk.passes(B, zero(&talk, full));
        talk.says(A, ACK, full, 1, 1);
        talk.beyond(A, talk.of(A, ACK, full, 1, 2));
        talk.says(A, ACK, full - 1, 1, 0);
        talk.says(A, ACK, full - 1, 1, 1);
        // The window shrinks: what was granted before may be on its way.
        talk.passes(B, Segment { window: 2_000, ..talk.of(B, ACK, 1, full, 0) });
        talk.passes(B, Segment { window: 10, ..talk.of(B, ACK, 1, full, 0) });
        talk.says(A, ACK, full, 1, 2_000);
        talk.beyond(A, talk.of(A, ACK, full, 1, 2_001));
        // Keepalives, with and without an octet.
        talk.passes(B, Segment { window: 10, ..talk.of(B, ACK, 1, full + 2_000, 0) });
        talk.says(A, ACK, full + 1_999, 1, 0);
        talk.says(A, ACK, full + 1_999, 1, 1);
        talk.says(B, ACK, 0, full + 2_000, 0);
    });
}

#[test]
fn fin_may_lie_one_octet_beyond_a_full_window() {
    each(|mut talk| {
        talk.says(A, ACK, 1, 1, WINDOW);
        talk.says(A, FIN | ACK, 1 + u32::from(WINDOW), 1, 0);
        assert_eq!(talk.state, State::HalfClosedByOriginal);
        talk.says(A, ACK, 2 + u32::from(WINDOW), 1, 0);
        talk.says(A, FIN | ACK, 1 + u32::from(WINDOW), 1, 0);
        talk.says(B, ACK, 1, 2 + u32::from(WINDOW), 0);
    });
}

/// RFC 6092 REC-32.
#[test]
fn picked_up_connection_is_not_checked_and_ends_by_an_exact_reset() {
    let first = seg(ACK, 500_000, 900_000, 100);
    let new = || Talk {
        connection: Connection::picked_up(&first),
        state: State::Established,
        a: 500_000,
        b: 900_000,
    };
    let mut talk = new();
    talk.passes(B, seg(ACK, 900_000, 700_000, 1_000));
    talk.passes(A, seg(ACK, 10_000_000, 901_000, 1_000));
    talk.passes(B, seg(RST, 20_000_000, 0, 0));
    talk.passes(B, seg(ACK, 901_000, 10_001_000, 10));
    assert_eq!(talk.state, State::Established);
    talk.beyond(B, seg(SYN | ACK, 901_000, 10_001_000, 0));
    talk.passes(A, seg(RST, 10_001_000, 0, 0));
    assert_eq!(talk.state, State::Closed);
    talk.over(A, seg(ACK, 10_001_000, 901_010, 10));

    let mut talk = new();
    talk.passes(A, seg(FIN | ACK, 500_100, 900_000, 0));
    talk.passes(B, seg(FIN | ACK, 900_000, 500_101, 0));
    talk.passes(A, seg(ACK, 500_101, 900_001, 0));
    assert_eq!(talk.state, State::Closed);

    let mut talk = new();
    talk.passes(A, seg(SYN, 42, 0, 0));
    talk.passes(B, seg(SYN | ACK, 77, 43, 0));
    assert!(!talk.connection.terms.is_picked_up(), "from here on it is known");
}

/// I04, RFC 5927 section 4.1.
#[test]
fn error_may_be_about_what_is_in_flight_only() {
    let mut talk = Talk::opening(1_000);
    talk.b = 5_000;
    let in_flight = |talk: &Talk, way, seq| talk.connection.is_in_flight(talk.state, way, seq);
    assert!(in_flight(&talk, A, 1_000) && in_flight(&talk, A, 1_001));
    assert!(!in_flight(&talk, A, 999) && !in_flight(&talk, A, 1_002) && !in_flight(&talk, B, 0));
    talk.says(B, SYN | ACK, 0, 1, 0);
    assert!(in_flight(&talk, A, 1_000) && in_flight(&talk, B, 5_000));
    talk.says(A, ACK, 1, 1, 1_000);
    talk.says(A, ACK, 1_001, 1, 1_000);
    talk.says(B, ACK, 1, 1_001, 0);
    assert!(in_flight(&talk, A, 2_001) && in_flight(&talk, A, 3_001));
    assert!(!in_flight(&talk, A, 2_000) && !in_flight(&talk, A, 3_002));
    assert!(in_flight(&talk, B, 5_001) && !in_flight(&talk, B, 5_000));
}

#[test]
fn what_begins_early_passes_if_it_ends_with_news() {
    each(|mut talk| {
        talk.says(A, ACK, 1, 1, 2_000);
        talk.says(B, ACK, 1, 2_001, 0);
        let acked = 2_001;
        talk.says(A, ACK, acked, 1, WINDOW);
        // All of the window is on its way: one octet before is a probe, two are nothing.
        talk.says(A, ACK, acked - 1, 1, 0);
        talk.beyond(A, talk.of(A, ACK, acked - 2, 1, 0));
        talk.beyond(A, talk.of(A, ACK, acked - 500, 1, 500));
        talk.says(A, ACK, acked - 500, 1, 501);
    });
}

#[test]
fn acknowledgments_may_be_as_late_as_a_wide_window_is_wide() {
    let mut talk = Talk::scaled(u32::MAX - 70_000, 5_000, Some(7), Some(7));
    talk.says(A, ACK, 1, 1, 0);
    let most = u32::from(WINDOW) << 7;
    for part in 0..200 {
        talk.says(B, ACK, 1 + part * 10_000, 1, 10_000);
        talk.says(A, ACK, 1, 1 + (part + 1) * 10_000, 0);
    }
    let acked = 2_000_001;
    talk.says(A, ACK, 1, acked - most, 0);
    talk.beyond(A, talk.of(A, ACK, 1, acked - most - 1, 0));
}
