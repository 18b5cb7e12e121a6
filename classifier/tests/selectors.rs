//! Calico's own selector cases, all of them, when the conformance folder lies beside the repository.

#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use classifier::label::Labels;
use classifier::selector::Selector;
use serde_json::Value;

#[test]
fn every_conformance_case_passes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance/selectors.json");
    if !Path::new(path).exists() {
        say(&format!("NOT RUN: Calico's selector cases, {path} is absent"));
        return;
    }
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in document["cases"].as_array().unwrap() {
        let kind = case["kind"].as_str().unwrap();
        *counts.entry(kind).or_default() += 1;
        if let Err(complaint) = run(kind, case) {
            failures.push(format!("{}: {complaint}: {case}", case["src"]));
        }
    }
    say(&format!("selector cases run, by kind: {counts:?}"));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let kinds: Vec<&str> = counts.keys().copied().collect();
    assert_eq!(kinds, ["applabel", "bad", "canon", "eval", "prefix"]);
}

fn run(kind: &str, case: &Value) -> Result<(), String> {
    let text = case["selector"].as_str().unwrap();
    let parsed = Selector::parse(text);
    if kind == "bad" {
        return parsed.map_or(Ok(()), |selector| Err(format!("was read as `{selector}`")));
    }
    // Calico's label matcher takes a text that is no selector as one that matches nothing.
    if kind == "applabel" && parsed.is_err() {
        return equal(&false, &case["match"].as_bool().unwrap());
    }
    let selector = parsed.map_err(|error| format!("was refused: {error}"))?;
    match kind {
        "eval" | "applabel" => {
            equal(&selector.matches(&labels(case)), &case["match"].as_bool().unwrap())
        }
        "canon" => {
            equal(&selector.to_string().as_str(), &case["canonical"].as_str().unwrap())?;
            case["uid"].as_str().map_or(Ok(()), |uid| equal(&selector.unique_id().as_str(), &uid))
        }
        "prefix" => {
            let prefixed = selector.with_prefix(case["prefix"].as_str().unwrap());
            equal(&prefixed.to_string().as_str(), &case["canonical"].as_str().unwrap())
        }
        unknown => Err(format!("kind `{unknown}` is not known here")),
    }
}

fn labels(case: &Value) -> Labels {
    let pairs = case["labels"].as_object().unwrap().iter();
    pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect()
}

fn equal<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?}, expected {expected:?}")) }
}

/// Past the test harness, which hides what a passing test prints.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
