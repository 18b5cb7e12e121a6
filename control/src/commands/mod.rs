//! The commands of `ravelin`: each takes its arguments and where to write, and answers with an exit status.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

pub mod check;
pub mod control;
pub mod convert;
pub mod dataplane;
pub mod diff;
mod documents;
pub mod drops;
mod exact;
pub mod flows;
pub mod fmt;
mod ports;
pub mod reach;
pub mod status;
mod table;
pub mod trace;
pub mod version;

use crate::cli::say;
use crate::diagnostic;
use crate::settings::Settings;

/// Exit status when the answer is whole.
pub(crate) const DONE: u8 = 0;
/// Exit status when something is wrong, and said.
pub(crate) const WRONG: u8 = 1;

/// Where the settings are when nobody says otherwise.
const SETTINGS_PATH: &str = "/etc/ravelin/ravelin.toml";

/// How to answer.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum Output {
    /// For people
    Human,
    /// For programs
    Json,
}

/// Which settings to use.
#[derive(clap::Args, Clone, Debug)]
pub struct SettingsArgument {
    /// The settings file
    #[arg(long, value_name = "FILE", default_value = SETTINGS_PATH)]
    pub config: PathBuf,
}

impl SettingsArgument {
    /// The settings; when they are refused, every finding is said.
    fn load(&self) -> Option<Settings> {
        load_settings(&self.config)
    }
}

fn load_settings(path: &Path) -> Option<Settings> {
    let findings = match Settings::load(path) {
        Ok(settings) => return Some(settings),
        Err(findings) => findings,
    };
    let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    say(&format!("the settings are refused\n{}", diagnostic::render_human(&findings, color)));
    None
}
