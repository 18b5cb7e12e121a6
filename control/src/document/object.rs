//! `GlobalNetworkSet` and `NetworkSet`.

use ipnet::IpNet;

use super::Kind;
use super::metadata::{self, NameRule};
use super::net::Written;
use super::node::{Entry, Node, Value};
use super::reader::{Fields, Reader, Thing, Unsupported};
use crate::diagnostic::Diagnostic;
use crate::resolve::{Content, Key, ListUse, NetworkSet, Resource};

static GLOBAL_NETWORK_SET: Thing = Thing {
    name: "a global network set",
    fields: &["name", "labels", "annotations", "nets", "list"],
    unsupported: &[DOMAINS],
};

static NETWORK_SET: Thing = Thing {
    name: "a network set",
    fields: &["name", "namespace", "labels", "annotations", "nets", "list"],
    unsupported: &[DOMAINS],
};

/// Calico Enterprise has it.
const DOMAINS: Unsupported = Unsupported {
    field: "allowedEgressDomains",
    help: "list the addresses in `nets` or in a list file",
};

static LIST: Thing = Thing { name: "a list", fields: &["path"], unsupported: &[] };

/// Reads a network set, global or of a namespace.
pub(crate) fn network_set(kind: Kind, node: &Node, reader: &mut Reader) -> Option<Resource> {
    let is_global = kind == Kind::GlobalNetworkSet;
    let fields = reader.fields(node, if is_global { &GLOBAL_NETWORK_SET } else { &NETWORK_SET })?;
    let name = metadata::name(&fields, NameRule::Subdomain, reader);
    let namespace = if is_global { None } else { Some(metadata::namespace(&fields, reader)) };
    let labels = metadata::labels(&fields, reader);
    metadata::annotations(&fields, reader);
    let nets = fields.entry("nets").map(|entry| set_nets(entry, reader)).unwrap_or_default();
    let lists = lists(&fields, reader);
    let (name, at) = name?;
    let key = Key { kind, namespace, name };
    Some(Resource { key, at, content: Content::NetworkSet(NetworkSet { labels, nets, lists }) })
}

/// Nets of a set: host bits are masked and bare addresses taken, as Calico does.
fn set_nets(entry: &Entry, reader: &mut Reader) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for node in reader.array(entry) {
        if let Some(written) = written(&entry.key, node, reader) {
            nets.push(written.network());
        }
    }
    nets
}

/// An address or network; what is neither is reported.
pub(crate) fn written(field: &str, node: &Node, reader: &mut Reader) -> Option<Written> {
    let text = reader.text(field, node)?;
    match Written::parse(&text.value) {
        Ok(written) => Some(written),
        Err(error) => {
            let message = format!("`{}` {error}", text.value);
            let finding = Diagnostic::error("net.invalid", message)
                .at(reader.place(&node.span), error.label())
                .help(error.help(&text.value));
            reader.report(finding);
            None
        }
    }
}

/// `list`: one table, or an array of them.
fn lists(fields: &Fields<'_>, reader: &mut Reader) -> Vec<ListUse> {
    let Some(entry) = fields.entry("list") else { return Vec::new() };
    match &entry.node.value {
        Value::Array(items) => items.iter().filter_map(|node| list(node, reader)).collect(),
        Value::Bool(_)
        | Value::Float(_)
        | Value::Integer(_)
        | Value::Null
        | Value::Other(_)
        | Value::Table(_)
        | Value::Text(_) => list(&entry.node, reader).into_iter().collect(),
    }
}

fn list(node: &Node, reader: &mut Reader) -> Option<ListUse> {
    if let Value::Text(text) = &node.value {
        let help = format!("write `list = {{ path = \"{}\" }}`", text.value);
        reader.mistyped("list", node, "a table", help);
        return None;
    }
    let fields = reader.fields(node, &LIST)?;
    let entry = fields.required("path", "path = \"lists/name.cidr\"", reader)?;
    let text = reader.text("path", &entry.node)?;
    Some(ListUse { path: text.value.clone(), at: reader.place(&entry.node.span) })
}
