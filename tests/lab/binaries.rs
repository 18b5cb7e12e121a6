//! The product's programs: the ones that were built beside this very test, and not from older sources.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::failure::{During, Failure};

/// The two programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `ravelin`
    pub ravelin: PathBuf,
    /// `ravelin-dataplane`
    pub dataplane: PathBuf,
}

impl Binaries {
    /// Finds them in the directory of the running test or example: `target/debug` or `target/release`.
    ///
    /// # Errors
    /// They are not there, or their sources are newer: then with what to run.
    pub fn find() -> Result<Self, Failure> {
        let here = env::current_exe().during("find the running program")?;
        // The running program is in `deps` or `examples` below the directory of its profile.
        let profile = here.parent().and_then(Path::parent).unwrap_or(Path::new("."));
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = |name: &str, crates: [&str; 2]| {
            let path = profile.join(name);
            check(&path, &crates.map(|name| sources.join(name)))?;
            Ok(path)
        };
        Ok(Self {
            ravelin: program("ravelin", ["classifier", "control"])?,
            dataplane: program("ravelin-dataplane", ["classifier", "dataplane"])?,
        })
    }
}

fn check(program: &Path, sources: &[PathBuf]) -> Result<(), Failure> {
    let doing = format!("use {}", program.display());
    let advice = "run `cargo build --workspace` first, with `--release` for the demonstration \
                  (`make test` and `make demo` do)";
    let built = fs::metadata(program).and_then(|metadata| metadata.modified());
    let built = built.map_err(|error| Failure::new(&doing, format!("{error}; {advice}")))?;
    for directory in sources {
        let newest = newest_below(&directory.join("src")).during(&doing)?;
        if let Some((_, path)) = newest.filter(|(changed, _)| *changed > built) {
            let why = format!("it is older than {}; {advice}", path.display());
            return Err(Failure::new(doing, why));
        }
    }
    Ok(())
}

/// The file below `directory` that was changed last.
fn newest_below(directory: &Path) -> io::Result<Option<(SystemTime, PathBuf)>> {
    let mut newest = None;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let found = if entry.file_type()?.is_dir() {
            newest_below(&entry.path())?
        } else {
            Some((entry.metadata()?.modified()?, entry.path()))
        };
        newest = newest.max(found);
    }
    Ok(newest)
}
