//! When the patch has grown: image and patch become one image.

use super::{Declined, Live};
use crate::image::Image;

impl Live {
    /// Begins to make image and patch one: what is returned is to be folded, on any thread, while changes go on here.
    pub fn begin_fold(&mut self) -> Image {
        self.added.fold_begins();
        self.image.clone()
    }

    /// Goes on with the folded image, and what has changed since as its patch. The generation stays.
    ///
    /// # Errors
    /// When no fold had begun, or the image is not what it made.
    pub fn finish_fold(&mut self, folded: Image) -> Result<&Image, Declined> {
        if std::mem::replace(&mut self.is_spent, true) {
            return Err(Declined::Spent);
        }
        if !self.added.fold_ends(&folded) {
            return Err(Declined::Unknown);
        }
        let generation = self.image.generation();
        self.image = folded;
        if self.image.generation() != generation {
            self.patch_image(generation)?;
        }
        self.is_spent = false;
        Ok(&self.image)
    }
}
