//! A batch is judged as its frames one after the other: same dispositions, records, counters and flows.

use std::sync::Arc;

use classifier::image::Image;
use classifier::packet::protocol;
use classifier::record::RecordKind;
use classifier::resource::{Hook, Policy, StagedAction};
use dataplane::device::{BATCH_FRAMES, Port};
use dataplane::disposition::{Disposition, DropReason};
use fastrand::Rng;

use crate::support::frames::{ACK, FIN, Layer, RST, SYN, arp, foreign, frame};
use crate::support::gate::Gate;
use crate::support::policy::{
    CLIENT, SERVER, closed, compiled, guard_outer_port, ingress, of_protocol, rack, services,
    to_ports,
};

const ROUNDS: u64 = 4_000;
const REFUSED: Disposition = Disposition::Drop(DropReason::TcpNotOpening);

#[test]
fn batch_is_judged_as_its_frames_one_after_the_other() {
    let seed = std::env::var("RAVELIN_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("batches: RAVELIN_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut gates = Gate::twins();
    for gate in &gates {
        gate.slot.publish(policy(0, 1));
    }
    let mut seen = Seen::default();
    for round in 0..ROUNDS {
        let frames: Vec<Vec<u8>> =
            (0..rng.usize(..=BATCH_FRAMES)).map(|_| any_frame(&mut rng)).collect();
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let port = if rng.u8(..3) == 0 { Port::B } else { Port::A };
        let [together, apart] = &mut gates;
        let dispositions = together.send_batch(port, &frames);
        let expected = apart.send_one_by_one(port, &frames);
        assert_eq!(dispositions, expected, "round {round} of seed {seed}");
        assert_eq!(together.counters(), apart.counters(), "round {round} of seed {seed}");
        assert_eq!(together.flows.live(), apart.flows.live(), "round {round} of seed {seed}");
        while let Some(record) = together.next_record() {
            assert_eq!(Some(record), apart.next_record(), "round {round} of seed {seed}");
            seen.note(record.kind);
        }
        assert_eq!(apart.next_record(), None, "round {round} of seed {seed}");
        seen.forwarded += dispositions.iter().filter(|it| **it == Disposition::Forward).count();
        seen.refused += dispositions.iter().filter(|it| **it == REFUSED).count();
        let published = if rng.u8(..6) == 0 { Some(rng.u8(..5)) } else { None };
        let later = std::time::Duration::from_millis(rng.u64(..40_000));
        for gate in &mut gates {
            gate.now += later;
            if let Some(kind) = published {
                gate.slot.publish(policy(kind, round + 2));
            }
        }
    }
    let counters = gates[0].counters();
    assert!(counters.flows_ended > 1_000 && counters.pending_differs > 1_000, "{counters:?}");
    let Seen { records: [started, denied, cut, logged], forwarded, refused } = seen;
    assert!(started > 1_000 && denied > 1_000 && cut > 100 && logged > 100, "{seen:?}");
    assert!(forwarded > 10_000 && refused > 1_000, "{seen:?}");
}

/// Some of everything must have happened.
#[derive(Debug, Default)]
struct Seen {
    /// Started, denied, cut, logged.
    records: [usize; 4],
    forwarded: usize,
    refused: usize,
}

impl Seen {
    fn note(&mut self, kind: RecordKind) {
        let at = match kind {
            RecordKind::Started => 0,
            RecordKind::Denied => 1,
            RecordKind::Cut => 2,
            RecordKind::Logged => 3,
            RecordKind::Killed => unreachable!("nobody kills flows here"),
        };
        self.records[at] += 1;
    }
}

fn policy(kind: u8, generation: u64) -> Arc<Image> {
    let log = classifier::resource::Rule::new(classifier::resource::Action::Log);
    match kind {
        0 => ingress(generation, services()),
        1 => closed(generation),
        2 => ingress(generation, [vec![log], services()].concat()),
        3 => {
            let mut set = rack(services(), vec![of_protocol(protocol::UDP)]);
            let staged = Policy { staged: Some(StagedAction::Set), ..set.policies[0].clone() };
            set.policies.push(Policy { ingress: Vec::new(), ..staged });
            compiled(&set, generation)
        }
        _ => {
            let mut set = rack(services(), Vec::new());
            guard_outer_port(&mut set, Hook::Untracked, vec![to_ports(protocol::UDP, [53])]);
            compiled(&set, generation)
        }
    }
}

/// Of few conversations, so that many of a batch belong to the same one.
fn any_frame(rng: &mut Rng) -> Vec<u8> {
    let family = rng.usize(..2);
    let (client, server) = (CLIENT[family], SERVER[family]);
    let port = rng.u16(1..4);
    let flags = [SYN, SYN, ACK, FIN | ACK, RST, SYN | ACK][rng.usize(..6)];
    let (there, back) = match rng.u8(..8) {
        0..4 => (Layer::Tcp(port, 22, flags), Layer::Tcp(22, port, flags)),
        4 => (Layer::Udp(port, 53), Layer::Udp(53, port)),
        5 => (Layer::Udp(port, 99), Layer::Udp(99, port)),
        6 => (Layer::Ping(port), Layer::Pong(port)),
        _ => (Layer::Icmp(3, 1), Layer::Raw(47)),
    };
    match rng.u8(..40) {
        0 => arp(),
        1 => foreign(0x88CC),
        2 => vec![1; rng.usize(..30)],
        3..25 => frame(client, server, there),
        _ => frame(server, client, back),
    }
}
