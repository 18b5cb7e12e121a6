//! Calico's own validation cases, when the conformance folder lies beside the repository: what Calico refuses is refused,
//! what it takes is taken.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use control::diagnostic::{Diagnostic, render_human};
use control::inventory;
use control::resolve::Gateway;
use serde_json::{Map, Value, json};

/// How many cases the file holds: one that is skipped silently makes this wrong.
const CASES: usize = 153;

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
        let gateway = Gateway { takes_http: true, ..Gateway::default() };
        let (mut run, mut wrong) = (0, Vec::new());
        for case in document["cases"].as_array().unwrap() {
            run += 1;
            let resource = resource_of(case["type"].as_str().unwrap(), &case["resource"]);
            let text = document_of(language, &resource);
            fs::write(&file, &text).unwrap();
            let findings = inventory::load(&file, &gateway).findings;
            let errors: Vec<Diagnostic> =
                findings.into_iter().filter(Diagnostic::is_error).collect();
            let is_valid = case["valid"].as_bool().unwrap();
            let is_ours = errors.iter().any(|error| error.code.ends_with(".unsupported"));
            if errors.is_empty() != is_valid || is_ours {
                wrong.push(format!("{}\n{text}\n{}", case["name"], render_human(&errors, false)));
            }
        }
        say(&format!("Calico's validation cases in {language}: {run} run"));
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
        assert_eq!(run, CASES, "{language}");
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
    let endpoint = |port: Value| {
        resource("HostEndpoint", json!({ "node": "n", "interfaceName": "eth0", "ports": [port] }))
    };
    match kind {
        "GlobalNetworkPolicy"
        | "GlobalNetworkSet"
        | "HostEndpoint"
        | "NetworkPolicy"
        | "NetworkSet"
        | "StagedGlobalNetworkPolicy"
        | "StagedNetworkPolicy"
        | "Tier" => {
            let mut whole = part.as_object().cloned().unwrap();
            whole.insert("apiVersion".to_owned(), json!("projectcalico.org/v3"));
            whole.insert("kind".to_owned(), json!(kind));
            Value::Object(whole)
        }
        "Rule" => rule(part.clone()),
        "EntityRule" => rule(json!({ "action": "Allow", "source": part })),
        "HTTPMatch" => rule(json!({ "action": "Allow", "http": part })),
        "ICMPFields" => rule(json!({ "action": "Allow", "protocol": "ICMP", "icmp": part })),
        "GlobalNetworkSetSpec" => resource("GlobalNetworkSet", part.clone()),
        "HostEndpointSpec" => resource("HostEndpoint", part.clone()),
        "NetworkSetSpec" => resource("NetworkSet", part.clone()),
        "ProfileSpec" => resource("Profile", part.clone()),
        // A part of Felix's own settings, which asks the same of protocol and port as a named port.
        "ProtoPort" => {
            endpoint(json!({ "name": "a", "protocol": part["protocol"], "port": part["port"] }))
        }
        other => panic!("a new kind of case: {other}"),
    }
}

/// A document that holds the resource. What is JSON is YAML too.
fn document_of(language: &str, resource: &Value) -> String {
    let kind = resource["kind"].as_str().unwrap();
    let (first, rest) = kind.split_at(1);
    let plural = match rest.strip_suffix("icy") {
        Some(stem) => format!("{stem}icies"),
        None => format!("{rest}s"),
    };
    let table = first.to_lowercase() + &plural;
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
