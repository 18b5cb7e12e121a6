//! A small change to an image: rows behind its tables, pieces of the address space and blocks of rules in place of its own.
//!
//! A patch is laid out as an image is, and says which image it belongs to. Positions count on behind those of that image.
//! It holds all that has changed since, not only the last change: image and patch together are the policy in force.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::index::TableIndex;
use super::layout::{Layout, NONE, Section};
use super::view::{PatchView, Pieces};
use super::{Base, ImageBytes, ImageError, validate};

/// A checked patch.
#[derive(Debug)]
pub(super) struct Patch {
    pub(super) bytes: ImageBytes,
    pub(super) layout: Layout,
    pub(super) index: PatchIndex,
}

impl Patch {
    /// Checks a patch against the image that it belongs to, in time linear in the size of the patch.
    pub(super) fn load(bytes: ImageBytes, base: &Base) -> Result<Self, ImageError> {
        let layout = Layout::read_patch(bytes.as_bytes())?;
        let table = |section| layout.table::<u32>(bytes.as_bytes(), section);
        if table(Section::PatchOf) != base.layout.identity() {
            return Err(ImageError::OtherBase);
        }
        validate::validate(bytes.as_bytes(), &layout, Some(base))?;
        let index = PatchIndex::of(&layout, bytes.as_bytes(), base);
        Ok(Self { bytes, layout, index })
    }

    pub(super) fn table<T: FromBytes + Immutable + KnownLayout>(&self, section: Section) -> &[T] {
        self.layout.table(self.bytes.as_bytes(), section)
    }

    pub(super) fn part(&self, section: Section) -> &[u8] {
        self.layout.part(self.bytes.as_bytes(), section)
    }

    pub(super) fn view(&self) -> PatchView<'_> {
        PatchView {
            v4: Pieces {
                starts: self.table(Section::V4Starts),
                classes: self.table(Section::V4Classes),
                names: self.table(Section::V4Names),
            },
            v6: Pieces {
                starts: self.table(Section::V6Starts),
                classes: self.table(Section::V6Classes),
                names: self.table(Section::V6Names),
            },
            block_numbers: self.table(Section::BlockNumbers),
            blocks: self.table(Section::Blocks),
            index: &self.index,
        }
    }
}

/// What makes a patch quick to ask.
#[derive(Debug)]
pub(crate) struct PatchIndex {
    /// A bit for each value of the leading 16 bits of an IPv4 address: whether the patch says anything there.
    filter: Vec<u64>,
    /// A bit for each block: whether the patch replaces it.
    blocks: Vec<u64>,
    pub(crate) tables: TableIndex,
}

impl PatchIndex {
    fn of(layout: &Layout, bytes: &[u8], base: &Base) -> Self {
        let starts: &[u32] = layout.table(bytes, Section::V4Starts);
        let classes: &[u32] = layout.table(bytes, Section::V4Classes);
        Self {
            filter: filter(starts, classes),
            blocks: blocks_filter(layout.table(bytes, Section::BlockNumbers)),
            tables: TableIndex::of(bytes, layout, Some(base)),
        }
    }

    /// False when the patch does not replace the block.
    #[inline]
    pub(crate) fn may_replace(&self, block: u32) -> bool {
        self.blocks.get((block / 64) as usize).is_some_and(|word| word >> (block % 64) & 1 != 0)
    }

    /// False when the patch has nothing to say of the address.
    #[inline]
    pub(crate) fn may_hold(&self, address: u32) -> bool {
        let bit = address >> 16;
        self.filter.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }
}

fn filter(starts: &[u32], classes: &[u32]) -> Vec<u64> {
    let mut filter = vec![0; 1 << 10];
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([u32::MAX]);
    for ((first, last), _) in
        starts.iter().zip(ends).zip(classes).filter(|(_, class)| **class != NONE)
    {
        for bit in first >> 16..=last >> 16 {
            if let Some(word) = filter.get_mut(bit as usize / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }
    filter
}

fn blocks_filter(numbers: &[u32]) -> Vec<u64> {
    let words = numbers.last().map_or(0, |last| *last as usize / 64 + 1);
    let mut filter = vec![0; words];
    for number in numbers {
        if let Some(word) = filter.get_mut(*number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }
    filter
}
