//! The compiled image decides as the reference does: verdict, deciding rule and logged rule of every checkpoint, enforced
//! and pending, on random policy sets.
//!
//! The seed is printed; `RAVELIN_SEED` repeats a run, `RAVELIN_PAIRS` sets how many pairs are tried. A difference is
//! shrunk before it is shown.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers"
)]

mod compare;
mod coverage;
mod describe;
mod generate;
mod live;
mod mutate;
mod packets;
mod shrink;
mod space;
mod visit;

use std::io::Write as _;

use classifier::compile::{Limits, compile};
use classifier::decision::Decision;
use classifier::image::View;
use classifier::packet::{Crossing, PacketKey};
use classifier::resource::PolicySet;
use fastrand::Rng;

use crate::compare::{Plane, compare};
use crate::coverage::Coverage;

const PAIRS: u64 = 1_000_000;
const PACKETS_PER_SET: u64 = 50;

#[test]
fn compiled_policy_decides_as_the_reference() {
    let (seed, mut rng) = seeded("differential");
    let pairs = pairs();
    let mut coverage = Coverage::default();
    for number in 0..pairs.div_ceil(PACKETS_PER_SET) {
        let set = generate::policy_set(&mut rng);
        let image = compile(&set, number, &Limits::default())
            .unwrap_or_else(|e| panic!("policy set {number} of RAVELIN_SEED={seed}: {e:?}"));
        let view = image.view();
        assert!(names_ports(&set, &view), "policy set {number} of RAVELIN_SEED={seed}");
        let places = generate::Places::of(&set);
        let mut asked = Vec::new();
        for _ in 0..PACKETS_PER_SET {
            let packet = places.packet(&mut rng);
            let crossing = generate::crossing(&mut rng, &set);
            let judged = Plane::ALL.map(|plane| compare(&set, &view, &packet, crossing, plane));
            match judged {
                [Ok(enforced), Ok(pending)] => {
                    asked.push(((packet, crossing), [enforced.decision, pending.decision]));
                    coverage.observe(&set, &packet, crossing, &[enforced, pending]);
                }
                [Err(complaint), _] | [_, Err(complaint)] => {
                    let smallest = shrink::smallest(set, |set| differs(set, &packet, crossing));
                    let shown = describe::difference(&smallest, &packet, crossing);
                    panic!("policy set {number} of RAVELIN_SEED={seed}: {complaint}\n{shown}");
                }
            }
        }
        assert!(decides_alike(&view, &asked), "a batch of set {number} of RAVELIN_SEED={seed}");
    }
    say(&format!("differential: {pairs} (policy set, packet) pairs, 0 differences"));
    if pairs >= PAIRS {
        coverage.assert_complete();
    }
}

/// How many pairs to try. With fewer than usual it is not asked what they reach.
fn pairs() -> u64 {
    std::env::var("RAVELIN_PAIRS")
        .map_or(PAIRS, |text| text.parse().expect("RAVELIN_PAIRS is a number"))
}

/// A new seed, or the one to repeat, and what it grows.
fn seeded(test: &str) -> (u64, Rng) {
    let seed = std::env::var("RAVELIN_SEED").map_or_else(
        |_| fastrand::u64(..),
        |text| text.parse().expect("RAVELIN_SEED is a number, as the run that failed printed it"),
    );
    say(&format!("{test}: RAVELIN_SEED={seed}"));
    (seed, Rng::with_seed(seed))
}

/// Whether the packets as one batch are decided as they were one by one, enforced and pending.
fn decides_alike(view: &View<'_>, asked: &[((PacketKey, Crossing), [Decision; 2])]) -> bool {
    let packets: Vec<_> = asked.iter().map(|(packet, _)| *packet).collect();
    let mut enforced = vec![Decision::NOTHING_APPLIES; packets.len()];
    let mut pending = enforced.clone();
    view.classify_batch(&packets, &mut enforced);
    view.classify_batch_pending(&packets, &mut pending);
    let decided = enforced.iter().zip(&pending).map(|(enforced, pending)| [*enforced, *pending]);
    decided.eq(asked.iter().map(|(_, decided)| *decided))
}

fn differs(set: &PolicySet, packet: &PacketKey, crossing: Crossing) -> bool {
    let Ok(image) = compile(set, 0, &Limits::default()) else { return false };
    let differs = |plane| compare(set, &image.view(), packet, crossing, plane).is_err();
    Plane::ALL.into_iter().any(differs)
}

/// Whether the image finds each port of the gateway by its name.
fn names_ports(set: &PolicySet, view: &View<'_>) -> bool {
    let number = |number| u16::try_from(number).ok();
    let mut ports = set.ports.iter().enumerate();
    ports.all(|(at, port)| view.port_number(&port.interface) == number(at))
        && view.port_number("eth9").is_none()
        && view.has_pending() == set.policies.iter().any(|policy| policy.staged.is_some())
}

/// Past the test harness, which hides what a passing test prints.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
