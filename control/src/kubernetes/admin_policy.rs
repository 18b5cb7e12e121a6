//! `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy` of `policy.networking.k8s.io/v1alpha1`, as Calico 3.30 and 3.31
//! read them. There they have tiers of their own; here they stand in those of the kind that replaced them, which lie in
//! the same places: before and behind the default tier.

use classifier::resource::{Action, PolicyKind, PortRange};

use super::cluster_policy::range;
use super::cluster_rule::{self, Grammar, Read};
use super::network_policy::{number, port_name};
use super::ports::{Port, Protocol, protocol_of};
use crate::diagnostic::Diagnostic;
use crate::document::{Fields, Kind, Node, Reader, Thing, Value};
use crate::resolve::Resource;

static ADMIN_NETWORK_POLICY: Thing = Thing {
    name: "an admin network policy",
    fields: &["name", "labels", "annotations", "priority", "subject", "ingress", "egress"],
    unsupported: &[],
};

static BASELINE_ADMIN_NETWORK_POLICY: Thing = Thing {
    name: "a baseline admin network policy",
    fields: &["name", "labels", "annotations", "subject", "ingress", "egress"],
    unsupported: &[],
};

static ADMIN: Grammar = Grammar {
    ingress_rule: INGRESS_RULE,
    egress_rule: EGRESS_RULE,
    actions: &[("Allow", Action::Allow), ("Deny", Action::Deny), ("Pass", Action::Pass)],
    ports: "ports",
    port,
    items_max: 100,
};

static BASELINE: Grammar = Grammar {
    ingress_rule: INGRESS_RULE,
    egress_rule: EGRESS_RULE,
    actions: &[("Allow", Action::Allow), ("Deny", Action::Deny)],
    ports: "ports",
    port,
    items_max: 100,
};

const INGRESS_RULE: Thing = Thing {
    name: "an ingress rule",
    fields: &["name", "action", "from", "ports"],
    unsupported: &[],
};
const EGRESS_RULE: Thing =
    Thing { name: "an egress rule", fields: &["name", "action", "to", "ports"], unsupported: &[] };

static PORT: Thing =
    Thing { name: "a port", fields: &["portNumber", "portRange", "namedPort"], unsupported: &[] };
static NUMBER: Thing =
    Thing { name: "a port number", fields: &["port", "protocol"], unsupported: &[] };
static RANGE: Thing =
    Thing { name: "a range of ports", fields: &["start", "end", "protocol"], unsupported: &[] };

/// The one name that a baseline policy can have: there is one in a cluster.
const BASELINE_NAME: &str = "default";
/// Where Calico puts the baseline policy within its tier.
const BASELINE_ORDER: f64 = 1000.0;

/// Reads an `AdminNetworkPolicy`.
pub(crate) fn admin_network_policy(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &ADMIN_NETWORK_POLICY)?;
    let order = cluster_rule::priority(&fields, reader);
    let kind = (Kind::AdminNetworkPolicy, PolicyKind::KubernetesAdminNetworkPolicy);
    let place = ("kube-admin", order.unwrap_or_default());
    let policy = cluster_rule::policy(&fields, &ADMIN, kind, place, reader)?;
    order.map(|_| policy)
}

/// Reads a `BaselineAdminNetworkPolicy`.
pub(crate) fn baseline_admin_network_policy(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &BASELINE_ADMIN_NETWORK_POLICY)?;
    check_name(&fields, reader);
    let kind = (Kind::BaselineAdminNetworkPolicy, PolicyKind::KubernetesBaselineAdminNetworkPolicy);
    let place = ("kube-baseline", BASELINE_ORDER);
    cluster_rule::policy(&fields, &BASELINE, kind, place, reader)
}

fn check_name(fields: &Fields<'_>, reader: &mut Reader) {
    let Some(entry) = fields.entry("name") else { return };
    let Value::Text(text) = &entry.node.value else { return };
    if text.value == BASELINE_NAME {
        return;
    }
    let message = format!("a baseline admin network policy cannot be named `{}`", text.value);
    let finding = Diagnostic::error("name.invalid", message)
        .at(reader.place(&entry.node.span), "there is one in a cluster, and it has one name")
        .help(format!("name it `{BASELINE_NAME}`"));
    reader.report(finding);
}

fn port(node: &Node, reader: &mut Reader) -> Read<(Protocol, Port)> {
    match read_port(node, reader) {
        Some(port) => Read::Translated(port),
        None => Read::Refused,
    }
}

/// One item of `ports`. Named ports are of TCP, as in Calico.
fn read_port(node: &Node, reader: &mut Reader) -> Option<(Protocol, Port)> {
    let fields = reader.fields(node, &PORT)?;
    match (fields.entry("portNumber"), fields.entry("portRange"), fields.entry("namedPort")) {
        (Some(entry), None, None) => {
            let fields = reader.fields(&entry.node, &NUMBER)?;
            let protocol = protocol_of(&fields, reader);
            let entry = fields.required("port", "port = 443", reader)?;
            let port = number("port", &entry.node, reader)?;
            Some((protocol?, Port::Range(PortRange { first: port, last: port })))
        }
        (None, Some(entry), None) => {
            let fields = reader.fields(&entry.node, &RANGE)?;
            let protocol = protocol_of(&fields, reader);
            let range = range(&fields, reader)?;
            Some((protocol?, Port::Range(range)))
        }
        (None, None, Some(entry)) => {
            let name = port_name("namedPort", &entry.node, reader)?;
            Some((Protocol::Tcp, Port::Named(name)))
        }
        (_, _, _) => {
            let message = "a port is one of `portNumber`, `portRange` and `namedPort`";
            let finding = Diagnostic::error("kubernetes.port", message)
                .at(reader.place(&node.span), "expected exactly one of them")
                .help("write `portNumber = { protocol = \"TCP\", port = 443 }`");
            reader.report(finding);
            None
        }
    }
}
