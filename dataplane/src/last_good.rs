//! The last good policy: the image in force, kept on disk, so that the gateway starts with it when nobody else is there.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use classifier::image::{Image, ImageBytes, ImageError};

/// The file in the state directory.
const NAME: &str = "last-good.image";
/// The file while it is being written. Never read.
const NAME_NEW: &str = "last-good.image.new";

/// Where the last good image is kept.
#[derive(Debug)]
pub struct LastGood {
    directory: PathBuf,
}

impl LastGood {
    /// In this state directory.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Keeps `image`: after a crash at any moment either the old or the new one is there, whole.
    ///
    /// # Errors
    /// When the disk refuses; what was kept before is still there then.
    pub fn keep(&self, image: &[u8]) -> io::Result<()> {
        let new = self.directory.join(NAME_NEW);
        let mut file = File::create(&new)?;
        file.write_all(image)?;
        file.sync_all()?;
        fs::rename(&new, self.path())?;
        File::open(&self.directory)?.sync_all()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// The image kept last; `None` when there is none.
    ///
    /// # Errors
    /// When there is one and it cannot be used: the caller starts without a policy then, and nothing passes.
    pub fn load(&self, bytes_max: usize) -> Result<Option<Image>, LastGoodError> {
        let path = self.path();
        let failed = |cause| LastGoodError { path: path.clone(), cause };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(Cause::Io(error))),
        };
        let bytes = read(&file, bytes_max).map_err(&failed)?;
        Image::load(bytes).map(Some).map_err(|error| failed(Cause::Image(error)))
    }
}

/// Why the last good image is not used.
#[derive(Debug)]
pub struct LastGoodError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    TooLarge { length: u64, bytes_max: usize },
    Image(ImageError),
}

impl LastGoodError {
    /// The image is good, but there is no memory to hand it out again.
    pub(crate) fn memory(path: PathBuf, error: io::Error) -> Self {
        Self { path, cause: Cause::Io(error) }
    }
}

impl fmt::Display for LastGoodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the last good image `{}` is refused: ", self.path.display())?;
        match &self.cause {
            Cause::Io(error) => write!(f, "{error}"),
            Cause::TooLarge { length, bytes_max } => {
                write!(f, "it has {length} bytes; at most {bytes_max} are taken")
            }
            Cause::Image(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for LastGoodError {}

fn read(file: &File, bytes_max: usize) -> Result<ImageBytes, Cause> {
    let length = file.metadata().map_err(Cause::Io)?.len();
    let size = usize::try_from(length).ok().filter(|size| *size <= bytes_max);
    let size = size.ok_or(Cause::TooLarge { length, bytes_max })?;
    let mut bytes = ImageBytes::zeroed(size);
    file.read_exact_at(bytes.as_mut_bytes(), 0).map_err(Cause::Io)?;
    Ok(bytes)
}
