//! Calico's own validation cases, as far as their kinds exist here, when the conformance folder lies beside the
//! repository: what Calico refuses is refused, what it takes is taken or named as not supported yet.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use control::diagnostic::{Diagnostic, render_human};
use control::inventory;
use control::resolve::Gateway;
use serde_json::{Map, Value, json};

/// What the file holds and what of it belongs here: a case that is skipped silently makes this wrong.
const CASES_RUN: usize = 90;
/// Of these, valid ones that are refused because they use a field that is not supported yet.
const UNSUPPORTED: usize = 13;

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
    for language in ["toml", "yaml", "json"] {
        let file = directory.path().join("case").with_extension(language);
        let (mut run, mut unsupported, mut wrong) = (0, 0, Vec::new());
        for case in document["cases"].as_array().unwrap() {
            let kind = case["type"].as_str().unwrap();
            if KINDS_LEFT_OUT.contains(&kind) {
                continue;
            }
            run += 1;
            let text = document_of(language, &resource_of(kind, &case["resource"]));
            fs::write(&file, &text).unwrap();
            let findings =
                inventory::load(&file, &Gateway { takes_http: true, ..Gateway::default() })
                    .findings;
            let errors: Vec<Diagnostic> =
                findings.into_iter().filter(Diagnostic::is_error).collect();
            let only_unsupported = errors.iter().all(|error| error.code == "field.unsupported");
            unsupported += usize::from(!errors.is_empty() && only_unsupported);
            let valid = case["valid"].as_bool().unwrap();
            let good = if valid { only_unsupported } else { !errors.is_empty() };
            if !good {
                wrong.push(format!("{}\n{text}\n{}", case["name"], render_human(&errors, false)));
            }
        }
        say(&format!(
            "Calico's validation cases in {language}: {run} run, {unsupported} not supported yet"
        ));
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
        assert_eq!((run, unsupported), (CASES_RUN, UNSUPPORTED), "{language}");
    }
}

/// The resource of a case, or one that holds the part of a resource that the case is about.
fn resource_of(kind: &str, part: &Value) -> Value {
    let resource = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": kind,
            "metadata": { "name": "case" },
            "spec": spec,
        })
    };
    let rule = |rule: Value| resource("GlobalNetworkPolicy", json!({ "ingress": [rule] }));
    match kind {
        "GlobalNetworkPolicy" | "GlobalNetworkSet" | "HostEndpoint" | "Tier" => {
            let mut whole = part.as_object().cloned().unwrap();
            whole.insert("apiVersion".to_owned(), json!("projectcalico.org/v3"));
            whole.insert("kind".to_owned(), json!(kind));
            Value::Object(whole)
        }
        "Rule" => rule(part.clone()),
        "EntityRule" => rule(json!({ "action": "Allow", "source": part })),
        "ICMPFields" => rule(json!({ "action": "Allow", "protocol": "ICMP", "icmp": part })),
        "GlobalNetworkSetSpec" | "NetworkSetSpec" => resource("GlobalNetworkSet", part.clone()),
        "HostEndpointSpec" => resource("HostEndpoint", part.clone()),
        other => panic!("a new kind of case: {other}"),
    }
}

/// A document that holds the resource. What is JSON is YAML too.
fn document_of(language: &str, resource: &Value) -> String {
    let table = match resource["kind"].as_str().unwrap() {
        "GlobalNetworkPolicy" => "globalNetworkPolicies",
        "GlobalNetworkSet" => "globalNetworkSets",
        "HostEndpoint" => "hostEndpoints",
        "Tier" => "tiers",
        other => panic!("not a kind: {other}"),
    };
    match language {
        "toml" => format!("{table} = [{}]\n", toml(&flat(resource))),
        _ => format!("{resource:#}\n"),
    }
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
