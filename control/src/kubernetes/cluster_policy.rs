//! `ClusterNetworkPolicy` of `policy.networking.k8s.io/v1alpha2` (Calico `K8sClusterNetworkPolicyToCalico`).

use classifier::resource::{Action, PolicyKind, PortRange};

use super::cluster_rule::{self, Grammar, Read, Untranslated};
use super::network_policy::number;
use super::ports::{Port, Protocol};
use crate::diagnostic::Diagnostic;
use crate::document::{Entry, Fields, Kind, Node, Reader, Thing};
use crate::resolve::Resource;

static CLUSTER_NETWORK_POLICY: Thing = Thing {
    name: "a cluster network policy",
    fields: &["name", "labels", "annotations", "tier", "priority", "subject", "ingress", "egress"],
    unsupported: &[],
};

static GRAMMAR: Grammar = Grammar {
    ingress_rule: Thing {
        name: "an ingress rule",
        fields: &["name", "action", "from", "protocols"],
        unsupported: &[],
    },
    egress_rule: Thing {
        name: "an egress rule",
        fields: &["name", "action", "to", "protocols"],
        unsupported: &[],
    },
    actions: &[("Accept", Action::Allow), ("Deny", Action::Deny), ("Pass", Action::Pass)],
    ports: "protocols",
    port: protocol,
    items_max: 25,
};

static PROTOCOL: Thing = Thing {
    name: "a protocol",
    fields: &["tcp", "udp", "sctp", "destinationNamedPort"],
    unsupported: &[],
};
static OF_PROTOCOL: Thing =
    Thing { name: "a match of a protocol", fields: &["destinationPort"], unsupported: &[] };
static PORT: Thing = Thing { name: "a port", fields: &["number", "range"], unsupported: &[] };
static RANGE: Thing =
    Thing { name: "a range of ports", fields: &["start", "end"], unsupported: &[] };

const TIERS: &[(&str, &str)] = &[("Admin", "kube-admin"), ("Baseline", "kube-baseline")];

/// Reads a `ClusterNetworkPolicy`.
pub(crate) fn cluster_network_policy(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &CLUSTER_NETWORK_POLICY)?;
    let tier = fields
        .required("tier", "tier = \"Admin\"", reader)
        .and_then(|entry| reader.choice("tier", &entry.node, TIERS));
    let order = cluster_rule::priority(&fields, reader);
    let place = (tier.unwrap_or_default(), order.unwrap_or_default());
    let kind = (Kind::ClusterNetworkPolicy, PolicyKind::KubernetesClusterNetworkPolicy);
    let policy = cluster_rule::policy(&fields, &GRAMMAR, kind, place, reader)?;
    tier.and(order).map(|_| policy)
}

/// One item of `protocols`: a protocol, perhaps with destination ports.
fn protocol(node: &Node, reader: &mut Reader) -> Read<(Protocol, Port)> {
    let Some(fields) = reader.fields(node, &PROTOCOL) else { return Read::Refused };
    let present: Vec<&'static str> =
        PROTOCOL.fields.iter().copied().filter(|field| fields.entry(field).is_some()).collect();
    let [field] = *present.as_slice() else {
        let finding = Diagnostic::error("kubernetes.port", "a protocol has exactly one field")
            .at(reader.place(&node.span), format!("has {}", present.len()))
            .help("write `tcp`, `udp` or `sctp`, each as an item of its own");
        reader.report(finding);
        return Read::Refused;
    };
    let Some(entry) = fields.entry(field) else { return Read::Refused };
    let protocol = match field {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => {
            let what = format!("`{field}`");
            let at = reader.place(&entry.key_span);
            let help = "write the port's number below `tcp`, `udp` or `sctp`";
            return Read::Untranslated(Untranslated { what, at, help });
        }
    };
    match destination_port(entry, reader) {
        Some(port) => Read::Translated((protocol, port)),
        None => Read::Refused,
    }
}

fn destination_port(entry: &Entry, reader: &mut Reader) -> Option<Port> {
    let fields = reader.fields(&entry.node, &OF_PROTOCOL)?;
    let Some(entry) = fields.entry("destinationPort") else { return Some(Port::All) };
    let fields = reader.fields(&entry.node, &PORT)?;
    match (fields.entry("number"), fields.entry("range")) {
        (Some(entry), None) => {
            let port = number("number", &entry.node, reader)?;
            Some(Port::Range(PortRange { first: port, last: port }))
        }
        (None, Some(entry)) => {
            let fields = reader.fields(&entry.node, &RANGE)?;
            range(&fields, reader).map(Port::Range)
        }
        (Some(_), Some(_)) | (None, None) => {
            let finding =
                Diagnostic::error("kubernetes.port", "a port is either a `number` or a `range`")
                    .at(reader.place(&entry.node.span), "expected one of the two")
                    .help("write `destinationPort = { number = 443 }`");
            reader.report(finding);
            None
        }
    }
}

/// `start` and `end` of a range.
pub(super) fn range(fields: &Fields<'_>, reader: &mut Reader) -> Option<PortRange> {
    let first = fields.required("start", "start = 8000", reader);
    let last = fields.required("end", "end = 8100", reader);
    let first = first.and_then(|entry| number("start", &entry.node, reader));
    let last_number = last.and_then(|entry| number("end", &entry.node, reader));
    let (first, last_number) = (first?, last_number?);
    if first <= last_number {
        return Some(PortRange { first, last: last_number });
    }
    let message = format!("the range from {first} to {last_number} ends before it begins");
    let span = last.map_or(fields.span.clone(), |entry| entry.node.span.clone());
    let finding = Diagnostic::error("kubernetes.port", message)
        .at(reader.place(&span), "lower than `start`")
        .help(format!("write a port from {first} to 65535"));
    reader.report(finding);
    None
}
