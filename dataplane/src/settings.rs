//! The settings of the data plane, all of them flags. `ravelin dataplane` fills them in from `ravelin.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use classifier::packet::Side;
use classifier::record::RECORD_BYTES;

use crate::device::refusal::Refusal;
use crate::sanity::{Networks, NetworksError};
use crate::spool::SpoolLimits;

mod strictness;

pub use self::strictness::Strictness;
use self::strictness::StrictnessFlags;

const MEBIBYTE: u64 = 1 << 20;

/// Entries of a ring, where there are frames enough for it.
const RING_DEFAULT: u32 = 2048;

/// Takes frames from two ports, judges each by the policy image in force, and forwards or drops it.
#[derive(Clone, Debug, Parser)]
#[command(name = "ravelin-dataplane", version, max_term_width = 100)]
pub struct Flags {
    /// A port and the side it faces, `NAME:outside` or `NAME:inside`; given twice
    #[arg(long = "port", value_name = "NAME:SIDE", required = true, value_parser = parse_port)]
    ports: Vec<PortFlag>,

    /// Whether the port passes frames that are neither IP, ARP nor neighbour discovery
    #[arg(long = "non-ip", value_name = "NAME=pass|drop", value_parser = parse_non_ip)]
    non_ip: Vec<NonIpFlag>,

    /// Whether policy judges TCP segments of no known connection that come in by the port
    #[arg(long = "mid-stream", value_name = "NAME=refuse|judge", value_parser = parse_mid_stream)]
    mid_stream: Vec<MidStreamFlag>,

    /// The networks behind the port: nothing else comes from there, and none of them from the other port
    #[arg(long = "networks", value_name = "NAME=CIDR,...", value_parser = parse_networks)]
    networks: Vec<NetworksFlag>,

    /// The socket that policy is handed over by
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// Where the last good policy and the spool of flow records are kept
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,

    /// The user, by name or number, that may hand over policy beside root
    #[arg(long, value_name = "USER")]
    control_user: Option<String>,

    /// Cores that workers are pinned to, one for each queue; by default all that this process may use
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    cores: Vec<usize>,

    /// Flows that are remembered at most
    #[arg(long, value_name = "N", default_value_t = 262_144,
          value_parser = clap::value_parser!(u32).range(1024..=16_777_216))]
    flows_max: u32,

    /// Frames of packet memory for each queue of each port
    #[arg(long, value_name = "N", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    frames_per_queue: u32,

    /// Entries of each ring of a queue, a power of two; by default as many as there are frames, at most 2048
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=65_536))]
    ring_entries: Option<u32>,

    /// Largest policy image that is taken
    #[arg(long, value_name = "MIB", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=2048))]
    image_max_mib: u32,

    /// Disk space of the spool of flow records
    #[arg(long, value_name = "MIB", default_value_t = 96,
          value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    spool_max_mib: u32,

    /// Size of one file of the spool; the oldest goes first
    #[arg(long, value_name = "MIB", default_value_t = 6,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    spool_segment_mib: u32,

    /// Flow records that wait for the disk at most, for each worker; what comes beyond is lost and counted
    #[arg(long, value_name = "N", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    records_waiting_max: u32,

    #[command(flatten)]
    strictness: StrictnessFlags,

    /// How log lines are written to standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// The settings, checked against each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Both ports, in the order they were given.
    pub ports: [PortSettings; 2],
    /// The socket that policy is handed over by.
    pub socket: PathBuf,
    /// Where the last good policy and the spool are kept.
    pub state_dir: PathBuf,
    /// Beside root, the user that is heard.
    pub control_uid: Option<u32>,
    /// Cores for workers; empty for all.
    pub cores: Vec<usize>,
    /// Flows that are remembered at most, over all workers.
    pub flows_max: u32,
    /// Frames of packet memory for each queue of each port.
    pub frames_per_queue: u32,
    /// Entries of each ring.
    pub ring_entries: u32,
    /// Bytes of the largest image.
    pub image_bytes_max: usize,
    /// Bounds of the spool.
    pub spool: SpoolLimits,
    /// Records that wait for the reporter at most, for each worker.
    pub records_waiting_max: usize,
    /// How strictly flows and packets are checked.
    pub strictness: Strictness,
}

/// One port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortSettings {
    /// The interface.
    pub name: String,
    /// The side it faces.
    pub side: Side,
    /// Whether frames that are neither IP, ARP nor neighbour discovery pass.
    pub pass_non_ip: bool,
    /// Whether policy judges TCP segments of no known connection; else they are refused.
    pub judge_mid_stream: bool,
    /// The networks behind it.
    pub networks: Networks,
}

#[derive(Clone, Debug)]
struct PortFlag {
    name: String,
    side: Side,
}

#[derive(Clone, Debug)]
struct NonIpFlag {
    name: String,
    pass: bool,
}

#[derive(Clone, Debug)]
struct MidStreamFlag {
    name: String,
    judge: bool,
}

#[derive(Clone, Debug)]
struct NetworksFlag {
    name: String,
    networks: Networks,
}

impl Settings {
    /// Checks the flags against each other. `passwd` is where a user's number is looked up, `/etc/passwd`.
    ///
    /// # Errors
    /// All that does not fit.
    pub fn from_flags(flags: Flags, passwd: &Path) -> Result<Self, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut refuse = |reason: String| refusals.push(Refusal::Setting { reason });
        for (flag, name) in flags.of_ports() {
            if !flags.ports.iter().any(|port| port.name == name) {
                refuse(format!("`{flag} {name}=...`: no `--port` has this name"));
            }
        }
        if flags.spool_segment_mib > flags.spool_max_mib {
            refuse(format!(
                "`--spool-segment-mib {}`: expected at most `--spool-max-mib`, {}",
                flags.spool_segment_mib, flags.spool_max_mib
            ));
        }
        let control_uid = match flags.control_user.as_deref().map(|user| uid_of(user, passwd)) {
            None => None,
            Some(Ok(uid)) => Some(uid),
            Some(Err(reason)) => {
                refuse(reason);
                None
            }
        };
        let strictness = flags.strictness.clone().read();
        let strictness = strictness.map_err(&mut refuse).unwrap_or_default();
        let ports = flags.ports.iter().map(|port| flags.port(port));
        let ports = <[PortSettings; 2]>::try_from(ports.collect::<Vec<_>>());
        let ports = ports.map_err(|ports| {
            refuse(format!("`--port`: expected two, given {}", ports.len()));
        });
        match ports {
            Ok(ports) if refusals.is_empty() => Ok(Self {
                ports,
                socket: flags.socket,
                state_dir: flags.state_dir,
                control_uid,
                cores: flags.cores,
                flows_max: flags.flows_max,
                frames_per_queue: flags.frames_per_queue,
                ring_entries: flags
                    .ring_entries
                    .unwrap_or_else(|| ring_for(flags.frames_per_queue)),
                image_bytes_max: flags.image_max_mib as usize * (1 << 20),
                spool: spool_limits(flags.spool_max_mib, flags.spool_segment_mib),
                records_waiting_max: flags.records_waiting_max as usize,
                strictness,
            }),
            Ok(_) | Err(()) => Err(refusals),
        }
    }
}

impl Flags {
    /// The names of ports that flags speak of.
    fn of_ports(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { non_ip, mid_stream, networks, .. } = self;
        let non_ip = non_ip.iter().map(|flag| ("--non-ip", flag.name.as_str()));
        let mid_stream = mid_stream.iter().map(|flag| ("--mid-stream", flag.name.as_str()));
        let networks = networks.iter().map(|flag| ("--networks", flag.name.as_str()));
        non_ip.chain(mid_stream).chain(networks)
    }

    /// A port with all that flags say of it; the last one counts.
    fn port(&self, PortFlag { name, side }: &PortFlag) -> PortSettings {
        let non_ip = self.non_ip.iter().rev().find(|flag| flag.name == *name);
        let mid_stream = self.mid_stream.iter().rev().find(|flag| flag.name == *name);
        let networks = self.networks.iter().rev().find(|flag| flag.name == *name);
        PortSettings {
            name: name.clone(),
            side: *side,
            pass_non_ip: non_ip.is_some_and(|flag| flag.pass),
            judge_mid_stream: mid_stream.is_some_and(|flag| flag.judge),
            networks: networks.map(|flag| flag.networks.clone()).unwrap_or_default(),
        }
    }
}

/// A larger ring than there are frames would never fill; a larger one than the default only delays.
fn ring_for(frames: u32) -> u32 {
    let power = 1 << frames.max(1).ilog2();
    RING_DEFAULT.min(power)
}

fn spool_limits(max_mib: u32, segment_mib: u32) -> SpoolLimits {
    let segment_records = u64::from(segment_mib) * MEBIBYTE / RECORD_BYTES as u64;
    SpoolLimits { segment_records, segments_max: (max_mib / segment_mib).max(1) as usize }
}

fn parse_port(text: &str) -> Result<PortFlag, String> {
    let expected = "expected `NAME:outside` or `NAME:inside`, such as `eth0:outside`";
    // An interface name may have a colon itself.
    let (name, side) = text.rsplit_once(':').ok_or(expected)?;
    let side = match side {
        "outside" => Side::Outside,
        "inside" => Side::Inside,
        _ => return Err(expected.to_owned()),
    };
    if name.is_empty() {
        return Err(expected.to_owned());
    }
    Ok(PortFlag { name: name.to_owned(), side })
}

fn parse_non_ip(text: &str) -> Result<NonIpFlag, String> {
    let expected = "expected `NAME=pass` or `NAME=drop`";
    let (name, what) = text.rsplit_once('=').ok_or(expected)?;
    let pass = match what {
        "pass" => true,
        "drop" => false,
        _ => return Err(expected.to_owned()),
    };
    Ok(NonIpFlag { name: name.to_owned(), pass })
}

fn parse_mid_stream(text: &str) -> Result<MidStreamFlag, String> {
    let expected = "expected `NAME=refuse` or `NAME=judge`";
    let (name, what) = text.rsplit_once('=').ok_or(expected)?;
    let judge = match what {
        "judge" => true,
        "refuse" => false,
        _ => return Err(expected.to_owned()),
    };
    Ok(MidStreamFlag { name: name.to_owned(), judge })
}

fn parse_networks(text: &str) -> Result<NetworksFlag, String> {
    let expected = "expected `NAME=CIDR,...`, such as `eth0=198.18.0.0/16,2001:2::/48`";
    let (name, networks) = text.rsplit_once('=').ok_or(expected)?;
    let networks = networks.parse().map_err(|error: NetworksError| error.to_string())?;
    Ok(NetworksFlag { name: name.to_owned(), networks })
}

fn uid_of(user: &str, passwd: &Path) -> Result<u32, String> {
    if let Ok(uid) = user.parse() {
        return Ok(uid);
    }
    let failed =
        |error| format!("`--control-user {user}`: cannot read `{}`: {error}", passwd.display());
    let text = fs::read_to_string(passwd).map_err(failed)?;
    // passwd(5): name, password, number, ...
    let uid = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(1)?.parse().ok())?
    });
    uid.ok_or_else(|| {
        format!(
            "`--control-user {user}`: there is no such user; `useradd --system {user}` makes one"
        )
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const LEAST: [&str; 9] = [
        "ravelin-dataplane",
        "--port",
        "eth0:outside",
        "--port",
        "eth1:inside",
        "--socket",
        "/run/socket",
        "--state-dir",
        "/var/lib/ravelin",
    ];

    fn settings(more: &[&str]) -> Result<Settings, Vec<String>> {
        let directory = TempDir::new().unwrap();
        let passwd = directory.path().join("passwd");
        fs::write(&passwd, "root:x:0:0:root:/root:/bin/sh\nravelin:x:991:991::/:/bin/false\n")
            .unwrap();
        let flags = Flags::try_parse_from(LEAST.iter().chain(more)).unwrap();
        Settings::from_flags(flags, &passwd)
            .map_err(|refusals| refusals.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn least_flags_have_safe_defaults() {
        let settings = settings(&[]).unwrap();
        let [outside, inside] = &settings.ports;
        assert_eq!((outside.name.as_str(), outside.side), ("eth0", Side::Outside));
        assert_eq!((inside.name.as_str(), inside.side), ("eth1", Side::Inside));
        assert!(!outside.pass_non_ip && !inside.pass_non_ip);
        assert_eq!(settings.control_uid, None);
        assert_eq!(settings.spool, SpoolLimits { segment_records: 65_536, segments_max: 16 });
    }

    #[test]
    fn rings_are_no_larger_than_there_are_frames() {
        for (frames, ring) in [("64", 64), ("100", 64), ("2048", 2048), ("1048576", 2048)] {
            assert_eq!(settings(&["--frames-per-queue", frames]).unwrap().ring_entries, ring);
        }
        assert_eq!(settings(&["--ring-entries", "512"]).unwrap().ring_entries, 512);
    }

    #[test]
    fn non_ip_is_passed_by_the_named_port_only() {
        let [outside, inside] = settings(&["--non-ip", "eth1=pass"]).unwrap().ports;
        assert!(!outside.pass_non_ip && inside.pass_non_ip);
    }

    #[test]
    fn a_port_is_what_flags_say_of_it() {
        let more = ["--mid-stream", "eth0=judge", "--networks", "eth1=198.18.0.0/16,2001:2::/48"];
        let [outside, inside] = settings(&more).unwrap().ports;
        assert!(outside.judge_mid_stream && !inside.judge_mid_stream);
        assert!(outside.networks.is_empty());
        assert_eq!(inside.networks, "198.18.0.0/16,2001:2::/48".parse().unwrap());
        for text in ["eth1", "eth1=", "eth1=198.18.0.1/16", "eth1=198.18.0.0/16,"] {
            parse_networks(text).unwrap_err();
        }
        for text in ["eth1", "eth1=allow", "=="] {
            parse_mid_stream(text).unwrap_err();
        }
    }

    #[test]
    fn a_table_of_addresses_is_read_at_the_start_or_refused_with_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "# ours\n198.18.0.0/15 source\n").unwrap();
        let path = file.path().to_str().unwrap();
        let read = settings(&["--special-purpose", path]).unwrap().strictness.special_purpose;
        assert_eq!(read, crate::sanity::SpecialPurpose::parse("198.18.0.0/15 source").unwrap());
        fs::write(file.path(), "198.18.0.0/15 source\n198.18.0.0/15 nowhere\n").unwrap();
        let refusals = settings(&["--special-purpose", path]).unwrap_err();
        assert!(refusals[0].contains(path) && refusals[0].contains("line 2"), "{refusals:?}");
        let refusals = settings(&["--special-purpose", "/nowhere"]).unwrap_err();
        assert!(refusals[0].starts_with("`--special-purpose /nowhere`: "), "{refusals:?}");
    }

    #[test]
    fn control_user_is_a_number_or_looked_up() {
        assert_eq!(settings(&["--control-user", "1234"]).unwrap().control_uid, Some(1234));
        assert_eq!(settings(&["--control-user", "ravelin"]).unwrap().control_uid, Some(991));
    }

    #[test]
    fn what_does_not_fit_is_refused_all_at_once() {
        let more = [
            "--port",
            "eth2:inside",
            "--non-ip",
            "eth9=pass",
            "--mid-stream",
            "eth8=judge",
            "--spool-max-mib",
            "1",
            "--spool-segment-mib",
            "2",
            "--control-user",
            "nobody-here",
        ];
        assert_eq!(
            settings(&more).unwrap_err(),
            [
                "`--non-ip eth9=...`: no `--port` has this name",
                "`--mid-stream eth8=...`: no `--port` has this name",
                "`--spool-segment-mib 2`: expected at most `--spool-max-mib`, 1",
                "`--control-user nobody-here`: there is no such user; `useradd --system nobody-here` makes one",
                "`--port`: expected two, given 3",
            ]
        );
    }

    #[test]
    fn port_without_a_side_is_refused() {
        for text in ["eth0", "eth0:", ":inside", "eth0:Outside"] {
            assert!(parse_port(text).unwrap_err().starts_with("expected `NAME:outside`"), "{text}");
        }
        assert_eq!(parse_port("eth0:1:inside").unwrap().name, "eth0:1");
    }
}
