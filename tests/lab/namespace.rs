//! Network namespaces: made, entered, deleted.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Command, Output, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::failure::{During, Failure};

/// A network namespace of our own; deleted when this value goes.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: File,
    kept: bool,
}

impl Namespace {
    /// Makes the namespace `name`.
    ///
    /// # Errors
    /// Not root, no `ip`, or the name is taken.
    pub fn create(name: &str) -> Result<Self, Failure> {
        run(Command::new("ip").args(["netns", "add", name]))?;
        let path = format!("/run/netns/{name}");
        let handle = File::open(&path).during(&format!("open {path}"))?;
        let namespace = Self { name: name.to_owned(), handle, kept: false };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the namespace behind when this value goes.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Does `work` on a thread inside the namespace. Sockets it opens belong to the namespace wherever they are used.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` panicked.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
        let doing = format!("enter namespace {}", self.name);
        let inside = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.handle.as_fd(), network).map(|()| work())
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .map_err(|_| Failure::new(&doing, "the work inside panicked"))?
            .during(&doing)
    }

    /// A command that runs inside, `/sys` included.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// `ip` with these words, on this namespace.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn ip(&self, words: &str) -> Result<(), Failure> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace())).map(drop)
    }

    /// Sets a value below `/proc/sys`, such as `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// The kernel has no such value or refuses it.
    pub fn set(&self, key: &str, value: &str) -> Result<(), Failure> {
        let path = format!("/proc/sys/{key}");
        self.run(|| std::fs::write(&path, value))?.during(&format!("write {value} to {path}"))
    }

    /// Reads a value below `/proc/sys`.
    ///
    /// # Errors
    /// The kernel has no such value.
    pub fn value(&self, key: &str) -> Result<String, Failure> {
        let path = format!("/proc/sys/{key}");
        let text = self.run(|| std::fs::read_to_string(&path))?.during(&format!("read {path}"))?;
        Ok(text.trim().to_owned())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing can be done about a failure here, and the namespace may be gone already.
            let _ = delete(&self.name);
        }
    }
}

/// Deletes the namespace `name`.
///
/// # Errors
/// What `ip` said.
pub fn delete(name: &str) -> Result<(), Failure> {
    run(Command::new("ip").args(["netns", "delete", name])).map(drop)
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started, or did not end with success: then with what it said.
pub fn run(command: &mut Command) -> Result<Output, Failure> {
    let doing = words(command);
    let output = command.stdin(Stdio::null()).output().during(&doing)?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::new(doing, format!("{} {said}", output.status)))
}

/// The command as one types it.
#[must_use]
pub fn words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}
