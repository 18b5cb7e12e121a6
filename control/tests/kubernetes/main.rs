//! Kubernetes resources in, what the classifier is told out.
#![expect(clippy::unwrap_used, clippy::panic, clippy::format_push_string, reason = "test helpers")]

mod cluster_policy;
mod convert;
mod identity;
mod network_policy;
mod staged;

use std::fs;

use classifier::packet::protocol;
use classifier::resource::{Peer, Policy, PolicySet, PortRange, Rule};
use control::diagnostic::{Diagnostic, render_human};
use control::inventory::{self, Loaded};
use control::resolve::Gateway;

/// Lines as they stand below a key.
fn indented(lines: &str) -> String {
    format!("  {}\n", lines.replace('\n', "\n  "))
}

/// Text and the error that it has: message, label and help.
fn assert_errors<const N: usize>(cases: [(String, &str); N]) {
    for (text, expected) in cases {
        assert_eq!(error(&text), expected, "{text}");
    }
}

/// Reads a YAML text as a document set of its own.
fn load(text: &str) -> Loaded {
    load_as("cluster.yaml", text)
}

/// Reads a text in the language that the file's name says.
fn load_as(file: &str, text: &str) -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(file);
    fs::write(&file, text).unwrap();
    inventory::load(&file, &Gateway::default())
}

/// What a text without errors says.
fn set(text: &str) -> PolicySet {
    taken(load(text))
}

fn taken(loaded: Loaded) -> PolicySet {
    let errors: Vec<Diagnostic> =
        loaded.findings.into_iter().filter(Diagnostic::is_error).collect();
    assert!(errors.is_empty(), "{}", render_human(&errors, false));
    loaded.policy_set.unwrap()
}

/// The one policy of a text.
fn policy(text: &str) -> Policy {
    let mut policies = set(text).policies;
    assert_eq!(policies.len(), 1);
    policies.remove(0)
}

/// Codes and messages of a text's findings.
fn findings(text: &str) -> Vec<String> {
    let findings = load(text).findings;
    findings.iter().map(|finding| format!("{}: {}", finding.code, finding.message)).collect()
}

/// Code, message, label and help of a text's one error.
fn error(text: &str) -> String {
    let loaded = load(text);
    assert!(loaded.policy_set.is_none(), "it was taken");
    let errors: Vec<&Diagnostic> = loaded.findings.iter().filter(|f| f.is_error()).collect();
    let [error] = *errors.as_slice() else {
        panic!("{} errors:\n{}", errors.len(), render_human(&loaded.findings, false));
    };
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{} | {} | {}", error.message, part(&error.label), part(&error.help))
}

/// The directions of a policy and its rules, a line each.
fn rules(policy: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    for (word, applies, rules) in [
        ("ingress", policy.applies_ingress, &policy.ingress),
        ("egress", policy.applies_egress, &policy.egress),
    ] {
        if applies {
            lines.push(word.to_owned());
            lines.extend(rules.iter().map(rule));
        }
    }
    lines
}

fn rule(rule: &Rule) -> String {
    let mut line = format!("{:?}", rule.action);
    match rule.protocol {
        None => {}
        Some(protocol::TCP) => line.push_str(" tcp"),
        Some(protocol::UDP) => line.push_str(" udp"),
        Some(protocol::SCTP) => line.push_str(" sctp"),
        Some(other) => line.push_str(&format!(" protocol {other}")),
    }
    for (word, peer) in [("from", &rule.source), ("to", &rule.destination)] {
        let peer = self::peer(peer);
        if !peer.is_empty() {
            line.push_str(&format!(" {word}{peer}"));
        }
    }
    line
}

fn peer(peer: &Peer) -> String {
    let mut text = String::new();
    if let Some(selector) = &peer.selector {
        text.push_str(&format!(" {selector}"));
    }
    for net in &peer.nets {
        text.push_str(&format!(" {net}"));
    }
    for net in &peer.not_nets {
        text.push_str(&format!(" !{net}"));
    }
    for PortRange { first, last } in &peer.ports {
        text.push_str(&if first == last {
            format!(" :{first}")
        } else {
            format!(" :{first}-{last}")
        });
    }
    for name in &peer.named_ports {
        text.push_str(&format!(" :{name}"));
    }
    text
}
