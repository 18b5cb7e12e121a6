//! Resources as Calico itself stores them in Kubernetes (`crd.projectcalico.org/v1`): their own metadata stands in an
//! annotation, and names of policies can have the tier before them.

use std::ops::Range;

use super::json;
use super::kind::Kind;
use super::node::{Entry, Node, Table, Value};
use super::reader::Reader;
use crate::diagnostic::{Diagnostic, Source};

/// Holds the metadata of a resource, as JSON.
const STORED_METADATA: &str = "projectcalico.org/metadata";

/// What is before the name of a policy of the tier `default`, in releases that keep the name nowhere else.
const TIER_PREFIX: &str = "default.";

/// The metadata of a stored resource with what its annotation says: labels and annotations of both, those of the
/// annotation winning, and its name (Calico `k8s/resources/resources.go`, `ConvertK8sResourceToCalicoResource`). Returns
/// whether the annotation has a name.
pub(super) fn add_metadata(table: &mut Table, reader: &mut Reader) -> bool {
    let Some(annotation) = take_annotation(table) else { return false };
    let at = annotation.node.span.clone();
    let Some(stored) = read(&annotation, reader) else { return false };
    let mut has_name = false;
    for entry in stored.entries {
        match (entry.key.as_str(), &entry.node.value) {
            ("name", Value::Text(text)) if !text.value.is_empty() => {
                has_name = true;
                put(table, entry);
            }
            ("labels" | "annotations", Value::Table(_)) => merge(table, entry, &at),
            _ => {}
        }
    }
    has_name
}

/// Takes the tier off the name of a policy that is stored with it and says no other name.
pub(super) fn without_tier(kind: Kind, entries: &mut [Entry]) {
    let is_policy = matches!(
        kind,
        Kind::GlobalNetworkPolicy
            | Kind::NetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::StagedNetworkPolicy
    );
    let is_of_default_tier = entries.iter().filter(|entry| entry.key == "tier").all(
        |entry| matches!(&entry.node.value, Value::Text(text) if text.value.is_empty() || text.value == "default"),
    );
    if !is_policy || !is_of_default_tier {
        return;
    }
    for entry in entries.iter_mut().filter(|entry| entry.key == "name") {
        if let Value::Text(text) = &mut entry.node.value
            && let Some(rest) = text.value.strip_prefix(TIER_PREFIX)
        {
            text.value = rest.to_owned();
            text.verbatim_at = text.verbatim_at.map(|at| at + TIER_PREFIX.len());
        }
    }
}

fn take_annotation(table: &mut Table) -> Option<Entry> {
    let annotations = table.entries.iter_mut().find(|entry| entry.key == "annotations")?;
    let Value::Table(annotations) = &mut annotations.node.value else { return None };
    let at = annotations.entries.iter().position(|entry| entry.key == STORED_METADATA)?;
    Some(annotations.entries.remove(at))
}

/// What the annotation holds. All of it stands where the annotation does.
fn read(annotation: &Entry, reader: &mut Reader) -> Option<Table> {
    let text = reader.text(STORED_METADATA, &annotation.node)?.value.clone();
    let read = json::read(&Source::new(reader.source.file(), text));
    let table = match read.map(|node| node.value) {
        Ok(Value::Table(table)) => Ok(table),
        Ok(_) => Err("it is no object".to_owned()),
        Err(findings) => {
            Err(findings.first().map(|first| first.message.clone()).unwrap_or_default())
        }
    };
    match table {
        Ok(mut table) => {
            move_to(&mut table, &annotation.node.span);
            Some(table)
        }
        Err(why) => {
            let message = format!("the annotation `{STORED_METADATA}` cannot be read: {why}");
            let finding = Diagnostic::error("stored.metadata", message)
                .at(reader.place(&annotation.node.span), "holds the labels of the resource")
                .help("export the resource again, or as `projectcalico.org/v3` with `calicoctl get -o yaml`");
            reader.report(finding);
            None
        }
    }
}

fn move_to(table: &mut Table, span: &Range<usize>) {
    for entry in &mut table.entries {
        entry.key_span = span.clone();
        move_node_to(&mut entry.node, span);
    }
}

fn move_node_to(node: &mut Node, span: &Range<usize>) {
    node.span = span.clone();
    match &mut node.value {
        Value::Array(items) => items.iter_mut().for_each(|item| move_node_to(item, span)),
        Value::Table(table) => move_to(table, span),
        Value::Text(text) => text.verbatim_at = None,
        Value::Bool(_) | Value::Float(_) | Value::Integer(_) | Value::Null | Value::Other(_) => {}
    }
}

/// Puts an entry in the place of the one with its key.
fn put(table: &mut Table, entry: Entry) {
    table.entries.retain(|other| other.key != entry.key);
    table.entries.push(entry);
}

/// Puts each of the words of `entry`, a table, into the table of that name.
fn merge(table: &mut Table, entry: Entry, at: &Range<usize>) {
    let Value::Table(words) = entry.node.value else { return };
    let old = table.entries.iter_mut().find(|old| old.key == entry.key);
    if let Some(Entry { node: Node { value: Value::Table(old), .. }, .. }) = old {
        words.entries.into_iter().for_each(|word| put(old, word));
    } else {
        let node = Node { span: at.clone(), value: Value::Table(words) };
        put(table, Entry { key: entry.key, key_span: at.clone(), node });
    }
}
