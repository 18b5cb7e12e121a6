//! What has labels and addresses: `GlobalNetworkSet` and `HostEndpoint`.

use classifier::resource::{Object, ObjectKind};
use ipnet::IpNet;

use super::metadata::{self, NameRule};
use super::net::Written;
use super::node::{Entry, Node, Value};
use super::reader::{Fields, Reader, Thing, Unsupported};
use crate::diagnostic::{Diagnostic, Place, Severity};

static NETWORK_SET: Thing = Thing {
    name: "a global network set",
    fields: &["name", "labels", "annotations", "nets", "list"],
    unsupported: &[Unsupported {
        field: "allowedEgressDomains",
        severity: Severity::Error,
        help: "list the addresses in `nets` or in a list file",
    }],
};

static LIST: Thing = Thing { name: "a list", fields: &["path"], unsupported: &[] };

static HOST_ENDPOINT: Thing = Thing {
    name: "a host endpoint",
    fields: &["name", "labels", "annotations", "node", "expectedIPs"],
    unsupported: &[
        Unsupported {
            field: "interfaceName",
            severity: Severity::Error,
            help: "remove it: an endpoint behind the gateway is known by its `expectedIPs`",
        },
        Unsupported {
            field: "profiles",
            severity: Severity::Error,
            help: "write the labels that the profiles give into `labels` of the endpoint",
        },
        Unsupported {
            field: "ports",
            severity: Severity::Warning,
            help: "named ports are not supported yet; rules need port numbers",
        },
    ],
};

/// An object of a document, its list files not yet read.
#[derive(Clone, Debug)]
pub(crate) struct DocumentObject {
    pub(crate) object: Object,
    pub(crate) name_at: Place,
    pub(crate) lists: Vec<ListUse>,
}

/// A list file that a network set names.
#[derive(Clone, Debug)]
pub(crate) struct ListUse {
    /// As written, relative to the document's directory.
    pub(crate) path: String,
    pub(crate) at: Place,
}

/// Reads one element of `globalNetworkSets`.
pub(crate) fn network_set(node: &Node, reader: &mut Reader) -> Option<DocumentObject> {
    let fields = reader.fields(node, &NETWORK_SET)?;
    let name = metadata::name(&fields, NameRule::Subdomain, reader);
    let labels = metadata::labels(&fields, reader);
    metadata::annotations(&fields, reader);
    let nets = fields.entry("nets").map(|entry| set_nets(entry, reader)).unwrap_or_default();
    let lists = lists(&fields, reader);
    let (name, name_at) = name?;
    let kind = ObjectKind::GlobalNetworkSet;
    Some(DocumentObject {
        object: Object {
            kind,
            name,
            labels,
            nets,
            ..Object::new(ObjectKind::GlobalNetworkSet, "")
        },
        name_at,
        lists,
    })
}

/// Reads one element of `hostEndpoints`.
pub(crate) fn host_endpoint(node: &Node, reader: &mut Reader) -> Option<DocumentObject> {
    let fields = reader.fields(node, &HOST_ENDPOINT)?;
    let name = metadata::name(&fields, NameRule::Subdomain, reader);
    let labels = metadata::labels(&fields, reader);
    metadata::annotations(&fields, reader);
    let node_name = fields.required("node", "node = \"name-of-the-machine\"", reader);
    if let Some(entry) = node_name
        && let Some(text) = reader.text("node", &entry.node)
    {
        metadata::check_name("node", text, &entry.node, NameRule::Subdomain, reader);
    }
    let addresses = if fields.has("interfaceName") {
        // Calico needs no address then; here that field is refused already.
        fields.entry("expectedIPs")
    } else {
        fields.required("expectedIPs", "expectedIPs = [\"198.18.70.1\"]", reader)
    };
    let nets = addresses.map(|entry| expected_ips(entry, reader)).unwrap_or_default();
    let (name, name_at) = name?;
    let kind = ObjectKind::HostEndpoint;
    let object =
        Object { kind, name, labels, nets, ..Object::new(ObjectKind::GlobalNetworkSet, "") };
    Some(DocumentObject { object, name_at, lists: Vec::new() })
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

fn expected_ips(entry: &Entry, reader: &mut Reader) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for node in reader.array(entry) {
        let Some(written) = written(&entry.key, node, reader) else { continue };
        if let Some(length) = written.prefix_len {
            let finding = Diagnostic::error(
                "net.not-an-address",
                format!("`expectedIPs` takes single addresses, not a network of length {length}"),
            )
            .at(reader.place(&node.span), "expected an address without `/`")
            .help("list the addresses one by one; a network with labels is a global network set");
            reader.report(finding);
        }
        nets.push(IpNet::from(written.address));
    }
    if nets.is_empty() && matches!(&entry.node.value, Value::Array(items) if items.is_empty()) {
        let finding = Diagnostic::error("field.value", "`expectedIPs` is empty")
            .at(reader.place(&entry.node.span), "expected at least one address")
            .help("without an address nothing can be protected: add one or remove the endpoint");
        reader.report(finding);
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
