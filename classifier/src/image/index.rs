//! What makes an image quick to ask. Nothing here decides anything: all of it is worked out from the tables of an image
//! when that is loaded, and every answer is the one that a walk over the tables gives.

mod pieces;
mod rows;

pub use self::pieces::{DirectIndex, TreeIndex};
pub(crate) use self::rows::RowIndex;
use super::layout::{Layout, Section};
use super::rows::Rows;
use super::rule::RuleTables;

/// Everything that is worked out when an image is loaded.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) v4: DirectIndex,
    pub(super) v6: TreeIndex,
    pub(super) rows: RowIndex,
}

impl Index {
    /// Of the tables of an image.
    pub(super) fn of(bytes: &[u8], layout: &Layout) -> Self {
        let words = |section| Rows::from(layout.table::<u32>(bytes, section));
        let tables = RuleTables {
            port_ranges: words(Section::PortRanges),
            extras: Rows::from(layout.table(bytes, Section::Extras)),
        };
        let rules = Rows::from(layout.table(bytes, Section::Rules));
        Self {
            v4: DirectIndex::of(layout.table(bytes, Section::V4Starts)),
            v6: TreeIndex::of(layout.table(bytes, Section::V6Starts)),
            rows: RowIndex::of(layout.table(bytes, Section::Blocks), rules, tables),
        }
    }
}
