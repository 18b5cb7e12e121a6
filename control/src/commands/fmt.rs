//! `ravelin fmt`: selectors in the one spelling that Calico knows them by.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::{fs, process};

use super::{DONE, WRONG};
use crate::cli::say;
use crate::diagnostic::{self, Diagnostic};
use crate::document;
use crate::files;
use crate::inventory::{self, DOCUMENT_BYTES_MAX};

/// Arguments of `ravelin fmt`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// A policy document, or a directory of them
    pub path: PathBuf,
    /// Change nothing, name the files that would change, and exit with 1 if there are any
    #[arg(long)]
    pub check: bool,
}

/// Rewrites the selectors of documents where they stand, and names every file that changed. All documents are read before
/// any is written. Returns the exit status.
///
/// # Errors
/// When `out` does not take what is written.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<u8> {
    let mut findings = Vec::new();
    let mut changed = Vec::new();
    for file in inventory::documents(&arguments.path, &mut findings) {
        match formatted(&file) {
            Ok(Some(text)) => changed.push((file, text)),
            Ok(None) => {}
            Err(errors) => findings.extend(errors),
        }
    }
    if diagnostic::any_error(&findings) {
        let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        say(&format!("nothing is changed\n{}", diagnostic::render_human(&findings, color)));
        return Ok(WRONG);
    }
    for (file, text) in &changed {
        if !arguments.check
            && let Err(error) = replace(file, text)
        {
            say(&format!("cannot write `{}`: {error}", file.display()));
            return Ok(WRONG);
        }
        writeln!(out, "{}", file.display())?;
    }
    Ok(if arguments.check && !changed.is_empty() { WRONG } else { DONE })
}

/// The new text of a document, if it changes.
fn formatted(file: &Path) -> Result<Option<String>, Vec<Diagnostic>> {
    let source =
        files::source("document", file, DOCUMENT_BYTES_MAX).map_err(|error| vec![*error])?;
    let text = document::with_canonical_selectors(&source)?;
    Ok((text != source.text()).then_some(text))
}

/// Puts the text in the file's place in one step: whoever reads it sees the old or the new one.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    // A link stays a link.
    let file = file.canonicalize()?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let new = file.with_file_name(format!(".{name}.{}~", process::id()));
    let written = fs::write(&new, text)
        .and_then(|()| fs::set_permissions(&new, fs::metadata(&file)?.permissions()))
        .and_then(|()| fs::rename(&new, &file));
    if written.is_err() {
        // What is left of it is hidden from the policy directory; removing it is tidiness.
        let _ = fs::remove_file(&new);
    }
    written
}
