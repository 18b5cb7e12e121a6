//! Files of policy: a change is in force within a second, and a mistake changes nothing.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::time::Duration;

use classifier::packet::IpVersion::V4;
use ravelin::attempt::{Probe, Seen, attempt};
use ravelin::deadline::{timed, wait_until};
use ravelin::documents::SITE;
use ravelin::gateway::Gateway;
use ravelin::servers::serve;
use ravelin::topology::{Host, Lab};
use serde_json::Value;

/// What the daemon promises: a change is in force after this time. The test allows twice as much on a busy machine.
const IN_FORCE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer that takes longer does not come any more.
const SILENCE: Duration = Duration::from_millis(1500);
const SSH: Probe = Probe::Tcp(22);
const HTTP: Probe = Probe::Tcp(80);

#[test]
fn a_changed_file_is_in_force_within_a_second_or_so() {
    let lab = Lab::new().unwrap();
    let mut gateway = start(&lab);
    assert_eq!(try_it(&lab.office, &lab.server, SSH), Seen::Nothing);
    let generation = gateway.generation().unwrap();
    let text = gateway.read("noc-ssh.toml").unwrap();
    gateway.write("noc-ssh.toml", &text.replace("zone == 'noc'", "has(zone)")).unwrap();
    let (took, reached) = timed(|| gateway.wait_for_generation(generation + 1));
    reached.unwrap();
    println!("in force after {} ms", took.as_millis());
    assert!(took < IN_FORCE, "it took {took:?}");
    assert_eq!(try_it(&lab.office, &lab.server, SSH), Seen::Answered);
    assert_eq!(try_it(&lab.stranger, &lab.server, SSH), Seen::Nothing);
}

#[test]
fn a_file_with_a_mistake_is_refused_whole_and_the_old_policy_stays() {
    let lab = Lab::new().unwrap();
    let mut gateway = start(&lab);
    let generation = gateway.generation().unwrap();
    // A good change and a mistake in one set: neither comes into force.
    let good = gateway.read("noc-ssh.toml").unwrap();
    let mistakes = [
        ("selector = \"all()\"", "selector = \"zone == 'noc\"", 4, "zone"),
        ("selector = \"all()\"", "selectr = \"all()\"", 4, "did you mean"),
        ("order = 1", "order = ", 3, ""),
    ];
    gateway.write("noc-ssh.toml", &good.replace("zone == 'noc'", "has(zone)")).unwrap();
    let generation_good = gateway.wait_for_generation(generation + 1).unwrap();
    for (right, wrong, line, said) in mistakes {
        gateway.write("broken.toml", &BROKEN.replace(right, wrong)).unwrap();
        gateway.write("noc-ssh.toml", &good).unwrap();
        wait_for_error(&gateway, "broken.toml", line, said);
        assert_eq!(gateway.generation().unwrap(), generation_good);
        assert_eq!(try_it(&lab.office, &lab.server, SSH), Seen::Answered);
    }
    gateway.write("broken.toml", BROKEN).unwrap();
    gateway.wait_for_generation(generation_good + 1).unwrap();
    assert_eq!(try_it(&lab.office, &lab.server, SSH), Seen::Nothing);
}

#[test]
fn a_changed_list_file_is_in_force_and_a_bad_line_is_named() {
    let lab = Lab::new().unwrap();
    let mut gateway = start(&lab);
    assert_eq!(try_it(&lab.stranger, &lab.server, HTTP), Seen::Answered);
    let generation = gateway.generation().unwrap();
    let list = gateway.read("lists/embargo.cidr").unwrap();
    let longer = list.clone() + "198.19.99.0/24\n";
    gateway.write("lists/embargo.cidr", &longer).unwrap();
    let generation = gateway.wait_for_generation(generation + 1).unwrap();
    assert_eq!(try_it(&lab.stranger, &lab.server, HTTP), Seen::Nothing);
    gateway.write("lists/embargo.cidr", &(longer + "198.19.99.0/42\n")).unwrap();
    wait_for_error(&gateway, "embargo.cidr", 7, "198.19.99.0/42");
    assert_eq!(gateway.generation().unwrap(), generation);
    assert_eq!(try_it(&lab.stranger, &lab.server, HTTP), Seen::Nothing);
    gateway.write("lists/embargo.cidr", &list).unwrap();
    gateway.wait_for_generation(generation + 1).unwrap();
    assert_eq!(try_it(&lab.stranger, &lab.server, HTTP), Seen::Answered);
}

const BROKEN: &str = r#"[[globalNetworkPolicies]]
name = "extra"
order = 1
selector = "all()"
types = ["Ingress"]
ingress = [{ action = "Deny", protocol = "SCTP" }]
"#;

fn start(lab: &Lab) -> Gateway<'_> {
    serve(&lab.server, &[22, 80], &[]).unwrap();
    let mut gateway = Gateway::new(lab, &SITE).unwrap();
    gateway.start().unwrap();
    gateway
}

fn try_it(from: &Host, to: &Host, probe: Probe) -> Seen {
    attempt(from, to.address(V4), probe, SILENCE).unwrap()
}

/// Waits until the status names an error at this place.
fn wait_for_error(gateway: &Gateway<'_>, file: &str, line: u64, said: &str) {
    let last_load = || {
        let report = gateway.report().unwrap();
        report.pointer("/control/report/lastLoad").cloned().unwrap_or_default()
    };
    let is_it = |finding: &Value| {
        let text = |path| finding.pointer(path).and_then(Value::as_str).unwrap_or_default();
        text("/severity") == "error"
            && text("/place/file").ends_with(file)
            && finding.pointer("/place/line").and_then(Value::as_u64) == Some(line)
            && finding.to_string().contains(said)
    };
    let told = wait_until(PATIENCE, || {
        let load = last_load();
        let findings = load.get("findings").and_then(Value::as_array)?;
        (load.get("accepted") == Some(&Value::Bool(false)) && findings.iter().any(is_it))
            .then_some(())
    });
    assert!(told.is_some(), "no `{said}` at {file}:{line} in\n{:#}", last_load());
}
