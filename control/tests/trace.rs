//! What `ravelin trace` prints, as a person reads it.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::path::Path;
use std::process::{Command, Output};

const POLICY: &str = r#"
[[tiers]]
name = "site"
order = 10
defaultAction = "Pass"

[[globalNetworkSets]]
name = "noc"
labels = { zone = "noc" }
nets = ["198.18.10.0/24", "2001:2:0:10::/64"]

[[globalNetworkSets]]
name = "rack-7"
labels = { role = "server", site = "a" }
nets = ["198.18.70.0/24", "2001:2:0:70::/64"]

[[globalNetworkPolicies]]
name = "site.no-telnet"
tier = "site"
selector = "has(role)"
types = ["Ingress"]
ingress = [
  { action = "Deny", protocol = "TCP", destination = { ports = [23] } },
]

[[globalNetworkPolicies]]
name = "ssh"
selector = "role == 'server'"
types = ["Ingress"]
ingress = [
  { action = "Log", protocol = "TCP", destination = { ports = [22] } },
  { action = "Allow", protocol = "TCP", source = { selector = "zone == 'noc'" }, destination = { ports = [22] } },
]
"#;

#[test]
fn every_tier_policy_and_rule_on_the_way_is_shown() {
    let expected = "\
packet       tcp 198.18.10.5:49152 to 198.18.70.9:22, outside to inside
policy       `policy.toml`, compiled for this
source       198.18.10.5, GlobalNetworkSet `noc` {zone=noc}
destination  198.18.70.9, GlobalNetworkSet `rack-7` {role=server, site=a}

ingress of 198.18.70.9
  tier `site`
    policy `site.no-telnet`
      ingress[0] Deny TCP to ports 23
        does not match: destination ports
    end of tier: on to the next tier
  tier `default`
    policy `ssh`
      ingress[0] Log TCP to ports 22
        matches: log, and on to the next rule
      ingress[1] Allow TCP from zone == \"noc\" to ports 22
        matches: allow
  allow: ingress[1] of policy `ssh` in tier `default`: Allow TCP from zone == \"noc\" to ports 22

allow: ingress[1] of policy `ssh` in tier `default`: Allow TCP from zone == \"noc\" to ports 22
";
    assert_eq!(trace("--src 198.18.10.5 --dst 198.18.70.9 --proto tcp --dport 22"), expected);
}

#[test]
fn a_packet_that_no_rule_decides_ends_with_its_tier() {
    let text = trace("--src 2001:2::99 --dst 2001:2:0:70::9 --proto icmpv6");
    for line in [
        "packet       icmpv6 type 128 code 0 2001:2::99 to 2001:2:0:70::9, outside to inside\n",
        "source       2001:2::99, no object covers it\n",
        "        does not match: protocol\n    end of tier: on to the next tier\n",
        "        does not match: protocol\n    end of tier: deny\n",
        "\ndeny: ingress, no rule of tier `default` decided, and its policies deny what they do not allow\n",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}

#[test]
fn an_address_that_nothing_covers_is_said_to_be_so() {
    let text = trace("--src 198.18.10.5 --dst 198.19.0.1 --proto 47");
    let end =
        "deny: ingress, no object covers this address: denied unless the settings say otherwise\n";
    assert!(text.ends_with(end), "{text}");
}

/// Would take SSH from the network operators.
const STAGED: &str = r#"
[[stagedGlobalNetworkPolicies]]
name = "ssh"
selector = "role == 'server'"
types = ["Ingress"]
"#;

#[test]
fn what_is_staged_is_shown_where_it_differs() {
    let packet = "--src 198.18.10.5 --dst 198.18.70.9 --proto tcp --dport 22";
    let text = trace_of(&(POLICY.to_owned() + STAGED), packet);
    let expected = "
allow: ingress[1] of policy `ssh` in tier `default`: Allow TCP from zone == \"noc\" to ports 22

if what is staged were applied

ingress of 198.18.70.9
  tier `site`
    policy `site.no-telnet`
      ingress[0] Deny TCP to ports 23
        does not match: destination ports
    end of tier: on to the next tier
  tier `default`
    policy `ssh`
      no rules for ingress
    end of tier: deny
  deny: no rule of tier `default` decided, and its policies deny what they do not allow

deny: ingress, no rule of tier `default` decides, and its policies deny what they do not allow
";
    assert!(text.ends_with(expected), "{text}");
    let json = trace_of(&(POLICY.to_owned() + STAGED), &format!("{packet} -o json"));
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    let pending = &answer["pending"];
    assert_eq!((&answer["verdict"], &pending["verdict"]), (&"allow".into(), &"deny".into()));
    assert_eq!((&pending["reason"], &pending["differs"]), (&"end-of-tier".into(), &true.into()));
    let telnet = packet.replace("22", "23");
    let text = trace_of(&(POLICY.to_owned() + STAGED), &telnet);
    assert!(!text.contains("staged"), "{text}");
}

#[test]
fn an_endpoint_of_the_port_is_asked_first_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let settings = "gateway = { name = 'gw1' }\n\
        ports = [{ interface = 'eth0', side = 'outside' }, { interface = 'eth1', side = 'inside' }]\n";
    std::fs::write(directory.path().join("ravelin.toml"), settings).unwrap();
    let endpoint = r#"
[[hostEndpoints]]
name = "uplink"
node = "gw1"
interfaceName = "eth0"
labels = { port = "uplink" }

[[globalNetworkPolicies]]
name = "uplink"
selector = "port == 'uplink'"
applyOnForward = true
types = ["Ingress"]
ingress = [{ action = "Deny", protocol = "TCP", destination = { ports = [22] } }, { action = "Allow" }]
"#;
    std::fs::write(directory.path().join("policy.toml"), POLICY.to_owned() + endpoint).unwrap();
    let packet = "--src 198.18.10.5 --dst 198.18.70.9 --proto tcp --dport 22";
    let ask = |port| {
        let files = "--config ravelin.toml -f policy.toml";
        let output = ravelin(directory.path(), &format!("trace {files} --in {port} {packet}"));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for port in ["eth0", "outside"] {
        let text = ask(port);
        assert!(text.contains("\nentry by outside, host endpoint `uplink`\n"), "{text}");
        let end = "\ndeny: ingress[0] of policy `uplink` in tier `default`: Deny TCP to ports 22\n";
        assert!(text.ends_with(end), "{text}");
    }
    assert!(!ask("eth1").contains("entry by"), "no endpoint governs the inner port");
}

#[test]
fn json_points_to_the_rule_that_decided() {
    let text = trace("--src 198.18.10.5 --dst 198.18.70.9 --proto tcp --dport 23 -o json");
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["verdict"], "deny");
    assert_eq!(answer["reason"], "rule");
    assert_eq!(answer["decided"]["tier"], "site");
    assert_eq!(answer["decided"]["policy"], "site.no-telnet");
    assert_eq!(answer["decided"]["rule"], 0);
    assert_eq!(answer["source"]["labels"]["zone"], "noc");
    let tier = &answer["directions"][0]["tiers"][0];
    assert_eq!(tier["end"], "decided");
    assert_eq!(tier["policies"][0]["rules"][0]["matches"], true);
    assert_eq!(answer["directions"][0]["tiers"].as_array().unwrap().len(), 1);
}

#[test]
fn without_an_image_to_ask_it_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let settings = "gateway = { name = 'gw1' }\n\
        ports = [{ interface = 'eth0', side = 'outside' }, { interface = 'eth1', side = 'inside' }]\n\
        dataplane = { socket = 'nobody' }\n";
    std::fs::write(directory.path().join("ravelin.toml"), settings).unwrap();
    let packet = "--config ravelin.toml --in eth0 --src 198.18.0.1 --dst 198.18.0.2 --proto 47";
    let output = ravelin(directory.path(), &format!("trace {packet}"));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let talk = String::from_utf8(output.stderr).unwrap();
    let said = "the data plane does not answer on `nobody`: No such file or directory";
    assert!(talk.contains(said), "{talk}");
    assert!(talk.contains("` asks the documents instead"), "{talk}");
}

#[test]
fn refused_documents_are_not_traced() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.toml"), "[[tier]]\n").unwrap();
    let packet = "-f policy.toml --in outside --src 198.18.0.1 --dst 198.18.0.2 --proto 47";
    let output = ravelin(directory.path(), &format!("trace {packet}"));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(
        talk.contains("the documents are refused") && talk.contains("[policy.toml:1"),
        "{talk}"
    );
}

fn trace(arguments: &str) -> String {
    trace_of(POLICY, arguments)
}

fn trace_of(policy: &str, arguments: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.toml"), policy).unwrap();
    let output =
        ravelin(directory.path(), &format!("trace -f policy.toml --in outside {arguments}"));
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{talk}");
    String::from_utf8(output.stdout).unwrap()
}

fn ravelin(directory: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
    command.args(arguments.split(' ')).current_dir(directory).output().unwrap()
}
