//! `NetworkPolicy` of `networking.k8s.io/v1`, and Calico's staged form of it (Calico `K8sNetworkPolicyToCalico`).

use classifier::resource::{
    Action, Hook, Peer, Policy, PolicyKind, PortRange, Rule, StagedAction, Tier,
};
use ipnet::IpNet;

use super::label_selector::{self, LabelSelector};
use super::ports::{Port, Ports, Protocol, gathered, protocol_of};
use super::rules::{self, Direction};
use crate::diagnostic::Diagnostic;
use crate::document::metadata::{self, NameRule};
use crate::document::rule_value::is_port_name;
use crate::document::{Entry, Fields, Kind, Node, Reader, Thing, Value, written};
use crate::resolve::{Content, Key, PolicyContent, Resource, SelectorRole, SelectorUse, Uses};

/// Where Calico puts these policies within the default tier.
const ORDER: f64 = 1000.0;

static NETWORK_POLICY: Thing = Thing {
    name: "a Kubernetes network policy",
    fields: &[
        "name",
        "namespace",
        "labels",
        "annotations",
        "podSelector",
        "policyTypes",
        "ingress",
        "egress",
    ],
    unsupported: &[],
};

static STAGED_NETWORK_POLICY: Thing = Thing {
    name: "a staged Kubernetes network policy",
    fields: &[
        "name",
        "namespace",
        "labels",
        "annotations",
        "stagedAction",
        "podSelector",
        "policyTypes",
        "ingress",
        "egress",
    ],
    unsupported: &[],
};

static INGRESS_RULE: Thing =
    Thing { name: "an ingress rule", fields: &["from", "ports"], unsupported: &[] };
static EGRESS_RULE: Thing =
    Thing { name: "an egress rule", fields: &["to", "ports"], unsupported: &[] };
static PEER: Thing = Thing {
    name: "a peer",
    fields: &["podSelector", "namespaceSelector", "ipBlock"],
    unsupported: &[],
};
static IP_BLOCK: Thing =
    Thing { name: "an IP block", fields: &["cidr", "except"], unsupported: &[] };
static PORT: Thing =
    Thing { name: "a port", fields: &["port", "endPort", "protocol"], unsupported: &[] };

const TYPES: &[(&str, Direction)] =
    &[("Ingress", Direction::Ingress), ("Egress", Direction::Egress)];

/// What becomes of a staged policy; none for those that Calico never looks at.
const STAGED_ACTIONS: &[(&str, Option<StagedAction>)] = &[
    ("Set", Some(StagedAction::Set)),
    ("Delete", Some(StagedAction::Delete)),
    ("Learn", None),
    ("Ignore", None),
];

/// Reads a `NetworkPolicy` of Kubernetes.
pub(crate) fn network_policy(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &NETWORK_POLICY)?;
    policy(&fields, Kind::KubernetesNetworkPolicy, None, reader)
}

/// Reads a `StagedKubernetesNetworkPolicy`.
pub(crate) fn staged_network_policy(node: &Node, reader: &mut Reader) -> Option<Resource> {
    let fields = reader.fields(node, &STAGED_NETWORK_POLICY)?;
    let staged = match fields.entry("stagedAction") {
        Some(entry) => reader.choice("stagedAction", &entry.node, STAGED_ACTIONS),
        None => Some(Some(StagedAction::Set)),
    };
    if staged == Some(Some(StagedAction::Delete)) {
        check_bare(&fields, reader);
    }
    let kind = Kind::StagedKubernetesNetworkPolicy;
    let policy = policy(&fields, kind, staged.flatten(), reader)?;
    match staged? {
        Some(_) => Some(policy),
        None => Some(Resource { content: Content::Idle, ..policy }),
    }
}

/// What takes a policy away says nothing else about it.
fn check_bare(fields: &Fields<'_>, reader: &mut Reader) {
    for field in ["podSelector", "policyTypes", "ingress", "egress"] {
        let Some(entry) = fields.entry(field).filter(|entry| !entry.node.is_unset()) else {
            continue;
        };
        let message = format!("`{field}` has no place in a policy that is staged to be deleted");
        let finding = Diagnostic::error("policy.staged-delete", message)
            .at(reader.place(&entry.key_span), "`stagedAction` is `Delete`")
            .help("remove it, or write `stagedAction = \"Set\"` to stage a changed policy");
        reader.report(finding);
    }
}

fn policy(
    fields: &Fields<'_>,
    kind: Kind,
    staged: Option<StagedAction>,
    reader: &mut Reader,
) -> Option<Resource> {
    let name = metadata::name(fields, NameRule::Subdomain, reader);
    metadata::labels(fields, reader);
    metadata::annotations(fields, reader);
    let namespace = metadata::namespace(fields, reader);
    let mut read = Reading { namespace: namespace.clone(), selectors: Vec::new() };
    let own = fields.entry("podSelector");
    let pods = own.map(|entry| label_selector::read(&entry.node, reader)).unwrap_or_default();
    let ingress = read.rules(fields, Direction::Ingress, reader);
    let egress = read.rules(fields, Direction::Egress, reader);
    let (applies_ingress, applies_egress) = types(fields, !egress.is_empty(), reader);
    let (name, at) = name?;
    let selector = label_selector::protected(&pods, &namespace)?;
    let selected_at = own.map_or_else(|| at.clone(), |entry| reader.place(&entry.node.span));
    let role = SelectorRole::Protects;
    read.selectors.push(SelectorUse { selector: selector.clone(), at: selected_at, role });
    let policy = Policy {
        kind: PolicyKind::KubernetesNetworkPolicy,
        namespace: Some(namespace.clone()),
        name: name.clone(),
        staged,
        hook: Hook::Normal,
        tier: Tier::DEFAULT.to_owned(),
        order: Some(ORDER),
        selector,
        applies_ingress,
        applies_egress,
        ingress,
        egress,
    };
    let key = Key { kind, namespace: Some(namespace), name };
    let content = PolicyContent {
        policy,
        tier_at: None,
        uses: Uses { selectors: read.selectors, ..Uses::default() },
    };
    Some(Resource { key, at, content: Content::Policy(Box::new(content)) })
}

/// Whether the policy applies to ingress and to egress. Without `policyTypes`: ingress, and egress if there are egress
/// rules, as the API server writes it before Calico sees the policy.
fn types(fields: &Fields<'_>, has_egress: bool, reader: &mut Reader) -> (bool, bool) {
    let entry = fields.entry("policyTypes");
    let nodes = entry.map(|entry| reader.array(entry)).unwrap_or_default();
    if nodes.is_empty() {
        return (true, has_egress);
    }
    let directions: Vec<Direction> =
        nodes.iter().filter_map(|node| reader.choice("policyTypes", node, TYPES)).collect();
    for (word, direction) in TYPES {
        let rules = fields.entry(direction.field()).filter(|entry| !entry.node.is_unset());
        // A word that was not understood may have named it.
        let is_unread = directions.len() == nodes.len() && !directions.contains(direction);
        if let Some(entry) = rules.filter(|_| is_unread) {
            let field = direction.field();
            let message = format!("the `{field}` rules are never read");
            let finding = Diagnostic::warning("policy.unread-rules", message)
                .at(reader.place(&entry.key_span), format!("`policyTypes` does not name `{word}`"))
                .help(format!("add `\"{word}\"` to `policyTypes`, or remove the rules"));
            reader.report(finding);
        }
    }
    (directions.contains(&Direction::Ingress), directions.contains(&Direction::Egress))
}

/// What the rules of one policy share while they are read.
struct Reading {
    namespace: String,
    selectors: Vec<SelectorUse>,
}

impl Reading {
    fn rules(
        &mut self,
        fields: &Fields<'_>,
        direction: Direction,
        reader: &mut Reader,
    ) -> Vec<Rule> {
        let Some(entry) = fields.entry(direction.field()) else { return Vec::new() };
        let nodes = reader.array(entry);
        nodes.iter().flat_map(|node| self.rule(node, direction, reader)).collect()
    }

    /// One rule of Kubernetes: anything of its peers on anything of its ports is allowed.
    fn rule(&mut self, node: &Node, direction: Direction, reader: &mut Reader) -> Vec<Rule> {
        let thing = match direction {
            Direction::Ingress => &INGRESS_RULE,
            Direction::Egress => &EGRESS_RULE,
        };
        let Some(fields) = reader.fields(node, thing) else { return Vec::new() };
        let peers = match fields.entry(direction.peers()) {
            Some(entry) => self.peers(entry, reader),
            None => vec![Peer::default()],
        };
        let ports = ports(&fields, reader);
        rules::rules(Action::Allow, direction, &peers, &ports)
    }

    /// An empty list is everyone, as no list is.
    fn peers(&mut self, entry: &Entry, reader: &mut Reader) -> Vec<Peer> {
        let nodes = reader.array(entry);
        if nodes.is_empty() {
            return vec![Peer::default()];
        }
        nodes.iter().filter_map(|node| self.peer(node, reader)).collect()
    }

    fn peer(&mut self, node: &Node, reader: &mut Reader) -> Option<Peer> {
        let fields = reader.fields(node, &PEER)?;
        let pods = fields.entry("podSelector");
        let namespaces = fields.entry("namespaceSelector");
        if let Some(block) = fields.entry("ipBlock") {
            if let Some(other) = pods.or(namespaces) {
                let finding = Diagnostic::error(
                    "kubernetes.peer",
                    "a peer is either an `ipBlock` or what selectors select",
                )
                .at(reader.place(&other.key_span), "the peer has an `ipBlock`")
                .help("write two peers");
                reader.report(finding);
            }
            return ip_block(block, reader);
        }
        if pods.or(namespaces).is_none() {
            let finding = Diagnostic::error("kubernetes.peer", "the peer names nothing")
                .at(reader.place(&node.span), "Kubernetes refuses an empty peer")
                .help(
                    "write `podSelector = {}` for all pods of the namespace, or remove the list of peers \
                     for everyone",
                );
            reader.report(finding);
            return None;
        }
        let selector_of =
            |entry: &Entry, reader: &mut Reader| label_selector::read(&entry.node, reader);
        let selected = pods.map(|entry| selector_of(entry, reader)).unwrap_or_default();
        let namespaces = namespaces.map(|entry| selector_of(entry, reader));
        self.pods(&selected, namespaces.as_ref(), node, reader)
    }

    fn pods(
        &mut self,
        pods: &LabelSelector,
        namespaces: Option<&LabelSelector>,
        node: &Node,
        reader: &mut Reader,
    ) -> Option<Peer> {
        let selector = match namespaces {
            Some(namespaces) => label_selector::pods_in(pods, namespaces)?,
            None => label_selector::pods_of(pods, &self.namespace)?,
        };
        self.selectors.push(SelectorUse {
            selector: selector.clone(),
            at: reader.place(&node.span),
            role: SelectorRole::Peer(Action::Allow),
        });
        Some(Peer { selector: Some(selector), ..Peer::default() })
    }
}

/// A network without those of its parts that are excepted. Calico would take one that it cannot read for everything.
fn ip_block(entry: &Entry, reader: &mut Reader) -> Option<Peer> {
    let fields = reader.fields(&entry.node, &IP_BLOCK)?;
    let cidr = fields
        .required("cidr", "cidr = \"198.18.0.0/16\"", reader)
        .and_then(|entry| network("cidr", &entry.node, reader));
    let mut not_nets = Vec::new();
    if let Some(entry) = fields.entry("except") {
        for node in reader.array(entry) {
            let Some(except) = network("except", node, reader) else { continue };
            if let Some(cidr) = cidr {
                check_except(cidr, except, node, reader);
            }
            not_nets.push(except);
        }
    }
    Some(Peer { nets: vec![cidr?], not_nets, ..Peer::default() })
}

fn check_except(cidr: IpNet, except: IpNet, node: &Node, reader: &mut Reader) {
    if cidr.contains(&except) && cidr != except {
        return;
    }
    let message = format!("`{except}` is not a part of `{cidr}`");
    let finding = Diagnostic::error("kubernetes.ip-block", message)
        .at(reader.place(&node.span), "nothing of the block is excepted by it, or all")
        .help(format!("except a smaller network that lies in `{cidr}`"));
    reader.report(finding);
}

/// A network; host bits are masked, as Kubernetes and Calico do.
pub(super) fn network(field: &'static str, node: &Node, reader: &mut Reader) -> Option<IpNet> {
    let written = written(field, node, reader)?;
    if written.prefix_len.is_none() {
        let message = format!("`{}` has no prefix length", written.address);
        let finding = Diagnostic::error("net.no-prefix", message)
            .at(reader.place(&node.span), "not a network")
            .help(format!("write `{}`", written.network()));
        reader.report(finding);
    }
    Some(written.network())
}

fn ports(fields: &Fields<'_>, reader: &mut Reader) -> Vec<Ports> {
    let Some(entry) = fields.entry("ports") else { return gathered(Vec::new()) };
    let nodes = reader.array(entry);
    gathered(nodes.iter().filter_map(|node| port(node, reader)).collect())
}

fn port(node: &Node, reader: &mut Reader) -> Option<(Protocol, Port)> {
    let fields = reader.fields(node, &PORT)?;
    let protocol = protocol_of(&fields, reader);
    let end = fields.entry("endPort");
    let port = match fields.entry("port") {
        None => {
            if let Some(end) = end {
                needs_number(end, reader);
            }
            Port::All
        }
        Some(entry) if matches!(entry.node.value, Value::Text(_)) => {
            if let Some(end) = end {
                needs_number(end, reader);
            }
            Port::Named(port_name("port", &entry.node, reader)?)
        }
        Some(entry) => {
            let first = number("port", &entry.node, reader)?;
            let last = end.map_or(Some(first), |end| number("endPort", &end.node, reader))?;
            Port::Range(range(first, last, end, reader))
        }
    };
    Some((protocol?, port))
}

fn needs_number(end: &Entry, reader: &mut Reader) {
    let finding = Diagnostic::error("kubernetes.port", "`endPort` needs a number in `port`")
        .at(reader.place(&end.key_span), "the end of a range without a beginning")
        .help("write the first port of the range in `port`");
    reader.report(finding);
}

fn range(first: u16, last: u16, end: Option<&Entry>, reader: &mut Reader) -> PortRange {
    if let Some(end) = end.filter(|_| last < first) {
        let finding = Diagnostic::error(
            "kubernetes.port",
            format!("the range from {first} to {last} ends before it begins"),
        )
        .at(reader.place(&end.node.span), "lower than `port`")
        .help(format!("write a port from {first} to 65535"));
        reader.report(finding);
    }
    PortRange { first, last: last.max(first) }
}

/// A port's number.
pub(super) fn number(field: &str, node: &Node, reader: &mut Reader) -> Option<u16> {
    u16::try_from(reader.integer(field, node, 1..=65535)?).ok()
}

/// A port's name.
pub(super) fn port_name(field: &str, node: &Node, reader: &mut Reader) -> Option<String> {
    let text = reader.text(field, node)?;
    let name = &text.value;
    let good = is_port_name(name)
        && !name.contains("--")
        && !name.starts_with('-')
        && !name.ends_with('-');
    if good {
        return Some(name.clone());
    }
    let help = if name.parse::<u16>().is_ok() {
        format!("a number stands without quotes: `{field} = {name}`")
    } else if name.contains([':', '-'])
        && name.split([':', '-']).all(|part| part.parse::<u16>().is_ok())
    {
        "a range is written with `port` and `endPort`".to_owned()
    } else {
        "use at most 15 lower-case letters, digits and `-`, with a letter among them".to_owned()
    };
    let finding =
        Diagnostic::error("kubernetes.port", format!("`{name}` is not the name of a port"))
            .at(reader.place(&node.span), "expected a number or a name")
            .help(help);
    reader.report(finding);
    None
}
