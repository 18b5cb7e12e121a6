//! The recipes for Kubernetes' network policies below `config/examples/kubernetes`: they load as they are, and open and
//! close what their first lines promise.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers")]

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use classifier::compile::{Limits, compile};
use classifier::decision::Verdict;
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::reference;
use classifier::resource::{Defaults, PolicySet};
use control::diagnostic::render_human;
use control::inventory;
use control::resolve::Gateway;

/// Everyone the promises speak of. Those outside are not in the cluster.
const ADDRESSES: [(&str, Side, &str); 15] = [
    ("web", Side::Inside, "198.18.1.1"),
    ("api", Side::Inside, "198.18.1.2"),
    ("db", Side::Inside, "198.18.1.3"),
    ("web6", Side::Inside, "2001:2:0:1::1"),
    ("api6", Side::Inside, "2001:2:0:1::2"),
    ("db6", Side::Inside, "2001:2:0:1::3"),
    ("scraper", Side::Inside, "198.18.2.1"),
    ("viewer", Side::Inside, "198.18.2.2"),
    ("toy", Side::Inside, "198.18.3.1"),
    ("dns", Side::Inside, "198.18.4.1"),
    ("customer", Side::Outside, "198.19.0.1"),
    ("office", Side::Outside, "198.19.10.1"),
    ("guest", Side::Outside, "198.19.10.200"),
    ("bank", Side::Outside, "198.19.20.1"),
    ("metadata", Side::Outside, "198.19.254.254"),
];

/// What a recipe promises, in lines: `from -> to protocol/port: yes` or `no`.
const PROMISES: [(&str, &str); 21] = [
    (
        "deny-all-to-a-pod",
        "api -> db tcp/5432: no
         api6 -> db6 tcp/5432: no
         customer -> db tcp/5432: no
         scraper -> db udp/53: no
         db -> api tcp/8000: yes
         db -> customer tcp/443: yes
         customer -> web tcp/8080: yes",
    ),
    (
        "allow-from-a-tier",
        "api -> db tcp/5432: yes
         api6 -> db6 tcp/5432: yes
         web -> db tcp/5432: no
         toy -> db tcp/5432: no
         customer -> db tcp/5432: no
         toy -> web tcp/8080: yes",
    ),
    (
        "default-deny-ingress",
        "web -> api tcp/8000: no
         scraper -> web tcp/9100: no
         customer -> web tcp/8080: no
         web -> customer tcp/443: yes
         web -> dns udp/53: yes
         customer -> toy tcp/80: yes",
    ),
    (
        "default-deny-egress",
        "web -> api tcp/8000: no
         web -> dns udp/53: no
         web -> customer tcp/443: no
         customer -> web tcp/8080: yes
         scraper -> web tcp/9100: yes
         toy -> customer tcp/443: yes",
    ),
    (
        "default-deny-both",
        "web -> api tcp/8000: no
         customer -> web tcp/8080: no
         web -> dns udp/53: no
         scraper -> db tcp/5432: no
         toy -> scraper tcp/80: yes",
    ),
    (
        "allow-all-to-a-pod",
        "customer -> web tcp/8080: yes
         toy -> web udp/5353: yes
         customer -> api tcp/8000: no
         web -> db tcp/5432: no",
    ),
    (
        "only-from-own-namespace",
        "web -> db tcp/5432: yes
         web6 -> db6 tcp/5432: yes
         toy -> db tcp/5432: no
         scraper -> web tcp/9100: no
         customer -> web tcp/8080: no
         customer -> toy tcp/80: yes",
    ),
    (
        "allow-from-all-namespaces",
        "toy -> web tcp/8080: yes
         scraper -> web tcp/9100: yes
         api -> web tcp/8080: yes
         customer -> web tcp/8080: no
         customer -> api tcp/8000: yes",
    ),
    (
        "allow-from-a-namespace",
        "api -> web tcp/8080: yes
         scraper -> web tcp/8080: yes
         toy -> web tcp/8080: no
         dns -> web tcp/8080: no
         customer -> web tcp/8080: no",
    ),
    (
        "allow-from-pods-of-a-namespace",
        "scraper -> web tcp/9100: yes
         viewer -> web tcp/9100: no
         api -> web tcp/9100: no
         customer -> web tcp/9100: no",
    ),
    (
        "allow-from-several",
        "api -> web tcp/8080: yes
         scraper -> web tcp/8080: yes
         viewer -> web tcp/8080: yes
         db -> web tcp/8080: no
         toy -> web tcp/8080: no",
    ),
    (
        "allow-from-outside",
        "customer -> web tcp/8080: yes
         toy -> web tcp/8080: yes
         customer -> web tcp/9100: no
         customer -> web udp/8080: no
         customer -> db tcp/5432: yes",
    ),
    (
        "allow-one-port",
        "scraper -> web tcp/9100: yes
         scraper -> web tcp/8080: no
         scraper -> web udp/9100: no
         api -> web tcp/9100: no",
    ),
    (
        "allow-a-named-port",
        "scraper -> web tcp/9100: yes
         scraper -> api tcp/9200: yes
         scraper -> web tcp/9200: no
         scraper -> api tcp/9100: no
         scraper -> db tcp/5432: no
         toy -> web tcp/9100: no",
    ),
    (
        "allow-a-port-range",
        "web -> api udp/32000: yes
         web -> api udp/32500: yes
         web -> api udp/32768: yes
         web -> api udp/31999: no
         web -> api udp/32769: no
         web -> api tcp/32500: no
         db -> api udp/32500: no",
    ),
    (
        "allow-from-addresses",
        "office -> web tcp/8080: yes
         guest -> web tcp/8080: no
         customer -> web tcp/8080: no
         office -> web tcp/9100: no
         api -> web tcp/8080: no",
    ),
    (
        "deny-egress-but-dns",
        "db -> dns udp/53: yes
         db -> dns tcp/53: yes
         db -> dns tcp/443: no
         db -> customer udp/53: no
         db -> api tcp/8000: no
         web -> customer tcp/443: yes
         api -> db tcp/5432: yes",
    ),
    (
        "deny-egress-to-outside",
        "web -> api tcp/8000: yes
         web -> toy tcp/80: yes
         web -> dns udp/53: yes
         web -> customer tcp/443: no
         web -> bank tcp/443: no
         toy -> customer tcp/443: yes",
    ),
    (
        "allow-egress-to-addresses",
        "api -> bank tcp/443: yes
         api -> bank tcp/80: no
         api -> customer tcp/443: no
         api -> dns udp/53: yes
         api -> db tcp/5432: no
         web -> customer tcp/443: yes",
    ),
    (
        "cluster-guard",
        "scraper -> web tcp/9100: yes
         viewer -> api tcp/9200: yes
         toy -> web tcp/9100: no
         api -> web tcp/9100: no
         customer -> web tcp/8080: yes
         toy -> web tcp/8080: yes
         web -> metadata tcp/80: no
         web -> metadata udp/53: no
         web -> customer tcp/443: yes
         toy -> metadata tcp/80: yes",
    ),
    (
        "cluster-baseline",
        "toy -> web tcp/8080: yes
         customer -> web tcp/8080: yes
         customer -> web tcp/9100: no
         api -> web tcp/9100: no
         api -> db tcp/5432: yes
         toy -> db tcp/5432: no
         customer -> db tcp/5432: no
         toy -> scraper tcp/80: yes",
    ),
];

#[test]
fn every_recipe_keeps_its_promises() {
    let mut broken = Vec::new();
    for (recipe, promises) in PROMISES {
        let set = set(recipe);
        for promise in promises.lines().map(str::trim) {
            let (question, answer) = promise.split_once(": ").unwrap();
            let expected = match answer {
                "yes" => Verdict::Allow,
                "no" => Verdict::Deny,
                other => panic!("`{other}` is no answer"),
            };
            for (who, verdict) in verdicts(&set, question) {
                if verdict != expected {
                    broken.push(format!("{recipe}: {promise}, but {who} says {verdict:?}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_recipe_promises_something() {
    let promised: BTreeSet<String> =
        PROMISES.iter().map(|(recipe, _)| format!("{recipe}.yaml")).collect();
    let files = directory().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: BTreeSet<String> = files.map(|name| name.into_string().unwrap()).collect();
    assert!(files.remove("cluster.yaml"));
    assert_eq!(files, promised);
    for (recipe, promises) in PROMISES {
        assert!(promises.contains(": yes") && promises.contains(": no"), "{recipe}");
    }
}

/// As an operator checks the directory that the policies lie in.
#[test]
fn recipes_are_checked_without_a_word_of_complaint() {
    for (recipe, _) in PROMISES {
        let files = tempfile::tempdir().unwrap();
        copy(recipe, files.path());
        let policies = files.path().to_str().unwrap();
        let (status, said) = ravelin(&["check", policies]);
        assert_eq!(status, Some(0), "{recipe}:\n{said}");
        assert!(!said.contains("error") && !said.contains("warning:"), "{recipe}:\n{said}");
    }
}

/// All recipes can lie in one directory; what each promises of itself is another matter then.
#[test]
fn recipes_have_names_of_their_own() {
    let (status, said) = ravelin(&["check", directory().to_str().unwrap()]);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn trace_names_the_policy_that_lets_the_office_in_and_the_guest_not() {
    let files = tempfile::tempdir().unwrap();
    copy("allow-from-addresses", files.path());
    let path = files.path().to_str().unwrap();
    let traced = |src| {
        let packet = ["--in", "outside", "--src", src, "--dst", "198.18.1.1", "--proto", "tcp"];
        ravelin(&[&["trace", "--file", path][..], &packet, &["--dport", "8080"]].concat()).1
    };
    let office = traced("198.19.10.1");
    assert!(office.contains("web-from-office") && office.contains("allow: ingress"), "{office}");
    let guest = traced("198.19.10.200");
    assert!(guest.contains("web-from-office") && guest.contains("deny: ingress"), "{guest}");
}

fn ravelin(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ravelin")).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// What the reference and the image say of `from -> to protocol/port`.
fn verdicts(set: &PolicySet, question: &str) -> [(&'static str, Verdict); 2] {
    let words: Vec<&str> = question.split_whitespace().collect();
    let [from, "->", to, service] = *words.as_slice() else {
        panic!("`{question}` is no question");
    };
    let (from_side, src) = address(from);
    let (to_side, dst) = address(to);
    let (protocol, port) = service.split_once('/').unwrap();
    let protocol = match protocol {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        other => panic!("`{other}` is no protocol"),
    };
    let transport = Transport::Ports { src: 40_000, dst: port.parse().unwrap() };
    let packet = PacketKey { src, dst, protocol, transport };
    let crossing = Crossing::sides(from_side, to_side);
    let image = compile(set, 1, &Limits::default()).unwrap();
    [
        ("the reference", reference::evaluate(set, &packet, crossing).verdict()),
        ("the image", image.view().classify(&packet, crossing).verdict()),
    ]
}

fn address(name: &str) -> (Side, IpAddr) {
    let known = ADDRESSES.iter().find(|(known, _, _)| *known == name);
    let (_, side, address) = known.unwrap_or_else(|| panic!("nobody is called `{name}`"));
    (*side, address.parse().unwrap())
}

/// The cluster with the recipe; what no policy selects is open there.
fn set(recipe: &str) -> PolicySet {
    let files = tempfile::tempdir().unwrap();
    copy(recipe, files.path());
    let defaults = Defaults { allow_unselected: true, ..Defaults::default() };
    let loaded = inventory::load(files.path(), &Gateway { defaults, ..Gateway::default() });
    assert!(loaded.findings.is_empty(), "{recipe}:\n{}", render_human(&loaded.findings, false));
    loaded.policy_set.unwrap()
}

fn copy(recipe: &str, to: &Path) {
    for name in ["cluster", recipe] {
        let file = format!("{name}.yaml");
        fs::copy(directory().join(&file), to.join(&file)).unwrap();
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("config/examples/kubernetes")
}
