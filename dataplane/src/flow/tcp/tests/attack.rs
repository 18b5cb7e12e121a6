//! Who sees neither side of a connection: knows addresses and ports, guesses numbers.

use super::*;

const SEED: u64 = 0x5eed_0a34;

/// In full use: octets in flight both ways, windows of 64 KiB.
fn busy(random: &mut fastrand::Rng) -> Talk {
    let mut talk = Talk::scaled(random.u32(..), random.u32(..), Some(3), Some(3));
    for part in 0..20 {
        talk.says(A, ACK, 1 + part * 1_000, 1 + part * 500, 1_000);
        talk.says(B, ACK, 1 + part * 500, 1 + part * 1_000, 500);
    }
    talk
}

/// S-34: what passes passes by chance. A segment must lie in about two windows of sequence numbers and one of
/// acknowledgments: of a million, 0.0005.
#[test]
fn blind_data_does_not_pass() {
    let mut random = fastrand::Rng::with_seed(SEED);
    for _ in 0..10 {
        let talk = busy(&mut random);
        for _ in 0..100_000 {
            let way = if random.bool() { A } else { B };
            let flags = random.choice([ACK, ACK | PSH, FIN | ACK, SYN | ACK]).unwrap();
            let segment = seg(flags, random.u32(..), random.u32(..), random.u16(..1_461));
            let step = talk.connection.step(talk.state, way, &segment);
            assert_eq!(step, Step::Refuse(DropReason::TcpWindow), "{segment:?}");
        }
    }
}

/// S-33: a RST in every window of the whole space of sequence numbers. Those that fall into the window pass, for the receiver
/// to ask back; none ends the connection, as none is exact.
#[test]
fn blind_sweep_of_resets_ends_nothing_unless_it_is_exact() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut passed = 0;
    for _ in 0..50 {
        let talk = busy(&mut random);
        let first = random.u32(..);
        let step = 1 << 16;
        for shot in 0..(1_u32 << 16) {
            let seq = first.wrapping_add(shot * step);
            let step = talk.connection.step(talk.state, B, &seg(RST, seq, 0, 0));
            if step == Step::Close {
                let peers = &talk.connection.peers;
                let exact = [peers.heard.original.acked(), peers.sent.reply.end()];
                assert!(exact.contains(&seq), "{seq}");
            } else if step == Step::Repeat {
                passed += 1;
            } else {
                assert_eq!(step, Step::Refuse(DropReason::TcpWindow));
            }
        }
    }
    assert!((25..=75).contains(&passed), "one a sweep falls into a window of 64 KiB, not {passed}");
}

/// Every number near the exact one, one by one: of the mutations of a comparison by one each fails here or in the stories.
#[test]
fn of_all_resets_around_the_window_only_the_exact_one_closes() {
    for (a, b) in STARTS {
        let talk = Talk::established(a, b);
        for offset in 0..20_000_u32 {
            let seq = a.wrapping_add(offset).wrapping_sub(5_000);
            let expected = match offset {
                5_001 => Step::Close,
                5_002..=13_193 => Step::Repeat,
                _ => Step::Refuse(DropReason::TcpWindow),
            };
            let step = talk.connection.step(talk.state, A, &seg(RST, seq, 0, 0));
            assert_eq!(step, expected, "{offset}");
        }
    }
}

/// Without the initial number, nobody completes or refuses a handshake; without an answer, nobody makes one up.
#[test]
fn blind_answers_to_a_syn_do_not_pass() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let talk = Talk::opening(random.u32(..));
    for _ in 0..500_000 {
        let flags = random.choice([SYN | ACK, RST | ACK, RST, FIN | ACK]).unwrap();
        let segment = seg(flags, random.u32(..), random.u32(..), 0);
        let step = talk.connection.step(talk.state, B, &segment);
        assert_eq!(step, Step::Refuse(DropReason::TcpWindow), "{segment:?}");
    }
}
