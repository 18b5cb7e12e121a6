//! What Calico's policy says of a gateway's own ports, and what is only staged, on real packets.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::time::Duration;

use classifier::packet::IpVersion::V4;
use ravelin::attempt::{Probe, Seen, attempt};
use ravelin::documents::SITE;
use ravelin::gateway::Gateway;
use ravelin::servers::serve;
use ravelin::topology::{Host, Lab};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(5);
/// An answer that takes longer does not come any more.
const SILENCE: Duration = Duration::from_millis(1500);
const SSH: Probe = Probe::Tcp(22);

#[test]
fn policy_of_the_gateways_own_port_judges_what_it_forwards() {
    let lab = Lab::new().unwrap();
    let mut gateway = start(&lab);
    assert_eq!(try_it(&lab.office, &lab.server, Probe::Ping), Seen::Answered);
    put(&mut gateway, "edge.yaml", &edge("applyOnForward: true"));
    assert_eq!(try_it(&lab.office, &lab.server, Probe::Ping), Seen::Nothing);
    assert_eq!(try_it(&lab.noc, &lab.server, SSH), Seen::Answered);
    let record =
        gateway.wait_for_record(PATIENCE, |record| record["direction"] == "entry").unwrap();
    assert_eq!(
        (&record["kind"], &record["policy"]),
        (&"denied".into(), &"edge".into()),
        "{record}"
    );
    // The same policy without the word is about the gateway itself, which sends and receives nothing here.
    put(&mut gateway, "edge.yaml", &edge("applyOnForward: false"));
    assert_eq!(try_it(&lab.office, &lab.server, Probe::Ping), Seen::Answered);
    put(&mut gateway, "edge.yaml", &edge("applyOnForward: true\n  doNotTrack: true"));
    assert_eq!(try_it(&lab.office, &lab.server, Probe::Ping), Seen::Nothing);
}

#[test]
fn staged_policy_is_shown_beside_the_enforced_one_and_denies_nothing() {
    let lab = Lab::new().unwrap();
    let mut gateway = start(&lab);
    put(&mut gateway, "staged.yaml", STAGED);
    assert_eq!(try_it(&lab.noc, &lab.server, SSH), Seen::Answered);
    let is_ssh = |record: &Value| record["kind"] == "started" && record["dstPort"] == 22;
    let record = gateway.wait_for_record(PATIENCE, is_ssh).unwrap();
    assert_eq!(
        (&record["action"], &record["policy"]),
        (&"allow".into(), &"ssh-only-from-noc".into())
    );
    let pending = &record["pending"];
    assert_eq!(
        (&pending["verdict"], &pending["policy"]),
        (&"deny".into(), &"no-ssh".into()),
        "{record}"
    );
}

/// An endpoint for the outside port, and a policy for it that drops pings.
fn edge(fields: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata:
  name: lab-outside
  labels: {{port: outside}}
spec:
  node: lab
  interfaceName: outside0
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: edge
spec:
  selector: port == 'outside'
  {fields}
  types: [Ingress]
  ingress:
    - action: Deny
      protocol: ICMP
    - action: Allow
"
    )
}

const STAGED: &str = "apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata:
  name: no-ssh
spec:
  order: 1
  selector: role == 'production-server'
  types: [Ingress]
  ingress:
    - action: Deny
      protocol: TCP
      destination:
        ports: [22]
";

fn start(lab: &Lab) -> Gateway<'_> {
    serve(&lab.server, &[22], &[]).unwrap();
    let mut gateway = Gateway::new(lab, &SITE).unwrap();
    gateway.start().unwrap();
    gateway
}

/// Writes a document and waits until it is in force.
fn put(gateway: &mut Gateway<'_>, name: &str, text: &str) {
    let generation = gateway.generation().unwrap();
    gateway.write(name, text).unwrap();
    gateway.wait_for_generation(generation + 1).unwrap();
}

fn try_it(from: &Host, to: &Host, probe: Probe) -> Seen {
    attempt(from, to.address(V4), probe, SILENCE).unwrap()
}
