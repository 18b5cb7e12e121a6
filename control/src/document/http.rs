//! `http` of a rule: checked as Calico checks it, and not acted on. What else the rule asks decides.

use classifier::decision::Direction;
use classifier::packet::protocol;
use classifier::resource::{Action, Rule};

use super::node::{Entry, Node};
use super::reader::{Fields, Reader, Thing};
use crate::diagnostic::Diagnostic;

static HTTP: Thing =
    Thing { name: "an HTTP match", fields: &["methods", "paths"], unsupported: &[] };
static PATH: Thing = Thing { name: "an HTTP path", fields: &["exact", "prefix"], unsupported: &[] };

/// Most methods and most paths of a match (Calico `validator.go`).
const ITEMS_MAX: usize = 20;

/// Reads the HTTP match of a rule that is among the rules of `direction`.
pub(super) fn check(rule: &Rule, direction: Direction, fields: &Fields<'_>, reader: &mut Reader) {
    let Some(entry) = fields.entry("http") else { return };
    let Some(http) = reader.fields(&entry.node, &HTTP) else { return };
    if let Some(entry) = http.entry("methods") {
        methods(entry, reader);
    }
    if let Some(entry) = http.entry("paths") {
        let nodes = reader.array(entry);
        check_count(entry, nodes.len(), reader);
        for node in nodes {
            path(node, reader);
        }
    }
    let wrong = if direction == Direction::Egress {
        Some((
            "`http` is for `ingress` rules only",
            "remove it, or write the rule as an `ingress` one",
        ))
    } else if rule.action != Action::Allow {
        Some((
            "`http` is for `Allow` rules only",
            "allow the requests that are good; others are denied",
        ))
    } else if rule.protocol.is_some_and(|number| number != protocol::TCP) {
        Some(("`http` needs the protocol TCP", "write `protocol = \"TCP\"`"))
    } else {
        None
    };
    let place = reader.place(&entry.key_span);
    let finding = match wrong {
        Some((message, help)) => {
            Diagnostic::error("rule.http", message).at(place, "does not go together").help(help)
        }
        None if reader.takes_http => {
            Diagnostic::warning("rule.http-unsupported", "`http` has no effect yet")
                .at(place, "the rule allows all requests, whatever their method and path")
                .help("remove it if that is meant; to refuse such rules, remove `[http]` from `ravelin.toml`")
        }
        None => Diagnostic::error("rule.http-unsupported", "requests cannot be told apart yet")
            .at(place, "ignoring it would allow more than the rule says")
            .help(
                "remove it to allow all requests, or have `ravelin.toml` say in `[http]` that `unsupported` is \
                 `warn`, to do so for every such rule",
            ),
    };
    reader.report(finding);
}

fn methods(entry: &Entry, reader: &mut Reader) {
    let nodes = reader.array(entry);
    check_count(entry, nodes.len(), reader);
    let mut seen = Vec::new();
    for node in nodes {
        let Some(text) = reader.text("methods", node) else { continue };
        if seen.contains(&text.value.as_str()) {
            let finding =
                Diagnostic::error("field.value", format!("`methods` names `{}` twice", text.value))
                    .at(reader.place(&node.span), "named before")
                    .help("name each method once");
            reader.report(finding);
        }
        seen.push(&text.value);
    }
}

fn path(node: &Node, reader: &mut Reader) {
    let Some(fields) = reader.fields(node, &PATH) else { return };
    let written: Vec<&Entry> =
        ["exact", "prefix"].into_iter().filter_map(|field| fields.entry(field)).collect();
    let [entry] = written.as_slice() else {
        let finding = Diagnostic::error("rule.http", "a path is either `exact` or a `prefix`")
            .at(reader.place(&node.span), "expected one of the two")
            .help("write one entry for each");
        reader.report(finding);
        return;
    };
    let Some(text) = reader.text(&entry.key, &entry.node) else { return };
    if !text.value.starts_with('/') || text.value.contains(['?', '#', ' ']) {
        let finding = Diagnostic::error("rule.http", format!("`{}` is not a path", text.value))
            .at(reader.place(&entry.node.span), "expected a path")
            .help("begin it with `/`, and leave out `?`, `#` and blanks");
        reader.report(finding);
    }
}

fn check_count(entry: &Entry, count: usize, reader: &mut Reader) {
    if count <= ITEMS_MAX {
        return;
    }
    let finding = Diagnostic::error("field.value", format!("`{}` has {count} entries", entry.key))
        .at(reader.place(&entry.key_span), "too many")
        .help(format!("keep at most {ITEMS_MAX}; write a second rule for the others"));
    reader.report(finding);
}
