//! `[management]`: connections that policy must never cut, for it is changed over them.

use std::net::{IpAddr, SocketAddr};

use classifier::packet::{Side, protocol};
use ipnet::IpNet;

use super::reader::SIDES;
use crate::diagnostic::{Diagnostic, Place};
use crate::document::{Entry, Fields, Reader};

/// Connections that `check` looks after; none unless some are named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManagementSettings {
    /// The side that they come in by.
    pub incoming: Side,
    /// Where they come from.
    pub from: Vec<IpNet>,
    /// What they go to.
    pub to: Vec<ManagedService>,
}

/// A port of a machine that is managed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManagedService {
    /// The machine.
    pub address: IpAddr,
    /// TCP, UDP or SCTP.
    pub protocol: u8,
    /// The port.
    pub port: u16,
    /// As it is written.
    pub text: String,
    pub(crate) at: Place,
}

impl Default for ManagementSettings {
    fn default() -> Self {
        Self { incoming: Side::Outside, from: Vec::new(), to: Vec::new() }
    }
}

pub(super) fn read(fields: &Fields<'_>, reader: &mut Reader) -> ManagementSettings {
    let incoming = fields
        .entry("in")
        .and_then(|entry| reader.choice("in", &entry.node, SIDES))
        .unwrap_or(Side::Outside);
    // One without the other is half a sentence.
    if fields.entry("from").is_none() && fields.entry("to").is_none() {
        return ManagementSettings { incoming, ..ManagementSettings::default() };
    }
    let from = fields.required("from", "from = [\"198.18.10.0/24\"]", reader);
    let from = from.map(|entry| networks(entry, "settings.management", reader)).unwrap_or_default();
    let to = fields.required("to", "to = [\"198.18.0.1:22/tcp\"]", reader);
    let to = to.map(|entry| services(entry, reader)).unwrap_or_default();
    ManagementSettings { incoming, from, to }
}

/// Networks and addresses; what is neither is reported under `code`.
pub(super) fn networks(entry: &Entry, code: &'static str, reader: &mut Reader) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for node in reader.array(entry) {
        let Some(text) = reader.text(&entry.key, node) else { continue };
        if let Some(net) = net(&text.value) {
            networks.push(net);
        } else {
            let message = format!("`{}` is neither a network nor an address", text.value);
            let finding = Diagnostic::error(code, message)
                .at(reader.place(&node.span), "expected a network")
                .help("write it as `198.18.10.0/24`, `2001:2:0:10::/64` or `198.18.10.5`");
            reader.report(finding);
        }
    }
    networks
}

fn services(to: &Entry, reader: &mut Reader) -> Vec<ManagedService> {
    let mut services = Vec::new();
    for node in reader.array(to) {
        let Some(text) = reader.text("to", node) else { continue };
        let at = reader.place(&node.span);
        if let Some((end, protocol)) = service(&text.value) {
            let (address, port, text) = (end.ip(), end.port(), text.value.clone());
            services.push(ManagedService { address, protocol, port, text, at });
        } else {
            let message = format!("`{}` is no address with a port and a protocol", text.value);
            let finding = Diagnostic::error("settings.management", message)
                .at(at, "expected an address, a port and a protocol")
                .help("write it as `198.18.0.1:22/tcp` or `[2001:2::1]:22/tcp`");
            reader.report(finding);
        }
    }
    services
}

fn net(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| address()).ok().map(|net| net.trunc())
}

fn service(text: &str) -> Option<(SocketAddr, u8)> {
    let (end, name) = text.rsplit_once('/')?;
    let protocol = match name.to_ascii_lowercase().as_str() {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "sctp" => protocol::SCTP,
        _ => return None,
    };
    Some((end.parse().ok()?, protocol))
}
