//! Staged policies: evaluated beside what is enforced, noted and counted, and never obeyed.

use classifier::decision::{Checkpoint, Reason, Verdict};
use classifier::packet::protocol;
use classifier::record::{Pending, RecordKind};
use classifier::resource::{Policy, PolicySet, Rule, StagedAction};
use dataplane::device::Port;

use crate::support::frames::{Layer, frame};
use crate::support::gate::Gate;
use crate::support::policy::{CLIENT, SERVER, compiled, rack, to_ports};

/// Allows DNS; staged in its place: NTP.
fn staged(action: StagedAction) -> PolicySet {
    let mut set = rack(vec![to_ports(protocol::UDP, [53])], Vec::new());
    let rules: Vec<Rule> = vec![to_ports(protocol::UDP, [123])];
    let policy = Policy { staged: Some(action), ingress: rules, ..set.policies[0].clone() };
    set.policies.push(policy);
    set
}

#[test]
fn records_say_what_staged_policies_would_have_done() {
    let mut gate = Gate::with(compiled(&staged(StagedAction::Set), 1));
    for (port, passes, kind) in [(53, true, RecordKind::Started), (123, false, RecordKind::Denied)]
    {
        let bytes = frame(CLIENT[0], SERVER[0], Layer::Udp(9, port));
        assert_eq!(gate.passes(Port::A, &bytes), passes, "what is staged decides nothing");
        let record = gate.next_record().unwrap();
        assert_eq!(record.kind, kind);
        let Some(Pending { verdict, decided: Some((Checkpoint::Ingress, reason)) }) =
            record.pending
        else {
            panic!("{record:?}")
        };
        assert_eq!(verdict == Verdict::Allow, !passes);
        let decided_by_staged = matches!(reason, Reason::Rule(rule) if rule.policy == 1);
        let ended = matches!(reason, Reason::EndOfTier(_));
        assert_eq!((decided_by_staged, ended), (!passes, passes), "{reason:?}");
    }
    assert_eq!(gate.counters().pending_differs, 2);
    assert!(!gate.passes(Port::A, &frame(CLIENT[0], SERVER[0], Layer::Udp(9, 99))));
    let pending = gate.next_record().unwrap().pending.unwrap();
    assert_eq!(pending.verdict, Verdict::Deny);
    assert_eq!(gate.counters().pending_differs, 2, "both deny");
}

#[test]
fn a_staged_deletion_is_evaluated_as_one() {
    let mut gate = Gate::with(compiled(&staged(StagedAction::Delete), 1));
    assert!(gate.passes(Port::A, &frame(CLIENT[1], SERVER[1], Layer::Udp(9, 53))));
    let pending = gate.next_record().unwrap().pending.unwrap();
    assert_eq!(pending.decided, Some((Checkpoint::Ingress, Reason::Unselected)));
    assert_eq!((pending.verdict, gate.counters().pending_differs), (Verdict::Deny, 1));
}

#[test]
fn packets_of_a_known_flow_are_not_judged_again() {
    let mut gate = Gate::with(compiled(&staged(StagedAction::Set), 1));
    let bytes = frame(CLIENT[0], SERVER[0], Layer::Udp(9, 53));
    for _ in 0..5 {
        assert!(gate.passes(Port::A, &bytes));
        assert!(gate.passes(Port::B, &frame(SERVER[0], CLIENT[0], Layer::Udp(53, 9))));
    }
    assert_eq!(gate.counters().pending_differs, 1);
    gate.slot.publish(compiled(&staged(StagedAction::Set), 2));
    assert!(gate.passes(Port::A, &bytes));
    assert_eq!(gate.counters().pending_differs, 2, "a new policy is a new judgement");
}

#[test]
fn without_staged_policies_nothing_is_pending() {
    let mut gate = Gate::with(compiled(&rack(Vec::new(), Vec::new()), 1));
    assert!(!gate.passes(Port::A, &frame(CLIENT[0], SERVER[0], Layer::Udp(9, 53))));
    assert_eq!(gate.next_record().unwrap().pending, None);
    assert_eq!(gate.counters().pending_differs, 0);
}
