//! `[[ports]]`: the two ports, what is behind each, and what passes there below policy.

use std::net::IpAddr;

use super::PortSettings;
use super::management::networks;
use super::reader::{SIDES, thing};
use crate::diagnostic::Diagnostic;
use crate::document::{Entry, Fields, Node, Reader, Thing};

static PORT: Thing =
    thing("a port", &["interface", "side", "addresses", "networks", "nonIp", "midStream"]);

const NON_IP: &[(&str, bool)] = &[("drop", false), ("pass", true)];
const MID_STREAM: &[(&str, bool)] = &[("refuse", false), ("judge", true)];

/// Longest name of a network interface: `IFNAMSIZ` of Linux, less its final zero.
const INTERFACE_LEN_MAX: usize = 15;

/// Exactly two ports, one of each side.
pub(super) fn ports(fields: &Fields<'_>, reader: &mut Reader) -> Option<Vec<PortSettings>> {
    let entry = fields.required("ports", "[[ports]]` twice, with `interface` and `side", reader)?;
    let nodes = reader.array(entry);
    let findings_before = reader.findings.len();
    let ports: Vec<PortSettings> = nodes.iter().filter_map(|node| port(node, reader)).collect();
    if reader.findings.len() > findings_before {
        return None;
    }
    if let [first, second] = ports.as_slice()
        && first.side != second.side
        && first.interface != second.interface
    {
        return Some(ports);
    }
    let message = "a gateway has two ports: one `outside`, one `inside`, on two interfaces";
    let finding = Diagnostic::error("settings.ports", message)
        .at(reader.place(&entry.node.span), format!("{} here", count_words(&ports)))
        .help("write `[[ports]]` twice, with `side = \"outside\"` and `side = \"inside\"`");
    reader.report(finding);
    None
}

fn count_words(ports: &[PortSettings]) -> String {
    match ports {
        [first, second] if first.interface == second.interface => {
            format!("both on `{}`", first.interface)
        }
        [first, second] if first.side == second.side => format!("both `{}`", first.side),
        ports => format!("{} of them", ports.len()),
    }
}

fn port(node: &Node, reader: &mut Reader) -> Option<PortSettings> {
    let fields = reader.fields(node, &PORT)?;
    let interface = fields
        .required("interface", "interface = \"eth1\"", reader)
        .and_then(|entry| Some((entry, reader.text("interface", &entry.node)?.value.clone())));
    if let Some((entry, name)) = &interface
        && !is_interface(name)
    {
        let message = format!("`{name}` cannot be the name of an interface");
        let finding = Diagnostic::error("settings.interface", message)
            .at(
                reader.place(&entry.node.span),
                "expected 1 to 15 characters without `/` and blanks",
            )
            .help("`ip link` shows the names");
        reader.report(finding);
    }
    let side = fields
        .required("side", "side = \"inside\"", reader)
        .and_then(|entry| reader.choice("side", &entry.node, SIDES));
    let pass_non_ip = fields
        .entry("nonIp")
        .and_then(|entry| reader.choice("nonIp", &entry.node, NON_IP))
        .unwrap_or_default();
    let judge_mid_stream = fields
        .entry("midStream")
        .and_then(|entry| reader.choice("midStream", &entry.node, MID_STREAM))
        .unwrap_or_default();
    let addresses = fields.entry("addresses").map(|entry| addresses(entry, reader));
    let networks =
        fields.entry("networks").map(|entry| networks(entry, "settings.network", reader));
    Some(PortSettings {
        interface: interface?.1,
        side: side?,
        addresses: addresses.unwrap_or_default(),
        networks: networks.unwrap_or_default(),
        pass_non_ip,
        judge_mid_stream,
    })
}

fn addresses(entry: &Entry, reader: &mut Reader) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for node in reader.array(entry) {
        let Some(text) = reader.text("addresses", node) else { continue };
        if let Ok(address) = text.value.parse() {
            addresses.push(address);
        } else {
            let message = format!("`{}` is not an IP address", text.value);
            let finding = Diagnostic::error("settings.address", message)
                .at(reader.place(&node.span), "expected an address")
                .help("write it without `/` and length, as `198.18.0.1` or `2001:2::1`");
            reader.report(finding);
        }
    }
    addresses
}

fn is_interface(name: &str) -> bool {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
    !name.is_empty()
        && name.len() <= INTERFACE_LEN_MAX
        && name != "."
        && name != ".."
        && !name.contains(bad)
}
