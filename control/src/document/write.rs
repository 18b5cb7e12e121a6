//! Resources to text, in each language. Selectors are written in canonical form.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::convert::{canonical, is_selector};
use super::dialect::Dialect;
use super::kind::Kind;
use super::node::{Entry, Node, Table, Value};
use super::reader::METADATA_FIELDS;
use super::resource::Item;
use super::yaml;

/// The resources as one document. TOML groups them by kind.
pub(super) fn document(resources: &[Item], dialect: Dialect) -> String {
    match dialect {
        Dialect::Json => json_document(resources),
        Dialect::Toml => toml_document(resources),
        Dialect::Yaml => {
            let documents: Vec<String> = resources.iter().map(yaml_resource).collect();
            documents.join("---\n")
        }
    }
}

/// A string as a value.
pub(super) fn string(text: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Json => json_string(text),
        Dialect::Toml => ::toml::Value::String(text.to_owned()).to_string(),
        Dialect::Yaml => yaml_string(text),
    }
}

/// What an entry holds, selectors in canonical form; nothing if it says nothing.
fn entries(table: &Table) -> impl Iterator<Item = (&str, &Entry)> {
    let written = table.entries.iter().filter(|entry| !matches!(entry.node.value, Value::Null));
    written.map(|entry| (entry.key.as_str(), entry))
}

/// Numbers, booleans and strings; arrays and tables are not scalars.
fn scalar(field: &str, value: &Value, dialect: Dialect) -> Option<String> {
    match value {
        Value::Array(_) | Value::Table(_) => None,
        Value::Bool(value) => Some(value.to_string()),
        Value::Float(value) => Some(format!("{value:?}")),
        Value::Integer(value) => Some(value.to_string()),
        Value::Null | Value::Other(_) => Some(string("", dialect)),
        Value::Text(text) => {
            let canonical = if is_selector(field) { canonical(&text.value) } else { None };
            let text = canonical.map_or(Cow::Borrowed(text.value.as_str()), Cow::Owned);
            Some(string(&text, dialect))
        }
    }
}

fn table_of(node: &Node) -> Option<&Table> {
    match &node.value {
        Value::Table(table) => Some(table),
        Value::Array(_)
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Integer(_)
        | Value::Null
        | Value::Other(_)
        | Value::Text(_) => None,
    }
}

/// The fields of a resource as YAML and JSON have them: those of `metadata` and `spec` in one table each.
fn parts(resource: &Item) -> [Entry; 2] {
    let entries = table_of(&resource.node).map(|table| table.entries.clone()).unwrap_or_default();
    let (metadata, spec): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| METADATA_FIELDS.contains(&entry.key.as_str()));
    let part = |key: &str, entries| {
        let node = Node { span: 0..0, value: Value::Table(Table { entries }) };
        Entry { key: key.to_owned(), key_span: 0..0, node }
    };
    [part("metadata", metadata), part("spec", spec)]
}

fn toml_document(resources: &[Item]) -> String {
    let mut out = String::new();
    for kind in Kind::all() {
        for resource in resources.iter().filter(|resource| resource.kind == kind) {
            let separator = if out.is_empty() { "" } else { "\n" };
            // Writing into a string cannot fail.
            let _ = writeln!(out, "{separator}[[{}]]", kind.plural());
            let Some(table) = table_of(&resource.node) else { continue };
            let is_name = |(key, _): &(&str, &Entry)| METADATA_FIELDS.contains(key);
            let rest = entries(table).filter(|entry| !is_name(entry));
            for (key, entry) in entries(table).filter(is_name).chain(rest) {
                let value = toml_value(key, &entry.node, true);
                let _ = writeln!(out, "{} = {value}", toml_key(key));
            }
        }
    }
    out
}

/// A value on one line; the tables of a top-level array have a line each.
fn toml_value(field: &str, node: &Node, is_top: bool) -> String {
    match &node.value {
        Value::Array(items) => {
            let has_tables = is_top && items.iter().any(|item| table_of(item).is_some());
            let items: Vec<String> =
                items.iter().map(|item| toml_value(field, item, false)).collect();
            if has_tables {
                items.iter().fold("[\n".to_owned(), |out, item| out + "  " + item + ",\n") + "]"
            } else {
                format!("[{}]", items.join(", "))
            }
        }
        Value::Table(table) => {
            let fields: Vec<String> = entries(table)
                .map(|(key, entry)| {
                    format!("{} = {}", toml_key(key), toml_value(key, &entry.node, false))
                })
                .collect();
            if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
        }
        value @ (Value::Bool(_)
        | Value::Float(_)
        | Value::Integer(_)
        | Value::Null
        | Value::Other(_)
        | Value::Text(_)) => scalar(field, value, Dialect::Toml).unwrap_or_default(),
    }
}

fn toml_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        string(key, Dialect::Toml)
    }
}

fn yaml_resource(resource: &Item) -> String {
    let form = resource.kind.form();
    let mut out = format!("apiVersion: {}\nkind: {}\n", form.api_version(), form.name);
    for part in parts(resource) {
        yaml_entry(&part.key, &part.node, 0, &mut out);
    }
    out
}

/// `key: value`, the value below if it has parts.
fn yaml_entry(key: &str, node: &Node, indent: usize, out: &mut String) {
    let key_text = yaml_string(key);
    let _ = match &node.value {
        Value::Array(items) if items.is_empty() => writeln!(out, "{:indent$}{key_text}: []", ""),
        Value::Table(table) if entries(table).next().is_none() => {
            writeln!(out, "{:indent$}{key_text}: {{}}", "")
        }
        Value::Array(_) | Value::Table(_) => {
            let _ = writeln!(out, "{:indent$}{key_text}:", "");
            yaml_block(key, node, indent + 2, out);
            Ok(())
        }
        value @ (Value::Bool(_)
        | Value::Float(_)
        | Value::Integer(_)
        | Value::Null
        | Value::Other(_)
        | Value::Text(_)) => {
            let value = scalar(key, value, Dialect::Yaml).unwrap_or_default();
            writeln!(out, "{:indent$}{key_text}: {value}", "")
        }
    };
}

/// The parts of a list or mapping, one below the other.
fn yaml_block(field: &str, node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Array(items) => {
            for item in items {
                let start = out.len();
                yaml_block(field, item, indent + 2, out);
                if out.len() == start {
                    let _ = writeln!(out, "{:indent$}  {{}}", "");
                }
                // The dash stands in the indentation of the item's first line.
                out.replace_range(start + indent..=start + indent, "-");
            }
        }
        Value::Table(table) => {
            for (key, entry) in entries(table) {
                yaml_entry(key, &entry.node, indent, out);
            }
        }
        value @ (Value::Bool(_)
        | Value::Float(_)
        | Value::Integer(_)
        | Value::Null
        | Value::Other(_)
        | Value::Text(_)) => {
            let value = scalar(field, value, Dialect::Yaml).unwrap_or_default();
            let _ = writeln!(out, "{:indent$}{value}", "");
        }
    }
}

/// A string that no reader of YAML takes for anything else.
fn yaml_string(text: &str) -> String {
    let is_plain_char = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(is_plain_char)
        && yaml::plain(text).is_none();
    let is_printable = |c: char| !c.is_control() && c != '\u{feff}';
    if is_plain {
        text.to_owned()
    } else if text.chars().all(is_printable) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        json_string(text)
    }
}

fn json_document(resources: &[Item]) -> String {
    let items: Vec<String> = resources.iter().map(json_resource).collect();
    let text = match items.as_slice() {
        [one] => one.clone(),
        items => {
            let items: Vec<String> =
                items.iter().map(|item| format!("    {}", item.replace('\n', "\n    "))).collect();
            let items = if items.is_empty() {
                "[]".to_owned()
            } else {
                format!("[\n{}\n  ]", items.join(",\n"))
            };
            format!(
                "{{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"List\",\n  \"items\": {items}\n}}"
            )
        }
    };
    text + "\n"
}

fn json_resource(resource: &Item) -> String {
    let form = resource.kind.form();
    let mut out =
        format!("{{\n  \"apiVersion\": \"{}\",\n  \"kind\": \"{}\"", form.api_version(), form.name);
    for part in parts(resource) {
        // Writing into a string cannot fail.
        let _ = write!(out, ",\n  \"{}\": {}", part.key, json_value(&part.key, &part.node, 2));
    }
    out + "\n}"
}

/// A value; what has tables or arrays within has a line for each part.
fn json_value(field: &str, node: &Node, indent: usize) -> String {
    let (open, close, parts) = match &node.value {
        Value::Array(items) => {
            let parts = items.iter().map(|item| json_value(field, item, indent + 2));
            ('[', ']', parts.collect::<Vec<_>>())
        }
        Value::Table(table) => {
            let parts = entries(table).map(|(key, entry)| {
                format!("{}: {}", json_string(key), json_value(key, &entry.node, indent + 2))
            });
            ('{', '}', parts.collect())
        }
        value @ (Value::Bool(_)
        | Value::Float(_)
        | Value::Integer(_)
        | Value::Null
        | Value::Other(_)
        | Value::Text(_)) => return scalar(field, value, Dialect::Json).unwrap_or_default(),
    };
    if parts.is_empty() {
        return format!("{open}{close}");
    }
    let inner = format!(",\n{:width$}", "", width = indent + 2);
    let (first, last) =
        (format!("\n{:width$}", "", width = indent + 2), format!("\n{:indent$}", ""));
    format!("{open}{first}{}{last}{close}", parts.join(&inner))
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
