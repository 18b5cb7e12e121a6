//! What `ravelin reach` and `ravelin diff` print, as a person reads it.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output};

use classifier::compile::{Limits, compile};
use classifier::handover::{Reply, Request};
use classifier::resource::PolicySet;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept, bind, listen, recv, sendmsg, socket_with,
};
use serde_json::{Value, json};

const POLICY: &str = r#"
[[globalNetworkSets]]
name = "noc"
labels = { zone = "noc" }
nets = ["198.18.10.0/24", "2001:2:0:10::/64"]

[[globalNetworkSets]]
name = "rack-7"
labels = { role = "server" }
nets = ["198.18.70.0/24", "2001:2:0:70::/64"]

[[globalNetworkPolicies]]
name = "servers"
selector = "role == 'server'"
types = ["Ingress"]
ingress = [
  { action = "Deny", protocol = "TCP", source = { nets = ["198.18.10.66/32"] } },
  { action = "Allow", protocol = "TCP", source = { selector = "zone == 'noc'" }, destination = { ports = [22] } },
  { action = "Allow", protocol = "TCP", destination = { ports = [80, "8080:8089"] } },
  { action = "Allow", protocol = "ICMP", icmp = { type = 8 } },
]
"#;

const SETTINGS: &str = "gateway = { name = 'gw1' }\n\
    ports = [{ interface = 'eth0', side = 'outside' }, { interface = 'eth1', side = 'inside' }]\n\
    dataplane = { socket = 'dataplane.sock' }\n";

#[test]
fn everything_that_can_reach_the_servers_is_named_the_internet_first() {
    let expected = "\
what may pass from outside to inside

from  GlobalNetworkSet `noc`: 198.18.10.66/32
to    GlobalNetworkSet `rack-7`: 198.18.70.0/24
      icmp type 8
        ingress[3] of policy `servers` in tier `default`: Allow ICMP type 8

from  the internet: every IPv4 address that no object covers and no rule names
      GlobalNetworkSet `rack-7`: 198.18.70.0/24
to    GlobalNetworkSet `rack-7`: 198.18.70.0/24
      tcp to ports 80, 8080-8089
        ingress[2] of policy `servers` in tier `default`: Allow TCP to ports 80,8080:8089
      icmp type 8
        ingress[3] of policy `servers` in tier `default`: Allow ICMP type 8

from  the internet: every IPv6 address that no object covers and no rule names
      GlobalNetworkSet `rack-7`: 2001:2:0:70::/64
to    GlobalNetworkSet `rack-7`: 2001:2:0:70::/64
      tcp to ports 80, 8080-8089
        ingress[2] of policy `servers` in tier `default`: Allow TCP to ports 80,8080:8089
";
    let text = reach(&["--to", "role == 'server'"]);
    assert_eq!(text.lines().filter(|line| line.starts_with("from")).count(), 5, "{text}");
    for part in expected.split("\n\n") {
        assert!(text.contains(part.trim_end()), "no\n{part}\nin\n{text}");
    }
    assert!(text.ends_with("\nnothing else passes\n"), "{text}");
}

#[test]
fn an_object_in_several_classes_is_told_apart_by_prefix() {
    let text = reach(&["--from", "zone == 'noc'", "--to", "role == 'server'"]);
    let rest = "from  GlobalNetworkSet `noc`: 198.18.10.0/26, 198.18.10.64/31, 198.18.10.67/32, 198.18.10.68/30 and 4 more\n";
    assert!(text.contains(rest), "{text}");
    assert!(text.contains("from  GlobalNetworkSet `noc`: 198.18.10.66/32\n"), "{text}");
    assert!(!text.contains("the internet"), "{text}");
}

#[test]
fn what_does_not_pass_is_said_plainly() {
    let text = reach(&["--from", "zone == 'noc'", "--in", "inside"]);
    assert_eq!(text, "what may pass from inside to outside\n\nnothing passes\n");
    let text = reach(&["--from", "zone == 'nox'"]);
    assert!(text.contains("no object with an address matches `--from zone == \"nox\"`"), "{text}");
}

#[test]
fn reach_for_programs_has_every_prefix_and_number() {
    let text = reach(&["--to", "role == 'server'", "--from", "role == 'server'", "-o", "json"]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&answer["in"], &answer["out"]), (&json!("outside"), &json!("inside")));
    let entry = &answer["entries"][0];
    assert_eq!(entry["ipVersions"], json!([4]));
    let rack = json!([{
        "objects": [{ "kind": "GlobalNetworkSet", "name": "rack-7" }],
        "nets": ["198.18.70.0/24"],
    }]);
    assert_eq!(entry["sources"], rack);
    let web = &entry["passes"][0];
    let ports = json!([{
        "protocols": [[6, 6]], "srcPorts": [[0, 65535]], "dstPorts": [[80, 80], [8080, 8089]],
    }]);
    assert_eq!(web["packets"], ports);
    assert_eq!((&web["verdict"], &web["decided"]["rule"]), (&json!("allow"), &json!(2)));
}

#[test]
fn two_texts_that_mean_the_same_do_not_differ() {
    // Another order of objects and rules, other prefixes for the same addresses, other words for the same selector.
    let other = POLICY
        .replace("\"198.18.70.0/24\"", "\"198.18.70.128/25\", \"198.18.70.0/25\"")
        .replace("[80, \"8080:8089\"]", "[\"8085:8089\", \"8080:8086\", 80, 80]")
        .replace("zone == 'noc'", "zone in { 'noc', 'none' } && !(zone == 'none')")
        .replace("role == 'server'", "has(role)")
        .replace("ports = [22]", "ports = [22, \"22:22\"]");
    let (status, text) = diff(&other, &[]);
    assert_eq!((status, text.as_str()), (0, "the same: every packet has the same verdict\n"));
}

#[test]
fn what_two_texts_nearly_share_is_found() {
    let other = POLICY.replace("ports = [22]", "notPorts = [\"1:21\", \"23:65535\"]");
    let (status, text) = diff(&other, &[]);
    assert_eq!(status, 1, "{text}");
    let packets: Vec<&str> = text.lines().filter(|line| line.starts_with("      tcp")).collect();
    assert_eq!(packets, ["      tcp to port 0"]);
}

#[test]
fn one_changed_character_is_shown_with_all_that_it_does_and_no_more() {
    let expected = "\
what changes from outside to inside

from  the internet: every address that no object covers and no rule names
      GlobalNetworkSet `noc`: 198.18.10.0/26, 198.18.10.64/31, 198.18.10.67/32, 198.18.10.68/30 and 5 more
      GlobalNetworkSet `rack-7`: 198.18.70.0/24, 2001:2:0:70::/64
to    GlobalNetworkSet `rack-7`: 198.18.70.0/24, 2001:2:0:70::/64
      tcp to port 8089
        was allow: ingress[2] of policy `servers` in tier `default`: Allow TCP to ports 80,8080:8089
        now deny: ingress, no rule of tier `default` decides, and its policies deny what they do not allow

nothing else changes
";
    let (status, text) = diff(&POLICY.replace("8080:8089", "8080:8088"), &[]);
    assert_eq!((status, text.as_str()), (1, expected));
}

#[test]
fn another_rule_with_the_same_verdict_is_shown_when_asked_for() {
    let other = POLICY.replace(
        "  { action = \"Allow\", protocol = \"ICMP\"",
        "  { action = \"Deny\", protocol = \"UDP\" },\n  { action = \"Allow\", protocol = \"ICMP\"",
    );
    let (status, text) = diff(&other, &["--rules"]);
    assert_eq!(status, 0, "{text}");
    assert!(text.starts_with("the same: every packet has the same verdict\n\nwhere another rule decides and the verdict stays, from outside to inside\n"), "{text}");
    assert!(text.contains("      udp\n        was deny: ingress, no rule of tier"), "{text}");
    assert!(text.contains("        now deny: ingress[3] of policy `servers`"), "{text}");
    // The rule behind it has another position and is the same rule.
    assert!(!text.contains("icmp"), "{text}");
    let (_, text) = diff(&other, &["-o", "json"]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&answer["same"], &answer["crossings"][0]["rules"]), (&json!(true), &Value::Null));
}

#[test]
fn what_is_in_force_is_the_old_policy() {
    let directory = directory();
    std::fs::write(directory.path().join("ravelin.toml"), SETTINGS).unwrap();
    let arguments = ["diff", "policy.toml", "--in-force", "--config", "ravelin.toml"];
    let output = ravelin(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(2));
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.contains("the data plane does not answer on `dataplane.sock`"), "{talk}");

    let image = compile(&PolicySet::new(), 3, &Limits::default()).unwrap();
    std::fs::write(directory.path().join("image"), image.bytes()).unwrap();
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let path = directory.path().join("dataplane.sock");
    bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&socket, 1).unwrap();
    let image = File::open(directory.path().join("image")).unwrap();
    let server = std::thread::spawn(move || give(&accept(&socket).unwrap(), &image));
    let output = ravelin(directory.path(), &arguments);
    server.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let change = "was deny: ingress, no object covers the destination: the default\n        now allow: ingress[2]";
    assert!(text.contains(change), "{text}");
}

/// Answers one request for the image in force.
fn give(peer: &impl AsFd, image: &File) {
    let mut request = [0];
    let (length, _) = recv(peer, &mut request, RecvFlags::empty()).unwrap();
    assert_eq!((length, Request::from_byte(request[0])), (1, Some(Request::Image)));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [image.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let reply = [Reply::Done as u8];
    sendmsg(peer, &[IoSlice::new(&reply)], &mut control, SendFlags::NOSIGNAL).unwrap();
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_place() {
    let directory = directory();
    let output = ravelin(directory.path(), &["reach", "-f", "policy.toml", "--to", "role = 'a'"]);
    assert_eq!(output.status.code(), Some(1));
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.starts_with("ravelin: `--to role = 'a'`: at character 6"), "{talk}");
    std::fs::write(directory.path().join("other.toml"), "[[tier]]\n").unwrap();
    let output = ravelin(directory.path(), &["diff", "policy.toml", "other.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.contains("the documents of `other.toml` are refused"), "{talk}");
    let output = ravelin(directory.path(), &["diff", "policy.toml"]);
    assert_eq!(output.status.code(), Some(2));
}

fn reach(arguments: &[&str]) -> String {
    let directory = directory();
    let output = ravelin(directory.path(), &[&["reach", "-f", "policy.toml"], arguments].concat());
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{talk}");
    String::from_utf8(output.stdout).unwrap()
}

/// Exit status and answer for the policy above and another.
fn diff(other: &str, arguments: &[&str]) -> (i32, String) {
    let directory = directory();
    std::fs::write(directory.path().join("other.toml"), other).unwrap();
    let arguments = [&["diff", "policy.toml", "other.toml"], arguments].concat();
    let output = ravelin(directory.path(), &arguments);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.toml"), POLICY).unwrap();
    directory
}

fn ravelin(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
    command.args(arguments).current_dir(directory).output().unwrap()
}
