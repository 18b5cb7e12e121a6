//! Every file that is shipped loads without a word, alone and with the others, and decides as its comment says.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use classifier::compile::{Limits, compile};
use classifier::decision::{Decision, Reason, Verdict};
use classifier::packet::{Crossing, PacketKey, Side, Transport, protocol};
use classifier::reference;
use classifier::resource::{Defaults, PolicySet};
use control::diagnostic::render_human;
use control::inventory;
use control::resolve::Gateway;
use control::settings::Settings;

const IN: Crossing = Crossing::sides(Side::Outside, Side::Inside);
const OUT: Crossing = Crossing::sides(Side::Inside, Side::Outside);
const WITHIN: Crossing = Crossing::sides(Side::Inside, Side::Inside);

const ALLOW: Verdict = Verdict::Allow;
const DENY: Verdict = Verdict::Deny;

/// A file, a way, source, destination, "tcp 22" and so on, the verdict, and what decides by name: a policy, the end of a
/// tier, or that nothing does.
type Case =
    (&'static str, Crossing, &'static str, &'static str, &'static str, Verdict, &'static str);

/// What each file says when it stands alone.
#[rustfmt::skip]
const ALONE: &[Case] = &[
    ("noc-ssh", IN, "198.18.10.5", "198.18.70.1", "tcp 22", ALLOW, "ssh-only-from-noc"),
    ("noc-ssh", IN, "2001:2:0:10::5", "2001:2:0:70::1", "tcp 22", ALLOW, "ssh-only-from-noc"),
    ("noc-ssh", IN, "198.18.20.5", "198.18.70.1", "tcp 22", DENY, "ssh-only-from-noc logged"),
    ("noc-ssh", IN, "198.18.20.5", "198.18.70.1", "tcp 443", ALLOW, "web-on-production"),
    ("noc-ssh", IN, "198.18.10.5", "198.18.70.1", "udp 22", DENY, "end of default"),
    ("noc-ssh", OUT, "198.18.70.1", "198.18.10.5", "tcp 22", DENY, "unselected"),
    ("noc-ssh", IN, "198.18.10.5", "198.18.71.1", "tcp 22", DENY, "uncovered"),
    ("embargo", OUT, "198.18.200.9", "198.18.99.7", "tcp 443", DENY, "nothing-with-embargoed logged"),
    ("embargo", IN, "198.18.20.5", "198.18.99.7", "tcp 443", DENY, "no tier"),
    ("default-deny", IN, "198.18.20.5", "198.18.80.3", "tcp 8085", ALLOW, "factory-services"),
    ("default-deny", IN, "198.18.20.5", "198.18.80.3", "tcp 8090", DENY, "end of default"),
    ("default-deny", IN, "198.18.10.5", "198.18.80.3", "icmp 8", ALLOW, "factory-services"),
    ("default-deny", IN, "2001:2::5", "2001:2:0:80::3", "icmpv6 128", ALLOW, "factory-services"),
    ("default-deny", OUT, "198.18.80.3", "198.18.53.1", "udp 53", ALLOW, "factory-services"),
    ("default-deny", OUT, "198.18.80.3", "198.18.53.99", "udp 53", DENY, "end of default"),
    ("pci", IN, "198.18.91.4", "198.18.90.1", "tcp 443", ALLOW, "card-data-services"),
    ("pci", IN, "198.18.20.5", "198.18.90.1", "tcp 443", DENY, "card-data-isolation logged"),
    ("pci", WITHIN, "198.18.90.1", "198.18.90.2", "tcp 5432", ALLOW, "card-data-services"),
    ("pci", OUT, "2001:2:0:90::1", "2001:2:0:20::1", "tcp 443", DENY, "card-data-isolation logged"),
    ("three-tiers", IN, "198.18.20.5", "198.18.101.1", "tcp 443", ALLOW, "dmz"),
    ("three-tiers", WITHIN, "198.18.101.1", "198.18.102.1", "tcp 8443", ALLOW, "middleware"),
    ("three-tiers", WITHIN, "2001:2:0:102::1", "2001:2:0:103::10", "tcp 5432", ALLOW, "database"),
    ("three-tiers", WITHIN, "198.18.101.1", "198.18.103.10", "tcp 5432", DENY, "end of application"),
    ("three-tiers", OUT, "198.18.103.10", "198.18.20.5", "tcp 443", DENY, "end of application"),
    ("quarantine", IN, "198.18.11.1", "198.18.66.3", "tcp 22", ALLOW, "quarantine"),
    ("quarantine", IN, "198.18.10.5", "198.18.66.3", "tcp 22", DENY, "quarantine logged"),
    ("quarantine", OUT, "2001:2:0:66::3", "2001:2:0:20::1", "udp 53", DENY, "quarantine logged"),
];

/// What only the files together say: the embargo stands before everything but quarantine.
#[rustfmt::skip]
const TOGETHER: &[Case] = &[
    ("", IN, "198.18.200.9", "198.18.70.1", "tcp 443", DENY, "nothing-with-embargoed logged"),
    ("", IN, "2001:2:0:200::9", "2001:2:0:101::1", "tcp 443", DENY, "nothing-with-embargoed logged"),
    ("", OUT, "198.18.80.3", "198.19.66.1", "udp 53", DENY, "nothing-with-embargoed logged"),
    ("", OUT, "198.18.66.3", "198.19.66.1", "udp 53", DENY, "quarantine logged"),
    ("", IN, "198.18.20.5", "198.18.70.1", "tcp 443", ALLOW, "web-on-production"),
];

#[test]
fn every_shipped_policy_has_a_case() {
    let files = shipped_files();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(ALONE.iter().any(|case| case.0 == stem), "no case for {stem}");
    }
}

#[test]
fn shipped_policies_alone_decide_as_their_comments_say() {
    for case in ALONE {
        check(&load(&policies().join(format!("{}.toml", case.0))), case);
    }
}

#[test]
fn shipped_policies_together_keep_what_each_says() {
    let all = load(&policies());
    for case in ALONE.iter().chain(TOGETHER) {
        // With the embargo's policy on everything, nothing is without a policy.
        let changes = case.0 == "embargo" || case.6 == "unselected";
        if !changes {
            check(&all, case);
        }
    }
}

#[test]
fn shipped_settings_are_closed_and_show_the_defaults() {
    let file = config().join("ravelin.toml");
    let settings = Settings::load(&file).unwrap();
    assert_eq!(settings.defaults, Defaults::default());
    assert_eq!(settings.warnings, []);
    assert_eq!(settings.policy_directory, policies());

    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("ravelin.toml");
    fs::write(&copy, uncommented(&fs::read_to_string(&file).unwrap())).unwrap();
    let mut expected = settings;
    expected.policy_directory = directory.path().join("policies");
    expected.control_user = Some("ravelin".to_owned());
    expected.sanity.special_purpose = Some(directory.path().join("special.txt"));
    assert_eq!(Settings::load(&copy).unwrap(), expected, "a commented value is not the default");
}

/// The settings with every commented value in force.
fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_value(rest) => rest,
        Some(_) | None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_value(text: &str) -> bool {
    text.split_once(" = ").is_some_and(|(key, _)| key.chars().all(char::is_alphanumeric))
}

/// Both evaluators must agree with the case.
fn check(set: &PolicySet, case: &Case) {
    let (_, crossing, src, dst, what, verdict, decider) = *case;
    let packet = packet(src, dst, what);
    let decision = reference::evaluate(set, &packet, crossing);
    assert_eq!(decision.verdict(), verdict, "{case:?}: {decision:?}");
    assert_eq!(name(set, &decision), decider, "{case:?}: {decision:?}");
    let image = compile(set, 1, &Limits::default()).unwrap();
    assert_eq!(image.view().classify(&packet, crossing), decision, "{case:?}");
}

fn name(set: &PolicySet, decision: &Decision) -> String {
    let (_, half) = decision.deciding().unwrap();
    let name = match half.reason {
        Reason::Rule(rule) => set.policies[rule.policy as usize].name.clone(),
        Reason::EndOfTier(tier) => format!("end of {}", set.tier_names()[tier as usize]),
        Reason::NoTierDecided => "no tier".to_owned(),
        Reason::Unselected => "unselected".to_owned(),
        Reason::Uncovered => "uncovered".to_owned(),
        Reason::NoForwardPolicy => "no forward policy".to_owned(),
        Reason::NoProfile => "no profile".to_owned(),
    };
    if half.logged.is_some() { format!("{name} logged") } else { name }
}

fn packet(src: &str, dst: &str, what: &str) -> PacketKey {
    let (name, number) = what.split_once(' ').unwrap();
    let number: u16 = number.parse().unwrap();
    let ports = Transport::Ports { src: 40_000, dst: number };
    let icmp = Transport::Icmp { kind: u8::try_from(number).unwrap_or_default(), code: 0 };
    let (protocol, transport) = match name {
        "tcp" => (protocol::TCP, ports),
        "udp" => (protocol::UDP, ports),
        "icmp" => (protocol::ICMP, icmp),
        "icmpv6" => (protocol::ICMPV6, icmp),
        other => panic!("no protocol {other}"),
    };
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    PacketKey { src: address(src), dst: address(dst), protocol, transport }
}

/// Loads without any finding, warnings included.
fn load(path: &Path) -> PolicySet {
    let loaded = inventory::load(path, &Gateway::default());
    assert!(loaded.findings.is_empty(), "{}", render_human(&loaded.findings, false));
    loaded.policy_set.unwrap()
}

fn shipped_files() -> Vec<PathBuf> {
    let entries = policies().read_dir().unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|file| file.extension().is_some_and(|extension| extension == "toml")).collect()
}

fn policies() -> PathBuf {
    config().join("policies")
}

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("config")
}
