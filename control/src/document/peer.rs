//! Peers: what one end of a packet must be for a rule to match.

use std::net::{Ipv4Addr, Ipv6Addr};

use classifier::decision::Direction;
use classifier::resource::{Action, Peer, PortRange, ServiceName};
use classifier::selector::Selector;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::metadata::{self, NameRule};
use super::node::{Entry, Node, Value};
use super::object::written;
use super::reader::{Fields, Reader, Thing};
use super::rule_value::{Port, port};
use super::scope::PeerSelectors;
use super::selector::{self, Global};
use crate::diagnostic::{Diagnostic, Place};
use crate::resolve::{PortUse, SelectorRole, SelectorUse, ServiceUse, Uses};

static PEER: Thing = Thing {
    name: "a peer",
    fields: &[
        "nets",
        "notNets",
        "selector",
        "notSelector",
        "namespaceSelector",
        "serviceAccounts",
        "services",
        "ports",
        "notPorts",
    ],
    unsupported: &[],
};

static SERVICE_ACCOUNTS: Thing =
    Thing { name: "a match of service accounts", fields: &["names", "selector"], unsupported: &[] };

static SERVICES: Thing =
    Thing { name: "a match of services", fields: &["name", "namespace"], unsupported: &[] };

/// Calico's own limits; larger is taken, but would not load there.
const CALICO_NETS_MAX: usize = 256;
const CALICO_PORTS_MAX: usize = 50;

/// What of its policy the meaning of a rule depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct RuleScope<'a> {
    pub(super) direction: Direction,
    /// Namespace of the policy, if its kind has namespaces.
    pub(super) namespace: Option<&'a str>,
}

/// Which end of a packet a peer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Source,
    Destination,
}

impl End {
    fn field(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// Reads the peer at one end of a rule.
pub(super) fn peer(
    rule: &Fields<'_>,
    end: End,
    action: Option<Action>,
    scope: RuleScope<'_>,
    uses: &mut Uses,
    reader: &mut Reader,
) -> Peer {
    let Some(entry) = rule.entry(end.field()) else { return Peer::default() };
    let Some(fields) = reader.fields(&entry.node, &PEER) else { return Peer::default() };
    let action = action.unwrap_or(Action::Deny);
    let (selector, not_selector) =
        selectors(&fields, SelectorRole::Peer(action), scope.namespace, uses, reader);
    let (ports, named_ports) = ports(&fields, "ports", uses, reader);
    let (not_ports, not_named_ports) = self::ports(&fields, "notPorts", uses, reader);
    let service = fields.entry("services").and_then(|entry| {
        check_service(entry, &fields, end, scope.direction, reader);
        service(entry, scope.namespace, reader)
    });
    if let (Some(name), Some(entry)) = (&service, fields.entry("services")) {
        let at = reader.place(&entry.node.span);
        uses.services.push(ServiceUse { name: name.clone(), at });
    }
    Peer {
        nets: nets(&fields, "nets", reader),
        not_nets: nets(&fields, "notNets", reader),
        selector,
        not_selector,
        ports,
        not_ports,
        named_ports,
        not_named_ports,
        service,
    }
}

/// The effective selector of a peer, and its `notSelector`. An empty string is the same as none, as in Calico.
fn selectors(
    fields: &Fields<'_>,
    role: SelectorRole,
    namespace: Option<&str>,
    uses: &mut Uses,
    reader: &mut Reader,
) -> (Option<Selector>, Option<Selector>) {
    let mut text = |field, global| {
        let entry = fields.entry(field)?;
        Some((selector::text(field, &entry.node, global, reader)?, reader.place(&entry.node.span)))
    };
    let selector = text("selector", Global::Refused);
    let not_selector = text("notSelector", Global::Taken);
    let namespaces = text("namespaceSelector", Global::Alone);
    let mut written = PeerSelectors {
        selector: selector.as_ref().map_or("", |(text, _)| text),
        not_selector: not_selector.as_ref().map_or("", |(text, _)| text),
        namespaces: namespaces.as_ref().map_or("", |(text, _)| text),
        ..PeerSelectors::default()
    };
    let accounts_at = fields.entry("serviceAccounts").map(|entry| {
        accounts(entry, &mut written, reader);
        reader.place(&entry.node.span)
    });
    let at = [selector.as_ref(), namespaces.as_ref()]
        .into_iter()
        .find_map(|written| written.filter(|(text, _)| !text.is_empty()).map(|(_, at)| at));
    let at = at.or(accounts_at.as_ref()).cloned();
    let effective = written.effective(namespace);
    let place = at.clone().unwrap_or_else(|| reader.place(&fields.span));
    let positive = effective_selector(&effective, "selector", &place, reader);
    if let (Some(selector), Some(at)) = (&positive, at) {
        uses.selectors.push(SelectorUse { selector: selector.clone(), at, role });
    }
    let negative = not_selector.and_then(|(text, at)| {
        let selector = effective_selector(text, "notSelector", &at, reader)?;
        let role = SelectorRole::NotPeer;
        uses.selectors.push(SelectorUse { selector: selector.clone(), at, role });
        Some(selector)
    });
    (positive, negative)
}

/// The selector of a text whose parts have been read; none of an empty one. Together they can be nested too deep.
pub(super) fn effective_selector(
    text: &str,
    field: &str,
    at: &Place,
    reader: &mut Reader,
) -> Option<Selector> {
    if text.is_empty() {
        return None;
    }
    match Selector::parse(text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            let message =
                format!("`{field}` cannot be read with what is added to it: {}", error.message);
            let finding = Diagnostic::error("selector.syntax", message)
                .at(at.clone(), "in here")
                .help("write it with fewer parentheses and shorter names of labels");
            reader.report(finding);
            None
        }
    }
}

fn accounts<'a>(entry: &'a Entry, written: &mut PeerSelectors<'a>, reader: &mut Reader) {
    let Some(fields) = reader.fields(&entry.node, &SERVICE_ACCOUNTS) else { return };
    if let Some(entry) = fields.entry("names") {
        for node in reader.array(entry) {
            let Some(text) = reader.text("names", node) else { continue };
            metadata::check_name("service account", text, node, NameRule::Subdomain, reader);
            written.service_account_names.push(&text.value);
        }
    }
    if let Some(entry) = fields.entry("selector")
        && let Some(text) = selector::text("selector", &entry.node, Global::Taken, reader)
    {
        written.service_accounts = text;
    }
}

/// A service stands where its endpoints do, and alone.
fn check_service(
    entry: &Entry,
    fields: &Fields<'_>,
    end: End,
    direction: Direction,
    reader: &mut Reader,
) {
    let place = reader.place(&entry.key_span);
    let good_end = match direction {
        Direction::Ingress => End::Source,
        Direction::Egress => End::Destination,
    };
    if end != good_end {
        let (here, there) = (end.field(), good_end.field());
        let rules = match direction {
            Direction::Ingress => "`ingress`",
            Direction::Egress => "`egress`",
        };
        let message = format!("{rules} rules cannot match services in `{here}`");
        let finding = Diagnostic::error("rule.service", message)
            .at(place.clone(), "not allowed here")
            .help(format!("write it in `{there}`, or match by `selector`"));
        reader.report(finding);
    }
    let alone =
        ["selector", "notSelector", "namespaceSelector", "nets", "notNets", "serviceAccounts"];
    let ports = ["ports", "notPorts"];
    let excluded = alone.iter().chain(if end == End::Destination { &ports[..] } else { &[] });
    for field in excluded.copied() {
        let Some(other) = fields.entry(field).filter(|other| !other.node.is_unset()) else {
            continue;
        };
        let message = format!("`services` and `{field}` cannot stand in one peer");
        let help = if ports.contains(&field) {
            "remove the ports: a service brings its own"
        } else {
            "write two rules, or leave one of the two out"
        };
        let finding = Diagnostic::error("rule.service", message)
            .at(reader.place(&other.key_span), "beside `services`")
            .help(help)
            .related(place.clone(), "the service is named here");
        reader.report(finding);
    }
}

fn service(entry: &Entry, own: Option<&str>, reader: &mut Reader) -> Option<ServiceName> {
    let fields = reader.fields(&entry.node, &SERVICES)?;
    let mut word = |field: &'static str| {
        let entry = fields.entry(field)?;
        let text = reader.text(field, &entry.node)?;
        if text.value.is_empty() {
            return None;
        }
        metadata::check_name(field, text, &entry.node, NameRule::Subdomain, reader);
        Some(text.value.clone())
    };
    let (name, namespace) = (word("name"), word("namespace"));
    let mut missing = |field: &str, example: &str| {
        let finding =
            Diagnostic::error("field.missing", format!("a match of services needs `{field}`"))
                .at(reader.place(&fields.span), format!("`{field}` is missing here"))
                .help(format!("add `{example}`"));
        reader.report(finding);
    };
    if name.is_none() {
        missing("name", "name = \"web\"");
    }
    if namespace.is_none() && own.is_none() {
        missing("namespace", "namespace = \"default\"");
    }
    Some(ServiceName { name: name?, namespace: namespace.or_else(|| own.map(str::to_owned))? })
}

fn nets(fields: &Fields<'_>, field: &'static str, reader: &mut Reader) -> Vec<IpNet> {
    let Some(entry) = fields.entry(field) else { return Vec::new() };
    let nodes = reader.array(entry);
    check_list(entry, nodes.len(), CALICO_NETS_MAX, reader);
    let nets = nodes.iter().filter_map(|node| {
        let net = rule_net(field, node, reader)?;
        if field == "notNets" && (net == ALL_V4 || net == ALL_V6) {
            let finding =
                Diagnostic::error("net.everything", format!("`notNets` cannot hold `{net}`"))
                    .at(reader.place(&node.span), "leaves nothing that could match")
                    .help("remove the rule, or name a smaller network");
            reader.report(finding);
        }
        Some(net)
    });
    nets.collect()
}

const ALL_V4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
const ALL_V6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));

/// A network of a rule: with a prefix length and without host bits, unlike those of sets (Calico `scanNets`).
fn rule_net(field: &'static str, node: &Node, reader: &mut Reader) -> Option<IpNet> {
    let written = written(field, node, reader)?;
    let net = written.network();
    let finding = match written.prefix_len {
        Some(_) if net.addr() == written.address => return Some(net),
        Some(length) => Diagnostic::error(
            "net.host-bits",
            format!("`{}/{length}` has bits set behind its prefix", written.address),
        )
        .at(reader.place(&node.span), "not a network")
        .help(format!(
            "write `{net}` for the network, or `{}` for the one address",
            IpNet::from(written.address)
        )),
        None => Diagnostic::error(
            "net.no-prefix",
            format!("`{}` has no prefix length", written.address),
        )
        .at(reader.place(&node.span), "not a network")
        .help(format!("write `{net}`")),
    };
    reader.report(finding);
    Some(net)
}

/// Ports by number and by name.
fn ports(
    fields: &Fields<'_>,
    field: &'static str,
    uses: &mut Uses,
    reader: &mut Reader,
) -> (Vec<PortRange>, Vec<String>) {
    let (mut ranges, mut names) = (Vec::new(), Vec::new());
    let Some(entry) = fields.entry(field) else { return (ranges, names) };
    let nodes = reader.array(entry);
    check_list(entry, nodes.len(), CALICO_PORTS_MAX, reader);
    for node in nodes {
        match port(field, node, reader) {
            None => {}
            Some(Port::Named(name)) => {
                let at = reader.place(&node.span);
                uses.ports.push(PortUse { name: name.clone(), at });
                names.push(name);
            }
            Some(Port::Range(range)) => ranges.push(range),
        }
    }
    (ranges, names)
}

/// An empty list is no condition at all, which is seldom what its author means. A long one does not load into Calico.
fn check_list(entry: &Entry, count: usize, max: usize, reader: &mut Reader) {
    let finding = if matches!(&entry.node.value, Value::Array(items) if items.is_empty()) {
        Diagnostic::warning("rule.empty-list", format!("`{}` is empty", entry.key))
            .at(
                reader.place(&entry.node.span),
                "an empty list is no condition: everything matches it",
            )
            .help("remove the field, or say what to match")
    } else if count > max {
        Diagnostic::warning("size.calico", format!("`{}` has {count} entries", entry.key))
            .at(reader.place(&entry.key_span), "more than Calico takes")
            .help(format!("Calico refuses more than {max}; split the rule to use it there"))
    } else {
        return;
    };
    reader.report(finding);
}
