//! Images of past generations: what turns the numbers of a flow record back into names.
//!
//! A generation is an image, or an image and its patch. Images are large and few, patches small and many: each image is
//! one file, however many generations are patches of it, and stays as long as one of these does.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use classifier::image::{Image, ImageBytes};

/// Generations kept, and the disk space they may take in bytes; the newest is kept in any case. A record older than these
/// is written with numbers.
const KEPT_MAX: usize = 256;
const KEPT_BYTES_MAX: u64 = 1 << 30;
/// Images held in memory by a reader; records come in few generations at a time.
const CACHED_MAX: usize = 4;

/// A directory of `NAME.image` files, and of `GENERATION.NAME.patch` files that say which image and with what patch a
/// generation is; such a file is empty where the generation is the image itself.
#[derive(Clone, Debug)]
pub struct Images {
    directory: PathBuf,
}

/// A generation that is kept.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Kept {
    generation: u64,
    /// The name of its image.
    base: String,
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

    /// Keeps a generation, whole or not at all, and lets the oldest go.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(&self, image: &Image) -> io::Result<()> {
        let kept = Kept { generation: image.generation(), base: image.base_name() };
        let base = self.base_path(&kept.base);
        if !base.exists() {
            // Worth waiting for the disk: many generations may depend on it.
            self.write(image.bytes(), &base, File::sync_all)?;
        }
        let path = self.path(&kept);
        self.write(image.patch_bytes().unwrap_or_default(), &path, |_| Ok(()))?;
        let others = self.kept().into_iter().filter(|other| other.generation == kept.generation);
        for other in others.filter(|other| other.base != kept.base) {
            let _ = fs::remove_file(self.path(&other));
        }
        self.forget_old(KEPT_BYTES_MAX);
        Ok(())
    }

    /// Removes one; nothing depends on its success.
    pub fn forget(&self, generation: u64) {
        if let Some(kept) = self.find(generation) {
            let _ = fs::remove_file(self.path(&kept));
        }
    }

    /// Whether `generation` is here, whole or not.
    #[must_use]
    pub fn has(&self, generation: u64) -> bool {
        self.find(generation).is_some()
    }

    /// The image of `generation`, if it is here and whole.
    #[must_use]
    pub fn load(&self, generation: u64) -> Option<Image> {
        self.load_like(generation, &[])
    }

    /// The same; where one of `known` is a generation of the same image, that is not read again.
    fn load_like(&self, generation: u64, known: &[Arc<Image>]) -> Option<Image> {
        let kept = self.find(generation)?;
        let known = known.iter().find(|image| image.base_name() == kept.base);
        let image = match known {
            Some(image) => image.without_patch(),
            None => Image::load(read(&self.base_path(&kept.base))?).ok()?,
        };
        let patch = read(&self.path(&kept))?;
        let image =
            if patch.as_bytes().is_empty() { image } else { image.with_patch(patch).ok()? };
        (image.generation() == generation).then_some(image)
    }

    /// The highest generation kept; 0 when none is.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.kept().last().map_or(0, |kept| kept.generation)
    }

    /// From the newest on, those that fit stay; and of the images, those that are still asked for.
    fn forget_old(&self, bytes_max: u64) {
        let length = |path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let (mut bytes, mut asked_for) = (0, BTreeSet::new());
        for (position, kept) in self.kept().into_iter().rev().enumerate() {
            bytes += length(self.path(&kept));
            if !asked_for.contains(&kept.base) {
                bytes += length(self.base_path(&kept.base));
            }
            if position > 0 && (position >= KEPT_MAX || bytes > bytes_max) {
                let _ = fs::remove_file(self.path(&kept));
            } else {
                asked_for.insert(kept.base);
            }
        }
        for name in self.names() {
            if name.strip_suffix(".image").is_some_and(|base| !asked_for.contains(base)) {
                let _ = fs::remove_file(self.directory.join(name));
            }
        }
    }

    fn find(&self, generation: u64) -> Option<Kept> {
        self.kept().into_iter().find(|kept| kept.generation == generation)
    }

    /// All generations, in their order.
    fn kept(&self) -> Vec<Kept> {
        let kept = |name: String| {
            let (generation, base) = name.strip_suffix(".patch")?.split_once('.')?;
            Some(Kept { generation: generation.parse().ok()?, base: base.to_owned() })
        };
        let mut all: Vec<Kept> = self.names().filter_map(kept).collect();
        all.sort_unstable();
        all
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
    }

    fn write(
        &self,
        bytes: &[u8],
        path: &Path,
        settle: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let new = self.directory.join("new");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        settle(&file)?;
        fs::rename(&new, path)
    }

    fn base_path(&self, base: &str) -> PathBuf {
        self.directory.join(format!("{base}.image"))
    }

    fn path(&self, Kept { generation, base }: &Kept) -> PathBuf {
        self.directory.join(format!("{generation}.{base}.patch"))
    }
}

fn read(path: &Path) -> Option<ImageBytes> {
    Some(ImageBytes::from_slice(&fs::read(path).ok()?))
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
            None => Arc::new(self.images.load_like(generation, &self.cached)?),
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
    use classifier::compile::{Limits, Live, compile};
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
        let kept = images.find(3).unwrap();
        let renamed = Kept { generation: 4, ..kept.clone() };
        fs::rename(images.path(&kept), images.path(&renamed)).unwrap();
        assert!(images.load(4).is_none(), "a file under a wrong name gives wrong names");
    }

    #[test]
    fn a_damaged_image_is_not_found() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let changed = &changed(3, 1)[1];
        images.keep(changed).unwrap();
        assert!(images.load(4).is_some());
        let kept = images.find(4).unwrap();
        for path in [images.base_path(&kept.base), images.path(&kept)] {
            let good = fs::read(&path).unwrap();
            let mut bytes = good.clone();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(images.load(4).is_none());
            fs::write(&path, good).unwrap();
        }
        assert!(images.load(4).is_some());
        fs::write(images.path(&kept), "").unwrap();
        assert!(images.load(4).is_none(), "the image without its patch is another generation");
    }

    #[test]
    fn many_generations_of_an_image_take_the_space_of_one() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let changed = changed(7, 20);
        for image in &changed {
            images.keep(image).unwrap();
        }
        assert_eq!(images.names().filter(|name| name.strip_suffix(".image").is_some()).count(), 1);
        let mut cache = ImageCache::new(images.clone());
        for image in changed {
            let kept = cache.image(image.generation()).unwrap();
            assert_eq!((kept.bytes(), kept.patch_bytes()), (image.bytes(), image.patch_bytes()));
        }
    }

    #[test]
    fn an_image_goes_with_the_last_generation_that_needs_it() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        for image in changed(1, 3).iter().chain(&changed(10, 3)) {
            images.keep(image).unwrap();
        }
        let count = || images.names().filter(|name| name.strip_suffix(".image").is_some()).count();
        assert_eq!(count(), 2);
        for generation in 1..=3 {
            images.forget(generation);
        }
        images.forget_old(KEPT_BYTES_MAX);
        assert_eq!(count(), 2);
        assert!(images.load(4).is_some());
        images.forget(4);
        images.forget_old(KEPT_BYTES_MAX);
        assert_eq!(count(), 1);
        assert!(images.load(13).is_some());
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        for image in changed(1, KEPT_MAX as u64 + 1) {
            images.keep(&image).unwrap();
        }
        assert_eq!(images.kept().first().unwrap().generation, 3);
        assert_eq!(images.newest(), KEPT_MAX as u64 + 2);
        assert!(images.load(3).is_some());
    }

    #[test]
    fn the_oldest_go_when_they_take_too_much_space_and_the_newest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        for generation in 1..=4 {
            images.keep(&image(generation)).unwrap();
        }
        let length = image(1).bytes().len() as u64;
        let generations = || images.kept().iter().map(|kept| kept.generation).collect::<Vec<u64>>();
        images.forget_old(2 * length);
        assert_eq!(generations(), [3, 4]);
        images.forget_old(0);
        assert_eq!(generations(), [4]);
        assert!(images.load(4).is_some());
    }

    fn image(generation: u64) -> Image {
        compile(&PolicySet::new(), generation, &Limits::default()).unwrap()
    }

    /// An image of `generation`, and that image with each of `count` patches.
    fn changed(generation: u64, count: u64) -> Vec<Image> {
        let set = PolicySet::new();
        let mut live = Live::new(&set, generation, &Limits::default()).unwrap();
        let mut images = vec![live.image().clone()];
        for number in 1..=count {
            images.push(live.apply(&set, &[], generation + number).unwrap().clone());
        }
        images
    }
}
