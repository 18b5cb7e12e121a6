//! `Namespace`, `ServiceAccount` and `Pod`: who is who in a cluster.
//!
//! A cluster's server has checked these, and most of what they hold is no business of a firewall: fields that are not
//! read here are passed over, and only what is read and wrong is reported.

use std::net::IpAddr;

use classifier::label::Labels;
use classifier::packet::protocol;
use classifier::resource::NamedPort;

use crate::document::metadata::{self, NameRule};
use crate::document::{Entry, Fields, Kind, Node, Reader, Table, Thing, Value, written};
use crate::resolve::{Content, Key, Pod, Resource};

pub(crate) static NAMESPACE: Thing =
    Thing { name: "a namespace", fields: &["name", "labels", "annotations"], unsupported: &[] };

pub(crate) static SERVICE_ACCOUNT: Thing = Thing {
    name: "a service account",
    fields: &["name", "namespace", "labels", "annotations"],
    unsupported: &[],
};

pub(crate) static POD: Thing = Thing {
    name: "a pod",
    fields: &[
        "name",
        "namespace",
        "labels",
        "annotations",
        "deletionTimestamp",
        "hostNetwork",
        "serviceAccountName",
        "containers",
        "initContainers",
        "phase",
        "podIP",
        "podIPs",
    ],
    unsupported: &[],
};

/// Where Calico's and Amazon's network plugins write the addresses of a pod before its status has them, in the order in
/// which they are asked (Calico `conversion.go`, `getPodIPs`). Commas separate several.
const ADDRESS_ANNOTATIONS: [&str; 3] =
    ["cni.projectcalico.org/podIPs", "cni.projectcalico.org/podIP", "vpc.amazonaws.com/pod-ips"];

/// A pod in one of these phases has given its addresses back.
const FINISHED: [&str; 3] = ["Failed", "Succeeded", "Completed"];

/// Reads a `Namespace`.
pub(crate) fn namespace(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &NAMESPACE)?;
    let (name, at) = metadata::name(&fields, NameRule::Label, reader)?;
    let content = Content::Namespace(strings("labels", &fields, reader));
    Some(Resource { key: Key { kind: Kind::Namespace, namespace: None, name }, at, content })
}

/// Reads a `ServiceAccount`.
pub(crate) fn service_account(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &SERVICE_ACCOUNT)?;
    let (name, at) = metadata::name(&fields, NameRule::Subdomain, reader)?;
    let namespace = Some(metadata::namespace(&fields, reader));
    let content = Content::ServiceAccount(strings("labels", &fields, reader));
    Some(Resource { key: Key { kind: Kind::ServiceAccount, namespace, name }, at, content })
}

/// Reads a `Pod`. One that shares its machine's addresses, is finished or has no address yet is nobody.
pub(crate) fn pod(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &POD)?;
    let (name, at) = metadata::name(&fields, NameRule::Subdomain, reader)?;
    let namespace = Some(metadata::namespace(&fields, reader));
    let annotations = strings("annotations", &fields, reader);
    let account = fields.entry("serviceAccountName").and_then(|entry| {
        let text = reader.text("serviceAccountName", &entry.node)?;
        (!text.value.is_empty()).then(|| text.value.clone())
    });
    let pod = Pod {
        labels: strings("labels", &fields, reader),
        addresses: addresses(&fields, &annotations, reader),
        ports: ports(&fields, reader),
        service_account: account,
    };
    let gone = is_host(&fields) || is_finished(&fields, &annotations) || pod.addresses.is_empty();
    let content = if gone { Content::Idle } else { Content::Pod(pod) };
    Some(Resource { key: Key { kind: Kind::Pod, namespace, name }, at, content })
}

/// A table of strings.
fn strings(field: &'static str, fields: &Fields<'_>, reader: &mut Reader) -> Labels {
    let Some(entry) = fields.entry(field) else { return Labels::new() };
    let Value::Table(table) = &entry.node.value else {
        let help = format!("write `{field} = {{ app = \"web\" }}`");
        reader.mistyped(field, &entry.node, "a table", help);
        return Labels::new();
    };
    let pairs = table.entries.iter().filter_map(|entry| {
        let text = reader.text(&entry.key, &entry.node)?;
        Some((entry.key.clone(), text.value.clone()))
    });
    pairs.collect()
}

fn is_host(fields: &Fields<'_>) -> bool {
    let entry = fields.entry("hostNetwork");
    entry.is_some_and(|entry| matches!(entry.node.value, Value::Bool(true)))
}

/// Whether the pod has given its addresses back. While one is being deleted, its network plugin says so by an empty
/// annotation (Calico `conversion.go`, `IsFinished`).
fn is_finished(fields: &Fields<'_>, annotations: &Labels) -> bool {
    let is_text = |entry: &Entry| matches!(&entry.node.value, Value::Text(text) if FINISHED.contains(&text.value.as_str()));
    let released = ["cni.projectcalico.org/podIP", "vpc.amazonaws.com/pod-ips"]
        .iter()
        .any(|name| annotations.get(name) == Some(""));
    fields.entry("phase").is_some_and(is_text)
        || (fields.entry("deletionTimestamp").is_some() && released)
}

fn addresses(fields: &Fields<'_>, annotations: &Labels, reader: &mut Reader) -> Vec<IpAddr> {
    if let Some(entry) = fields.entry("podIPs").filter(|entry| !entry.node.is_unset()) {
        let nodes = reader.array(entry);
        return nodes.iter().filter_map(|node| pod_ip(node, reader)).collect();
    }
    if let Some(entry) = fields.entry("podIP").filter(|entry| !entry.node.is_unset()) {
        return written("podIP", &entry.node, reader).into_iter().map(|ip| ip.address).collect();
    }
    let annotated = ADDRESS_ANNOTATIONS
        .iter()
        .find_map(|name| annotations.get(name).filter(|value| !value.is_empty()));
    // An annotation that holds no address is for its plugin to correct; the pod has none until then.
    let parsed = annotated
        .unwrap_or_default()
        .split(',')
        .filter_map(|part| crate::document::Written::parse(part.trim()).ok().map(|ip| ip.address));
    parsed.collect()
}

/// One item of `podIPs`.
fn pod_ip(node: &Node, reader: &mut Reader) -> Option<IpAddr> {
    let Some(ip) = field(node, "ip") else {
        let help = "write `podIPs = [{ ip = \"198.18.0.1\" }]`".to_owned();
        reader.mistyped("podIPs", node, "a table with `ip`", help);
        return None;
    };
    written("ip", ip, reader).map(|ip| ip.address)
}

/// The ports of all containers that have a name.
fn ports(fields: &Fields<'_>, reader: &mut Reader) -> Vec<NamedPort> {
    let mut ports = Vec::new();
    for entry in ["containers", "initContainers"].iter().filter_map(|name| fields.entry(name)) {
        for container in reader.array(entry) {
            let Value::Table(table) = &container.value else { continue };
            let Some(entry) = set(table, "ports") else { continue };
            for node in reader.array(entry) {
                ports.extend(port(node, reader));
            }
        }
    }
    ports
}

/// A port of a container, if it has a name and a protocol whose ports rules can name.
fn port(node: &Node, reader: &mut Reader) -> Option<NamedPort> {
    let Value::Text(name) = &field(node, "name")?.value else { return None };
    let protocol = match field(node, "protocol").map(|node| &node.value) {
        None => protocol::TCP,
        Some(Value::Text(text)) => protocol_of(&text.value)?,
        Some(_) => return None,
    };
    let port = reader.integer("containerPort", field(node, "containerPort")?, 0..=65535)?;
    let port = u16::try_from(port).ok()?;
    let named = port != 0 && !name.value.is_empty();
    named.then(|| NamedPort { name: name.value.clone(), protocol, port })
}

/// The number of a protocol as Kubernetes names it; TCP where it names none.
pub(super) fn protocol_of(name: &str) -> Option<u8> {
    match name {
        "TCP" | "" => Some(protocol::TCP),
        "UDP" => Some(protocol::UDP),
        "SCTP" => Some(protocol::SCTP),
        _ => None,
    }
}

/// The value of a field that is set, of something that has fields.
pub(super) fn field<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Value::Table(table) = &node.value else { return None };
    set(table, name).map(|entry| &entry.node)
}

pub(super) fn set<'a>(table: &'a Table, name: &str) -> Option<&'a Entry> {
    table.entry(name).filter(|entry| !matches!(entry.node.value, Value::Null))
}
