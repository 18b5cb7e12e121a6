//! Reading files that somebody else writes: regular files only, and only so large.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Source};

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum FileError {
    /// The system said no.
    Io(io::Error),
    /// A directory, a device, a pipe: reading it might never end.
    NotAFile,
    /// Larger than the limit, in bytes.
    TooLarge { size: u64, limit: u64 },
}

impl FileError {
    /// What to do about it.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                "correct the path, or put the file there".to_owned()
            }
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "give the user that runs `ravelin` the right to read it".to_owned()
            }
            Self::Io(_) => "make the file readable, then try again".to_owned(),
            Self::NotAFile => "name a regular file".to_owned(),
            Self::TooLarge { limit, .. } => format!("keep the file below {} MiB", limit >> 20),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                f.write_str("there is no such file")
            }
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                f.write_str("permission denied")
            }
            Self::Io(error) => write!(f, "{error}"),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::TooLarge { size, limit } => {
                write!(f, "{} MiB, the limit is {} MiB", size.div_ceil(1 << 20), limit >> 20)
            }
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A text file that findings can point into; `what` is its part in messages: "document".
pub(crate) fn source(what: &str, file: &Path, limit: u64) -> Result<Arc<Source>, Box<Diagnostic>> {
    let bytes =
        read_bounded(file, limit).map_err(|error| Box::new(unreadable(what, file, &error)))?;
    String::from_utf8(bytes).map(|text| Source::new(file, text)).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let place = Source::new(file, text).place(good..good);
        let finding = Diagnostic::error("file.encoding", format!("the {what} is not UTF-8 text"))
            .at(place, "not UTF-8 from here")
            .help("save it as UTF-8");
        Box::new(finding)
    })
}

/// Says that a file cannot be read, and why.
pub(crate) fn unreadable(what: &str, path: &Path, error: &FileError) -> Diagnostic {
    let message = format!("the {what} `{}` cannot be read: {error}", path.display());
    Diagnostic::error("file.unreadable", message).help(error.help())
}

/// The bytes of a regular file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    // Asked before opening: opening a pipe waits for its writer.
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile);
    }
    if metadata.len() > limit {
        return Err(FileError::TooLarge { size: metadata.len(), limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    // It may grow while it is read.
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    let size = bytes.len() as u64;
    if size > limit { Err(FileError::TooLarge { size, limit }) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_too_large_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read_bounded(&file, 5).unwrap(), b"12345");
        assert!(matches!(read_bounded(&file, 4), Err(FileError::TooLarge { size: 5, limit: 4 })));
        assert!(matches!(read_bounded(directory.path(), 5), Err(FileError::NotAFile)));
        let missing = read_bounded(&directory.path().join("g"), 5).unwrap_err();
        assert_eq!(missing.to_string(), "there is no such file");
    }
}
