//! A program as a policy set.

use classifier::packet::protocol;
use classifier::resource::{
    Action, GatewayPort, Hook, IcmpMatch, InterfaceEndpoint, InterfaceMatch, NamedPort, Object,
    ObjectKind, Peer, Policy, PolicySet, PortRange, Rule, Service, ServiceEndpoint, ServiceName,
    Tier, TierAction,
};
use classifier::selector::Selector;
use ipnet::IpNet;
use serde_json::Value;

use crate::{list, port, small, text};

/// How an IP set of addresses with ports is said.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Names {
    /// Objects with named ports, and a rule for each protocol.
    AsPorts,
    /// Services.
    AsServices,
}

/// Parts of a program.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Stage {
    PreDnat,
    Forward,
    Normal,
    /// The endpoint's own: those of a workload.
    Tiers,
}

impl Stage {
    pub(crate) const ALL: [Self; 4] = [Self::PreDnat, Self::Forward, Self::Normal, Self::Tiers];

    fn field(self) -> &'static str {
        match self {
            Self::PreDnat => "pre_dnat",
            Self::Forward => "forward",
            Self::Normal => "normal",
            Self::Tiers => "tiers",
        }
    }

    /// An XDP program is of untracked policies, whatever its field is called.
    fn hook(self, case: &Value) -> Hook {
        match self {
            Self::PreDnat => Hook::PreDnat,
            Self::Forward => Hook::Forward,
            Self::Normal if case["xdp"] == true => Hook::Untracked,
            Self::Normal | Self::Tiers => Hook::Normal,
        }
    }
}

/// Whether the case can be said that way: services say what a destination is, and only a rule with named ports needs one.
pub(crate) fn can_say(case: &Value, names: Names) -> bool {
    let of_stages = Stage::ALL.iter().flat_map(|stage| list(&case[stage.field()]));
    let policies = of_stages.flat_map(|tier| list(&tier["policies"]));
    let rules: Vec<&Value> = policies.flat_map(|policy| list(&policy["rules"])).collect();
    let any_has = |field: &str| rules.iter().any(|rule| rule.get(field).is_some());
    names == Names::AsPorts || any_has("dst_named") && !any_has("src_named")
}

pub(crate) fn has_endpoint(case: &Value) -> bool {
    case["host_iface"] == true
        || ["pre_dnat", "forward", "normal"].iter().any(|field| !list(&case[*field]).is_empty())
}

pub(crate) fn has_tiers(case: &Value) -> bool {
    !list(&case["tiers"]).is_empty()
}

pub(crate) fn has_pre_dnat(case: &Value) -> bool {
    !list(&case["pre_dnat"]).is_empty()
}

/// Whether the case has policies that only what enters meets.
pub(crate) fn is_early(case: &Value) -> bool {
    case["xdp"] == true || has_pre_dnat(case)
}

/// Those stages of the case. No case has profiles; none has host policies behind its preDNAT ones, which what these
/// allow would skip.
pub(crate) fn policy_set(case: &Value, names: Names, stages: &[Stage]) -> PolicySet {
    for other in ["profiles", "host_profiles"] {
        assert!(list(&case[other]).is_empty(), "`{other}` is not known here: {case}");
    }
    let is_last = ["forward", "normal"].iter().all(|field| list(&case[*field]).is_empty());
    assert!(!has_pre_dnat(case) || is_last, "stages behind preDNAT are not known here: {case}");
    let mut set = PolicySet { tiers: Vec::new(), ..PolicySet::new() };
    if has_tiers(case) || !has_endpoint(case) {
        set.objects.push(object("everything", "protected", &["0.0.0.0/0", "::/0"]));
    }
    if stages.contains(&Stage::PreDnat) && stages.len() == 1 {
        // The tiers behind have their own question.
        set.defaults.allow_unselected = true;
    }
    for (name, members) in case["ipsets"].as_object().unwrap() {
        add_ip_set(&mut set, name, list(members));
    }
    if has_endpoint(case) {
        add_endpoint(&mut set);
    }
    for stage in stages {
        // What Calico leaves out on a workload's interface.
        if *stage != Stage::Normal || case["suppress_normal"] == false {
            add_stage(&mut set, case, names, *stage);
        }
    }
    set
}

fn add_ip_set(set: &mut PolicySet, name: &str, members: &[Value]) {
    let label = format!("ipset/{name}");
    let (with_port, without): (Vec<&str>, Vec<&str>) =
        members.iter().map(text).partition(|member| member.contains(','));
    set.objects.push(object(name, &label, &without));
    let mut endpoints = Vec::new();
    for member in with_port {
        let (net, port) = member.split_once(',').unwrap();
        let (protocol, port) = port.split_once(':').unwrap();
        let (protocol, port) = (protocol_of(protocol), port.parse().unwrap());
        let mut object = object(member, &label, &[net]);
        object.ports.push(NamedPort { name: name.to_owned(), protocol, port });
        let address = object.nets.first().unwrap().addr();
        endpoints.push(ServiceEndpoint { address, ports: vec![(protocol, port)] });
        set.objects.push(object);
    }
    if !endpoints.is_empty() {
        set.services.push(Service { name: service(name), endpoints });
    }
}

fn add_endpoint(set: &mut PolicySet) {
    set.ports.push(GatewayPort { interface: "eth0".to_owned(), addresses: Vec::new() });
    set.interfaces.push(InterfaceEndpoint {
        name: "host".to_owned(),
        interface: InterfaceMatch::Name("eth0".to_owned()),
        labels: [("host", "")].into_iter().collect(),
        profiles: Vec::new(),
    });
}

fn add_stage(set: &mut PolicySet, case: &Value, names: Names, stage: Stage) {
    let label = if stage == Stage::Tiers { "protected" } else { "host" };
    for (number, tier) in list(&case[stage.field()]).iter().enumerate() {
        // Two stages may have a tier of one name with different ends.
        let name = format!("{} of {}", text(&tier["name"]), stage.field());
        let default_action = match text(&tier["end"]) {
            "deny" => TierAction::Deny,
            "pass" => TierAction::Pass,
            other => panic!("end `{other}` is not known here: {case}"),
        };
        for (number, policy) in list(&tier["policies"]).iter().enumerate() {
            let rules: Vec<Rule> =
                list(&policy["rules"]).iter().flat_map(|rule| rules(set, rule, names)).collect();
            set.policies.push(Policy {
                hook: stage.hook(case),
                tier: name.clone(),
                order: Some(order(number)),
                selector: Selector::parse(&format!("has({label})")).unwrap(),
                applies_ingress: true,
                applies_egress: stage != Stage::PreDnat,
                ingress: rules.clone(),
                egress: if stage == Stage::PreDnat { Vec::new() } else { rules },
                ..Policy::new(text(&policy["name"]))
            });
        }
        set.tiers.push(Tier { name, order: Some(order(number)), default_action });
    }
}

fn object(name: &str, label: &str, nets: &[&str]) -> Object {
    Object {
        labels: [(label, "")].into_iter().collect(),
        nets: nets.iter().map(|net| net.parse().unwrap()).collect(),
        ..Object::new(ObjectKind::GlobalNetworkSet, name)
    }
}

/// One rule, or several where ports have names: a name in a rule is of one protocol, an IP set of any.
fn rules(set: &PolicySet, value: &Value, names: Names) -> Vec<Rule> {
    let rule = rule(value);
    let listed = |field: &str| -> Vec<String> {
        value
            .get(field)
            .map_or(Vec::new(), |sets| list(sets).iter().map(text).map(str::to_owned).collect())
    };
    let (of_source, of_destination) = (listed("src_named"), listed("dst_named"));
    if of_source.is_empty() && of_destination.is_empty() {
        return vec![rule];
    }
    if names == Names::AsServices {
        let of = |name: &String| Peer { service: Some(service(name)), ..Peer::default() };
        let of = |name| Rule { destination: of(name), ..rule.clone() };
        return of_destination.iter().map(of).collect();
    }
    let ports = set.objects.iter().flat_map(|object| &object.ports);
    let mut protocols: Vec<u8> = ports.map(|port| port.protocol).collect();
    protocols.sort_unstable();
    protocols.dedup();
    let of = |protocol| {
        let mut rule = Rule { protocol: Some(protocol), ..rule.clone() };
        rule.source.named_ports.clone_from(&of_source);
        rule.destination.named_ports.clone_from(&of_destination);
        rule
    };
    protocols.into_iter().map(of).collect()
}

fn service(name: &str) -> ServiceName {
    ServiceName { namespace: "ipset".to_owned(), name: name.to_owned() }
}

fn rule(value: &Value) -> Rule {
    let mut rule = Rule::new(Action::Allow);
    for (field, value) in value.as_object().unwrap() {
        match field.as_str() {
            "action" => rule.action = action(text(value)),
            "protocol" => rule.protocol = Some(protocol_number(value)),
            "not_protocol" => rule.not_protocol = Some(protocol_number(value)),
            "icmp" => rule.icmp = Some(icmp(value)),
            "not_icmp" => rule.not_icmp = Some(icmp(value)),
            "src_net" => rule.source.nets = nets(value),
            "not_src_net" => rule.source.not_nets = nets(value),
            "dst_net" => rule.destination.nets = nets(value),
            "not_dst_net" => rule.destination.not_nets = nets(value),
            "src_ports" => rule.source.ports = ports(value),
            "not_src_ports" => rule.source.not_ports = ports(value),
            "dst_ports" => rule.destination.ports = ports(value),
            "not_dst_ports" => rule.destination.not_ports = ports(value),
            "src_ipset" => rule.source.selector = Some(ip_set(value)),
            "not_src_ipset" => rule.source.not_selector = Some(ip_set(value)),
            "dst_ipset" => rule.destination.selector = Some(ip_set(value)),
            // The number under which Felix counts hits; and what `rules` makes of names.
            "id" | "src_named" | "dst_named" => {}
            other => panic!("rule field `{other}` is not known here"),
        }
    }
    rule
}

fn action(name: &str) -> Action {
    match name {
        "allow" => Action::Allow,
        "deny" => Action::Deny,
        "pass" => Action::Pass,
        other => panic!("action `{other}` is not known here"),
    }
}

fn protocol_number(value: &Value) -> u8 {
    value.as_str().map_or_else(|| small(value), protocol_of)
}

fn protocol_of(name: &str) -> u8 {
    match name {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        other => panic!("protocol `{other}` is not known here"),
    }
}

fn icmp(value: &Value) -> IcmpMatch {
    IcmpMatch { kind: small(&value[0]), code: (!value[1].is_null()).then(|| small(&value[1])) }
}

fn nets(value: &Value) -> Vec<IpNet> {
    list(value).iter().map(|net| text(net).parse().unwrap()).collect()
}

fn ports(value: &Value) -> Vec<PortRange> {
    let range = |range: &Value| PortRange { first: port(&range[0]), last: port(&range[1]) };
    list(value).iter().map(range).collect()
}

/// Several IP sets in one field must all match; no case that is run has more than one.
fn ip_set(value: &Value) -> Selector {
    let [name] = list(value) else { panic!("several IP sets are not known here: {value}") };
    Selector::parse(&format!("has(ipset/{})", text(name))).unwrap()
}

fn order(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}
