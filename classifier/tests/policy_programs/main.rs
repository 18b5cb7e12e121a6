//! Calico's own policy programs, through the reference and through the compiled image, when the conformance folder lies
//! beside the repository.
//!
//! A program is tiers of rules for one endpoint. Here its tiers become policies on a network set that covers every
//! address, enforced as ingress and once more as egress; its IP sets become network sets that rules select by label; and
//! what a program says for a host becomes policies on an endpoint of one port of the gateway.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

mod packet;
mod program;

use std::io::Write as _;
use std::path::Path;

use classifier::compile::{Limits, compile};
use classifier::decision::{Decision, Reason, Verdict};
use classifier::packet::{Crossing, PacketKey, Place, Side};
use classifier::reference;
use classifier::resource::PolicySet;
use serde_json::Value;

use crate::program::{Names, Stage};

/// What the file holds: a case or a packet that is skipped silently makes these wrong.
const CASES: usize = 51;
const PACKETS: usize = 293;

#[test]
fn every_program_of_calico_decides_as_calico_says() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance/policy-programs.json");
    if !Path::new(path).exists() {
        say(&format!("NOT RUN: Calico's policy programs, {path} is absent"));
        return;
    }
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut packets, mut questions, mut failures) = (0, 0, Vec::new());
    let cases = list(&document["cases"]);
    for case in cases {
        for asked in list(&case["packets"]) {
            let asked_before = questions;
            for names in [Names::AsPorts, Names::AsServices] {
                if program::can_say(case, names) {
                    failures.extend(ask(case, names, asked, &mut questions));
                }
            }
            assert!(questions > asked_before, "nothing was asked for {asked} of {case}");
            packets += 1;
        }
    }
    say(&format!(
        "policy programs: {} cases with {packets} packets, asked in {questions} ways",
        cases.len()
    ));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!((cases.len(), packets), (CASES, PACKETS));
}

/// Asks for one packet in every way that it can cross a gateway; what went wrong.
fn ask(case: &Value, names: Names, asked: &Value, questions: &mut usize) -> Vec<String> {
    // A gateway translates no destination. What Calico asks before it does that is asked here of a gateway with these
    // stages alone, and what it asks behind of another: the packet passes when both let it.
    let is_split = packet::is_translated(asked) && program::has_pre_dnat(case);
    let parts: &[&[Stage]] = if is_split {
        &[&[Stage::PreDnat], &[Stage::Forward, Stage::Normal, Stage::Tiers]]
    } else {
        &[&Stage::ALL]
    };
    let mut decisions: Vec<(Crossing, Vec<Decision>)> = Vec::new();
    for stages in parts {
        let set = program::policy_set(case, names, stages);
        let packet = if is_split && stages.contains(&Stage::PreDnat) {
            packet::before_translation(case, asked)
        } else {
            packet::behind_translation(case, asked)
        };
        for (number, crossing) in crossings(case, asked).into_iter().enumerate() {
            let decision = decide(&set, &packet, crossing);
            match decisions.get_mut(number) {
                Some((_, parts)) => parts.push(decision),
                None => decisions.push((crossing, vec![decision])),
            }
        }
    }
    *questions += decisions.len();
    let wrong = decisions.iter().filter(|(_, parts)| !is_expected(case, asked, parts));
    let name = text(&case["name"]);
    wrong.map(|(crossing, parts)| format!("`{name}`: {asked} {crossing:?}\n  {parts:?}")).collect()
}

/// What the reference says, and the image with it.
fn decide(set: &PolicySet, packet: &PacketKey, crossing: Crossing) -> Decision {
    let said = reference::evaluate(set, packet, crossing);
    let image = compile(set, 1, &Limits::default()).unwrap();
    assert_eq!(image.view().classify(packet, crossing), said, "{packet:?} {crossing:?}");
    said
}

fn is_expected(case: &Value, asked: &Value, parts: &[Decision]) -> bool {
    let passes = parts.iter().all(|decision| decision.verdict() == Verdict::Allow);
    let untracked = parts.iter().any(|decision| decision.untracked);
    match text(&asked["expect"]) {
        // An XDP program allows by letting the packet past everything else.
        "allow" => passes && untracked == (case["xdp"] == true),
        "drop" => !passes,
        // It leaves the packet to what comes behind, which is nothing here.
        "unmatched" => parts.iter().all(|decision| {
            decision.entry.is_some_and(|entry| entry.reason == Reason::NoForwardPolicy)
                && !decision.untracked
        }),
        other => panic!("expect `{other}` is not known here: {case}"),
    }
}

/// The ways through a gateway that meet each stage of the program once. Its endpoint, if it has one, is on port 0.
fn crossings(case: &Value, asked: &Value) -> Vec<Crossing> {
    let port = |side, number| Place::Port { side, number };
    let (inside, outside) = (Side::Inside, Side::Outside);
    let (here, elsewhere) = (|side| port(side, Some(0)), |side| port(side, None));
    let way = |from, to| Crossing { from, to };
    // On a workload's interface Calico leaves out what is for the host itself (`suppress_normal`), and its program then
    // treats packets to and from the host as all others.
    let is_own = |field: &str| asked[field] == true && case["suppress_normal"] == false;
    if is_own("to_host") {
        return vec![way(here(outside), Place::Gateway)];
    }
    if is_own("from_host") {
        return vec![way(Place::Gateway, here(outside))];
    }
    let (entering, leaving) = match (program::has_endpoint(case), program::has_tiers(case)) {
        (false, _) => {
            return vec![Crossing::sides(outside, inside), Crossing::sides(inside, outside)];
        }
        (true, true) => (
            vec![way(here(outside), elsewhere(inside)), way(here(inside), elsewhere(outside))],
            vec![way(elsewhere(outside), here(inside)), way(elsewhere(inside), here(outside))],
        ),
        (true, false) => (
            vec![way(here(outside), elsewhere(outside))],
            vec![way(elsewhere(outside), here(outside))],
        ),
    };
    // What leaves by a port meets neither preDNAT nor untracked policies.
    if program::is_early(case) { entering } else { [entering, leaving].concat() }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn port(value: &Value) -> u16 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn small(value: &Value) -> u8 {
    value.as_u64().unwrap().try_into().unwrap()
}

/// Past the test harness, which hides what a passing test prints.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
