//! `HostEndpoint`.

use std::net::IpAddr;

use classifier::resource::NamedPort;

use super::Kind;
use super::metadata::{self, NameRule};
use super::node::{Entry, Node};
use super::object::written;
use super::reader::{Fields, Reader, Thing};
use super::rule::has_ports;
use super::rule_value::{check_port_name, protocol_number};
use crate::diagnostic::{Diagnostic, Place};
use crate::resolve::{Content, HostEndpoint, Key, Resource};

static HOST_ENDPOINT: Thing = Thing {
    name: "a host endpoint",
    fields: &[
        "name",
        "labels",
        "annotations",
        "node",
        "interfaceName",
        "expectedIPs",
        "profiles",
        "ports",
    ],
    unsupported: &[],
};

static PORT: Thing =
    Thing { name: "a named port", fields: &["name", "protocol", "port"], unsupported: &[] };

/// Longest name of an interface (Linux `IFNAMSIZ`, less its final zero).
const INTERFACE_LEN_MAX: usize = 15;

/// Reads a host endpoint.
pub(crate) fn host_endpoint(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &HOST_ENDPOINT)?;
    let name = metadata::name(&fields, NameRule::Subdomain, reader);
    let labels = metadata::labels(&fields, reader);
    metadata::annotations(&fields, reader);
    let node_name = node_name(&fields, reader);
    let interface = fields.entry("interfaceName").and_then(|entry| interface(entry, reader));
    let expected_ips =
        fields.entry("expectedIPs").map(|entry| addresses(entry, reader)).unwrap_or_default();
    check_is_somewhere(&fields, reader);
    let (profiles, profiles_at) =
        fields.entry("profiles").map(|entry| profiles(entry, reader)).unwrap_or_default();
    let ports = fields.entry("ports").map(|entry| ports(entry, reader)).unwrap_or_default();
    let (name, at) = name?;
    let key = Key { kind: Kind::HostEndpoint, namespace: None, name };
    let node = node_name?;
    let content =
        HostEndpoint { labels, node, interface, expected_ips, profiles, profiles_at, ports };
    Some(Resource { key, at, content: Content::HostEndpoint(content) })
}

fn node_name(fields: &Fields<'_>, reader: &mut Reader) -> Option<String> {
    let entry = fields.required("node", "node = \"name-of-the-machine\"", reader)?;
    let text = reader.text("node", &entry.node)?;
    metadata::check_name("node", text, &entry.node, NameRule::Subdomain, reader);
    Some(text.value.clone())
}

/// The name of an interface, or `*` for all; an empty one is the same as none.
fn interface(entry: &Entry, reader: &mut Reader) -> Option<String> {
    let text = &reader.text("interfaceName", &entry.node)?.value;
    if text.is_empty() {
        return None;
    }
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if text != "*" && (text.len() > INTERFACE_LEN_MAX || !text.bytes().all(is_good)) {
        let message = format!("`{text}` cannot be the name of an interface");
        let finding = Diagnostic::error("endpoint.interface", message)
            .at(reader.place(&entry.node.span), "expected `*` or the name of one interface")
            .help(format!(
                "write at most {INTERFACE_LEN_MAX} letters, digits, `-`, `_` and `.`; `*` means all interfaces"
            ));
        reader.report(finding);
    }
    Some(text.clone())
}

fn addresses(entry: &Entry, reader: &mut Reader) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
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
        addresses.push(written.address);
    }
    addresses
}

/// An endpoint is known by its interface or by its addresses.
fn check_is_somewhere(fields: &Fields<'_>, reader: &mut Reader) {
    let says_something = |field| fields.entry(field).is_some_and(|entry| !entry.node.is_unset());
    if says_something("interfaceName") || says_something("expectedIPs") {
        return;
    }
    let finding = Diagnostic::error("field.missing", "a host endpoint needs `expectedIPs`")
        .at(reader.place(&fields.span), "neither `expectedIPs` nor `interfaceName` is here")
        .help(
            "add `expectedIPs = [\"198.18.70.1\"]`; an interface of the gateway itself can be named by \
             `interfaceName` instead",
        );
    reader.report(finding);
}

/// Names of profiles, and where each is named.
fn profiles(entry: &Entry, reader: &mut Reader) -> (Vec<String>, Vec<Place>) {
    let (mut profiles, mut places) = (Vec::new(), Vec::new());
    for node in reader.array(entry) {
        let Some(text) = reader.text("profiles", node) else { continue };
        metadata::check_name("profile", text, node, NameRule::Subdomain, reader);
        profiles.push(text.value.clone());
        places.push(reader.place(&node.span));
    }
    (profiles, places)
}

fn ports(entry: &Entry, reader: &mut Reader) -> Vec<NamedPort> {
    let nodes = reader.array(entry);
    nodes.iter().filter_map(|node| port(node, reader)).collect()
}

fn port(node: &Node, reader: &mut Reader) -> Option<NamedPort> {
    let fields = reader.fields(node, &PORT)?;
    let name = fields.required("name", "name = \"http\"", reader).and_then(|entry| {
        let text = reader.text("name", &entry.node)?;
        check_port_name(&text.value, &entry.node, reader);
        Some(text.value.clone())
    });
    let protocol = fields.required("protocol", "protocol = \"TCP\"", reader).and_then(|entry| {
        let number = protocol_number(entry, reader)?;
        if !has_ports(number) {
            let finding =
                Diagnostic::error("endpoint.port", "a named port needs a protocol that has ports")
                    .at(reader.place(&entry.node.span), "no such ports")
                    .help("write `protocol = \"TCP\"`, `\"UDP\"` or `\"SCTP\"`");
            reader.report(finding);
        }
        Some(number)
    });
    let port = fields
        .required("port", "port = 80", reader)
        .and_then(|entry| reader.integer("port", &entry.node, 1..=65535))
        .and_then(|port| u16::try_from(port).ok());
    Some(NamedPort { name: name?, protocol: protocol?, port: port? })
}
