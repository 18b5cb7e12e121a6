//! Calico's own validation cases, as far as their kinds exist here, when the conformance folder lies beside the
//! repository: what Calico refuses is refused, what it takes is taken or named as not supported yet.
#![expect(clippy::panic, reason = "test helpers")]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use classifier::resource::Defaults;
use control::diagnostic::{Diagnostic, render_human};
use control::inventory;
use serde_json::{Map, Value, json};

/// What the file holds and what of it belongs here: a case that is skipped silently makes this wrong.
const CASES_RUN: usize = 90;
/// Of these, valid ones that are refused because they use a field that is not supported yet.
const UNSUPPORTED: usize = 22;

/// Kinds of the file that do not exist here yet.
const KINDS_LEFT_OUT: [&str; 7] = [
    "HTTPMatch",
    "NetworkPolicy",
    "NetworkSet",
    "ProfileSpec",
    "ProtoPort",
    "StagedGlobalNetworkPolicy",
    "StagedNetworkPolicy",
];

#[test]
fn calicos_validation_cases_are_answered_as_calico_answers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance/validation.json");
    if !Path::new(path).exists() {
        say(&format!("NOT RUN: Calico's validation cases, {path} is absent"));
        return;
    }
    let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (mut run, mut unsupported, mut wrong) = (0, 0, Vec::new());
    for case in document["cases"].as_array().unwrap() {
        let kind = case["type"].as_str().unwrap();
        if KINDS_LEFT_OUT.contains(&kind) {
            continue;
        }
        run += 1;
        let text = document_of(kind, &case["resource"]);
        let file = directory.path().join("case.toml");
        fs::write(&file, &text).unwrap();
        let findings = inventory::load(&file, Defaults::default()).findings;
        let errors: Vec<Diagnostic> = findings.into_iter().filter(Diagnostic::is_error).collect();
        let only_unsupported = errors.iter().all(|error| error.code == "field.unsupported");
        unsupported += usize::from(!errors.is_empty() && only_unsupported);
        let good =
            if case["valid"].as_bool().unwrap() { only_unsupported } else { !errors.is_empty() };
        if !good {
            wrong.push(format!("{}\n{text}\n{}", case["name"], render_human(&errors, false)));
        }
    }
    say(&format!("Calico's validation cases: {run} run, {unsupported} of them not supported yet"));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((run, unsupported), (CASES_RUN, UNSUPPORTED));
}

/// A TOML document that holds the resource, or the part of one, of a case.
fn document_of(kind: &str, resource: &Value) -> String {
    let rule = |rule: &Value| json!({ "name": "case", "ingress": [rule] });
    let (table, value) = match kind {
        "GlobalNetworkPolicy" => ("globalNetworkPolicies", flat(resource)),
        "GlobalNetworkSet" => ("globalNetworkSets", flat(resource)),
        "HostEndpoint" => ("hostEndpoints", flat(resource)),
        "Tier" => ("tiers", flat(resource)),
        "Rule" => ("globalNetworkPolicies", rule(resource)),
        "EntityRule" => {
            ("globalNetworkPolicies", rule(&json!({ "action": "Allow", "source": resource })))
        }
        "ICMPFields" => (
            "globalNetworkPolicies",
            rule(&json!({ "action": "Allow", "protocol": "ICMP", "icmp": resource })),
        ),
        "GlobalNetworkSetSpec" | "NetworkSetSpec" => ("globalNetworkSets", named(resource)),
        "HostEndpointSpec" => ("hostEndpoints", named(resource)),
        other => panic!("a new kind of case: {other}"),
    };
    format!("{table} = [{}]\n", toml(&value))
}

fn named(spec: &Value) -> Value {
    flat(&json!({ "metadata": { "name": "case" }, "spec": spec }))
}

/// `metadata` and `spec` in one table.
fn flat(resource: &Value) -> Value {
    let mut fields = Map::new();
    for part in ["metadata", "spec"] {
        let part = resource[part].as_object().cloned().unwrap_or_default();
        fields.extend(part);
    }
    Value::Object(fields)
}

/// A value as inline TOML; JSON's strings and numbers are TOML's.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let field =
                |(key, value): (&String, &Value)| format!("{} = {}", json!(key), toml(value));
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// Past the test harness, which keeps what a passing test prints to itself.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
