//! `ravelin convert`: the same document in another language.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use super::{DONE, WRONG};
use crate::cli::say;
use crate::diagnostic;
use crate::document::{self, Dialect};
use crate::files;
use crate::inventory::DOCUMENT_BYTES_MAX;

/// Arguments of `ravelin convert`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// A policy document
    pub path: PathBuf,
    /// The language to write it in
    #[arg(long, value_enum)]
    pub to: Language,
}

/// A language of documents.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    /// Calico's resources in JSON
    Json,
    /// Tables, one for each resource
    Toml,
    /// Calico's resources in YAML
    Yaml,
}

/// Writes the document in another language to `out`; what is lost on the way is said. Returns the exit status.
///
/// # Errors
/// When `out` does not take what is written.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<u8> {
    let to = match arguments.to {
        Language::Json => Dialect::Json,
        Language::Toml => Dialect::Toml,
        Language::Yaml => Dialect::Yaml,
    };
    let source = files::source("document", &arguments.path, DOCUMENT_BYTES_MAX);
    let converted =
        source.map_err(|finding| vec![*finding]).and_then(|source| document::convert(&source, to));
    let converted = match converted {
        Ok(converted) => converted,
        Err(findings) => {
            let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            say(&format!("not converted\n{}", diagnostic::render_human(&findings, color)));
            return Ok(WRONG);
        }
    };
    out.write_all(converted.text.as_bytes())?;
    if converted.had_comments {
        say("the comments of the document are not carried over");
    }
    if converted.has_lists && to != Dialect::Toml {
        say("`list` is kept, and read here; Calico does not know it");
    }
    Ok(DONE)
}
