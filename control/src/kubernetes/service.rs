//! `Service` and `EndpointSlice`: what rules name by `services`.

use std::net::IpAddr;

use classifier::packet::protocol;
use classifier::resource::ServiceEndpoint;

use super::identity::{field, protocol_of, set};
use crate::document::metadata::{self, NameRule};
use crate::document::{Kind, Node, Reader, Thing, Value, Written};
use crate::resolve::{Content, EndpointSlice, Key, Resource};

pub(crate) static SERVICE: Thing = Thing {
    name: "a service",
    fields: &["name", "namespace", "labels", "annotations"],
    unsupported: &[],
};

pub(crate) static ENDPOINT_SLICE: Thing = Thing {
    name: "an endpoint slice",
    fields: &["name", "namespace", "labels", "annotations", "addressType", "endpoints", "ports"],
    unsupported: &[],
};

/// The label by which a slice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Reads a `Service`. Where it is served is in its endpoint slices; it says nothing that a rule could match.
pub(crate) fn service(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &SERVICE)?;
    let (name, at) = metadata::name(&fields, NameRule::Label, reader)?;
    let namespace = Some(metadata::namespace(&fields, reader));
    let content = Content::Idle;
    Some(Resource { key: Key { kind: Kind::Service, namespace, name }, at, content })
}

/// Reads an `EndpointSlice`. Every endpoint counts, whether it is ready or not, as in Calico
/// (`felix/serviceindex/serviceindex.go`).
pub(crate) fn endpoint_slice(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &ENDPOINT_SLICE)?;
    let (name, at) = metadata::name(&fields, NameRule::Subdomain, reader)?;
    let namespace = Some(metadata::namespace(&fields, reader));
    let labels = fields.entry("labels").and_then(|entry| field(&entry.node, SERVICE_NAME));
    let service = labels.and_then(|node| reader.text(SERVICE_NAME, node));
    let service = service.filter(|text| !text.value.is_empty()).map(|text| text.value.clone());
    let mut ports = Vec::new();
    if let Some(entry) = fields.entry("ports") {
        for node in reader.array(entry) {
            ports.extend(port(node, reader));
        }
    }
    let mut endpoints = Vec::new();
    if let Some(entry) = fields.entry("endpoints") {
        for node in reader.array(entry) {
            let addresses = addresses(node, reader);
            let endpoint = |address| ServiceEndpoint { address, ports: ports.clone() };
            endpoints.extend(addresses.into_iter().map(endpoint));
        }
    }
    let content = Content::EndpointSlice(EndpointSlice { service, endpoints });
    Some(Resource { key: Key { kind: Kind::EndpointSlice, namespace, name }, at, content })
}

/// A port of the slice. One without a number stands for none; what is no other protocol is TCP.
fn port(node: &Node, reader: &mut Reader) -> Option<(u8, u16)> {
    let port = reader.integer("port", field(node, "port")?, 0..=65535)?;
    let protocol = match field(node, "protocol").map(|node| &node.value) {
        Some(Value::Text(text)) => protocol_of(&text.value).unwrap_or(protocol::TCP),
        Some(_) | None => protocol::TCP,
    };
    Some((protocol, u16::try_from(port).ok()?))
}

/// The addresses of an endpoint; names are passed over, as in Calico.
fn addresses(node: &Node, reader: &mut Reader) -> Vec<IpAddr> {
    let Value::Table(table) = &node.value else { return Vec::new() };
    let Some(entry) = set(table, "addresses") else { return Vec::new() };
    let nodes = reader.array(entry);
    let texts = nodes.iter().filter_map(|node| reader.text("addresses", node));
    texts
        .filter_map(|text| Written::parse(&text.value).ok().map(|written| written.address))
        .collect()
}
