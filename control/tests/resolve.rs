//! What resources mean together, and that the way there does not matter.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use classifier::label::Labels;
use classifier::packet::protocol;
use classifier::resource::{
    GatewayPort, Hook, InterfaceMatch, NamedPort, Object, ObjectKind, Policy, PolicyKind,
    PolicySet, StagedAction,
};
use classifier::selector::Selector;
use control::diagnostic::{Source, any_error, render_human};
use control::inventory;
use control::resolve::{Gateway, Resource, Resources};

const CLUSTER: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: web}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: shop, labels: {kind: machine}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {role: web, pcns.team: forged, pcsa.kind: forged}}
spec:
  serviceAccountName: robot
  containers: [{name: web, ports: [{name: http, containerPort: 8080}]}]
status: {phase: Running, podIP: 198.18.1.1, podIPs: [{ip: 198.18.1.1}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkSet
metadata: {name: rack, namespace: shop, labels: {role: db}}
spec: {nets: [198.18.70.0/24]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: noc, labels: {zone: noc}}
spec: {nets: [198.18.10.0/24]}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: first}
spec: {labelsToApply: {own: first, both: first, one: first}}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: second}
spec: {labelsToApply: {both: second, two: second}, ingress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: gw1-eth1, labels: {own: mine}}
spec: {node: gw1, interfaceName: eth1, expectedIPs: [198.18.0.1], profiles: [first, second]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: db1, labels: {role: db}}
spec: {node: db1, expectedIPs: [198.18.70.1, '2001:2::1'], ports: [{name: sql, protocol: TCP, port: 5432}]}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 10}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: security.pre}
spec: {tier: security, selector: has(own), preDNAT: true, applyOnForward: true, ingress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: everything-in-a-namespace}
spec: {namespaceSelector: all(), types: [Ingress, Egress]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: role == 'db'
  ingress:
  - {action: Allow, source: {selector: role == 'web'}}
  - {action: Allow, source: {namespaceSelector: global()}}
  - {action: Allow, source: {notSelector: role == 'web'}}
  - {action: Allow, source: {services: {name: web}}}
  - {action: Allow, destination: {ports: [sql]}}
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: web, namespace: shop}
spec: {selector: all(), egress: [{action: Deny}]}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: security.pre}
spec: {stagedAction: Delete, tier: security}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: learning}
spec: {stagedAction: Learn, selector: all()}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {}, ingress: []}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-abc, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [198.18.1.1]}]
ports: [{name: http, port: 8080, protocol: TCP}]
";

#[test]
fn what_resources_mean_does_not_depend_on_the_way_there() {
    let all = resources(CLUSTER);
    let expected = set_of(&all);
    let expected = format!("{expected:?}");
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..50 {
        let mut store = Resources::new();
        let mut order = all.clone();
        random.shuffle(&mut order);
        for resource in &order {
            store.apply(resource.clone());
            // Some go and come again, and asking in between changes nothing.
            let other = &order[random.usize(..order.len())];
            if store.remove(other.key()) {
                let _ = store.policy_set(&gateway());
                store.apply(other.clone());
            }
        }
        assert_eq!(format!("{:?}", store.policy_set(&gateway())), expected);
        for resource in &order {
            assert!(store.remove(resource.key()));
        }
        assert!(store.is_empty());
        let nothing = store.policy_set(&gateway());
        assert!(nothing.policies.is_empty() && nothing.objects.is_empty());
        assert_eq!((nothing.tiers.len(), nothing.profiles.len()), (3, 1));
    }
}

#[test]
fn what_is_in_a_namespace_has_its_labels_while_it_is_there() {
    let mut store = store(CLUSTER);
    let with =
        "projectcalico.org/namespace=shop pcns.team=web pcns.projectcalico.org/name=shop role=db";
    assert_eq!(object(&store.policy_set(&gateway()), "rack").labels, labels(with));
    let all = resources(CLUSTER);
    let namespace = all.iter().find(|resource| resource.key().name == "shop").unwrap();
    assert!(store.remove(namespace.key()));
    let without = "projectcalico.org/namespace=shop role=db";
    assert_eq!(object(&store.policy_set(&gateway()), "rack").labels, labels(without));
    store.apply(namespace.clone());
    assert_eq!(object(&store.policy_set(&gateway()), "rack").labels, labels(with));
}

#[test]
fn pods_have_labels_of_namespace_and_service_account_and_cannot_forge_them() {
    let expected = "role=web projectcalico.org/namespace=shop projectcalico.org/orchestrator=k8s \
                    projectcalico.org/serviceaccount=robot pcns.team=web pcns.projectcalico.org/name=shop \
                    pcsa.kind=machine pcsa.projectcalico.org/name=robot";
    assert_eq!(object(&store(CLUSTER).policy_set(&gateway()), "web-1").labels, labels(expected));
}

#[test]
fn labels_of_an_endpoint_win_over_those_of_its_profiles_and_these_in_their_order() {
    let set = store(CLUSTER).policy_set(&gateway());
    let expected = labels("own=mine both=first one=first two=second");
    assert_eq!(set.interfaces[0].labels, expected);
    assert_eq!(object(&set, "gw1-eth1").labels, expected);
}

#[test]
fn an_endpoint_of_this_gateway_is_an_interface_and_to_rules_a_peer() {
    let set = store(CLUSTER).policy_set(&gateway());
    let names: Vec<&str> = set.interfaces.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(names, ["gw1-eth1"]);
    assert_eq!(set.interfaces[0].interface, InterfaceMatch::Name("eth1".to_owned()));
    assert_eq!(set.interfaces[0].profiles, ["first", "second"]);
    assert!(object(&set, "gw1-eth1").peer_only);
    assert!(!object(&set, "db1").peer_only);
    assert_eq!(set.ports, gateway().ports);

    let elsewhere = store(CLUSTER).policy_set(&Gateway::default());
    assert!(elsewhere.interfaces.is_empty());
    assert!(!object(&elsewhere, "gw1-eth1").peer_only);
}

#[test]
fn how_an_endpoint_names_its_interface_says_which_ports_it_governs() {
    let endpoint = |field: &str| {
        let text = format!("[[hostEndpoints]]\nname = 'a'\nnode = 'gw1'\n{field}\n");
        let source = Source::new("a.toml", text);
        let (resources, findings) = inventory::read(&source, &gateway());
        assert!(findings.is_empty(), "{}", render_human(&findings, false));
        set_of(&resources).interfaces[0].interface.clone()
    };
    assert_eq!(endpoint("interfaceName = '*'"), InterfaceMatch::All);
    assert_eq!(
        endpoint("interfaceName = 'eth0'\nexpectedIPs = ['198.18.0.1']"),
        InterfaceMatch::Name("eth0".to_owned())
    );
    let addresses = vec!["198.18.0.1".parse().unwrap(), "2001:2::1".parse().unwrap()];
    let by_address = endpoint("interfaceName = ''\nexpectedIPs = ['198.18.0.1', '2001:2::1']");
    assert_eq!(by_address, InterfaceMatch::Addresses(addresses));
}

#[test]
fn endpoints_behind_the_gateway_keep_addresses_and_named_ports() {
    let set = store(CLUSTER).policy_set(&gateway());
    let db1 = object(&set, "db1");
    let nets: Vec<String> = db1.nets.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["198.18.70.1/32", "2001:2::1/128"]);
    let sql = NamedPort { name: "sql".to_owned(), protocol: protocol::TCP, port: 5432 };
    assert_eq!((db1.kind, &db1.ports), (ObjectKind::HostEndpoint, &vec![sql]));
}

#[test]
fn allow_all_is_a_profile_that_is_always_there() {
    let set = store(CLUSTER).policy_set(&gateway());
    let profiles: Vec<(&str, usize, usize)> = set
        .profiles
        .iter()
        .map(|profile| (profile.name.as_str(), profile.ingress.len(), profile.egress.len()))
        .collect();
    assert_eq!(
        profiles,
        [("first", 0, 0), ("projectcalico-default-allow", 1, 1), ("second", 1, 0)]
    );
}

#[test]
fn staged_policies_stand_beside_the_enforced_ones_unless_they_are_idle() {
    let set = store(CLUSTER).policy_set(&gateway());
    let staged: Vec<_> = set
        .policies
        .iter()
        .filter_map(|policy| Some((policy.kind, policy.name.as_str(), policy.staged?)))
        .collect();
    assert_eq!(
        staged,
        [
            (PolicyKind::GlobalNetworkPolicy, "security.pre", StagedAction::Delete),
            (PolicyKind::NetworkPolicy, "web", StagedAction::Set),
        ]
    );
    let deletes = set.policies.iter().find(|p| p.staged == Some(StagedAction::Delete)).unwrap();
    assert!(!deletes.applies_ingress && !deletes.applies_egress);
    assert_eq!(deletes.tier, "security");
}

#[test]
fn policies_of_a_namespace_select_in_it_and_are_asked_of_it() {
    let set = store(CLUSTER).policy_set(&gateway());
    let web = policy(&set, PolicyKind::NetworkPolicy, "web");
    assert_eq!(web.namespace.as_deref(), Some("shop"));
    assert_eq!(matching(&set, &web.selector), ["rack"]);
    let peers: Vec<Vec<&str>> = web
        .ingress
        .iter()
        .map(|rule| rule.source.selector.as_ref().map_or(vec![], |s| matching(&set, s)))
        .collect();
    assert_eq!(peers[0], ["web-1"]);
    assert_eq!(peers[1], ["noc", "db1", "gw1-eth1"]);
    // Of a peer that is only said what it must not be, the namespace still counts.
    assert_eq!(peers[2], ["rack", "web-1"]);
    let service = web.ingress[3].source.service.as_ref().unwrap();
    assert_eq!((service.namespace.as_str(), service.name.as_str()), ("shop", "web"));
    assert_eq!(set.services[0].endpoints[0].ports, [(protocol::TCP, 8080)]);
    // Ports alone do not bind a rule to the namespace.
    assert_eq!(web.ingress[4].destination.selector, None);
    assert_eq!(web.ingress[4].destination.named_ports, ["sql"]);
}

#[test]
fn all_namespaces_are_not_everything() {
    let set = store(CLUSTER).policy_set(&gateway());
    let everything = policy(&set, PolicyKind::GlobalNetworkPolicy, "everything-in-a-namespace");
    assert_eq!(matching(&set, &everything.selector), ["rack", "web-1"]);
}

#[test]
fn hooks_follow_from_the_three_fields() {
    let hook = |fields: &str| {
        let text = format!("[[globalNetworkPolicies]]\nname = 'a'\n{fields}\n");
        let (resources, findings) = inventory::read(&Source::new("a.toml", text), &gateway());
        assert!(findings.is_empty(), "{}", render_human(&findings, false));
        set_of(&resources).policies[0].hook
    };
    assert_eq!(hook(""), Hook::Normal);
    assert_eq!(hook("applyOnForward = true"), Hook::Forward);
    assert_eq!(hook("applyOnForward = true\npreDNAT = true"), Hook::PreDnat);
    assert_eq!(hook("applyOnForward = true\ndoNotTrack = true"), Hook::Untracked);
    assert_eq!(hook("applyOnForward = false\ndoNotTrack = false\npreDNAT = false"), Hook::Normal);
}

#[test]
fn resources_that_calico_has_stored_are_read_with_their_own_metadata() {
    let text = r#"
apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkSet
metadata:
  name: rack
  labels: {role: old, zone: a}
  annotations: {projectcalico.org/metadata: '{"labels":{"role":"db"},"creationTimestamp":null}'}
spec: {nets: [198.18.70.0/24]}
---
apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata:
  name: default.web
  annotations: {projectcalico.org/metadata: '{"uid":"1"}'}
spec: {tier: default, selector: all()}
---
apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata: {name: security.web}
spec: {tier: security, selector: all()}
---
apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata:
  name: default.db
  annotations: {projectcalico.org/metadata: '{"name":"default.db"}'}
spec: {selector: all()}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: default.noc}
spec: {selector: all()}
"#;
    let set = store(text).policy_set(&gateway());
    assert_eq!(object(&set, "rack").labels, labels("role=db zone=a"));
    let names: Vec<&str> = set.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["default.db", "default.noc", "security.web", "web"]);
}

fn gateway() -> Gateway {
    let port = |interface: &str| GatewayPort { interface: interface.to_owned(), addresses: vec![] };
    let ports = vec![port("eth1"), port("eth2")];
    Gateway { name: "gw1".to_owned(), ports, ..Gateway::default() }
}

fn resources(text: &str) -> Vec<Resource> {
    let (resources, findings) = inventory::read(&Source::new("a.yaml", text), &gateway());
    assert!(!any_error(&findings), "{}", render_human(&findings, false));
    resources
}

fn store(text: &str) -> Resources {
    let mut store = Resources::new();
    for resource in resources(text) {
        store.apply(resource);
    }
    store
}

fn set_of(resources: &[Resource]) -> PolicySet {
    let mut store = Resources::new();
    for resource in resources {
        store.apply(resource.clone());
    }
    store.policy_set(&gateway())
}

fn object<'a>(set: &'a PolicySet, name: &str) -> &'a Object {
    set.objects.iter().find(|object| object.name == name).unwrap()
}

fn policy<'a>(set: &'a PolicySet, kind: PolicyKind, name: &str) -> &'a Policy {
    let found = |policy: &&Policy| policy.kind == kind && policy.name == name;
    set.policies.iter().find(found).unwrap()
}

/// Names of what the selector matches, in the order of the set.
fn matching<'a>(set: &'a PolicySet, selector: &Selector) -> Vec<&'a str> {
    let objects = set.objects.iter().filter(|object| selector.matches(&object.labels));
    objects.map(|object| object.name.as_str()).collect()
}

/// `name=value` with blanks between them.
fn labels(text: &str) -> Labels {
    text.split_whitespace().map(|label| label.split_once('=').unwrap()).collect()
}
