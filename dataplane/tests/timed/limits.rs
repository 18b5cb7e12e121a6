//! S-01 to S-05, S-09, S-10: how much of the gateway anyone may have.

use std::time::Duration;

use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::{
    FlowTableFull, HalfOpenLimit, NewFlowRate, SourceFlowLimit,
};
use dataplane::flow::{Limit, Limits, Timer};

use crate::attackers::opens;
use crate::craft::{ACK, Connection, PSH, RST, SYN};
use crate::family::Family;
use crate::gate::{Gate, Setup};

const DATA: u8 = PSH | ACK;

fn limited(limit: Limit, most: u32) -> Gate {
    Gate::new(Setup { limits: Limits::default().with(limit, most), ..Setup::default() })
}

fn syn(web: &Connection) -> Vec<u8> {
    web.send(A, SYN, 0, 0, b"")
}

/// S-01: at a limit of N half-open connections to a destination, of 2 N SYNs from anywhere exactly N reach it.
pub(crate) fn half_open_limit_is_exact(family: Family) {
    const MOST: u32 = 100;
    let mut gate = limited(Limit::HalfOpenPerDestination, MOST);
    let mut random = fastrand::Rng::with_seed(1);
    for number in 0..2 * MOST {
        let attacker = family.web(random.u32(..) & 0xff_0000 | number);
        assert_eq!(gate.passes(A, &syn(&attacker)), number < MOST, "SYN {number}");
    }
    assert_eq!(gate.dropped(HalfOpenLimit), u64::from(MOST));
    // Another destination is not concerned.
    let other = Connection { ends: [family.client(1), family.server(2)], ..family.web(1) };
    gate.pass(A, &syn(&other));
}

/// S-02: the place of a half-open connection is free again with its third segment, with an exact RST, and in time.
pub(crate) fn half_open_places_are_freed(family: Family) {
    const MOST: u32 = 3;
    let endings: [fn(&mut Gate, &Connection); 3] = [
        |gate, web| {
            gate.pass(B, &web.send(B, SYN | ACK, 0, 1, b""));
            gate.pass(A, &web.send(A, ACK, 1, 1, b""));
        },
        |gate, web| gate.pass(B, &web.send(B, RST | ACK, 0, 1, b"")),
        |gate, _| {
            gate.wait(Duration::from_secs(241));
            // Places of the silent are found by and by.
            (0..10_000).for_each(|_| gate.wait(Duration::from_millis(1)));
        },
    ];
    for limit in [Limit::HalfOpenPerDestination, Limit::HalfOpenPerSource] {
        for ending in endings {
            let mut gate = limited(limit, MOST);
            let attempt = |number: u16| {
                let web = family.web(1);
                Connection { ports: [1_000 + number, 80], ..web }
            };
            for number in 0..3 {
                gate.pass(A, &syn(&attempt(number)));
            }
            gate.refuse(A, &syn(&attempt(3)), HalfOpenLimit);
            ending(&mut gate, &attempt(0));
            gate.pass(A, &syn(&attempt(4)));
        }
    }
}

/// S-03: at a limit of M flows of a source, its next one is refused; others' are not.
pub(crate) fn flows_of_a_source_are_limited(family: Family) {
    const MOST: u16 = 50;
    let mut gate = limited(Limit::FlowsPerSource, MOST.into());
    let of = |client, number| Connection { ports: [1_000 + number, 80], ..family.web(client) };
    for number in 0..MOST {
        gate.open(&of(1, number));
    }
    gate.refuse(A, &syn(&of(1, MOST)), SourceFlowLimit);
    gate.refuse(A, &family.datagram(1, A, b"question"), SourceFlowLimit);
    for client in 2..100 {
        gate.open(&of(client, 0));
    }
    // What it has is not taken from it.
    for number in 0..MOST {
        gate.pass(A, &of(1, number).send(A, DATA, 1, 1, b"x"));
    }
}

/// S-04: at a rate of R new flows a second, ten seconds of ten times as many bring 10 R, give or take a twentieth.
pub(crate) fn new_flows_of_a_source_are_limited(family: Family) {
    const RATE: u32 = 200;
    let limits = Limits::default().with(Limit::NewFlowsPerSource, RATE);
    let mut gate = Gate::new(Setup { slots: 1 << 14, limits, ..Setup::default() });
    let (mut passed, mut refused) = (0, 0);
    for number in 0..RATE * 100 {
        let [high, low] = [number / 60_000, number % 60_000];
        let ports = [1_000 + u16::try_from(low).unwrap(), 80];
        let ends = [family.client(1), family.server(1 + high)];
        if gate.passes(A, &syn(&Connection { ends, ports, ..family.web(1) })) {
            passed += 1;
        } else {
            refused += 1;
        }
        gate.wait(Duration::from_micros(500));
    }
    assert!((RATE * 10 * 95 / 100..=RATE * 10 * 105 / 100).contains(&passed), "{passed}");
    assert_eq!(gate.dropped(NewFlowRate), refused);
    // Nobody else is slowed down.
    gate.open(&family.web(2));
}

/// S-05: a flood of SYNs from nowhere, ten for each honest one. (Rates of real packets are for the lab; here it is who gets
/// through.)
pub(crate) fn honest_clients_connect_during_a_flood(family: Family) {
    const CLIENTS: u32 = 1_000;
    let mut gate = Gate::new(Setup { slots: 1 << 12, ..Setup::default() });
    let mut random = fastrand::Rng::with_seed(5);
    let mut connected = 0;
    for client in 0..CLIENTS {
        let web = family.web(client);
        let [(_, syn), (_, answer), (_, ack)] = web.handshake([&[], &[]]);
        let mut flood = |gate: &mut Gate, frames: u32| {
            for _ in 0..frames {
                let spoofed = family.web(0x80_0000 | random.u32(..));
                gate.passes(A, &self::syn(&Connection { isn: [random.u32(..), 0], ..spoofed }));
                gate.wait(Duration::from_micros(100));
            }
        };
        let opened = gate.passes(A, &syn)
            && {
                // The way to the server and back takes as long as the flood needs for this.
                flood(&mut gate, 5);
                gate.passes(B, &answer)
            }
            && {
                flood(&mut gate, 5);
                gate.passes(A, &ack) && gate.passes(A, &web.send(A, DATA, 1, 1, b"x"))
            };
        connected += u32::from(opened);
        if opened {
            gate.passes(A, &web.send(A, RST, 2, 0, b""));
        }
    }
    assert!(connected >= CLIENTS * 99 / 100, "{connected} of {CLIENTS}");
}

/// S-09: in a full table no established flow makes room for a new one.
pub(crate) fn full_table_evicts_nobody(family: Family) {
    const SLOTS: usize = 1 << 10;
    let limits = Limits::default().with(Limit::FlowsPerSource, 0).with(Limit::HalfOpen, 0);
    let mut gate = Gate::new(Setup { slots: SLOTS, limits, ..Setup::default() });
    let mut open = Vec::new();
    for client in 0..u32::try_from(2 * SLOTS).unwrap() {
        let web = family.web(client);
        if opens(&mut gate, &web) {
            open.push(web);
        }
    }
    assert!(open.len() > SLOTS * 4 / 5, "{} of {SLOTS}", open.len());
    assert_eq!(gate.dropped(FlowTableFull), (2 * SLOTS - open.len()) as u64);
    for web in &open {
        gate.pass(A, &web.send(A, DATA, 1, 1, b"x"));
        gate.pass(B, &web.send(B, DATA, 1, 2, b"y"));
    }
}

/// S-10: in a table full of half-open connections, the oldest near the place of an honest one gives way, and never one that
/// is established.
pub(crate) fn half_open_ones_give_way(family: Family) {
    const SLOTS: usize = 1 << 10;
    let most = u32::try_from(SLOTS / 2).unwrap();
    let limits = Limits::default().with(Limit::HalfOpen, most);
    let mut gate = Gate::new(Setup { slots: SLOTS, limits, ..Setup::default() });
    let established: Vec<Connection> = (0..100).map(|client| family.web(client)).collect();
    for web in &established {
        gate.open(web);
    }
    for client in 1_000..1_000 + 4 * most {
        gate.passes(A, &syn(&family.web(client)));
        gate.wait(Duration::from_millis(1));
    }
    for client in 500..600 {
        gate.open(&family.web(client));
    }
    for web in &established {
        gate.pass(A, &web.send(A, DATA, 1, 1, b"x"));
    }
    assert!(gate.flows.half_open() <= u64::from(most), "{}", gate.flows.half_open());
    // Silence ends what is left of the flood.
    gate.wait_s(u64::from(Timer::TcpOpening.default_seconds()) + 1);
    (0..10_000).for_each(|_| gate.wait(Duration::from_millis(1)));
    assert_eq!(gate.flows.half_open(), 0);
}
