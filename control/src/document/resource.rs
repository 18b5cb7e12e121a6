//! From a document's tree to its resources: TOML has an array of tables for each kind, YAML and JSON have Kubernetes'
//! envelope (`apiVersion`, `kind`, `metadata`, `spec`). Both end as one table of fields a resource.

use std::ops::Range;

use super::kind::{Form, Kind, Known, known, versions_of};
use super::node::{Entry, Node, Table, Value};
use super::picked;
use super::reader::{METADATA_FIELDS, Reader, Thing, Unsupported, quoted_list, suggestion};
use super::stored;
use crate::diagnostic::Diagnostic;

static DOCUMENT: Thing = Thing {
    name: "a policy document",
    fields: &[
        "adminNetworkPolicies",
        "baselineAdminNetworkPolicies",
        "clusterNetworkPolicies",
        "endpointSlices",
        "globalNetworkPolicies",
        "globalNetworkSets",
        "hostEndpoints",
        "kubernetesNetworkPolicies",
        "namespaces",
        "networkPolicies",
        "networkSets",
        "pods",
        "profiles",
        "serviceAccounts",
        "services",
        "stagedGlobalNetworkPolicies",
        "stagedKubernetesNetworkPolicies",
        "stagedNetworkPolicies",
        "tiers",
    ],
    unsupported: &[],
};

static ENVELOPE: Thing = Thing {
    name: "a resource",
    fields: &["apiVersion", "kind", "metadata", "spec", "status"],
    unsupported: &[],
};

static LIST: Thing = Thing {
    name: "a list of resources",
    fields: &["apiVersion", "kind", "metadata", "items"],
    unsupported: &[],
};

fn metadata_of(form: &Form) -> &'static Thing {
    if form.has_namespace { &NAMESPACED_METADATA } else { &METADATA }
}

const GENERATE_NAME: Unsupported =
    Unsupported { field: "generateName", help: "give the resource a `name`" };

static NAMESPACED_METADATA: Thing = Thing {
    name: "the metadata of a resource",
    fields: &["annotations", "labels", "name", "namespace"],
    unsupported: &[GENERATE_NAME],
};

static METADATA: Thing = Thing {
    name: "the metadata of a resource",
    fields: &["annotations", "labels", "name"],
    unsupported: &[
        GENERATE_NAME,
        Unsupported {
            field: "namespace",
            help: "remove it: this kind of resource is in no namespace",
        },
    ],
};

/// What a server writes into `metadata`; it decides nothing.
const SERVER_SET: [&str; 10] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// One resource as written: its kind, and a table of what stands in its metadata and its spec.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) node: Node,
}

/// The resources of a TOML document.
pub(crate) fn of_toml(root: Table, reader: &mut Reader) -> Vec<Item> {
    reader.fields_of_table(&root, 0..0, &DOCUMENT);
    let mut resources = Vec::new();
    for entry in root.entries {
        let Some(kind) = Kind::all().find(|kind| kind.plural() == entry.key) else {
            continue;
        };
        reader.array(&entry);
        if let Value::Array(items) = entry.node.value {
            resources.extend(items.into_iter().map(|node| Item { kind, node }));
        }
    }
    resources
}

/// The resources of a YAML or JSON text; each root holds one, or a list of them.
pub(crate) fn of_nodes(roots: Vec<Node>, reader: &mut Reader) -> Vec<Item> {
    let mut resources = Vec::new();
    for root in roots {
        if !matches!(root.value, Value::Null) {
            resource(root, None, &mut resources, reader);
        }
    }
    resources
}

/// Reads one resource; `expected` is its kind if the list that it stands in says so.
fn resource(node: Node, expected: Option<Known>, resources: &mut Vec<Item>, reader: &mut Reader) {
    let Node { span, value: Value::Table(table) } = node else {
        // Reports that it is none.
        reader.fields(&node, &ENVELOPE);
        return;
    };
    match kind_of(&table, &span, expected, reader) {
        None => {}
        Some(KindFound::List(item)) => list(table, item, resources, reader),
        Some(KindFound::One(Known::Read(form))) => {
            resources.extend(enveloped(form, table, reader));
        }
        Some(KindFound::One(Known::Unread { name, help })) => {
            let entry = table.entry("kind");
            let span = entry.map_or(span, |entry| entry.node.span.clone());
            let finding =
                Diagnostic::error("kind.unsupported", format!("`{name}` is not supported"))
                    .at(reader.place(&span), "ignoring it could change what passes")
                    .help(help);
            reader.report(finding);
        }
    }
}

enum KindFound {
    /// A list, and what its items are if its name says so.
    List(Option<Known>),
    One(Known),
}

/// The kind that a resource says to be of, with an `apiVersion` that the kind has.
fn kind_of(
    table: &Table,
    span: &Range<usize>,
    expected: Option<Known>,
    reader: &mut Reader,
) -> Option<KindFound> {
    let place = reader.place(span);
    for (field, example) in [
        ("apiVersion", "apiVersion = \"projectcalico.org/v3\""),
        ("kind", "kind = \"GlobalNetworkPolicy\""),
    ] {
        if table.entry(field).is_none() && expected.is_none() {
            let finding = Diagnostic::error("field.missing", format!("a resource needs `{field}`"))
                .at(place.clone(), format!("`{field}` is missing here"))
                .help(format!("add `{example}`, or what it is"));
            reader.report(finding);
        }
    }
    let Some(entry) = table.entry("kind") else { return expected.map(KindFound::One) };
    let word = reader.text("kind", &entry.node)?.value.clone();
    let version = match table.entry("apiVersion").map(|entry| &entry.node.value) {
        Some(Value::Text(text)) => Some(text.value.as_str()),
        _ => None,
    };
    let item = |word: &str| known(word, version);
    let found = if word == "List" {
        KindFound::List(None)
    } else if let Some(item) = word.strip_suffix("List").and_then(item) {
        KindFound::List(Some(item))
    } else if let Some(known) = item(&word) {
        KindFound::One(known)
    } else {
        unknown_kind(&word, entry, reader);
        return None;
    };
    if let Some(entry) = table.entry("apiVersion") {
        check_api_version(&found, &word, entry, reader)?;
    }
    Some(found)
}

fn unknown_kind(word: &str, entry: &Entry, reader: &mut Reader) {
    let words: Vec<&str> = Kind::all().map(Kind::name).collect();
    let help = match suggestion(word, &words) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("the kinds are {}", quoted_list(&words)),
    };
    let finding = Diagnostic::error("kind.unknown", format!("`{word}` is not a kind of resource"))
        .at(reader.place(&entry.node.span), "unknown kind")
        .help(help);
    reader.report(finding);
}

fn check_api_version(
    found: &KindFound,
    kind: &str,
    entry: &Entry,
    reader: &mut Reader,
) -> Option<()> {
    let text = reader.text("apiVersion", &entry.node)?;
    let versions: &[&str] = match found {
        KindFound::List(None) => &["v1"],
        KindFound::List(Some(Known::Read(_))) | KindFound::One(Known::Read(_)) => {
            &versions_of(kind)
        }
        KindFound::List(Some(Known::Unread { .. })) | KindFound::One(Known::Unread { .. }) => &[],
    };
    let Some(wanted) = versions.first() else { return Some(()) };
    if versions.contains(&text.value.as_str()) {
        return Some(());
    }
    let message = format!("`{kind}` has no version `{}`", text.value);
    let finding = Diagnostic::error("kind.api-version", message)
        .at(reader.place(&entry.node.span), "unknown version")
        .help(format!("write `apiVersion = \"{wanted}\"`"));
    reader.report(finding);
    None
}

fn list(table: Table, item: Option<Known>, resources: &mut Vec<Item>, reader: &mut Reader) {
    let span = table.entries.first().map_or(0..0, |entry| entry.key_span.clone());
    let fields = reader.fields_of_table(&table, span, &LIST);
    if let Some(entry) = fields.required("items", "items = []", reader) {
        reader.array(entry);
    }
    let items = table.entries.into_iter().find(|entry| entry.key == "items");
    if let Some(Entry { node: Node { value: Value::Array(items), .. }, .. }) = items {
        for node in items {
            resource(node, item, resources, reader);
        }
    }
}

/// The fields of `metadata` and `spec` in one table, and those at the top that are the resource's own.
fn enveloped(form: &'static Form, table: Table, reader: &mut Reader) -> Option<Item> {
    if let Some(thing) = form.picked {
        return Some(Item { kind: form.kind, node: picked::picked(table, thing, reader)? });
    }
    let kind_at = table.entry("kind").map(|entry| entry.node.span.clone());
    reader.fields_of_table(&table, 0..0, &ENVELOPE);
    let is_stored = table.entry("apiVersion").is_some_and(
        |entry| matches!(&entry.node.value, Value::Text(text) if text.value.starts_with("crd.")),
    );
    let (mut entries, mut names_tier) = (Vec::new(), is_stored);
    let (mut metadata_at, mut spec_at) = (None, None);
    for entry in table.entries {
        match entry.key.as_str() {
            "metadata" => {
                metadata_at = Some(entry.key_span);
                let (metadata, has_own_name) = metadata(entry.node, is_stored, form, reader)?;
                names_tier &= !has_own_name;
                entries.extend(metadata);
            }
            "spec" => {
                spec_at = Some(entry.key_span);
                entries.extend(spec(entry.node, reader)?);
            }
            _ => {}
        }
    }
    if names_tier {
        stored::without_tier(form.kind, &mut entries);
    }
    let Some(metadata_at) = metadata_at else {
        let at = kind_at.or(spec_at).unwrap_or(0..0);
        let finding = Diagnostic::error("field.missing", "a resource needs `metadata`")
            .at(reader.place(&at), "`metadata` is missing here")
            .help("add `metadata = { name = \"...\" }`");
        reader.report(finding);
        return None;
    };
    let named = entries.iter().any(|entry| entry.key == "name");
    let span = if named { spec_at.unwrap_or(metadata_at) } else { metadata_at };
    Some(Item { kind: form.kind, node: Node { span, value: Value::Table(Table { entries }) } })
}

/// What of `metadata` is ours, and whether what Calico itself has stored there has a name.
fn metadata(
    node: Node,
    is_stored: bool,
    form: &Form,
    reader: &mut Reader,
) -> Option<(Vec<Entry>, bool)> {
    let Value::Table(mut table) = node.value else {
        reader.fields(&node, metadata_of(form));
        return None;
    };
    table.entries.retain(|entry| !SERVER_SET.contains(&entry.key.as_str()));
    reader.fields_of_table(&table, node.span, metadata_of(form));
    let has_own_name = is_stored && stored::add_metadata(&mut table, reader);
    table.entries.retain(|entry| {
        METADATA_FIELDS.contains(&entry.key.as_str())
            && (form.has_namespace || entry.key != "namespace")
    });
    Some((table.entries, has_own_name))
}

fn spec(node: Node, reader: &mut Reader) -> Option<Vec<Entry>> {
    let mut table = match node.value {
        Value::Null => return Some(Vec::new()),
        Value::Table(table) => table,
        Value::Array(_)
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Integer(_)
        | Value::Other(_)
        | Value::Text(_) => {
            let help = "write the fields of the resource below `spec`".to_owned();
            reader.mistyped("spec", &node, "a table", help);
            return None;
        }
    };
    table.entries.retain(|entry| {
        let misplaced = METADATA_FIELDS.contains(&entry.key.as_str());
        if misplaced {
            let finding =
                Diagnostic::error("field.unknown", format!("`spec` has no field `{}`", entry.key))
                    .at(reader.place(&entry.key_span), "unknown field")
                    .help(format!("`{}` belongs in `metadata`", entry.key));
            reader.report(finding);
        }
        !misplaced
    });
    Some(table.entries)
}
