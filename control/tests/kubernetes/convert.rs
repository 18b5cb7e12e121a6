use std::fs;
use std::process::{Command, Output};

use classifier::resource::PolicySet;

use crate::{load_as, set, taken};

const POLICIES: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { kubernetes.io/metadata.name: shop } }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop, labels: { app.kubernetes.io/name: web } }
spec:
  podSelector: { matchLabels: { app.kubernetes.io/name: web }, matchExpressions: [{ key: tier, operator: NotIn, values: ['1.0', 'yes'] }] }
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{ podSelector: {} }, { namespaceSelector: { matchLabels: { team: a } }, podSelector: {} }, { ipBlock: { cidr: 198.18.0.0/16, except: [198.18.1.0/24] } }]
    ports: [{ port: http }, { port: 8000, endPort: 8100, protocol: UDP }]
  egress: [{}]
---
apiVersion: projectcalico.org/v3
kind: StagedKubernetesNetworkPolicy
metadata: { name: web, namespace: shop }
spec: { stagedAction: Delete }
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: guard }
spec:
  tier: Admin
  priority: 3
  subject: { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: web } } } }
  egress:
  - { name: to the office, action: Accept, to: [{ networks: [198.19.0.0/24] }], protocols: [{ tcp: { destinationPort: { range: { start: 1, end: 9 } } } }] }
  - { action: Deny, to: [{ nodes: {} }] }
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: { name: guard }
spec: { priority: 4, subject: { namespaces: {} }, ingress: [{ action: Pass, from: [{ namespaces: {} }], ports: [{ namedPort: http }] }] }
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: BaselineAdminNetworkPolicy
metadata: { name: default }
spec: { subject: { namespaces: {} }, ingress: [{ action: Deny, from: [{ namespaces: {} }] }] }
";

const IDENTITIES: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { team: a } }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: seller, namespace: shop, labels: { tier: front } }
---
apiVersion: v1
kind: Pod
metadata: { name: web-1, namespace: shop, labels: { app: web } }
spec: { serviceAccountName: seller, containers: [{ ports: [{ name: http, containerPort: 80 }] }] }
status: { podIPs: [{ ip: 198.18.0.1 }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-abc, namespace: shop, labels: { kubernetes.io/service-name: web } }
endpoints: [{ addresses: [198.18.0.1] }]
ports: [{ port: 80 }]
";

/// The same, as one would write it by hand for things that no cluster tells of.
const IDENTITIES_IN_TOML: &str = r#"
[[namespaces]]
name = "shop"
labels = { team = "a" }

[[serviceAccounts]]
name = "seller"
namespace = "shop"
labels = { tier = "front" }

[[pods]]
name = "web-1"
namespace = "shop"
labels = { app = "web" }
serviceAccountName = "seller"
containers = [{ ports = [{ name = "http", containerPort = 80 }] }]
podIPs = [{ ip = "198.18.0.1" }]

[[services]]
name = "web"
namespace = "shop"

[[endpointSlices]]
name = "web-abc"
namespace = "shop"
labels = { "kubernetes.io/service-name" = "web" }
endpoints = [{ addresses = ["198.18.0.1"] }]
ports = [{ port = 80 }]
"#;

fn shown(set: &PolicySet) -> String {
    format!("{set:#?}")
}

#[test]
fn policies_mean_the_same_in_every_language() {
    let expected = shown(&set(POLICIES));
    let directory = tempfile::tempdir().unwrap();
    let original = directory.path().join("policies.yaml");
    fs::write(&original, POLICIES).unwrap();
    let path = original.to_str().unwrap();
    let canonical = convert("toml", path);
    for language in ["toml", "yaml", "json"] {
        let converted = directory.path().join("converted").with_extension(language);
        let text = convert(language, path);
        fs::write(&converted, &text).unwrap();
        let again = taken(load_as(&format!("again.{language}"), &text));
        assert_eq!(shown(&again), expected, "{language}:\n{text}");
        assert_eq!(convert("toml", converted.to_str().unwrap()), canonical, "{language}");
    }
    for table in [
        "[[namespaces]]",
        "[[kubernetesNetworkPolicies]]",
        "[[stagedKubernetesNetworkPolicies]]",
        "[[clusterNetworkPolicies]]",
        "[[adminNetworkPolicies]]",
        "[[baselineAdminNetworkPolicies]]",
    ] {
        assert!(canonical.contains(table), "{canonical}");
    }
}

#[test]
fn identities_can_be_written_by_hand() {
    let by_hand = taken(load_as("identities.toml", IDENTITIES_IN_TOML));
    assert_eq!(shown(&by_hand), shown(&set(IDENTITIES)));
    assert_eq!((by_hand.objects.len(), by_hand.services.len()), (1, 1));
}

#[test]
fn mistake_in_an_identity_written_by_hand_is_told() {
    let loaded =
        load_as("pods.toml", "[[pods]]\nname = 'web-1'\npodIps = [{ ip = '198.18.0.1' }]\n");
    let error = loaded.findings.iter().find(|finding| finding.is_error()).unwrap();
    assert_eq!(error.message, "a pod has no field `podIps`");
    assert_eq!(error.help.as_deref(), Some("did you mean `podIPs`?"));
}

#[test]
fn what_a_cluster_made_is_not_converted() {
    let directory = tempfile::tempdir().unwrap();
    for (file, text) in [("identities.yaml", IDENTITIES), ("identities.toml", IDENTITIES_IN_TOML)] {
        let path = directory.path().join(file);
        fs::write(&path, text).unwrap();
        let output = ravelin(&["convert", "--to", "json", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        let words = String::from_utf8(output.stderr).unwrap();
        for kind in ["ServiceAccount", "Pod", "Service", "EndpointSlice"] {
            assert!(words.contains(&format!("`{kind}` cannot be converted")), "{words}");
        }
        assert!(!words.contains("`Namespace`"), "{words}");
        assert!(words.contains("move it to a document of its own"), "{words}");
    }
}

#[test]
fn fmt_leaves_kubernetes_documents_alone() {
    let directory = tempfile::tempdir().unwrap();
    for (file, text) in [("policies.yaml", POLICIES), ("identities.yaml", IDENTITIES)] {
        let path = directory.path().join(file);
        fs::write(&path, text).unwrap();
        assert_eq!(ravelin(&["fmt", path.to_str().unwrap()]).status.code(), Some(0));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

fn convert(language: &str, file: &str) -> String {
    let output = ravelin(&["convert", "--to", language, file]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn ravelin(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ravelin")).args(arguments).output().unwrap()
}
