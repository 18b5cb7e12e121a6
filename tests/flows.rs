//! What an operator sees of live flows and of drops on the real gateway, and what becomes of a session that is killed.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::net::{SocketAddr, TcpStream};
use std::process::Output;
use std::time::Duration;

use classifier::packet::IpVersion;
use classifier::packet::IpVersion::{V4, V6};
use ravelin::attempt::{Probe, Seen, attempt, connect, echo};
use ravelin::documents::SITE;
use ravelin::gateway::Gateway;
use ravelin::servers::{greeting, serve};
use ravelin::topology::{Host, Lab};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn flows_are_listed_by_name_counted_and_killed() {
    let lab = Lab::new().unwrap();
    let mut gateway = Gateway::new(&lab, &SITE).unwrap();
    gateway.start().unwrap();
    serve(&lab.server, &[22, 80], &[53]).unwrap();
    let ask = |arguments: &[&str]| ravelin(&lab, &gateway, "flows", arguments);

    let mut doomed = session(&lab.noc, &lab.server, V4, 22);
    let mut spared = session(&lab.noc, &lab.server, V6, 22);
    let dns = attempt(&lab.office, lab.server.v4.into(), Probe::Udp(53), PATIENCE).unwrap();
    assert_eq!(dns, Seen::Answered);

    let listed = json_of(&ask(&["-o", "json", "--src", "198.18.10.0/24"]));
    assert_eq!(listed["matching"], 1);
    let flow = &listed["flows"][0];
    for (key, value) in [
        ("src", json!("198.18.10.10")),
        ("dst", json!("198.18.70.10")),
        ("protocol", json!("tcp")),
        ("dstPort", json!(22)),
        ("in", json!("outside0")),
        ("out", json!("inside0")),
        ("state", json!("established")),
        ("verdict", json!("allow")),
        ("policy", json!("ssh-only-from-noc")),
        ("rule", json!(0)),
        ("judged", json!(true)),
    ] {
        assert_eq!(flow[key], value, "{key} of {flow}");
    }
    assert_eq!(flow["source"]["name"], "noc");
    assert_eq!(flow["destination"]["labels"]["role"], "production-server");

    let matching = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["-o", "json"].iter().chain(arguments).copied().collect();
        json_of(&ask(&arguments))["matching"].as_u64().unwrap()
    };
    assert_eq!(matching(&["-l", "role == 'production-server'", "--port", "22"]), 2);
    assert_eq!(matching(&["-l", "zone == 'office'", "--proto", "udp", "--dst", "198.18.70.10"]), 1);
    assert_eq!(matching(&["-l", "role == 'nobody'"]), 0);
    assert_eq!(matching(&["--port", "80"]), 0);
    let counted = json_of(&ask(&["--count", "--port", "22", "-o", "json"]));
    assert_eq!((&counted["flows"], &counted["states"][0]["flows"]), (&json!(2), &json!(2)));
    let page = String::from_utf8(ask(&["--port", "22"]).stdout).unwrap();
    assert!(page.contains("ssh-only-from-noc rule 0") && page.ends_with("\n2 flows\n"), "{page}");

    let refused = ask(&["--kill"]);
    assert_eq!(refused.status.code(), Some(1));
    let reason = String::from_utf8(refused.stderr).unwrap();
    assert!(reason.contains("`--kill` without a filter"), "{reason}");
    assert_eq!(gateway.status().unwrap().number("flows.killed").unwrap(), 0);

    let killed = ask(&["--kill", "--src", "198.18.10.10", "--port", "22"]);
    assert_eq!(String::from_utf8(killed.stdout).unwrap(), "1 of 1 flows killed\n");
    echo(&mut spared, "still here\n").unwrap();
    doomed.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    echo(&mut doomed, "nobody hears this\n").unwrap_err();
    let is_it = |record: &Value| record["kind"] == "killed";
    let record = gateway.wait_for_record(PATIENCE, is_it).unwrap();
    assert_eq!((&record["policy"], &record["rule"]), (&json!("ssh-only-from-noc"), &json!(0)));
    assert_eq!(record["dst"], "198.18.70.10");
    let status = gateway.status().unwrap();
    assert_eq!(status.number("flows.killed").unwrap(), 1);
    assert!(status.dropped("tcp-not-opening").unwrap() > 0);

    let drops = json_of(&ravelin(&lab, &gateway, "drops", &["-o", "json"]));
    let reasons = drops["reasons"].as_array().unwrap();
    let dropped = reasons.iter().find(|reason| reason["reason"] == "tcp-not-opening").unwrap();
    assert!(dropped["dropped"]["outside0"].as_u64().unwrap() > 0, "{dropped}");
    // What is killed may be opened anew: policy allows it as before.
    echo(&mut session(&lab.noc, &lab.server, V4, 22), "a new one\n").unwrap();
}

fn session(from: &Host, to: &Host, version: IpVersion, port: u16) -> TcpStream {
    let to = SocketAddr::new(to.address(version), port);
    let mut session = connect(from, to, PATIENCE).unwrap();
    greeting(&mut session).unwrap();
    echo(&mut session, "hello\n").unwrap();
    session
}

fn ravelin(lab: &Lab, gateway: &Gateway<'_>, command: &str, arguments: &[&str]) -> Output {
    let mut program = lab.gateway.command(gateway.program());
    program.arg(command).arg("--config").arg(gateway.path("ravelin.toml")).args(arguments);
    program.output().unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
