//! Kubernetes' label selectors in the words of Calico's selector language.

use std::fmt::Write as _;

use classifier::selector::Selector;

use crate::diagnostic::{Diagnostic, Place};
use crate::document::metadata::{is_label_value, is_qualified_name};
use crate::document::{Entry, Fields, Node, Reader, Thing, Value};
use crate::resolve::{NAMESPACE, NAMESPACE_PREFIX, ORCHESTRATOR};

static LABEL_SELECTOR: Thing = Thing {
    name: "a label selector",
    fields: &["matchLabels", "matchExpressions"],
    unsupported: &[],
};

static EXPRESSION: Thing =
    Thing { name: "a match expression", fields: &["key", "operator", "values"], unsupported: &[] };

/// A label selector: all of its terms must hold; without terms everything is selected.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    key: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

const OPERATORS: &[(&str, Operator)] = &[
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("Exists", Operator::Exists),
    ("DoesNotExist", Operator::DoesNotExist),
];

/// Reads a label selector; what is wrong with it is reported.
pub(super) fn read(node: &Node, reader: &mut Reader) -> LabelSelector {
    let mut selector = LabelSelector::default();
    let Some(fields) = reader.fields(node, &LABEL_SELECTOR) else { return selector };
    if let Some(entry) = fields.entry("matchLabels") {
        selector.terms = match_labels(entry, reader);
    }
    if let Some(entry) = fields.entry("matchExpressions") {
        for node in reader.array(entry) {
            selector.terms.extend(expression(node, reader));
        }
    }
    selector
}

/// The terms of `matchLabels`, in the order of their keys as Calico writes them.
fn match_labels(entry: &Entry, reader: &mut Reader) -> Vec<Term> {
    let Value::Table(table) = &entry.node.value else {
        let help = "write `matchLabels = { app = \"web\" }`".to_owned();
        reader.mistyped("matchLabels", &entry.node, "a table", help);
        return Vec::new();
    };
    let mut terms = Vec::new();
    for label in &table.entries {
        check_key(&label.key, reader.place(&label.key_span), reader);
        let Some(value) = value(&label.key, &label.node, reader) else { continue };
        terms.push(Term { key: label.key.clone(), test: Test::Equal(value) });
    }
    terms.sort_by(|a, b| a.key.cmp(&b.key));
    terms
}

fn expression(node: &Node, reader: &mut Reader) -> Option<Term> {
    let fields = reader.fields(node, &EXPRESSION)?;
    let key = fields.required("key", "key = \"app\"", reader).and_then(|entry| {
        let text = reader.text("key", &entry.node)?;
        check_key(&text.value, reader.place(&entry.node.span), reader);
        Some(text.value.clone())
    });
    let operator = fields
        .required("operator", "operator = \"In\"", reader)
        .and_then(|entry| reader.choice("operator", &entry.node, OPERATORS));
    let values = values(&fields, reader);
    let (key, operator) = (key?, operator?);
    check_count(operator, &values, &fields, reader);
    let test = match operator {
        Operator::In => Test::In(values),
        Operator::NotIn => Test::NotIn(values),
        Operator::Exists => Test::Exists,
        Operator::DoesNotExist => Test::DoesNotExist,
    };
    Some(Term { key, test })
}

fn values(fields: &Fields<'_>, reader: &mut Reader) -> Vec<String> {
    let Some(entry) = fields.entry("values") else { return Vec::new() };
    let nodes = reader.array(entry);
    nodes.iter().filter_map(|node| value("values", node, reader)).collect()
}

/// `In` and `NotIn` need values, the others take none.
fn check_count(operator: Operator, values: &[String], fields: &Fields<'_>, reader: &mut Reader) {
    let wants_values = matches!(operator, Operator::In | Operator::NotIn);
    if wants_values != values.is_empty() {
        return;
    }
    let word = OPERATORS.iter().find(|(_, known)| *known == operator).map_or("", |(word, _)| word);
    let span = fields.entry("values").map_or(&fields.span, |entry| &entry.node.span);
    let finding = if wants_values {
        Diagnostic::error("kubernetes.selector", format!("`{word}` needs `values`"))
            .at(reader.place(span), "expected at least one value")
            .help("add `values = [\"...\"]`, or ask with `Exists` whether the label is there")
    } else {
        Diagnostic::error("kubernetes.selector", format!("`{word}` takes no `values`"))
            .at(reader.place(span), "not read with this operator")
            .help("remove `values`, or write `In` to compare with them")
    };
    reader.report(finding);
}

fn check_key(key: &str, at: Place, reader: &mut Reader) {
    if is_qualified_name(key) {
        return;
    }
    let finding =
        Diagnostic::error("label.name", format!("`{key}` cannot be the name of a label"))
            .at(at, "not the name of a label")
            .help(
                "use at most 63 letters, digits, `-`, `_` and `.`, and if you like a domain and a `/` before \
                 them",
            );
    reader.report(finding);
}

/// The value of a label. One with quotes in it could not be written as a selector; Kubernetes has none.
fn value(field: &str, node: &Node, reader: &mut Reader) -> Option<String> {
    let text = reader.text(field, node)?;
    if is_label_value(&text.value) {
        return Some(text.value.clone());
    }
    let message = format!("`{}` cannot be the value of a label", text.value);
    let finding = Diagnostic::error("label.value", message)
        .at(reader.place(&node.span), "not a label value")
        .help(
            "use at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit",
        );
    reader.report(finding);
    None
}

/// What a policy of a namespace protects there.
pub(super) fn protected(pods: &LabelSelector, namespace: &str) -> Option<Selector> {
    parsed(&format!("({}) && {NAMESPACE} == '{namespace}'", pods.of_pods()))
}

/// What a policy of the whole cluster protects.
pub(super) fn protected_anywhere(
    pods: &LabelSelector,
    namespaces: &LabelSelector,
) -> Option<Selector> {
    parsed(&format!("({}) && ({})", pods.of_pods(), namespaces.of_namespaces()))
}

/// Pods as a peer: those of the namespaces that are selected.
pub(super) fn pods_in(pods: &LabelSelector, namespaces: &LabelSelector) -> Option<Selector> {
    parsed(&format!("({}) && ({})", namespaces.of_namespaces(), pods.of_pods()))
}

/// Pods as a peer: those of one namespace.
pub(super) fn pods_of(pods: &LabelSelector, namespace: &str) -> Option<Selector> {
    parsed(&format!("({NAMESPACE} == '{namespace}') && ({})", pods.of_pods()))
}

/// Whatever lies in the namespaces that are selected as a peer, network sets included.
pub(super) fn anything_in(namespaces: &LabelSelector) -> Option<Selector> {
    parsed(&namespaces.of_namespaces())
}

/// None if the selector is of a document that is refused: a name in it has a finding already.
fn parsed(text: &str) -> Option<Selector> {
    Selector::parse(text).ok()
}

impl LabelSelector {
    /// Calico's text for a selector of pods.
    fn of_pods(&self) -> String {
        let mut text = format!("{ORCHESTRATOR} == 'k8s'");
        for term in &self.terms {
            // Writing into a string cannot fail.
            let _ = write!(text, " && {}", term.text(""));
        }
        text
    }

    /// Calico's text for a selector of namespaces, asked of what lies in them.
    fn of_namespaces(&self) -> String {
        if self.terms.is_empty() {
            return format!("has({NAMESPACE})");
        }
        let terms: Vec<String> =
            self.terms.iter().map(|term| term.text(NAMESPACE_PREFIX)).collect();
        terms.join(" && ")
    }
}

impl Term {
    fn text(&self, prefix: &str) -> String {
        let key = &self.key;
        match &self.test {
            Test::Equal(value) => format!("{prefix}{key} == '{value}'"),
            Test::In(values) => format!("{prefix}{key} in {{'{}'}}", values.join("', '")),
            Test::NotIn(values) => format!("{prefix}{key} not in {{'{}'}}", values.join("', '")),
            Test::Exists => format!("has({prefix}{key})"),
            Test::DoesNotExist => format!("!has({prefix}{key})"),
        }
    }
}
