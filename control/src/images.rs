//! Images of past generations: what turns the numbers of a flow record back into names.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use classifier::image::{Image, ImageBytes};

/// Generations kept, and the disk space they may take in bytes; the newest is kept in any case. A record older than these
/// is written with numbers.
const KEPT_MAX: usize = 64;
const KEPT_BYTES_MAX: u64 = 1 << 30;
/// Images held in memory by a reader; records come in few generations at a time.
const CACHED_MAX: usize = 4;

/// A directory of `GENERATION.image` files.
#[derive(Clone, Debug)]
pub struct Images {
    directory: PathBuf,
}

impl Images {
    /// Opens the store, creating its directory.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Keeps an image, whole or not at all, and lets the oldest go.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(&self, image: &Image) -> io::Result<()> {
        let new = self.directory.join("new");
        let mut file = File::create(&new)?;
        file.write_all(image.bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.path(image.generation()))?;
        self.forget_old(KEPT_BYTES_MAX);
        Ok(())
    }

    /// Removes one; nothing depends on its success.
    pub fn forget(&self, generation: u64) {
        let _ = fs::remove_file(self.path(generation));
    }

    /// Whether the image of `generation` is here, whole or not.
    #[must_use]
    pub fn has(&self, generation: u64) -> bool {
        self.path(generation).exists()
    }

    /// The image of `generation`, if it is here and whole.
    #[must_use]
    pub fn load(&self, generation: u64) -> Option<Image> {
        let bytes = fs::read(self.path(generation)).ok()?;
        let image = Image::load(ImageBytes::from_slice(&bytes)).ok()?;
        (image.generation() == generation).then_some(image)
    }

    /// The highest generation kept; 0 when none is.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.generations().last().copied().unwrap_or(0)
    }

    /// From the newest on, those that fit stay.
    fn forget_old(&self, bytes_max: u64) {
        let mut bytes = 0;
        for (position, generation) in self.generations().into_iter().rev().enumerate() {
            let length = fs::metadata(self.path(generation)).map_or(0, |metadata| metadata.len());
            bytes += length;
            if position > 0 && (position >= KEPT_MAX || bytes > bytes_max) {
                self.forget(generation);
            }
        }
    }

    fn generations(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut generations: Vec<u64> =
            names.filter_map(|name| name.strip_suffix(".image")?.parse().ok()).collect();
        generations.sort_unstable();
        generations
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.directory.join(format!("{generation}.image"))
    }
}

/// A reader's own few images in memory.
#[derive(Debug)]
pub struct ImageCache {
    images: Images,
    /// Most recently used last.
    cached: Vec<Arc<Image>>,
}

impl ImageCache {
    /// Reads from `images`.
    #[must_use]
    pub fn new(images: Images) -> Self {
        Self { images, cached: Vec::new() }
    }

    /// The image of `generation`; `None` when it is not known.
    pub fn image(&mut self, generation: u64) -> Option<Arc<Image>> {
        let position = self.cached.iter().position(|image| image.generation() == generation);
        let image = match position {
            Some(position) => self.cached.remove(position),
            None => Arc::new(self.images.load(generation)?),
        };
        if self.cached.len() >= CACHED_MAX {
            self.cached.remove(0);
        }
        self.cached.push(Arc::clone(&image));
        Some(image)
    }
}

#[cfg(test)]
mod tests {
    use classifier::compile::{Limits, compile};
    use classifier::resource::PolicySet;

    use super::*;

    #[test]
    fn an_image_is_found_by_its_generation_and_by_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        images.keep(&image(3)).unwrap();
        let mut cache = ImageCache::new(images.clone());
        assert_eq!(cache.image(3).unwrap().generation(), 3);
        assert!(cache.image(4).is_none());
        fs::rename(images.path(3), images.path(4)).unwrap();
        assert!(images.load(4).is_none(), "a file under a wrong name gives wrong names");
    }

    #[test]
    fn a_damaged_image_is_not_found() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        images.keep(&image(3)).unwrap();
        let mut bytes = fs::read(images.path(3)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(images.path(3), bytes).unwrap();
        assert!(images.load(3).is_none());
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        for generation in 1..=KEPT_MAX as u64 + 2 {
            images.keep(&image(generation)).unwrap();
        }
        assert_eq!(images.generations().first(), Some(&3));
        assert_eq!(images.newest(), KEPT_MAX as u64 + 2);
    }

    #[test]
    fn the_oldest_go_when_they_take_too_much_space_and_the_newest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        for generation in 1..=4 {
            images.keep(&image(generation)).unwrap();
        }
        let length = image(1).bytes().len() as u64;
        images.forget_old(2 * length);
        assert_eq!(images.generations(), [3, 4]);
        images.forget_old(0);
        assert_eq!(images.generations(), [4]);
    }

    fn image(generation: u64) -> Image {
        compile(&PolicySet::new(), generation, &Limits::default()).unwrap()
    }
}
