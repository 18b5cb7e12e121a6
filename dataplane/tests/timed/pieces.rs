//! S-40 to S-42: many fragments at once.

use std::time::Duration;

use dataplane::device::Port::A;
use dataplane::disposition::DropReason::PolicyDenied;

use crate::craft::{UDP, V4, V6, fragments, fragments_v6, frame, udp};
use crate::family::Family;
use crate::gate::{Fate, Gate, Setup};
use crate::policy::{closed, reference};

/// S-40: a million datagrams that are never complete, and honest ones among them. What is whole is not touched; most of what
/// is complete passes; memory is what it was given at start, which nothing can outgrow.
pub(crate) fn flood_of_fragments_hurts_few(family: Family) {
    const IDS: u32 = 1_000_000;
    const EVERY: u32 = 1_000;
    let mut gate = Gate::new(Setup::default());
    let mut random = fastrand::Rng::with_seed(40);
    let (mut complete, mut whole) = (0, 0);
    for client in 1..=IDS / EVERY {
        let flood = (0..EVERY).map(|id| {
            let attacker = 0x80_0000 | random.u32(..);
            let [first, _] = halves(family, attacker, client * EVERY + id);
            first
        });
        gate.flood(A, flood, Duration::from_micros(640));
        let [first, last] = halves(family, client, client);
        gate.send(A, &first);
        complete += u32::from(matches!(gate.send(A, &last), Fate::Left(_)));
        whole += u32::from(gate.passes(A, &family.datagram(client, A, b"whole")));
    }
    assert_eq!(whole, IDS / EVERY);
    assert!(complete >= IDS / EVERY * 9 / 10, "{complete} of {}", IDS / EVERY);
    let counters = gate.counters();
    assert!(counters.port(A).balances());
    // So many in one go, and no more.
    (0..100).for_each(|_| gate.wait_s(1));
    assert_eq!(gate.counters().port(A).held.packets, 0);
}

/// S-41: the fragments of a thousand datagrams, shuffled: all arrive.
pub(crate) fn shuffled_fragments_all_arrive(family: Family) {
    const DATAGRAMS: u32 = 1_000;
    let mut gate = Gate::new(Setup::default());
    let mut frames: Vec<Vec<u8>> = (0..DATAGRAMS)
        .flat_map(|number| cut(family, 1 + number / 20, number, 53, &[24, 48, 72]))
        .collect();
    fastrand::Rng::with_seed(41).shuffle(&mut frames);
    let mut left = Vec::new();
    for frame in &frames {
        match gate.send(A, frame) {
            Fate::Left(whole) => left.extend(whole),
            Fate::Held => {}
            Fate::Dropped(reason, _) => panic!("{}", reason.name()),
        }
    }
    assert_eq!(left.len(), frames.len());
    left.sort();
    frames.sort();
    assert_eq!(left, frames, "as they came");
}

/// S-42: policy changes between the fragments of a datagram: the one in force when it is whole decides over all of it.
pub(crate) fn one_policy_decides_over_a_datagram(family: Family) {
    for last_allows in [false, true] {
        let mut gate = Gate::new(Setup::default());
        let pieces = cut(family, 1, 42, 53, &[24, 48, 72]);
        for (number, piece) in (2..).zip(&pieces[..3]) {
            gate.policy.publish(if number % 2 == 0 { closed(number) } else { reference(number) });
            assert_eq!(gate.send(A, piece), Fate::Held);
        }
        gate.policy.publish(if last_allows { reference(9) } else { closed(9) });
        let expected =
            if last_allows { Fate::Left(pieces.clone()) } else { Fate::Dropped(PolicyDenied, 4) };
        assert_eq!(gate.send(A, &pieces[3]), expected);
    }
}

fn halves(family: Family, client: u32, id: u32) -> [Vec<u8>; 2] {
    cut(family, client, id, 53, &[24]).try_into().expect("two")
}

/// A datagram of a client in fragments.
fn cut(family: Family, client: u32, id: u32, port: u16, cuts: &[usize]) -> Vec<Vec<u8>> {
    let (src, dst) = (family.client(client), family.server(1));
    let payload = udp(src, dst, [5353, port], &[b'x'; 88]);
    let packets: Vec<Vec<u8>> = match (src, dst) {
        (std::net::IpAddr::V4(src), std::net::IpAddr::V4(dst)) => {
            let id = u16::try_from(id & 0xffff).unwrap();
            let whole = V4 { id, ..V4::new(src, dst, UDP, payload) };
            fragments(&whole, cuts).iter().map(V4::bytes).collect()
        }
        (std::net::IpAddr::V6(src), std::net::IpAddr::V6(dst)) => {
            let whole = V6::new(src, dst, UDP, payload);
            fragments_v6(&whole, id, cuts).iter().map(V6::bytes).collect()
        }
        _ => unreachable!("one family"),
    };
    packets.iter().map(|packet| frame(A, packet)).collect()
}
