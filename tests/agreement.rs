//! Control and the data plane do not know each other. What both must call by the same name is compared here.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::iter;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use control::reasons;
use dataplane::checks::{Checks, Checksums, Profile};
use dataplane::disposition::{DropReason, Reasons};
use dataplane::flow::{Limit, Limits, Timer, Timers};
use dataplane::fragment::FragmentLimits;
use dataplane::sanity::SpecialPurpose;
use dataplane::settings::{Flags, Settings, Strictness};
use tempfile::TempDir;

#[test]
fn every_reason_of_the_data_plane_is_explained_by_control() {
    let counted: Vec<_> = DropReason::ALL
        .into_iter()
        .map(|reason| (reason.name(), reason.can_be_counted_only()))
        .collect();
    let explained: Vec<_> =
        reasons::ALL.iter().map(|reason| (reason.name, reason.can_be_counted_only)).collect();
    assert_eq!(explained, counted);
}

#[test]
fn settings_by_default_are_the_data_planes_own_defaults() {
    let more = strictness("");
    assert_eq!(more.timers, Timers::default());
    let limits = |limits: Limits| Limit::ALL.map(|limit| limits.of(limit, 1 << 18));
    assert_eq!(limits(more.limits), limits(Limits::default()));
    assert_eq!(more.fragments, FragmentLimits::default());
    assert_eq!(more.checks, Checks::default());
    assert_eq!(more.special_purpose, SpecialPurpose::default());
    assert!(!more.keep_on_policy_change);
}

#[test]
fn every_setting_reaches_the_data_plane() {
    let more = strictness(
        r#"
        [flows]
        onPolicyChange = "keep"
        [flows.timers]
        tcpOpening = 11
        tcpEstablished = 12
        tcpClosing = 13
        tcpClosed = 14
        udp = 15
        icmpQuery = 16
        other = 17
        [flows.limits]
        halfOpen = 21
        halfOpenPerDestination = 22
        halfOpenPerSource = 23
        flowsPerSource = 24
        newFlowsPerSource = 0
        [fragments]
        memoryMib = 31
        memoryPerSourceMib = 32
        datagrams = 333
        ipv4Seconds = 34
        ipv6Seconds = 35
        [sanity]
        profile = "cc-strict"
        checksums = "verify"
        countOnly = ["land", "tcp-window"]
        "#,
    );
    let seconds = Timer::ALL.map(|timer| more.timers.millis(timer) / 1_000);
    assert_eq!(seconds, [11, 12, 13, 14, 15, 16, 17]);
    let limits = Limit::ALL.map(|limit| more.limits.of(limit, 1 << 18));
    assert_eq!(limits, [Some(21), Some(22), Some(23), Some(24), None]);
    let fragments = FragmentLimits {
        bytes: 31 << 20,
        bytes_per_source: 32 << 20,
        datagrams: 333,
        ipv4: Duration::from_secs(34),
        ipv6: Duration::from_secs(35),
    };
    assert_eq!(more.fragments, fragments);
    let counted_only = Reasons::default().with(DropReason::Land).with(DropReason::TcpWindow);
    let (profile, checksums) = (Profile::CcStrict, Checksums::Verify);
    assert_eq!(more.checks, Checks { profile, checksums, counted_only });
    assert!(more.keep_on_policy_change);
}

#[test]
fn what_is_said_of_ports_reaches_the_data_plane() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("table"), "198.18.0.0/15 both\n").unwrap();
    let settings = through(
        &directory,
        r#"
        gateway = { name = "gw1" }
        sanity = { specialPurpose = "table" }
        ports = [
            { interface = "eth0", side = "outside", midStream = "judge" },
            { interface = "eth1", side = "inside", nonIp = "pass", networks = ["198.18.0.1/16", "2001:2::1"] },
        ]
        "#,
    );
    let [outside, inside] = &settings.ports;
    assert!(outside.judge_mid_stream && !inside.judge_mid_stream);
    assert!(!outside.pass_non_ip && inside.pass_non_ip);
    assert!(outside.networks.is_empty());
    assert_eq!(inside.networks, "198.18.0.0/16,2001:2::1/128".parse().unwrap());
    let table = SpecialPurpose::parse("198.18.0.0/15 both").unwrap();
    assert_eq!(settings.strictness.special_purpose, table);
}

/// What settings with these sections say of strictness, in the data plane.
fn strictness(sections: &str) -> Strictness {
    let ports = "[[ports]]\ninterface = 'eth0'\nside = 'outside'\n\
                 [[ports]]\ninterface = 'eth1'\nside = 'inside'\n";
    let text = format!("[gateway]\nname = 'gw1'\n{ports}{sections}");
    through(&tempfile::tempdir().unwrap(), &text).strictness
}

/// Settings as control reads them and the data plane takes them, by way of its flags.
fn through(directory: &TempDir, text: &str) -> Settings {
    let path = directory.path().join("ravelin.toml");
    fs::write(&path, text).unwrap();
    let settings = control::settings::Settings::load(&path).unwrap();
    let flags = control::commands::dataplane::flags(&settings);
    let flags = Flags::try_parse_from(iter::once("ravelin-dataplane".into()).chain(flags));
    Settings::from_flags(flags.unwrap(), Path::new("/etc/passwd")).unwrap()
}
