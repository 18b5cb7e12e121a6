//! Truth tables of Kubernetes' network policies, when the conformance folder lies beside the repository: who may open
//! what to whom, and which half forbids it, for every pair of pods. Asked of the reference and of the compiled image,
//! each state once from nothing and once as the changes of what is there.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;

use classifier::compile::{Limits, compile};
use classifier::decision::{Decision, Verdict};
use classifier::image::Image;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::reference;
use classifier::resource::{Defaults, PolicySet};
use control::diagnostic::{Diagnostic, Source, render_human};
use control::inventory;
use control::resolve::{Gateway, Key, Kind, Resources};
use serde_json::{Map, Value, json};

/// What the file holds: a case that is skipped silently makes this wrong.
const HELD: Counts = Counts { cases: 230, steps: 256, cells: 123_669 };

#[derive(Debug, Default, Eq, PartialEq)]
struct Counts {
    cases: usize,
    steps: usize,
    cells: usize,
}

#[test]
fn every_cell_of_the_truth_tables_is_right_from_nothing_and_after_changes() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/conformance/kubernetes-networkpolicy.json"
    );
    if !Path::new(path).exists() {
        say(&format!("NOT RUN: Kubernetes' truth tables, {path} is absent"));
        return;
    }
    let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let (mut counts, mut wrong) = (Counts::default(), Vec::new());
    for case in document["cases"].as_array().unwrap() {
        counts.cases += 1;
        let mut changing = None;
        for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            counts.steps += 1;
            let name = format!("{}, step {number}", case["description"].as_str().unwrap());
            let cold = cold(step);
            let warm = changing.get_or_insert_with(|| before(step));
            change(warm, step);
            assert_eq!(
                format!("{:?}", cold.policy_set(&gateway())),
                format!("{:?}", warm.policy_set(&gateway())),
                "{name}: changes lead elsewhere",
            );
            counts.cells += check(&name, step, &cold, &mut wrong);
            check(&format!("{name}, after changes"), step, warm, &mut wrong);
        }
    }
    say(&format!("Kubernetes' truth tables: {counts:?}, each from nothing and after changes"));
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
    assert_eq!(counts, HELD);
}

/// Asks for every cell of a step; how many there were.
fn check(name: &str, step: &Value, resources: &Resources, wrong: &mut Vec<String>) -> usize {
    let set = resources.policy_set(&gateway());
    let image = compile(&set, 1, &Limits::default()).unwrap();
    let pods = step["pods"].as_array().unwrap();
    let mut cells = 0;
    for table in step["tables"].as_array().unwrap() {
        for (row, src) in table["rows"].as_array().unwrap().iter().zip(pods) {
            for (cell, dst) in row.as_str().unwrap().chars().zip(pods) {
                cells += 1;
                let packet = packet(table, src, dst);
                let expected = match cell {
                    '.' => (true, true),
                    'e' => (false, true),
                    'i' => (true, false),
                    'X' => (false, false),
                    other => panic!("{name}: cell `{other}`"),
                };
                for (who, answer) in answers(&set, &image, &packet) {
                    if answer != expected {
                        wrong.push(format!(
                            "{name}: {who} says {answer:?}, the table {expected:?} of {packet:?}"
                        ));
                    }
                }
            }
        }
    }
    cells
}

/// Whether the source may send it, and whether the destination may get it.
fn answers(
    set: &PolicySet,
    image: &Image,
    packet: &PacketKey,
) -> [(&'static str, (bool, bool)); 2] {
    let out = Crossing::sides(Side::Inside, Side::Outside);
    let into = Crossing::sides(Side::Outside, Side::Inside);
    let allows = |decision: Decision| decision.verdict() == Verdict::Allow;
    let judged = |crossing| allows(reference::evaluate(set, packet, crossing));
    let classified = |crossing| allows(image.view().classify(packet, crossing));
    [
        ("the reference", (judged(out), judged(into))),
        ("the image", (classified(out), classified(into))),
    ]
}

fn packet(table: &Value, src: &Value, dst: &Value) -> PacketKey {
    let address = |pod: &Value| pod["ip"].as_str().unwrap().parse::<IpAddr>().unwrap();
    let protocol = match table["protocol"].as_str().unwrap() {
        "TCP" => protocol::TCP,
        "UDP" => protocol::UDP,
        "SCTP" => protocol::SCTP,
        other => panic!("protocol `{other}`"),
    };
    let dst_port = u16::try_from(table["port"].as_u64().unwrap()).unwrap();
    let transport = Transport::Ports { src: 40_000, dst: dst_port };
    PacketKey { src: address(src), dst: address(dst), protocol, transport }
}

/// In a cluster, what no policy selects is open.
fn gateway() -> Gateway {
    let defaults = Defaults { allow_unselected: true, ..Defaults::default() };
    Gateway { defaults, ..Gateway::default() }
}

/// Everything that is there at a step.
fn cold(step: &Value) -> Resources {
    let mut resources = before(step);
    for policy in step["policies"].as_array().into_iter().flatten() {
        apply_policy(&mut resources, policy);
    }
    resources
}

/// The namespaces and pods of a step, which has no other actions than those on policies.
fn before(step: &Value) -> Resources {
    let mut resources = Resources::new();
    for (name, labels) in step["namespaces"].as_object().unwrap() {
        apply(&mut resources, &namespace(name, labels));
    }
    for pod in step["pods"].as_array().unwrap() {
        apply(&mut resources, &self::pod(&pod["ns"], &pod["name"], &pod["labels"], step));
    }
    resources
}

/// The actions that lead to a step.
fn change(resources: &mut Resources, step: &Value) {
    for actions in step["actions"].as_array().into_iter().flatten() {
        let actions: &Map<String, Value> = actions.as_object().unwrap();
        for (action, of) in actions.iter().filter(|(_, of)| !of.is_null()) {
            let text = |field: &str| of[field].as_str().unwrap();
            match action.as_str() {
                "CreatePolicy" | "UpdatePolicy" => apply_policy(resources, &of["Policy"]),
                "DeletePolicy" => {
                    remove(
                        resources,
                        Kind::KubernetesNetworkPolicy,
                        text("Namespace"),
                        text("Name"),
                    );
                }
                "CreateNamespace" | "SetNamespaceLabels" => {
                    let mut labels = of["Labels"].clone();
                    // The server of a cluster adds it.
                    labels["kubernetes.io/metadata.name"] = of["Namespace"].clone();
                    apply(resources, &namespace(text("Namespace"), &labels));
                }
                "DeleteNamespace" => delete_namespace(resources, text("Namespace"), step),
                "CreatePod" | "SetPodLabels" => {
                    let (namespace, name) = (&of["Namespace"], &of["Pod"]);
                    apply(resources, &pod(namespace, name, &of["Labels"], step));
                }
                "DeletePod" => remove(resources, Kind::Pod, text("Namespace"), text("Pod")),
                other => panic!("action `{other}`"),
            }
        }
    }
}

/// A namespace takes with it what is in it.
fn delete_namespace(resources: &mut Resources, name: &str, step: &Value) {
    assert!(resources.remove(&Key {
        kind: Kind::Namespace,
        namespace: None,
        name: name.to_owned()
    }));
    let left: Vec<String> =
        step["pods"].as_array().unwrap().iter().map(|pod| pod["ns"].to_string()).collect();
    assert!(!left.contains(&format!("\"{name}\"")), "the step still has pods of `{name}`");
    for pod in ["a", "b", "c"] {
        let (namespace, name) = (Some(name.to_owned()), pod.to_owned());
        resources.remove(&Key { kind: Kind::Pod, namespace, name });
    }
}

fn remove(resources: &mut Resources, kind: Kind, namespace: &str, name: &str) {
    let key = Key { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() };
    assert!(resources.remove(&key), "{key:?} was not there");
}

/// Some policies of the tables do not say what they are.
fn apply_policy(resources: &mut Resources, policy: &Value) {
    let mut policy = policy.clone();
    policy["apiVersion"] = json!("networking.k8s.io/v1");
    policy["kind"] = json!("NetworkPolicy");
    apply(resources, &policy);
}

/// Reads one resource as `kubectl get -o json` shows it.
fn apply(resources: &mut Resources, document: &Value) {
    let source = Source::new("state.json", document.to_string());
    let (read, findings) = inventory::read(&source, &gateway());
    let errors: Vec<Diagnostic> = findings.into_iter().filter(Diagnostic::is_error).collect();
    assert!(errors.is_empty(), "{}", render_human(&errors, false));
    assert_eq!(read.len(), 1, "{document}");
    for resource in read {
        resources.apply(resource);
    }
}

fn namespace(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": name, "labels": labels },
        "spec": { "finalizers": ["kubernetes"] },
        "status": { "phase": "Active" },
    })
}

/// A pod with the address that the step gives it, and a container for each port that is probed.
fn pod(namespace: &Value, name: &Value, labels: &Value, step: &Value) -> Value {
    let pods = step["pods"].as_array().unwrap();
    let known = pods.iter().find(|pod| pod["ns"] == *namespace && pod["name"] == *name).unwrap();
    let mut containers = BTreeMap::new();
    for port in [80, 81] {
        for protocol in ["TCP", "UDP", "SCTP"] {
            let name = format!("serve-{port}-{}", protocol.to_lowercase());
            let ports = json!([{ "containerPort": port, "name": name, "protocol": protocol }]);
            containers
                .insert(name.clone(), json!({ "name": name, "image": "agnhost", "ports": ports }));
        }
    }
    let containers: Vec<Value> = containers.into_values().collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": { "containers": containers, "nodeName": "node-1", "serviceAccountName": "default" },
        "status": { "phase": "Running", "podIP": known["ip"], "podIPs": [{ "ip": known["ip"] }] },
    })
}

/// Past the capturing of test output: what was not run must be seen.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
