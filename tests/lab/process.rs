//! Processes that the laboratory starts inside a namespace, and that never outlive their use.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::wait_until;
use crate::failure::{During, Failure};
use crate::namespace::{Namespace, words};

/// How long a process may take to end when asked to.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// What becomes of processes when this one dies without warning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leash {
    /// They die with it.
    Tight,
    /// They stay, for somebody to play with.
    Loose,
}

/// A running process; its output goes to a file. Killed when this value goes, unless kept.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    kept: bool,
}

impl Process {
    /// Starts `program` with `arguments` in `namespace`; `name` is what to call it, and `<name>.log` in `logs` takes its
    /// output, after what earlier ones of that name have said.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        namespace: &Namespace,
        name: &str,
        program: &Path,
        arguments: &[&str],
        logs: &Path,
        leash: Leash,
    ) -> Result<Self, Failure> {
        let log = logs.join(format!("{name}.log"));
        let doing = format!("start {name}");
        let output = File::options().create(true).append(true).open(&log).during(&doing)?;
        let mut command = match leash {
            Leash::Tight => {
                let mut command = namespace.command("setpriv");
                command.args(["--pdeathsig", "KILL"]).arg(program);
                command
            }
            Leash::Loose => namespace.command(program),
        };
        command.args(arguments).stdin(Stdio::null());
        command.stdout(output.try_clone().during(&doing)?).stderr(output);
        // Not in our group: a Ctrl-C is for us, and we end our processes ourselves.
        let child = command.process_group(0).spawn().during(&words(&command))?;
        Ok(Self { name: name.to_owned(), child, log, kept: false })
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// How it ended, and its last words.
    pub fn check_alive(&mut self) -> Result<(), Failure> {
        match self.child.try_wait().during(&self.name)? {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// Kills it without warning (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// It had ended before, by itself.
    pub fn kill(mut self) -> Result<(), Failure> {
        self.check_alive()?;
        self.child.kill().during("kill")?;
        let status = self.child.wait().during("wait")?;
        if status.signal() == Some(Signal::KILL.as_raw()) {
            return Ok(());
        }
        Err(self.ended(status))
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn terminate(mut self) -> Result<ExitStatus, Failure> {
        let doing = format!("end {}", self.name);
        kill_process(Pid::from_child(&self.child), Signal::TERM).during(&doing)?;
        let ended = wait_until(PATIENCE, || self.child.try_wait().ok().flatten());
        ended.ok_or_else(|| Failure::new(doing, "it did not end in time"))
    }

    /// Leaves it running when this value goes; returns its number.
    pub fn keep(&mut self) -> u32 {
        self.kept = true;
        self.id()
    }

    /// All it has said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn ended(&self, status: ExitStatus) -> Failure {
        Failure::new(&self.name, format!("ended with {status}; it said:\n{}", self.log()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.kept {
            // Already dead and waited for in most cases; nothing can be done about other failures here.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
