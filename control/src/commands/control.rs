//! `ravelin control`: the daemon.

use std::io::{self, IsTerminal};

use tracing::warn;
use tracing_subscriber::EnvFilter;

use super::{DONE, SettingsArgument, WRONG};
use crate::cli::say;
use crate::daemon;

/// The variable that says what is logged, such as `debug`.
const LOG_VARIABLE: &str = "RAVELIN_LOG";

/// Arguments of `ravelin control`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsArgument,
    /// How log lines are written to standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// How log lines look.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// For people
    Text,
    /// For machines: one JSON object a line
    Json,
}

/// Runs the daemon until a signal ends it. Returns the exit status.
#[must_use]
pub fn run(arguments: &Arguments) -> u8 {
    let Some(settings) = arguments.settings.load() else { return WRONG };
    start_log(arguments.log_format);
    for warning in &settings.warnings {
        warn!(help = warning.help.as_deref(), "{warning}");
    }
    match daemon::run(settings) {
        Ok(()) => DONE,
        Err(error) => {
            say(&error.to_string());
            WRONG
        }
    }
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
