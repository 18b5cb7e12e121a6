//! The last good policy: the image in force, kept on disk, so that the gateway starts with it when nobody else is there.
//!
//! An image is one file, its patch another that bears the image's name. So the image says which patch is its own: a patch
//! is written before the image that it belongs to, and comes to count at the moment when that image does.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use classifier::image::{Image, ImageBytes, ImageError};
use tracing::warn;

/// The image's file in the state directory.
const NAME: &str = "last-good.image";
/// A patch's file is named so, with the image's name between.
const PATCH_NAME: [&str; 2] = ["last-good.", ".patch"];
/// A file while it is being written. Never read.
const NAME_NEW: &str = "last-good.image.new";

/// Where the last good image is kept.
#[derive(Debug)]
pub struct LastGood {
    directory: PathBuf,
    /// The name of the image that is on disk, when it is known.
    kept: Option<String>,
}

impl LastGood {
    /// In this state directory.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), kept: None }
    }

    /// Keeps `image` with its patch: after a crash at any moment either the old or the new one is there, whole.
    ///
    /// # Errors
    /// When the disk refuses; what was kept before is still there then.
    pub fn keep(&mut self, image: &Image) -> io::Result<()> {
        let name = image.base_name();
        if let Some(patch) = image.patch_bytes() {
            self.write(patch, &self.patch_path(&name))?;
        }
        if self.kept.as_ref() != Some(&name) {
            self.kept = None;
            self.write(image.bytes(), &self.path())?;
            self.kept = Some(name);
            self.remove_patches_beside(image);
        }
        Ok(())
    }

    /// The file of the image.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// The image kept last; `None` when there is none.
    ///
    /// # Errors
    /// When there is one and it or its patch cannot be used: the caller starts without a policy then, and nothing passes.
    pub fn load(&mut self, bytes_max: usize) -> Result<Option<Image>, LastGoodError> {
        let path = self.path();
        let Some(bytes) = read(&path, bytes_max).map_err(|cause| cause.of(&path))? else {
            return Ok(None);
        };
        let image = Image::load(bytes).map_err(|error| Cause::Image(error).of(&path))?;
        let name = image.base_name();
        let path = self.patch_path(&name);
        let image = match read(&path, bytes_max).map_err(|cause| cause.of(&path))? {
            None => image,
            Some(patch) => {
                image.with_patch(patch).map_err(|error| Cause::Image(error).of(&path))?
            }
        };
        for stray in self.patches_beside(&image) {
            warn!(file = %stray.display(), "a change that belongs to another image is left out");
        }
        self.kept = Some(name);
        Ok(Some(image))
    }

    fn patch_path(&self, name: &str) -> PathBuf {
        let [before, behind] = PATCH_NAME;
        self.directory.join(format!("{before}{name}{behind}"))
    }

    /// Writes a file whole or not at all, and has it on disk before it returns.
    fn write(&self, bytes: &[u8], path: &Path) -> io::Result<()> {
        let new = self.directory.join(NAME_NEW);
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(&self.directory)?.sync_all()
    }

    /// Files of patches that are not this image's.
    fn patches_beside(&self, image: &Image) -> Vec<PathBuf> {
        let own = image.patch_bytes().map(|_| self.patch_path(&image.base_name()));
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let [before, behind] = PATCH_NAME;
        let is_patch = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(before) && name.ends_with(behind))
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter(is_patch).filter(|path| Some(path) != own.as_ref()).collect()
    }

    /// Nothing depends on its success: no image that is kept asks for them.
    fn remove_patches_beside(&self, image: &Image) {
        for path in self.patches_beside(image) {
            let _ = fs::remove_file(path);
        }
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

impl Cause {
    fn of(self, path: &Path) -> LastGoodError {
        LastGoodError { path: path.to_owned(), cause: self }
    }
}

impl LastGoodError {
    /// The image is good, but there is no memory to hand it out again.
    pub(crate) fn memory(path: &Path, error: io::Error) -> Self {
        Cause::Io(error).of(path)
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

/// The content of a file; `None` when there is none.
fn read(path: &Path, bytes_max: usize) -> Result<Option<ImageBytes>, Cause> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Cause::Io(error)),
    };
    let length = file.metadata().map_err(Cause::Io)?.len();
    let size = usize::try_from(length).ok().filter(|size| *size <= bytes_max);
    let size = size.ok_or(Cause::TooLarge { length, bytes_max })?;
    let mut bytes = ImageBytes::zeroed(size);
    file.read_exact_at(bytes.as_mut_bytes(), 0).map_err(Cause::Io)?;
    Ok(Some(bytes))
}
