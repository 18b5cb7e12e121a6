//! Policies of the gateway's own ports: what crosses one, and what leaves no state behind.

use classifier::decision::{Checkpoint, Reason};
use classifier::packet::protocol;
use classifier::record::RecordKind;
use classifier::resource::{Action, Hook, PolicySet, Rule};
use dataplane::device::Port;
use dataplane::disposition::{Disposition, DropReason};

use crate::support::frames::{ACK, Layer, SYN, frame};
use crate::support::gate::Gate;
use crate::support::policy::{
    CLIENT, SERVER, anything, compiled, guard_outer_port, of_protocol, rack, to_ports,
};

const DENIED: Disposition = Disposition::Drop(DropReason::PolicyDenied);

fn guarded(hook: Hook, ingress: Vec<Rule>) -> PolicySet {
    let mut set = rack(vec![anything()], Vec::new());
    guard_outer_port(&mut set, hook, ingress);
    set
}

#[test]
fn what_enters_by_a_port_is_asked_of_its_endpoint_first() {
    let deny_telnet = Rule { action: Action::Deny, ..to_ports(protocol::TCP, [23]) };
    let set = guarded(Hook::Forward, vec![deny_telnet, anything()]);
    for (client, server) in CLIENT.into_iter().zip(SERVER) {
        let mut gate = Gate::with(compiled(&set, 1));
        assert_eq!(gate.send(Port::A, &frame(client, server, Layer::Tcp(9, 23, SYN))), DENIED);
        let record = gate.next_record().unwrap();
        assert!(matches!(record.decided, Some((Checkpoint::Entry, Reason::Rule(_)))), "{record:?}");
        assert!(gate.passes(Port::A, &frame(client, server, Layer::Tcp(9, 22, SYN))));
        assert!(gate.passes(Port::B, &frame(server, client, Layer::Tcp(22, 9, SYN | ACK))));
    }
}

#[test]
fn a_port_of_another_name_is_not_governed() {
    let set = guarded(Hook::Forward, vec![Rule::new(Action::Deny)]);
    let bytes = frame(CLIENT[0], SERVER[0], Layer::Udp(9, 53));
    let mut gate = Gate::with(compiled(&set, 1));
    assert_eq!(gate.send(Port::A, &bytes), DENIED);
    let mut other = set.clone();
    other.ports[0].interface = "eth-other".to_owned();
    gate.slot.publish(compiled(&other, 2));
    assert!(gate.passes(Port::A, &bytes));
}

#[test]
fn ports_are_looked_up_in_each_image_anew() {
    let set = guarded(Hook::Forward, vec![Rule::new(Action::Deny)]);
    let mut turned = set.clone();
    turned.ports.reverse();
    let bytes = frame(CLIENT[0], SERVER[0], Layer::Udp(9, 53));
    let mut gate = Gate::with(compiled(&rack(vec![anything()], Vec::new()), 1));
    assert!(gate.passes(Port::A, &bytes));
    for generation in [2, 3] {
        gate.slot.publish(compiled(if generation == 2 { &set } else { &turned }, generation));
        assert_eq!(gate.send(Port::A, &bytes), DENIED, "generation {generation}");
    }
}

#[test]
fn what_is_allowed_without_state_leaves_no_flow() {
    let set =
        guarded(Hook::Untracked, vec![of_protocol(protocol::TCP), to_ports(protocol::UDP, [53])]);
    for (client, server) in CLIENT.into_iter().zip(SERVER) {
        let mut gate = Gate::with(compiled(&set, 1));
        for layer in [Layer::Udp(9, 53), Layer::Tcp(9, 22, SYN), Layer::Tcp(9, 22, ACK)] {
            assert!(gate.passes(Port::A, &frame(client, server, layer)), "{layer:?}");
        }
        assert_eq!((gate.flows.live(), gate.counters().flows_started), (0, 0));
        assert!(gate.next_record().is_none(), "nothing started");
        // No state that a reply could pass by, and policy allows nothing from the server.
        assert_eq!(gate.send(Port::B, &frame(server, client, Layer::Udp(53, 9))), DENIED);
        let reply = frame(server, client, Layer::Tcp(22, 9, SYN | ACK));
        assert_eq!(gate.send(Port::B, &reply), Disposition::Drop(DropReason::TcpNotOpening));
        // What no such policy decides is tracked as ever.
        assert!(gate.passes(Port::A, &frame(client, server, Layer::Udp(9, 54))));
        assert!(gate.passes(Port::B, &frame(server, client, Layer::Udp(54, 9))));
        let started = std::iter::from_fn(|| gate.next_record());
        assert!(started.into_iter().any(|record| record.kind == RecordKind::Started));
    }
}

#[test]
fn a_segment_in_the_middle_of_nothing_passes_only_without_state() {
    let segment = frame(CLIENT[0], SERVER[0], Layer::Tcp(9, 22, ACK));
    let refused = Disposition::Drop(DropReason::TcpNotOpening);
    for hook in [Hook::Normal, Hook::Forward, Hook::PreDnat] {
        let mut gate = Gate::with(compiled(&guarded(hook, vec![anything()]), 1));
        assert_eq!(gate.send(Port::A, &segment), refused, "{hook:?}");
    }
    let mut gate = Gate::with(compiled(&guarded(Hook::Untracked, vec![anything()]), 1));
    assert!(gate.passes(Port::A, &segment));
    // Behind the port, the rack still denies.
    let mut set = rack(Vec::new(), Vec::new());
    guard_outer_port(&mut set, Hook::Untracked, vec![anything()]);
    gate.slot.publish(compiled(&set, 2));
    assert_eq!(gate.send(Port::A, &segment), DENIED);
}

#[test]
fn what_is_denied_without_state_is_denied_to_known_flows_too() {
    let mut set = rack(Vec::new(), vec![anything()]);
    let mut flooder = Rule::new(Action::Deny);
    flooder.source.nets = vec![format!("{}/32", CLIENT[0]).parse().unwrap()];
    guard_outer_port(&mut set, Hook::Untracked, vec![flooder]);
    let mut gate = Gate::with(compiled(&set, 1));
    // The rack may open a flow to anybody, but what the flooder answers is dropped where it enters.
    assert!(gate.passes(Port::B, &frame(SERVER[0], CLIENT[0], Layer::Udp(9, 53))));
    assert_eq!(gate.flows.live(), 1);
    let answer = frame(CLIENT[0], SERVER[0], Layer::Udp(53, 9));
    assert_eq!(gate.send(Port::A, &answer), DENIED);
    // Nobody else is.
    assert!(gate.passes(Port::B, &frame(SERVER[1], CLIENT[1], Layer::Udp(9, 53))));
    assert!(gate.passes(Port::A, &frame(CLIENT[1], SERVER[1], Layer::Udp(53, 9))));
}
