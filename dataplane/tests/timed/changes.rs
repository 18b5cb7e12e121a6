//! S-43 to S-47: policy changes while connections live.

use classifier::packet::protocol;
use classifier::record::RecordKind;
use dataplane::counters::Counters;
use dataplane::device::Port::{A, B};
use dataplane::disposition::DropReason::PolicyDenied;

use crate::craft::{ACK, PSH, SYN};
use crate::family::Family;
use crate::gate::{Gate, Setup};
use crate::policy::{closed, image, reference, to_port};

const DATA: u8 = PSH | ACK;

fn gate(keep_on_policy_change: bool) -> Gate {
    Gate::new(Setup { keep_on_policy_change, ..Setup::default() })
}

/// S-43: the rule that allowed a connection goes away. The next packet ends it, and a record says so; or, where flows are kept,
/// it lives on and only new ones are refused.
pub(crate) fn rule_goes_while_its_connections_live(family: Family) {
    let udp_only = || image(2, vec![to_port(protocol::UDP, 53)], Vec::new());
    for keep in [false, true] {
        let (mut gate, web) = (gate(keep), family.web(1));
        gate.open(&web);
        gate.pass(A, &family.datagram(1, A, b"question"));
        while gate.records.pop().is_ok() {}
        gate.policy.publish(udp_only());
        assert_eq!(gate.passes(A, &web.send(A, DATA, 1, 1, b"x")), keep);
        assert_eq!(gate.passes(B, &web.send(B, ACK, 1, 1, b"")), keep);
        gate.refuse(A, &family.web(2).send(A, SYN, 0, 0, b""), PolicyDenied);
        gate.pass(B, &family.datagram(1, B, b"answer"));
        let kinds = std::iter::from_fn(|| gate.records.pop().ok()).map(|record| record.kind);
        let cut = kinds.filter(|kind| *kind == RecordKind::Cut).count();
        assert_eq!((cut, gate.counters().flows_cut), if keep { (0, 0) } else { (1, 1) });
    }
}

/// S-44: a rule comes that denies a connection that lives.
pub(crate) fn rule_comes_that_denies_a_connection(family: Family) {
    let denying = || {
        let deny = classifier::resource::Rule {
            action: classifier::resource::Action::Deny,
            ..to_port(protocol::TCP, 80)
        };
        let all = classifier::resource::Rule::new(classifier::resource::Action::Allow);
        image(2, vec![deny, all], Vec::new())
    };
    for keep in [false, true] {
        let (mut gate, web) = (gate(keep), family.web(1));
        gate.open(&web);
        gate.policy.publish(denying());
        // The first packet after it may as well be one of the server's.
        assert_eq!(gate.passes(B, &web.send(B, DATA, 1, 1, b"x")), keep);
        assert_eq!(gate.passes(A, &web.send(A, DATA, 1, 2, b"x")), keep);
    }
}

/// S-45: two policies in turn, one of which allows what the other denies. Of each packet it is known which one is in force, and
/// that one decides, whatever there is of flows. (Under load, with workers beside each other: `swap` of the tests of packets, and
/// the end-to-end test of the same name.)
pub(crate) fn each_packet_is_judged_by_the_policy_in_force(family: Family) {
    let odd = |generation| image(generation, vec![to_port(protocol::TCP, 81)], Vec::new());
    let even = |generation| image(generation, vec![to_port(protocol::TCP, 80)], Vec::new());
    let mut gate = gate(false);
    let mut random = fastrand::Rng::with_seed(45);
    for generation in 2..1_000 {
        let allowed = if generation % 2 == 0 { 80 } else { 81 };
        gate.policy.publish(if generation % 2 == 0 { even(generation) } else { odd(generation) });
        for _ in 0..random.u32(1..8) {
            let mut web = family.web(random.u32(..20));
            web.ports[1] = 80 + random.u16(..2);
            let syn = web.send(A, SYN, 0, 0, b"");
            assert_eq!(gate.passes(A, &syn), web.ports[1] == allowed, "generation {generation}");
        }
    }
}

/// S-46: a connection of one generation before the next: judged again, and from then on of that one; or kept as it is.
pub(crate) fn connection_is_of_one_generation(family: Family) {
    for keep in [false, true] {
        let (mut gate, web) = (gate(keep), family.web(1));
        gate.open(&web);
        for generation in 2..50 {
            gate.policy.publish(reference(generation));
            gate.pass(A, &web.send(A, ACK, 1, 1, b""));
            gate.pass(B, &web.send(B, ACK, 1, 1, b""));
        }
        // One that came and went in silence left no trace.
        gate.policy.publish(closed(50));
        gate.policy.publish(reference(51));
        gate.pass(A, &web.send(A, DATA, 1, 1, b"x"));
        gate.policy.publish(closed(52));
        assert_eq!(gate.passes(A, &web.send(A, DATA, 2, 1, b"x")), keep);
        gate.policy.publish(reference(53));
        // What was cut does not come back.
        assert_eq!(gate.passes(A, &web.send(A, DATA, 2, 1, b"x")), keep);
    }
}

/// S-47: a hundred publications: no counter goes backwards, and the same rule is called the same in each of them.
pub(crate) fn counters_and_names_outlive_publications(family: Family) {
    let mut gate = gate(false);
    let mut before = gate.counters();
    let mut deciding = None;
    for generation in 2..100 {
        gate.policy.publish(reference(generation));
        let web = family.web(u32::try_from(generation).unwrap());
        gate.open(&web);
        gate.refuse(A, &family.datagram(1, B, b"no"), PolicyDenied);
        let after = gate.counters();
        assert!(sums(&before).iter().zip(sums(&after)).all(|(before, after)| *before <= after));
        before = after;
        let started = std::iter::from_fn(|| gate.records.pop().ok())
            .find(|record| record.kind == RecordKind::Started)
            .unwrap();
        assert_eq!(started.generation, generation);
        let named = started.decided;
        assert!(named.is_some());
        assert_eq!(*deciding.get_or_insert(named), named, "the same policy, the same number");
    }
}

fn sums(counters: &Counters) -> Vec<u64> {
    let ports = counters.ports.iter().flat_map(|port| {
        let dropped = port.dropped.iter().map(|count| count.packets);
        [port.received.packets, port.forwarded.packets].into_iter().chain(dropped)
    });
    let flows = [counters.flows_started, counters.flows_cut, counters.flows_ended];
    ports.chain(flows).collect()
}
