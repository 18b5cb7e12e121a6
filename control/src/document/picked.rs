//! What is read of things that a cluster made: a few fields, wherever in the resource they stand.

use super::node::{Entry, Node, Table, Value};
use super::reader::{Reader, Thing};
use crate::diagnostic::Diagnostic;

/// Where fields of a thing stand; fields of its own stand at the top.
const PARTS: [&str; 3] = ["metadata", "spec", "status"];

/// The fields of `thing` that the resource has, in one table. Everything else is passed over.
pub(super) fn picked(table: Table, thing: &'static Thing, reader: &mut Reader) -> Option<Node> {
    let mut entries = Vec::new();
    let mut metadata_at = None;
    let start = table.entries.first().map_or(0..0, |entry| entry.key_span.clone());
    for entry in table.entries {
        if !PARTS.contains(&entry.key.as_str()) {
            entries.push(entry);
            continue;
        }
        if entry.key == "metadata" {
            metadata_at = Some(entry.key_span.clone());
        }
        if let Some(part) = part(entry, reader) {
            entries.extend(part);
        }
    }
    // A server writes down what it has nothing for.
    entries.retain(|entry| {
        thing.fields.contains(&entry.key.as_str()) && !matches!(entry.node.value, Value::Null)
    });
    let Some(span) = metadata_at else {
        let finding = Diagnostic::error("field.missing", "a resource needs `metadata`")
            .at(reader.place(&start), "`metadata` is missing here")
            .help("add `metadata = { name = \"...\" }`");
        reader.report(finding);
        return None;
    };
    Some(Node { span, value: Value::Table(Table { entries }) })
}

fn part(entry: Entry, reader: &mut Reader) -> Option<Vec<Entry>> {
    match entry.node.value {
        Value::Table(table) => Some(table.entries),
        Value::Null => None,
        Value::Array(_)
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Integer(_)
        | Value::Other(_)
        | Value::Text(_) => {
            let help = format!("write the fields of the resource below `{}`", entry.key);
            reader.mistyped(&entry.key, &entry.node, "a table", help);
            None
        }
    }
}
