//! What `check` warns of in a set without a mistake: the exact words, and silence when all is well.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::path::Path;

use control::commands::check::{self, Arguments, CLEAN, Format};

/// Two racks and the network operators, in both families.
const OBJECTS: &str = r#"[[globalNetworkSets]]
name = "noc"
labels = { zone = "noc" }
nets = ["198.18.10.0/24", "2001:2:0:10::/64"]

[[globalNetworkSets]]
name = "rack-7"
labels = { role = "server" }
nets = ["198.18.70.0/24", "2001:2:0:70::/64"]
"#;

/// Allows what every part of it is for.
const GOOD: &str = r#"
[[globalNetworkPolicies]]
name = "ssh"
selector = "role == 'server'"
types = ["Ingress"]
ingress = [
  { action = "Allow", protocol = "TCP", source = { selector = "zone == 'noc'" }, destination = { ports = [22] } },
  { action = "Allow", protocol = "TCP", source = { nets = ["198.18.0.0/17"] }, destination = { ports = ["80:90"] } },
  { action = "Log", protocol = "TCP", destination = { ports = [22] } },
  { action = "Deny", protocol = "TCP", destination = { ports = [22] } },
  { action = "Allow", protocol = "TCP", source = { nets = ["198.18.0.0/16"] }, destination = { ports = ["80:90"] } },
  { action = "Allow", protocol = "ICMP", source = { notSelector = "zone == 'noc'" } },
  { action = "Allow", protocol = "ICMP" },
]
"#;

#[test]
fn a_good_set_is_taken_without_a_word() {
    assert_eq!(said(GOOD), "ok: 1 policy, 2 objects, 0 warnings\n");
}

#[test]
fn a_rule_behind_one_that_takes_everything_is_shown_with_it() {
    let policy = r#"
[[globalNetworkPolicies]]
name = "ssh"
selector = "role == 'server'"
types = ["Ingress"]
ingress = [
  { action = "Deny", protocol = "TCP", destination = { ports = ["20:30"] } },
  { action = "Allow", protocol = "TCP", source = { selector = "zone == 'noc'" }, destination = { ports = [22] } },
]
"#;
    let expected = r#"warning: rule.shadowed

  ⚠ this rule can never match
    ╭─[site.toml:17:14]
 15 │ ingress = [
 16 │   { action = "Deny", protocol = "TCP", destination = { ports = ["20:30"] } },
    ·              ───┬──
    ·                 ╰── denies it before
 17 │   { action = "Allow", protocol = "TCP", source = { selector = "zone == 'noc'" }, destination = { ports = [22] } },
    ·              ───┬───
    ·                 ╰── an earlier rule takes everything it would match
 18 │ ]
    ╰────
  help: remove it, or move it before what takes its packets if it should decide

ok: 1 policy, 2 objects, 1 warning
"#;
    assert_eq!(said(policy), expected);
}

#[test]
fn a_rule_behind_several_that_take_it_together_is_shown_with_the_first_of_them() {
    let policy = r#"
[[globalNetworkPolicies]]
name = "halves"
selector = "role == 'server'"
types = ["Ingress"]
ingress = [
  { action = "Allow", source = { nets = ["0.0.0.0/1"] } },
  { action = "Pass", source = { nets = ["128.0.0.0/1"] } },
  { action = "Deny", ipVersion = 6 },
  { action = "Log" },
]
"#;
    let expected = r#"warning: rule.shadowed

  ⚠ this rule can never match
    ╭─[site.toml:19:14]
 15 │ ingress = [
 16 │   { action = "Allow", source = { nets = ["0.0.0.0/1"] } },
    ·              ───┬───
    ·                 ╰── allows it before
 17 │   { action = "Pass", source = { nets = ["128.0.0.0/1"] } },
    ·              ───┬──
    ·                 ╰── passes it on to the next tier before
 18 │   { action = "Deny", ipVersion = 6 },
    ·              ───┬──
    ·                 ╰── denies it before
 19 │   { action = "Log" },
    ·              ──┬──
    ·                ╰── 3 earlier rules take everything it would match
 20 │ ]
    ╰────
  help: move it before what takes its packets, or remove it

ok: 1 policy, 2 objects, 1 warning
"#;
    assert_eq!(said(policy), expected);
}

#[test]
fn selectors_that_match_nothing_are_shown_by_what_that_means() {
    let policy = r#"
[[globalNetworkPolicies]]
name = "typo"
selector = "role == 'sever'"
types = ["Ingress"]
ingress = [
  { action = "Deny", source = { selector = "zone == 'nco'" } },
  { action = "Allow", source = { notSelector = "zone == 'nco'" } },
]
"#;
    let expected = r#"warning: selector.matches-nothing

  ⚠ the policy protects nothing
    ╭─[site.toml:13:12]
 12 │ name = "typo"
 13 │ selector = "role == 'sever'"
    ·            ────────┬────────
    ·                    ╰── matches no object
 14 │ types = ["Ingress"]
    ╰────
  help: no object has such labels: correct the selector or the labels, unless the label comes
        later

warning: selector.matches-nothing

  ⚠ this deny rule denies nothing
    ╭─[site.toml:16:44]
 15 │ ingress = [
 16 │   { action = "Deny", source = { selector = "zone == 'nco'" } },
    ·                                            ───────┬───────
    ·                                                   ╰── matches no object
 17 │   { action = "Allow", source = { notSelector = "zone == 'nco'" } },
    ╰────
  help: no object has such labels, so what it should deny goes on to the next rule: correct it
        first

warning: selector.matches-nothing

  ⚠ this `notSelector` leaves nothing out
    ╭─[site.toml:17:48]
 16 │   { action = "Deny", source = { selector = "zone == 'nco'" } },
 17 │   { action = "Allow", source = { notSelector = "zone == 'nco'" } },
    ·                                                ───────┬───────
    ·                                                       ╰── matches no object
 18 │ ]
    ╰────
  help: no object has such labels, so every address passes this condition: correct it first

ok: 1 policy, 2 objects, 3 warnings
"#;
    assert_eq!(said(policy), expected);
}

#[test]
fn a_negation_that_matches_what_has_no_such_label_is_shown() {
    let policy = r#"
[[globalNetworkPolicies]]
name = "not-noc"
selector = "zone != 'noc'"
types = ["Ingress"]
"#;
    let expected = r#"warning: selector.unlabelled

  ⚠ the selector also matches objects without the label `zone`
    ╭─[site.toml:13:12]
 12 │ name = "not-noc"
 13 │ selector = "zone != 'noc'"
    ·            ───────┬───────
    ·                   ╰── matches `rack-7`, which has no `zone`
 14 │ types = ["Ingress"]
    ╰────
  help: add `has(zone) &&` if that is not meant

ok: 1 policy, 2 objects, 1 warning
"#;
    assert_eq!(said(policy), expected);
    let meant = policy.replace("zone != 'noc'", "has(role) && zone not in {'lab'} && has(zone)");
    assert!(!said(&meant).contains("selector.unlabelled"), "{}", said(&meant));
}

#[test]
fn a_set_that_covers_everything_is_shown_however_it_is_written() {
    for nets in ["'0.0.0.0/0'", "'0.0.0.0/1', '128.0.0.0/2', '192.0.0.0/2'"] {
        let set = format!(
            "\n[[globalNetworkSets]]\nname = 'all'\nlabels = {{ a = 'b' }}\nnets = [{nets}]\n"
        );
        let expected = r"warning: object.everything

  ⚠ `all` covers every IPv4 address
    ╭─[site.toml:12:8]
 11 │ [[globalNetworkSets]]
 12 │ name = 'all'
    ·        ──┬──
    ·          ╰── covers everything
 13 │ labels = { a = 'b' }
    ╰────
  help: if any address is meant, a rule without `selector` says so too

ok: 0 policies, 3 objects, 1 warning
";
        assert_eq!(said(&set), expected);
    }
    let set = "\n[[globalNetworkSets]]\nname = 'most'\nnets = ['0.0.0.0/1', '128.0.0.0/2', '::/1', '::/1']\n";
    assert_eq!(said(set), "ok: 0 policies, 3 objects, 0 warnings\n");
}

const SETTINGS: &str = "\
gateway = { name = 'gw1' }
ports = [{ interface = 'eth0', side = 'outside' }, { interface = 'eth1', side = 'inside' }]
policy = { directory = 'policies' }

[management]
from = ['198.18.10.0/24', '2001:2:0:10::/64']
to = ['198.18.70.1:22/tcp', '[2001:2:0:70::1]:22/tcp']
";

#[test]
fn a_management_path_that_policy_cuts_is_shown_with_the_rule() {
    let directory = tempfile::tempdir().unwrap();
    let place = |policy: &str| {
        fs::create_dir_all(directory.path().join("policies")).unwrap();
        fs::write(directory.path().join("policies/site.toml"), OBJECTS.to_owned() + policy)
            .unwrap();
        fs::write(directory.path().join("ravelin.toml"), SETTINGS).unwrap();
        checked(directory.path(), "ravelin.toml")
    };
    assert_eq!(place(GOOD), "ok: 1 policy, 2 objects, 0 warnings\n");
    let quarantine = r#"
[[globalNetworkPolicies]]
name = "cut"
order = 1
selector = "role == 'server'"
types = ["Ingress"]
ingress = [{ action = "Deny", source = { nets = ["198.18.10.128/25"] } }, { action = "Deny", ipVersion = 6 }]
"#;
    let expected = r"warning: management.cut

  ⚠ policy denies management from `198.18.10.0/24` to `198.18.70.1:22/tcp`, in part
   ╭─[ravelin.toml:7:7]
 6 │ from = ['198.18.10.0/24', '2001:2:0:10::/64']
 7 │ to = ['198.18.70.1:22/tcp', '[2001:2:0:70::1]:22/tcp']
   ·       ──────────┬─────────
   ·                 ╰── denied from `198.18.10.128`: ingress[0] of policy `cut` in tier `default`: Deny from 198.18.10.128/25
   ╰────
  help: allow it before what denies it, or you may lock yourself out

warning: management.cut

  ⚠ policy denies management from `2001:2:0:10::/64` to `[2001:2:0:70::1]:22/tcp`
   ╭─[ravelin.toml:7:29]
 6 │ from = ['198.18.10.0/24', '2001:2:0:10::/64']
 7 │ to = ['198.18.70.1:22/tcp', '[2001:2:0:70::1]:22/tcp']
   ·                             ────────────┬────────────
   ·                                         ╰── denied from `2001:2:0:10::`: ingress[1] of policy `cut` in tier `default`: Deny IPv6
   ╰────
  help: allow it before what denies it, or you may lock yourself out

ok: 2 policies, 2 objects, 2 warnings
";
    assert_eq!(place(&(GOOD.to_owned() + quarantine)), expected);
    let said = place("");
    let cut = said.matches("management.cut").count();
    assert_eq!(cut, 2, "{said}");
    let because = "ingress, no policy selects the destination: the default";
    assert!(said.contains(&format!("denied from `198.18.10.0`: {because}")), "{said}");
}

#[test]
fn a_management_path_that_cannot_be_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let settings = SETTINGS
        .replace("'198.18.10.0/24'", "'198.18.10.0/33'")
        .replace("'198.18.70.1:22/tcp'", "'198.18.70.1:22'")
        .replace("[management]", "[management]\nin = 'left'");
    fs::write(directory.path().join("ravelin.toml"), settings).unwrap();
    let expected = r"error: field.value

  × `in` cannot be `left`
   ╭─[ravelin.toml:6:6]
 5 │ [management]
 6 │ in = 'left'
   ·      ───┬──
   ·         ╰── expected one of `outside` and `inside`
 7 │ from = ['198.18.10.0/33', '2001:2:0:10::/64']
   ╰────
  help: write one of `outside` and `inside`

error: settings.management

  × `198.18.10.0/33` is neither a network nor an address
   ╭─[ravelin.toml:7:9]
 6 │ in = 'left'
 7 │ from = ['198.18.10.0/33', '2001:2:0:10::/64']
   ·         ────────┬───────
   ·                 ╰── expected a network
 8 │ to = ['198.18.70.1:22', '[2001:2:0:70::1]:22/tcp']
   ╰────
  help: write it as `198.18.10.0/24`, `2001:2:0:10::/64` or `198.18.10.5`

error: settings.management

  × `198.18.70.1:22` is no address with a port and a protocol
   ╭─[ravelin.toml:8:7]
 7 │ from = ['198.18.10.0/33', '2001:2:0:10::/64']
 8 │ to = ['198.18.70.1:22', '[2001:2:0:70::1]:22/tcp']
   ·       ────────┬───────
   ·               ╰── expected an address, a port and a protocol
   ╰────
  help: write it as `198.18.0.1:22/tcp` or `[2001:2::1]:22/tcp`

refused: 3 errors, 0 warnings
";
    assert_eq!(run(directory.path(), "ravelin.toml").0, expected);
}

/// What is said of the objects and this policy.
fn said(policy: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("site.toml"), OBJECTS.to_owned() + policy).unwrap();
    checked(directory.path(), "site.toml")
}

fn checked(directory: &Path, path: &str) -> String {
    let (text, status) = run(directory, path);
    assert_eq!(status, CLEAN, "{text}");
    text
}

/// The answer, with places that do not say where the directory is.
fn run(directory: &Path, path: &str) -> (String, u8) {
    let mut out = Vec::new();
    let arguments = Arguments { path: directory.join(path), output: Format::Human };
    let status = check::run(&arguments, false, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    (text.replace(&format!("{}/", directory.display()), ""), status)
}
