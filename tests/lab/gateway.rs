//! The gateway: the real programs in the gateway's namespace, with settings and policy in a directory of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::binaries::Binaries;
use crate::deadline::wait_until;
use crate::failure::{During, Failure};
use crate::handover::{self, Status};
use crate::namespace::Namespace;
use crate::process::{Leash, Process};
use crate::topology::{INSIDE_PORT, Lab, OUTSIDE_PORT};

/// How long a program may take until it answers. The machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway in a laboratory. Both programs end when this value goes.
#[derive(Debug)]
pub struct Gateway<'lab> {
    space: &'lab Namespace,
    binaries: Binaries,
    directory: TempDir,
    leash: Leash,
    dataplane: Option<Process>,
    control: Option<Process>,
}

impl<'lab> Gateway<'lab> {
    /// A gateway with these policy documents (name and text); nothing runs yet.
    ///
    /// # Errors
    /// The programs are not built, or the directory cannot be made.
    pub fn new(lab: &'lab Lab, documents: &[(&str, &str)]) -> Result<Self, Failure> {
        Self::within(&lab.gateway, documents)
    }

    /// The same in a namespace that has the two ports.
    ///
    /// # Errors
    /// As of `new`.
    pub fn within(space: &'lab Namespace, documents: &[(&str, &str)]) -> Result<Self, Failure> {
        let doing = "make a directory for the gateway";
        let directory = tempfile::Builder::new().prefix("ravelin-lab-").tempdir().during(doing)?;
        let binaries = Binaries::find()?;
        let gateway = Self {
            space,
            binaries,
            directory,
            leash: Leash::Tight,
            dataplane: None,
            control: None,
        };
        for place in ["policies", "state", "daemon"] {
            fs::create_dir(gateway.path(place)).during(doing)?;
        }
        fs::write(gateway.path("ravelin.toml"), gateway.settings()).during(doing)?;
        for (name, text) in documents {
            gateway.write(name, text)?;
        }
        Ok(gateway)
    }

    /// Lets the programs outlive this process when they are kept.
    #[must_use]
    pub fn on_a_loose_leash(mut self) -> Self {
        self.leash = Leash::Loose;
        self
    }

    /// Adds sections to the settings, before the start.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn configure(&self, sections: &str) -> Result<(), Failure> {
        let text = self.settings() + sections;
        fs::write(self.path("ravelin.toml"), text).during("write the settings")
    }

    /// Starts both programs and waits until policy is in force.
    ///
    /// # Errors
    /// One of them ends or does not get ready: then with what it said.
    pub fn start(&mut self) -> Result<(), Failure> {
        self.start_dataplane()?;
        self.start_control()?;
        self.wait_for_generation(1).map(drop)
    }

    /// Starts the data plane and waits until it answers.
    ///
    /// # Errors
    /// It ends, or does not answer in time.
    pub fn start_dataplane(&mut self) -> Result<(), Failure> {
        self.dataplane = Some(self.launch("dataplane")?);
        self.wait("the data plane to answer", |gateway| gateway.status().is_ok())
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// It ends, or does not answer in time.
    pub fn start_control(&mut self) -> Result<(), Failure> {
        self.control = Some(self.launch("control")?);
        let answers = |gateway: &Self| {
            let report = gateway.report();
            report.is_ok_and(|report| report.pointer("/control/error") == Some(&Value::Null))
        };
        self.wait("the daemon to answer", answers)
    }

    /// `kill -9` on the data plane.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_dataplane(&mut self) -> Result<(), Failure> {
        let running = self.dataplane.take();
        running.ok_or_else(|| Failure::new("kill the data plane", "it does not run"))?.kill()
    }

    /// `kill -9` on the daemon.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill_control(&mut self) -> Result<(), Failure> {
        let running = self.control.take();
        running.ok_or_else(|| Failure::new("kill the daemon", "it does not run"))?.kill()
    }

    /// Writes a policy document or list file below the policy directory, all at once: whoever reads it sees the old or the new.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let doing = format!("write {name}");
        let path = self.policies().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).during(&doing)?;
        }
        let new = self.path("being-written");
        fs::write(&new, text).during(&doing)?;
        fs::rename(&new, &path).during(&doing)
    }

    /// Reads a policy document.
    ///
    /// # Errors
    /// It is not there.
    pub fn read(&self, name: &str) -> Result<String, Failure> {
        fs::read_to_string(self.policies().join(name)).during(&format!("read {name}"))
    }

    /// The directory of policy documents.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.path("policies")
    }

    /// The data plane's own status.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> Result<Status, Failure> {
        handover::status(&self.path("dataplane.sock"))
    }

    /// Hands an image to the data plane, as the daemon would.
    ///
    /// # Errors
    /// It is refused.
    pub fn publish(&self, image: &[u8]) -> Result<String, Failure> {
        handover::publish(&self.path("dataplane.sock"), image)
    }

    /// The generation in force; 0 before the first.
    ///
    /// # Errors
    /// The data plane does not answer.
    pub fn generation(&self) -> Result<u64, Failure> {
        let status = self.status()?;
        if status.value("policy.generation") == Some("none") {
            return Ok(0);
        }
        status.number("policy.generation")
    }

    /// Waits until generation `at_least` or a later one is in force; returns it.
    ///
    /// # Errors
    /// It does not come.
    pub fn wait_for_generation(&mut self, at_least: u64) -> Result<u64, Failure> {
        let reached = |gateway: &Self| gateway.generation().is_ok_and(|now| now >= at_least);
        self.wait(&format!("generation {at_least}"), reached)?;
        self.generation()
    }

    /// What `ravelin status -o json` says. It ends without success when something is wrong, and says what all the same.
    ///
    /// # Errors
    /// It says nothing that can be understood.
    pub fn report(&self) -> Result<Value, Failure> {
        let mut command = self.space.command(&self.binaries.ravelin);
        command.arg("status").arg("--config").arg(self.path("ravelin.toml")).args(["-o", "json"]);
        let output = command.output().during("run ravelin status")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let doing = format!("read the status ({said})");
        serde_json::from_slice(&output.stdout).during(&doing)
    }

    /// The records of the flow log, oldest first.
    ///
    /// # Errors
    /// A line is not JSON.
    pub fn flow_log(&self) -> Result<Vec<Value>, Failure> {
        let text = fs::read_to_string(self.path("flows.jsonl")).unwrap_or_default();
        // The last line may still be being written.
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).during(line)).collect()
    }

    /// Waits for a record of the flow log that `is_it`; returns it.
    #[must_use]
    pub fn wait_for_record(
        &self,
        patience: Duration,
        is_it: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        wait_until(patience, || {
            self.flow_log().ok()?.into_iter().rev().find(|record| is_it(record))
        })
    }

    /// Waits for a record that `is_it` behind the first `known` ones of the flow log; returns it.
    #[must_use]
    pub fn wait_for_new_record(
        &self,
        known: usize,
        patience: Duration,
        is_it: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        wait_until(patience, || {
            self.flow_log().ok()?.into_iter().skip(known).find(|record| is_it(record))
        })
    }

    /// The program `ravelin`.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.binaries.ravelin
    }

    /// The process number of the data plane.
    #[must_use]
    pub fn dataplane_id(&self) -> Option<u32> {
        self.dataplane.as_ref().map(Process::id)
    }

    /// The process number of the daemon.
    #[must_use]
    pub fn control_id(&self) -> Option<u32> {
        self.control.as_ref().map(Process::id)
    }

    /// What both programs have said.
    #[must_use]
    pub fn logs(&self) -> String {
        let part = |name: &str, process: &Option<Process>| {
            let said = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
            let state = if process.is_some() { "" } else { ", not running now" };
            format!("--- {name}{state}\n{said}")
        };
        part("dataplane", &self.dataplane) + &part("control", &self.control)
    }

    /// Leaves the programs and the directory behind; returns the process numbers and the directory.
    #[must_use]
    pub fn keep(mut self) -> (Vec<u32>, PathBuf) {
        self.directory.disable_cleanup(true);
        let processes = [&mut self.dataplane, &mut self.control];
        let ids = processes.into_iter().flatten().map(Process::keep).collect();
        (ids, self.directory.path().to_owned())
    }

    /// Where all of this gateway is: settings, policies, state, logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file of this gateway.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn launch(&self, what: &str) -> Result<Process, Failure> {
        let settings = self.path("ravelin.toml").display().to_string();
        let arguments = [what, "--config", &settings];
        let logs = self.directory.path();
        Process::start(self.space, what, &self.binaries.ravelin, &arguments, logs, self.leash)
    }

    fn wait(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let outcome = wait_until(PATIENCE, || {
            if done(self) {
                return Some(Ok(()));
            }
            let running = [&mut self.dataplane, &mut self.control];
            running.into_iter().flatten().find_map(|process| process.check_alive().err()).map(Err)
        });
        let too_late = || Failure::new(format!("wait for {what}"), self.logs());
        outcome.ok_or_else(too_late)?
    }

    /// Paths are relative to the settings file.
    fn settings(&self) -> String {
        let dataplane = self.binaries.dataplane.display();
        format!(
            r#"
[gateway]
name = "lab"

[[ports]]
interface = "{OUTSIDE_PORT}"
side = "outside"

[[ports]]
interface = "{INSIDE_PORT}"
side = "inside"

[policy]
directory = "policies"

[dataplane]
binary = "{dataplane}"
socket = "dataplane.sock"
stateDir = "state"

[control]
socket = "control.sock"
stateDir = "daemon"

[flowlog]
path = "flows.jsonl"
"#
        )
    }
}

impl Drop for Gateway<'_> {
    #[expect(clippy::print_stderr, reason = "a failing test shows what the programs said")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}
