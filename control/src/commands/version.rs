//! `ravelin version`: what is this?

use std::io::{self, Write};

use classifier::image::FORMAT_VERSION;
use serde_json::json;

use super::{DONE, Output};

/// Arguments of `ravelin version`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// How to answer
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    pub output: Output,
}

/// Writes the versions to `out`.
///
/// # Errors
/// When `out` does not take what is written.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<u8> {
    let version = env!("CARGO_PKG_VERSION");
    match arguments.output {
        Output::Human => writeln!(out, "ravelin {version}, policy image format {FORMAT_VERSION}")?,
        Output::Json => {
            writeln!(out, "{:#}", json!({ "version": version, "imageFormat": FORMAT_VERSION }))?;
        }
    }
    Ok(DONE)
}
