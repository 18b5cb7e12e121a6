//! The policy image: one flat, position-independent block of bytes that `classify` and `trace` work on where it lies.
//!
//! Names travel inside, so that a decision of generation 41 can be read with image 41 alone.

mod bytes;
mod fold;
mod index;
pub(crate) mod layout;
mod patch;
mod rows;
pub(crate) mod rule;
pub(crate) mod set_lists;
mod trace;
mod validate;
mod view;

use std::fmt;
use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, KnownLayout};

pub use self::bytes::ImageBytes;
use self::index::Index;
pub use self::index::{V4Index, V6Index};
pub use self::layout::FORMAT_VERSION;
use self::layout::{Layout, Section};
use self::patch::Patch;
pub use self::rule::Mismatch;
pub use self::trace::{End, Trace, TraceHalf, TracePolicy, TraceRule, TraceTier};
pub(crate) use self::view::{ClassTier, Plane, halves};
pub use self::view::{ObjectInfo, ResourceName, RuleInfo, Sizes, View};

/// A policy image that was checked in full: nothing in it points outside of itself. Clones share the tables.
///
/// It is one block of bytes, or that and a patch: a small change made to it since.
#[derive(Clone, Debug)]
pub struct Image {
    base: Arc<Base>,
    patch: Option<Arc<Patch>>,
}

/// The block of bytes.
#[derive(Debug)]
struct Base {
    bytes: ImageBytes,
    layout: Layout,
    index: Index,
}

impl Base {
    fn table<T: FromBytes + Immutable + KnownLayout>(&self, section: Section) -> &[T] {
        self.layout.table(self.bytes.as_bytes(), section)
    }

    fn part(&self, section: Section) -> &[u8] {
        self.layout.part(self.bytes.as_bytes(), section)
    }
}

impl Image {
    /// Checks an image, in time linear in its size.
    ///
    /// # Errors
    /// When it is not an image, not whole, of another version, damaged, or inconsistent. Never panics, whatever the bytes.
    pub fn load(bytes: ImageBytes) -> Result<Self, ImageError> {
        let layout = Layout::read(bytes.as_bytes())?;
        validate::validate(bytes.as_bytes(), &layout, None)?;
        let index = Index::of(bytes.as_bytes(), &layout);
        Ok(Self { base: Arc::new(Base { bytes, layout, index }), patch: None })
    }

    /// The image with another patch: checks that in time linear in its own size. A patch that it had is replaced.
    ///
    /// # Errors
    /// When the bytes are not a patch, or not one of this image, not whole, damaged, or inconsistent with it.
    pub fn with_patch(&self, bytes: ImageBytes) -> Result<Self, ImageError> {
        let patch = Patch::load(bytes, &self.base)?;
        Ok(Self { base: Arc::clone(&self.base), patch: Some(Arc::new(patch)) })
    }

    /// The image as it was before any patch.
    #[must_use]
    pub fn without_patch(&self) -> Self {
        Self { base: Arc::clone(&self.base), patch: None }
    }

    /// The number of this publication.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.patch.as_ref().map_or(&self.base.layout, |patch| &patch.layout).head.generation
    }

    /// The generation of the image without its patch.
    #[must_use]
    pub fn base_generation(&self) -> u64 {
        self.base.layout.head.generation
    }

    /// Tells the image without its patch from every other, in characters that a file name takes.
    #[must_use]
    pub fn base_name(&self) -> String {
        let [.., checksum] = self.base.layout.identity();
        format!("{}-{checksum:08x}", self.base_generation())
    }

    /// The image without its patch, as it is stored and handed over.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.base.bytes.as_bytes()
    }

    /// The patch, as it is stored and handed over.
    #[must_use]
    pub fn patch_bytes(&self) -> Option<&[u8]> {
        self.patch.as_ref().map(|patch| patch.bytes.as_bytes())
    }

    /// Whether both are the same image, whatever their patches.
    #[must_use]
    pub fn same_base(&self, other: &Self) -> bool {
        self.base.layout.identity() == other.base.layout.identity()
    }

    /// How many rows of `N` words a table has without the patch.
    pub(crate) fn base_rows<const N: usize>(&self, section: Section) -> usize {
        self.base.table::<[u32; N]>(section).len()
    }

    /// What a patch says it belongs to.
    pub(crate) fn base_identity(&self) -> [u32; 3] {
        self.base.layout.identity()
    }

    /// Whether the two decide alike because they hold the same tables; their generations may differ.
    #[must_use]
    pub fn same_policy(&self, other: &Self) -> bool {
        let patches = [self, other].map(|image| image.patch_bytes().map(layout::content));
        let [own, others] = patches;
        own == others && layout::content(self.bytes()) == layout::content(other.bytes())
    }

    /// The tables, ready to be asked. Cheap: take one for each batch.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View::new(&self.base, self.patch.as_deref())
    }
}

/// Why bytes are not an image that can be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ImageError {
    /// They do not begin as an image does.
    NotAnImage {
        /// How many bytes there are.
        length: usize,
    },
    /// It was written in another version of the format.
    Version {
        /// The version it says.
        found: u32,
    },
    /// It is shorter, or longer, than it says.
    Truncated {
        /// How many bytes there are.
        length: usize,
        /// How many it says there should be.
        expected: u64,
    },
    /// The checksum does not fit: a byte has changed.
    Checksum,
    /// It was written on a machine with another byte order.
    ByteOrder,
    /// It is a patch of another image.
    OtherBase,
    /// A table is inconsistent.
    Table {
        /// The table's name in the layout.
        table: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnImage { length } => write!(f, "these {length} bytes are not a policy image"),
            Self::Version { found } => write!(
                f,
                "the policy image has format version {found}, this program reads version {FORMAT_VERSION}; \
                 compile the policy again with the matching version"
            ),
            Self::Truncated { length, expected } => {
                write!(f, "the policy image has {length} bytes where it should have {expected}")
            }
            Self::Checksum => f.write_str("the policy image is damaged: its checksum does not fit"),
            Self::ByteOrder => {
                f.write_str("the policy image was written on a machine with another byte order")
            }
            Self::OtherBase => f.write_str("the change belongs to another policy image"),
            Self::Table { table, why } => {
                write!(f, "the policy image is inconsistent: table {table} {why}")
            }
        }
    }
}

impl std::error::Error for ImageError {}
