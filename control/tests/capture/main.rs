//! `ravelin trace --pcap`: captures written here, byte by byte, and what is said of them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]
#![expect(clippy::panic, reason = "test helpers")]

mod answers;
mod damaged;
mod files;
mod frames;
mod memory;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

pub(crate) const POLICY: &str = r#"
[[globalNetworkSets]]
name = "noc"
labels = { zone = "noc" }
nets = ["198.18.10.0/24", "2001:2:0:10::/64"]

[[globalNetworkSets]]
name = "rack-7"
labels = { role = "server" }
nets = ["198.18.70.0/24", "2001:2:0:70::/64"]

[[globalNetworkPolicies]]
name = "ssh"
selector = "role == 'server'"
types = ["Ingress", "Egress"]
ingress = [
  { action = "Allow", protocol = "TCP", source = { selector = "zone == 'noc'" }, destination = { ports = [22] } },
  { action = "Allow", protocol = "ICMP" },
  { action = "Deny", protocol = "TCP" },
]
egress = [
  { action = "Allow", protocol = "UDP", destination = { ports = [53] } },
]
"#;

/// A directory with `policy.toml`, and what is run in it.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("policy.toml"), POLICY).unwrap();
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path().join(name), bytes).unwrap();
        self
    }

    /// What is said of `x.pcap`; it is read to its end.
    pub(crate) fn trace(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{talk}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.trace(&format!("-o json {arguments}"))).unwrap()
    }

    pub(crate) fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ravelin"));
        command.args(["trace", "-f", "policy.toml", "--pcap", "x.pcap"]);
        command.args(arguments.split_whitespace()).current_dir(self.path()).output().unwrap()
    }
}
