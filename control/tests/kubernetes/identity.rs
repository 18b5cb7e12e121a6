use classifier::packet::protocol;
use classifier::resource::{NamedPort, Object, ObjectKind, PolicyKind};

use crate::{assert_errors, load, load_as, set, taken};

const NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: { team: a, kubernetes.io/metadata.name: shop }
  resourceVersion: '7'
spec: { finalizers: [kubernetes] }
status: { phase: Active }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: seller, namespace: shop, labels: { tier: front } }
secrets: [{ name: seller-token }]
---
";

/// A pod of the namespace `shop` with these lines of its own.
fn pod(metadata: &str, spec: &str, status: &str) -> String {
    format!(
        "{NAMESPACE}apiVersion: v1
kind: Pod
metadata:
  name: web-1
  generateName: web-
  namespace: shop
  ownerReferences: [{{ kind: ReplicaSet, name: web }}]
  {metadata}
spec:
  nodeName: node-1
  restartPolicy: Always
  {spec}
status:
  conditions: [{{ type: Ready, status: 'True' }}]
  {status}
"
    )
}

fn objects(text: &str) -> Vec<Object> {
    set(text).objects
}

fn labels(object: &Object) -> Vec<String> {
    object.labels.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn pod_has_its_own_labels_and_those_of_where_it_lives_and_who_it_is() {
    let text = pod(
        "labels: { app: web, pcns.team: forged, pcsa.tier: forged }",
        "serviceAccountName: seller",
        "podIP: 198.18.0.1",
    );
    let objects = objects(&text);
    assert_eq!(objects.len(), 1);
    let object = &objects[0];
    assert_eq!((object.kind, object.name.as_str()), (ObjectKind::Pod, "web-1"));
    assert_eq!(object.namespace.as_deref(), Some("shop"));
    assert!(!object.peer_only);
    assert_eq!(
        labels(object),
        [
            "app=web",
            "pcns.kubernetes.io/metadata.name=shop",
            "pcns.projectcalico.org/name=shop",
            "pcns.team=a",
            "pcsa.projectcalico.org/name=seller",
            "pcsa.tier=front",
            "projectcalico.org/namespace=shop",
            "projectcalico.org/orchestrator=k8s",
            "projectcalico.org/serviceaccount=seller",
        ]
    );
}

#[test]
fn pod_cannot_say_that_it_is_somewhere_else() {
    let text = pod(
        "labels: { projectcalico.org/namespace: bank, projectcalico.org/orchestrator: mine }",
        "",
        "podIP: 198.18.0.1",
    );
    let labels = labels(&objects(&text)[0]);
    assert!(labels.contains(&"projectcalico.org/namespace=shop".to_owned()), "{labels:?}");
    assert!(labels.contains(&"projectcalico.org/orchestrator=k8s".to_owned()), "{labels:?}");
}

#[test]
fn pod_of_a_namespace_that_nobody_told_of_inherits_nothing() {
    let text = pod("", "", "podIP: 198.18.0.1").replace(NAMESPACE, "");
    assert_eq!(
        labels(&objects(&text)[0]),
        ["projectcalico.org/namespace=shop", "projectcalico.org/orchestrator=k8s"]
    );
}

#[test]
fn long_service_account_is_no_label_but_its_labels_are_inherited() {
    let account = "a".repeat(63);
    let text = pod("", &format!("serviceAccountName: {account}"), "podIP: 198.18.0.1")
        .replace("name: seller,", &format!("name: {account},"));
    let labels = labels(&objects(&text)[0]);
    assert!(labels.contains(&"pcsa.tier=front".to_owned()), "{labels:?}");
    assert!(!labels.iter().any(|label| label.starts_with("projectcalico.org/serviceaccount")));
}

#[test]
fn addresses_come_from_the_status_and_else_from_the_network_plugin() {
    let cases = [
        (
            "",
            "podIP: 198.18.0.1\n  podIPs: [{ ip: 198.18.0.1 }, { ip: '2001:2::1' }]",
            "198.18.0.1/32 2001:2::1/128",
        ),
        ("", "podIP: 198.18.0.2", "198.18.0.2/32"),
        (
            "annotations: { cni.projectcalico.org/podIP: 198.18.0.9 }",
            "podIP: 198.18.0.2",
            "198.18.0.2/32",
        ),
        (
            "annotations: { cni.projectcalico.org/podIP: 198.18.0.3/32, cni.projectcalico.org/podIPs: '198.18.0.3/32,2001:2::3/128' }",
            "phase: Pending",
            "198.18.0.3/32 2001:2::3/128",
        ),
        (
            "annotations: { cni.projectcalico.org/podIP: 198.18.0.4/32 }",
            "podIPs: []",
            "198.18.0.4/32",
        ),
        ("annotations: { vpc.amazonaws.com/pod-ips: 198.18.0.5 }", "podIP: ''", "198.18.0.5/32"),
    ];
    for (metadata, status, expected) in cases {
        let objects = objects(&pod(metadata, "", status));
        let nets: Vec<String> = objects[0].nets.iter().map(ToString::to_string).collect();
        assert_eq!(nets.join(" "), expected, "{metadata} {status}");
    }
}

#[test]
fn pod_without_an_address_of_its_own_is_nobody() {
    let address = "podIP: 198.18.0.1";
    let released = "deletionTimestamp: '2026-11-21T12:00:00Z'\n  annotations: { cni.projectcalico.org/podIP: '' }";
    let cases = [
        pod("", "", "phase: Pending"),
        pod("", "hostNetwork: true", address),
        pod("", "", &format!("phase: Succeeded\n  {address}")),
        pod("", "", &format!("phase: Failed\n  {address}")),
        pod(released, "", address),
    ];
    for text in cases {
        assert!(objects(&text).is_empty(), "{text}");
    }
    let still_there = [
        pod("", "hostNetwork: false", address),
        pod("deletionTimestamp: '2026-11-21T12:00:00Z'", "", address),
        pod("annotations: { cni.projectcalico.org/podIP: '' }", "", address),
        pod("", "", &format!("phase: Running\n  {address}")),
    ];
    for text in still_there {
        assert_eq!(objects(&text).len(), 1, "{text}");
    }
}

#[test]
fn named_ports_of_all_containers_count_with_their_protocol() {
    let text = pod(
        "",
        "initContainers:
  - { name: init, ports: [{ name: probe, containerPort: 9, protocol: SCTP }] }
  containers:
  - name: web
    image: web
    ports:
    - { name: http, containerPort: 80 }
    - { name: dns, containerPort: 53, protocol: UDP }
    - { name: odd, containerPort: 1, protocol: ICMP }
    - { containerPort: 8080, hostPort: 8080 }
  - { name: bare }",
        "podIP: 198.18.0.1",
    );
    let port = |name: &str, protocol, port| NamedPort { name: name.to_owned(), protocol, port };
    assert_eq!(
        objects(&text)[0].ports,
        [
            port("http", protocol::TCP, 80),
            port("dns", protocol::UDP, 53),
            port("probe", protocol::SCTP, 9),
        ]
    );
}

#[test]
fn what_is_read_of_a_pod_and_wrong_is_told() {
    assert_errors([
        (
            pod("", "", "podIP: web-1"),
            "`web-1` is not an IP address | expected an address or a network | names are not looked up: write the addresses",
        ),
        (
            pod("", "", "podIPs: [198.18.0.1]"),
            "`podIPs` must be a mapping with `ip`, not a string | expected a mapping with `ip` | write `podIPs: [{ ip: \"198.18.0.1\" }]`",
        ),
        (
            pod("labels: { app: 1 }", "", ""),
            "`app` must be a string, not an integer | expected a string | put it in quotes: `\"1\"`",
        ),
        (
            pod("", "containers: [{ ports: [{ name: http, containerPort: 70000 }] }]", ""),
            "`containerPort` cannot be 70000 | out of range | write a whole number from 0 to 65535",
        ),
        (
            "apiVersion: v1\nkind: Pod\nspec: {}".to_owned(),
            "a resource needs `metadata` | `metadata` is missing here | add `metadata: { name: \"...\" }`",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: { namespace: shop }".to_owned(),
            "a pod needs `name` | `name` is missing here | add `name: \"...\"`",
        ),
        (
            format!("{}---\n{}", pod("", "", ""), pod("", "", "").replace(NAMESPACE, "")),
            "two pods of the namespace `shop` are named `web-1` | named again here | give one of them another name",
        ),
    ]);
}

const SLICES: &str = "
apiVersion: v1
kind: Service
metadata: { name: dns, namespace: kube-system }
spec: { clusterIP: 198.19.0.10, ports: [{ port: 53, protocol: UDP, targetPort: dns }], selector: { app: dns } }
status: { loadBalancer: {} }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: dns-abc, namespace: kube-system, generateName: dns-, labels: { kubernetes.io/service-name: dns } }
addressType: IPv4
endpoints:
- { addresses: [198.18.0.1], conditions: { ready: true }, nodeName: node-1 }
- { addresses: [198.18.0.2], conditions: { ready: false } }
ports:
- { name: dns, port: 53, protocol: UDP }
- { name: dns-tcp, port: 53, protocol: TCP }
- { name: any }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: dns-def, namespace: kube-system, labels: { kubernetes.io/service-name: dns } }
addressType: IPv6
endpoints: [{ addresses: ['2001:2::1'] }]
ports: [{ port: 53, protocol: UDP }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: outside, namespace: kube-system, labels: { kubernetes.io/service-name: outside } }
addressType: FQDN
endpoints: [{ addresses: [example.org] }]
ports: []
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: nobodys, namespace: kube-system, labels: null }
addressType: IPv4
endpoints: [{ addresses: [198.18.0.9] }]
ports: null
";

/// Ready or not: that is Calico's reading, too.
#[test]
fn service_is_where_its_slices_say_ready_or_not() {
    let services = set(SLICES).services;
    let shown: Vec<String> = services
        .iter()
        .map(|service| {
            let endpoints: Vec<String> = service
                .endpoints
                .iter()
                .map(|endpoint| format!("{} {:?}", endpoint.address, endpoint.ports))
                .collect();
            format!("{}/{}: {}", service.name.namespace, service.name.name, endpoints.join(", "))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "kube-system/dns: 198.18.0.1 [(17, 53), (6, 53)], 198.18.0.2 [(17, 53), (6, 53)], 2001:2::1 [(17, 53)]",
            "kube-system/outside: ",
        ]
    );
}

#[test]
fn nothing_written_down_is_no_reason_to_warn() {
    let findings = load(SLICES).findings;
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn list_of_everything_is_read_as_kubectl_writes_it() {
    let text = "
apiVersion: v1
kind: List
metadata: { resourceVersion: '' }
items:
- { apiVersion: v1, kind: Namespace, metadata: { name: shop, labels: { team: a } } }
- apiVersion: v1
  kind: Pod
  metadata: { name: web-1, namespace: shop, managedFields: [], labels: null }
  spec: { containers: [{ name: web }] }
  status: { podIPs: [{ ip: 198.18.0.1 }] }
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: { name: deny, namespace: shop, creationTimestamp: '2026-11-21T12:00:00Z', generation: 1, uid: x }
  spec: { podSelector: {}, policyTypes: [Ingress] }
  status: {}
";
    let set = set(text);
    assert_eq!((set.policies.len(), set.objects.len()), (1, 1));
    assert_eq!(set.objects[0].labels.get("pcns.team"), Some("a"));
}

/// As `kubectl get --raw` and the API itself answer: only the list says what its items are.
#[test]
fn list_of_one_kind_says_what_its_items_are() {
    let pods = r#"{"kind": "PodList", "apiVersion": "v1", "items": [
        {"metadata": {"name": "web-1", "namespace": "shop"}, "spec": {"containers": []}, "status": {"podIP": "198.18.0.1"}}
    ]}"#;
    let policies = r#"{"kind": "NetworkPolicyList", "apiVersion": "networking.k8s.io/v1", "items": [
        {"metadata": {"name": "deny", "namespace": "shop"}, "spec": {"podSelector": {}}}
    ]}"#;
    assert_eq!(taken(load_as("pods.json", pods)).objects.len(), 1);
    let policies = taken(load_as("policies.json", policies)).policies;
    assert_eq!(policies[0].kind, PolicyKind::KubernetesNetworkPolicy);
}
