//! TCP connections and policy: what is judged again, what is picked up, what replaces what, and checks that count only.

use std::sync::Arc;
use std::time::Duration;

use classifier::image::Image;
use classifier::packet::protocol;
use classifier::record::RecordKind;
use dataplane::checks::Checks;
use dataplane::device::Port;
use dataplane::disposition::{Disposition, DropReason, Reasons};
use dataplane::flow::{FlowKey, State};
use dataplane::parse::Parsed;
use dataplane::sanity::{Sanity, SpecialPurpose};

use crate::support::frames::{ACK, FIN, RST, SYN, parse, segment};
use crate::support::gate::Gate;
use crate::support::policy::{
    CLIENT, SERVER, anything, closed, image, ingress, services, to_ports,
};

const WINDOW: Disposition = Disposition::Drop(DropReason::TcpWindow);
const CLOSED: Disposition = Disposition::Drop(DropReason::TcpClosed);
const DENIED: Disposition = Disposition::Drop(DropReason::PolicyDenied);
const NOT_OPENING: Disposition = Disposition::Drop(DropReason::TcpNotOpening);
const PORTS: [u16; 2] = [40_000, 22];
/// Where both sides begin.
const ISN: [u32; 2] = [u32::MAX - 10, 7_000];

/// A client's connection to SSH, of one family.
struct Talk {
    gate: Gate,
    family: usize,
}

impl Talk {
    fn new(gate: Gate, family: usize) -> Self {
        Self { gate, family }
    }

    /// From the client, numbers as on the wire.
    fn frame(&self, port: Port, flags: u8, numbers: [u32; 2], data_bytes: usize) -> Vec<u8> {
        let (client, server) = (CLIENT[self.family], SERVER[self.family]);
        let [from, to] = PORTS;
        match port {
            Port::A => segment([client, server], [from, to], flags, numbers, data_bytes),
            Port::B => segment([server, client], [to, from], flags, numbers, data_bytes),
        }
    }

    fn raw(&mut self, port: Port, flags: u8, numbers: [u32; 2], data: usize) -> Disposition {
        let frame = self.frame(port, flags, numbers, data);
        self.gate.send(port, &frame)
    }

    /// Numbers count from the initial ones.
    fn send(&mut self, port: Port, flags: u8, [seq, ack]: [u32; 2], data: usize) -> Disposition {
        let [own, other] = if port == Port::A { ISN } else { [ISN[1], ISN[0]] };
        let ack = if flags & ACK == 0 { 0 } else { other.wrapping_add(ack) };
        self.raw(port, flags, [own.wrapping_add(seq), ack], data)
    }

    #[track_caller]
    fn passes(&mut self, port: Port, flags: u8, numbers: [u32; 2], data: usize) {
        assert_eq!(self.send(port, flags, numbers, data), Disposition::Forward);
    }

    fn shake_hands(mut self) -> Self {
        self.passes(Port::A, SYN, [0, 0], 0);
        self.passes(Port::B, SYN | ACK, [0, 1], 0);
        self.passes(Port::A, ACK, [1, 1], 0);
        self
    }

    fn state(&self) -> State {
        let syn = self.frame(Port::A, SYN, [0, 0], 0);
        let Ok(Parsed::Ip(packet)) = parse(&syn) else { panic!("not a packet") };
        let (key, _) = FlowKey::of(&packet, Port::A).unwrap();
        self.gate.flows.find(&key, self.gate.now.into()).unwrap().state()
    }
}

/// Established in both families, with this policy and these settings.
fn each(image: impl Fn() -> Arc<Image>, story: impl Fn(Talk)) {
    for family in [0, 1] {
        story(Talk::new(Gate::with(image()), family).shake_hands());
    }
}

fn ssh() -> Arc<Image> {
    ingress(1, vec![to_ports(protocol::TCP, [22])])
}

#[test]
fn connection_lives_and_dies_by_its_numbers() {
    each(ssh, |mut talk| {
        assert_eq!(talk.gate.flows.half_open(), 0);
        talk.passes(Port::A, ACK, [1, 1], 1_000);
        talk.passes(Port::B, ACK, [1, 1_001], 100);
        assert_eq!(talk.send(Port::A, ACK, [100_000, 101], 10), WINDOW);
        assert_eq!(talk.send(Port::A, RST, [500_000, 0], 0), WINDOW);
        talk.passes(Port::A, RST, [1_050, 0], 0);
        assert_eq!(talk.state(), State::Established);
        talk.passes(Port::A, FIN | ACK, [1_001, 101], 0);
        talk.passes(Port::B, FIN | ACK, [101, 1_002], 0);
        assert_eq!(talk.state(), State::Closing);
        talk.passes(Port::A, ACK, [1_002, 102], 0);
        assert_eq!(talk.state(), State::Closed);
        for wait in [100, 800] {
            talk.gate.now += Duration::from_millis(wait);
            assert_eq!(talk.send(Port::A, ACK, [1_002, 102], 1), CLOSED);
            assert_eq!(talk.send(Port::B, ACK, [102, 1_002], 1), CLOSED);
            talk.passes(Port::B, FIN | ACK, [101, 1_002], 0);
            talk.passes(Port::A, ACK, [1_002, 102], 0);
        }
        // Repetitions do not keep it.
        talk.gate.now += Duration::from_secs(239);
        assert_eq!(talk.send(Port::A, ACK, [1_002, 102], 0), Disposition::Forward);
        talk.gate.now += Duration::from_secs(2);
        assert_eq!(talk.send(Port::A, ACK, [1_002, 102], 0), NOT_OPENING);
    });
}

#[test]
fn syn_on_a_live_connection_is_for_policy_and_its_answer_begins_anew() {
    each(ssh, |mut talk| {
        talk.passes(Port::A, ACK, [1, 1], 100);
        while talk.gate.next_record().is_some() {}
        assert_eq!(talk.raw(Port::B, SYN, [5, 0], 0), DENIED, "the other way it is denied");
        assert_eq!(talk.gate.next_record().unwrap().kind, RecordKind::Denied);
        assert_eq!(talk.raw(Port::A, SYN, [900, 0], 0), Disposition::Forward);
        // The old connection lives.
        talk.passes(Port::B, ACK, [1, 101], 50);
        assert_eq!(talk.raw(Port::B, SYN | ACK, [4_000, 902], 0), WINDOW);
        assert_eq!(talk.raw(Port::B, SYN | ACK, [4_000, 901], 0), Disposition::Forward);
        assert_eq!(talk.gate.next_record().unwrap().kind, RecordKind::Started);
        assert_eq!(talk.gate.flows.half_open(), 1);
        assert_eq!(talk.send(Port::A, ACK, [101, 51], 10), WINDOW, "the old one is gone");
        assert_eq!(talk.raw(Port::A, ACK, [901, 4_001], 10), Disposition::Forward);
        let counters = talk.gate.counters();
        assert_eq!((counters.flows_started, counters.flows_ended), (2, 1));
        assert_eq!((talk.gate.flows.live(), talk.gate.flows.half_open()), (1, 0));
    });
}

#[test]
fn answer_to_a_syn_counts_only_while_policy_allows_the_syn() {
    let both_ways = || image(1, vec![anything()], vec![anything()]);
    each(both_ways, |mut talk| {
        // The server would open the other way; then that is not allowed any more, while the connection there is.
        assert_eq!(talk.raw(Port::B, SYN, [900, 0], 0), Disposition::Forward);
        talk.gate.slot.publish(ingress(2, vec![anything()]));
        assert_eq!(talk.raw(Port::A, SYN | ACK, [50, 901], 0), DENIED);
        talk.passes(Port::A, ACK, [1, 1], 10);
    });
    each(both_ways, |mut talk| {
        assert_eq!(talk.raw(Port::B, SYN, [900, 0], 0), Disposition::Forward);
        assert_eq!(talk.raw(Port::A, SYN | ACK, [50, 901], 0), Disposition::Forward);
        // From now on the server's side is the one that opened, and the flow is judged as such.
        talk.gate.slot.publish(ingress(2, vec![anything()]));
        assert_eq!(talk.raw(Port::B, ACK, [901, 51], 0), DENIED);
        assert_eq!((talk.gate.counters().flows_cut, talk.gate.flows.live()), (1, 0));
    });
}

#[test]
fn connection_in_its_midst_is_picked_up_only_where_that_is_set() {
    for family in [0, 1] {
        let mut strict = Talk::new(Gate::with(ssh()), family);
        assert_eq!(strict.send(Port::A, ACK, [500, 900], 10), NOT_OPENING);

        let gate = Gate::set(ssh(), |parts| parts.ports[0].pick_up = true);
        let mut talk = Talk::new(gate, family);
        assert_eq!(talk.send(Port::B, ACK, [900, 500], 10), NOT_OPENING, "not set for this port");
        for flags in [SYN | ACK, RST, RST | ACK, FIN | ACK] {
            assert_eq!(talk.send(Port::A, flags, [500, 900], 0), NOT_OPENING, "{flags:#04x}");
        }
        talk.passes(Port::A, ACK, [500, 900], 10);
        assert_eq!((talk.state(), talk.gate.flows.half_open()), (State::Established, 0));
        assert_eq!(talk.gate.next_record().unwrap().kind, RecordKind::Started);
        // How windows are scaled is not known.
        talk.passes(Port::B, ACK, [900, 510], 1_000);
        talk.passes(Port::A, ACK, [2_000_000, 1_900], 10);
        talk.gate.slot.publish(closed(2));
        assert_eq!(talk.send(Port::A, ACK, [2_000_010, 1_900], 10), DENIED);
        assert_eq!(talk.send(Port::A, ACK, [2_000_010, 1_900], 10), DENIED, "by the ruleset");
        assert_eq!(talk.gate.flows.live(), 0);
    }
}

#[test]
fn flows_are_kept_when_policy_changes_only_where_that_is_set() {
    for keep in [false, true] {
        let gate = Gate::set(ssh(), |parts| parts.keep_on_policy_change = keep);
        let mut talk = Talk::new(gate, 0).shake_hands();
        talk.gate.slot.publish(closed(2));
        let fate = if keep { Disposition::Forward } else { DENIED };
        assert_eq!(talk.send(Port::A, ACK, [1, 1], 10), fate);
        assert_eq!(talk.gate.counters().flows_cut, u64::from(!keep));
        assert_eq!(talk.raw(Port::A, SYN, [77, 0], 0), DENIED, "what is new is judged anyhow");
    }
}

#[test]
fn record_of_a_cut_flow_names_the_rule_that_denies_it() {
    each(ssh, |mut talk| {
        while talk.gate.next_record().is_some() {}
        let deny = classifier::resource::Rule::new(classifier::resource::Action::Deny);
        let rules = vec![to_ports(protocol::TCP, [80]), deny];
        talk.gate.slot.publish(ingress(2, rules.clone()));
        assert_eq!(talk.send(Port::B, ACK, [1, 1], 10), DENIED);
        let cut = talk.gate.next_record().unwrap();
        assert_eq!((cut.kind, cut.in_port), (RecordKind::Cut, 0));
        // A new connection is denied by the same rule, and its record says which.
        assert_eq!(talk.raw(Port::A, SYN, [77, 0], 0), DENIED);
        let denied = talk.gate.next_record().unwrap();
        assert_eq!(denied.kind, RecordKind::Denied);
        assert_eq!((cut.decided, cut.packet), (denied.decided, denied.packet));
        assert!(cut.decided.is_some(), "a rule decided, not that nothing applied");
    });
}

#[test]
fn check_that_counts_only_lets_pass_and_believes_nothing() {
    let reasons = [DropReason::TcpFlags, DropReason::TcpWindow, DropReason::TcpClosed];
    let gate = Gate::set(ingress(1, services()), |parts| {
        let counted_only = reasons.into_iter().fold(Reasons::default(), Reasons::with);
        let checks = Checks { counted_only, ..Checks::default() };
        parts.sanity =
            Arc::new(Sanity::new(checks, &SpecialPurpose::default(), &Default::default()));
    });
    let mut talk = Talk::new(gate, 0);
    let noticed = |talk: &Talk, reason: DropReason| {
        talk.gate.counters().port(Port::A).noticed[reason.index()]
    };
    assert_eq!(talk.send(Port::A, 0, [1, 1], 0), NOT_OPENING, "it opens nothing all the same");
    assert_eq!(noticed(&talk, DropReason::TcpFlags), 1);
    let mut talk = talk.shake_hands();
    talk.passes(Port::A, SYN | FIN, [1, 1], 0);
    talk.passes(Port::A, ACK, [100_000, 1], 10);
    assert_eq!(noticed(&talk, DropReason::TcpFlags), 2);
    assert_eq!(noticed(&talk, DropReason::TcpWindow), 1);
    // Had it been believed, the answer would be right.
    talk.passes(Port::B, ACK, [1, 100_010], 0);
    assert_eq!(talk.gate.counters().port(Port::B).noticed[DropReason::TcpWindow.index()], 1);
    talk.passes(Port::A, RST, [1, 0], 0);
    assert_eq!(talk.state(), State::Closed);
    talk.passes(Port::A, ACK, [1, 1], 10);
    assert_eq!(noticed(&talk, DropReason::TcpClosed), 1);
    assert_eq!(talk.state(), State::Closed);
}
