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
        let program = |name: &str| {
            let path = profile.join(name);
            check(&path)?;
            Ok(path)
        };
        Ok(Self { ravelin: program("ravelin")?, dataplane: program("ravelin-dataplane")? })
    }
}

fn check(program: &Path) -> Result<(), Failure> {
    let doing = format!("use {}", program.display());
    let advice = "run `cargo build --workspace` first, with `--release` for the demonstration \
                  (`make test` and `make demo` do)";
    let built = changed(program);
    let built = built.map_err(|error| Failure::new(&doing, format!("{error}; {advice}")))?;
    for source in sources(program).during(&doing)? {
        // A source that is gone was built from before, too.
        if changed(&source).map_or(true, |changed| changed > built) {
            let why = format!("it is older than {}; {advice}", source.display());
            return Err(Failure::new(doing, why));
        }
    }
    Ok(())
}

/// What cargo says the program was built from: one line beside it, `program: source source ..`, blanks in names escaped.
fn sources(program: &Path) -> io::Result<Vec<PathBuf>> {
    let line = fs::read_to_string(program.with_extension("d"))?;
    let line = line.replace("\\ ", "\0");
    let sources = line.split_whitespace().skip(1);
    Ok(sources.map(|source| source.replace('\0', " ").into()).collect())
}

fn changed(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}
