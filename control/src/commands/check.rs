//! `ravelin check`: are these documents, or these settings and their documents, good?

mod management;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use classifier::compile::{Limits, compile};
use classifier::resource::PolicySet;
use serde_json::json;

pub use super::Output;
use crate::diagnostic::{self, Diagnostic, any_error};
use crate::inventory::{self, Loaded};
use crate::settings::{self, Settings};

/// Exit status when nothing is wrong; warnings may have been said.
pub const CLEAN: u8 = 0;
/// Exit status when a finding is an error.
pub const REFUSED: u8 = 1;
/// Exit status when the path cannot be read at all.
pub const UNREADABLE: u8 = 2;

/// Arguments of `ravelin check`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// A policy document, a directory of them, or a settings file (`ravelin.toml`)
    pub path: PathBuf,
    /// How to answer
    #[arg(short, long, value_enum, default_value_t = Format::Human)]
    pub output: Format,
}

/// How to answer.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// For people
    Human,
    /// For programs
    Json,
    /// For code hosts: SARIF 2.1.0
    Sarif,
}

/// Checks, writes every finding and a summary to `out`, and returns the exit status.
///
/// # Errors
/// When `out` does not take what is written.
pub fn run(arguments: &Arguments, color: bool, out: &mut dyn Write) -> io::Result<u8> {
    let checked = check(&arguments.path);
    let status = checked.status(&arguments.path);
    match arguments.output {
        Format::Human => {
            out.write_all(diagnostic::render_human(&checked.findings, color).as_bytes())?;
            writeln!(out, "{}", checked.summary())?;
        }
        Format::Json => {
            let answer = json!({
                "ok": status == CLEAN,
                "policies": checked.set.as_ref().map(|set| set.policies.len()),
                "objects": checked.set.as_ref().map(|set| set.objects.len()),
                "findings": diagnostic::to_json(&checked.findings),
            });
            writeln!(out, "{answer:#}")?;
        }
        Format::Sarif => writeln!(out, "{:#}", diagnostic::to_sarif(&checked.findings))?,
    }
    Ok(status)
}

/// What came of a check.
struct Checked {
    findings: Vec<Diagnostic>,
    set: Option<PolicySet>,
}

fn check(path: &Path) -> Checked {
    if !settings::is_settings(path) {
        return documents(path, None);
    }
    match Settings::load(path) {
        Ok(settings) => {
            let mut checked = documents(&settings.policy_directory, Some(&settings));
            checked.findings.splice(0..0, settings.warnings);
            checked
        }
        Err(findings) => Checked { findings, set: None },
    }
}

/// Reads the documents, and compiles them: what the limits refuse is found here and not at night.
fn documents(path: &Path, settings: Option<&Settings>) -> Checked {
    let gateway = settings.map(Settings::gateway).unwrap_or_default();
    let Loaded { policy_set, mut findings, files: _ } = inventory::load(path, &gateway);
    let Some(set) = policy_set else { return Checked { findings, set: None } };
    match compile(&set, 0, &Limits::default()) {
        Ok(image) => {
            let of_management =
                settings.map(|settings| management::findings(settings, &set, &image));
            findings.splice(0..0, of_management.unwrap_or_default());
            Checked { findings, set: Some(set) }
        }
        Err(errors) => {
            findings.extend(errors.iter().map(|error| {
                Diagnostic::error("policy.compile", error.to_string())
                    .help("make the policy smaller, or share selectors between its rules")
            }));
            Checked { findings, set: None }
        }
    }
}

impl Checked {
    fn status(&self, path: &Path) -> u8 {
        match (any_error(&self.findings), path.exists()) {
            (false, _) => CLEAN,
            (true, true) => REFUSED,
            (true, false) => UNREADABLE,
        }
    }

    fn summary(&self) -> String {
        let errors = self.findings.iter().filter(|finding| finding.is_error()).count();
        let warnings = counted(self.findings.len() - errors, "warning");
        match &self.set {
            Some(set) if errors == 0 => format!(
                "ok: {}, {}, {warnings}",
                counted(set.policies.len(), "policy"),
                counted(set.objects.len(), "object"),
            ),
            Some(_) | None => format!("refused: {}, {warnings}", counted(errors, "error")),
        }
    }
}

/// "1 error", "2 errors", "2 policies"
fn counted(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}
