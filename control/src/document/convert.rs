//! Documents from one language to another, and their selectors in the one spelling that Calico knows them by.

use std::ops::Range;
use std::sync::Arc;

use classifier::selector::Selector;

use super::dialect::Dialect;
use super::kind::Kind;
use super::node::{Node, Table, Text, Value};
use super::reader::Reader;
use super::resource::Item;
use super::{items, read, toml, write};
use crate::diagnostic::{Diagnostic, Source, any_error};

/// A document in another language.
#[derive(Debug)]
pub(crate) struct Converted {
    pub(crate) text: String,
    /// Whether the original has comments; they are not carried over.
    pub(crate) had_comments: bool,
    /// Whether a network set names a list file, which Calico does not know.
    pub(crate) has_lists: bool,
}

/// Writes the document in another language.
///
/// # Errors
/// The findings of a document that is refused, or holds what would be lost.
pub(crate) fn convert(source: &Arc<Source>, to: Dialect) -> Result<Converted, Vec<Diagnostic>> {
    let resources = checked(source)?;
    let lost: Vec<Diagnostic> =
        resources.iter().filter_map(|resource| lost(resource, source)).collect();
    if !lost.is_empty() {
        return Err(lost);
    }
    let has_list = |resource: &Item| matches!(&resource.node.value, Value::Table(table) if table.entry("list").is_some());
    Ok(Converted {
        text: write::document(&resources, to),
        had_comments: has_comments(source),
        has_lists: resources.iter().any(has_list),
    })
}

/// The document with every selector in its canonical form where it stands; nothing else is touched.
///
/// # Errors
/// The findings of a document that is refused.
pub(crate) fn with_canonical_selectors(source: &Arc<Source>) -> Result<String, Vec<Diagnostic>> {
    let dialect = Dialect::of(source.file());
    let mut edits = Vec::new();
    // What a cluster made has no selectors of Calico's.
    for resource in checked(source)?.iter().filter(|item| item.kind.form().picked.is_none()) {
        selectors(&resource.node, &mut |node, text| {
            let raw = source.text().get(node.span.clone()).unwrap_or_default();
            // A block of lines is not one place that could be rewritten.
            let is_one_place = raw == text.value || raw.starts_with(['"', '\'']);
            if is_one_place && let Some(canonical) = canonical(&text.value) {
                edits.push((node.span.clone(), write::string(&canonical, dialect)));
            }
        });
    }
    edits.sort_by_key(|(span, _): &(Range<usize>, String)| span.start);
    let mut text = String::with_capacity(source.text().len());
    let mut at = 0;
    for (span, new) in edits {
        text.push_str(source.text().get(at..span.start).unwrap_or_default());
        text.push_str(&new);
        at = span.end;
    }
    text.push_str(source.text().get(at..).unwrap_or_default());
    Ok(text)
}

/// The selector in canonical form, if it is written in another one. An empty one stays: it says so more clearly.
pub(super) fn canonical(selector: &str) -> Option<String> {
    if selector.trim().is_empty() {
        return None;
    }
    let canonical = Selector::parse(selector).ok()?.to_string();
    (canonical != selector).then_some(canonical)
}

/// Whether a field with this name holds a selector.
pub(super) fn is_selector(field: &str) -> bool {
    matches!(field, "selector" | "notSelector" | "namespaceSelector" | "serviceAccountSelector")
}

/// The resources of a document that has no errors.
fn checked(source: &Arc<Source>) -> Result<Vec<Item>, Vec<Diagnostic>> {
    let (_, findings) = read(source, true);
    if any_error(&findings) {
        return Err(findings);
    }
    items(source, &mut Reader::new(source))
}

/// Things that a cluster made hold much that is passed over when they are read: it could not be written again, neither as
/// what another tool takes for such a thing nor without loss. A namespace is its name and labels.
fn lost(resource: &Item, source: &Arc<Source>) -> Option<Diagnostic> {
    let form = resource.kind.form();
    form.picked.filter(|_| resource.kind != Kind::Namespace)?;
    let finding =
        Diagnostic::error("kind.unconverted", format!("`{}` cannot be converted", form.name))
            .at(source.place(resource.node.span.clone()), "holds more than is read of it here")
            .help("move it to a document of its own, and keep that as it is");
    Some(finding)
}

fn selectors(node: &Node, found: &mut impl FnMut(&Node, &Text)) {
    match &node.value {
        Value::Array(items) => items.iter().for_each(|item| selectors(item, found)),
        Value::Table(table) => {
            for entry in &table.entries {
                if let Value::Text(text) = &entry.node.value
                    && is_selector(&entry.key)
                {
                    found(&entry.node, text);
                } else if !matches!(entry.key.as_str(), "labels" | "annotations" | "metadata") {
                    // Labels and annotations may be named like anything.
                    selectors(&entry.node, found);
                }
            }
        }
        Value::Bool(_)
        | Value::Float(_)
        | Value::Integer(_)
        | Value::Null
        | Value::Other(_)
        | Value::Text(_) => {}
    }
}

/// Whether the text has a comment: a `#` that stands in no key and no value.
fn has_comments(source: &Arc<Source>) -> bool {
    let roots = match Dialect::of(source.file()) {
        Dialect::Json => return false,
        Dialect::Toml => toml::read(source).map(|root| vec![table_node(root)]),
        Dialect::Yaml => super::yaml::read(source),
    };
    let mut values = Vec::new();
    for root in roots.unwrap_or_default() {
        words(&root, &mut values);
    }
    values.sort_by_key(|span| span.start);
    source.text().match_indices('#').any(|(at, _)| {
        let next = values.partition_point(|span| span.start <= at);
        let last = next.checked_sub(1).and_then(|last| values.get(last));
        last.is_none_or(|span| at >= span.end)
    })
}

fn table_node(table: Table) -> Node {
    Node { span: 0..0, value: Value::Table(table) }
}

/// Where keys and strings stand.
fn words(node: &Node, spans: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Array(items) => items.iter().for_each(|item| words(item, spans)),
        Value::Table(table) => {
            for entry in &table.entries {
                spans.push(entry.key_span.clone());
                words(&entry.node, spans);
            }
        }
        Value::Text(_) => spans.push(node.span.clone()),
        Value::Bool(_) | Value::Float(_) | Value::Integer(_) | Value::Null | Value::Other(_) => {}
    }
}
