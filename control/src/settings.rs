//! `ravelin.toml`: what this gateway is and where its files are. Everything about policy is in documents, not here.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use classifier::packet::Side;
use classifier::resource::{Defaults, GatewayPort};
use ipnet::IpNet;

use crate::diagnostic::{Diagnostic, any_error, in_order};
use crate::document::{self, Dialect, Reader};
use crate::files;
use crate::resolve::Gateway;

mod flows;
mod management;
mod numbers;
mod port;
mod reader;
mod sanity;

pub use self::flows::FlowSettings;
pub use self::management::{ManagedService, ManagementSettings};
pub use self::numbers::Numbers;
use self::reader::read;
pub use self::sanity::SanitySettings;

/// Largest settings file, bytes.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;

/// The settings of one gateway, checked. Paths are absolute, or relative to the working directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The gateway's name, as flow records and `node` of a host endpoint say it.
    pub gateway_name: String,
    /// The ports: one outside, one inside, in the order of the file.
    pub ports: Vec<PortSettings>,
    /// How the data plane runs.
    pub dataplane: DataplaneSettings,
    /// The directory of policy documents.
    pub policy_directory: PathBuf,
    /// What happens where no policy speaks.
    pub defaults: Defaults,
    /// Whether rules that ask for HTTP are taken, and allow whatever else of them matches.
    pub takes_http: bool,
    /// How flows are treated.
    pub flows: FlowSettings,
    /// How much memory and time there is for fragments.
    pub fragments: Numbers,
    /// What is checked of packets.
    pub sanity: SanitySettings,
    /// Connections that policy must not cut.
    pub management: ManagementSettings,
    /// Where flow records go.
    pub flow_log: FlowLogSettings,
    /// The socket on which the daemon answers `ravelin status` and its like.
    pub control_socket: PathBuf,
    /// Where the daemon keeps the images that flow records name, and how far it has read the spool.
    pub control_state_dir: PathBuf,
    /// The user that the daemon runs as, by name or number: beside root the only one that the data plane heeds.
    /// `None`: only root.
    pub control_user: Option<String>,
    /// What a person should know about these settings, all of them warnings: `check` and the daemon say them.
    pub warnings: Vec<Diagnostic>,
}

/// One port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortSettings {
    /// The network interface.
    pub interface: String,
    /// The side it faces.
    pub side: Side,
    /// Addresses that it carries, for host endpoints that are known by their addresses.
    pub addresses: Vec<IpAddr>,
    /// The networks behind it: no packet from it has another source, and none from the other port has one of these. Empty:
    /// unknown.
    pub networks: Vec<IpNet>,
    /// Whether frames that are neither IP, ARP nor neighbour discovery pass; else they are dropped and counted.
    pub pass_non_ip: bool,
    /// Whether a TCP segment of no known connection is judged by policy; else it is dropped and counted.
    pub judge_mid_stream: bool,
}

/// How the data plane runs; it gets all this as flags.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DataplaneSettings {
    /// The program `ravelin-dataplane`.
    pub binary: PathBuf,
    /// The `SOCK_SEQPACKET` socket on which it takes policy images.
    pub socket: PathBuf,
    /// Where it keeps the last good image and the spool of flow records.
    pub state_dir: PathBuf,
    /// The cores to pin workers to, one after the other; any core when empty.
    pub cores: Vec<u32>,
    /// Most flows it remembers at a time.
    pub flows_max: u32,
    /// Frames of packet memory for each queue.
    pub frames_per_queue: u32,
    /// Most disk space for the spool of flow records, MiB.
    pub spool_max_mib: u32,
    /// Size of one segment of the spool, MiB; the oldest segment goes first.
    pub spool_segment_mib: u32,
}

/// Where flow records go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowLogSettings {
    /// The file of JSON lines.
    pub path: PathBuf,
    /// At this size, MiB, the file is renamed to `<path>.1` and begun anew.
    pub max_mib: u32,
}

impl Settings {
    /// What the meaning of documents depends on.
    #[must_use]
    pub fn gateway(&self) -> Gateway {
        let port = |port: &PortSettings| GatewayPort {
            interface: port.interface.clone(),
            addresses: port.addresses.clone(),
        };
        Gateway {
            name: self.gateway_name.clone(),
            ports: self.ports.iter().map(port).collect(),
            defaults: self.defaults,
            takes_http: self.takes_http,
        }
    }

    /// Reads a settings file. Relative paths in it count from its own directory.
    ///
    /// # Errors
    /// Every finding of the file, when one of them is an error.
    pub fn load(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let source = files::source("settings file", path, SETTINGS_BYTES_MAX)
            .map_err(|finding| vec![*finding])?;
        let root = document::read_toml(&source)?;
        let mut reader = Reader::new(&source);
        let directory = path.parent().unwrap_or(Path::new(""));
        let settings = read(&root, directory, &mut reader);
        let findings = in_order(reader.findings);
        match settings {
            Some(settings) if !any_error(&findings) => Ok(Self { warnings: findings, ..settings }),
            Some(_) | None => Err(findings),
        }
    }
}

/// Whether `path` is a settings file and not a document: by its name, or by tables that only settings have.
#[must_use]
pub fn is_settings(path: &Path) -> bool {
    if path.file_name().is_some_and(|name| name == "ravelin.toml") {
        return true;
    }
    // A large document in another language is not read as TOML for nothing.
    if Dialect::of(path) != Dialect::Toml {
        return false;
    }
    let Ok(source) = files::source("settings file", path, SETTINGS_BYTES_MAX) else { return false };
    let Ok(root) = document::read_toml(&source) else { return false };
    root.entry("gateway").is_some() || root.entry("dataplane").is_some()
}
