//! What makes an image quick to ask. Nothing here decides anything: all of it is worked out from the tables of an image
//! when that is loaded, and every answer is the one that a walk over the tables gives.

mod pieces;
mod rows;

pub use self::pieces::{DirectIndex, TreeIndex};
use self::rows::RowIndex;
use super::rule::{RULE_WORDS, RuleTables};

/// Everything that is worked out when an image is loaded.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) v4: DirectIndex,
    pub(super) v6: TreeIndex,
    pub(super) rows: RowIndex,
}

impl Index {
    /// Of the tables of an image: first addresses of the pieces, blocks, rows of rules and what they point to.
    pub(super) fn of(
        v4_starts: &[u32],
        v6_starts: &[[u64; 2]],
        blocks: &[[u32; 4]],
        rules: &[[u32; RULE_WORDS]],
        tables: RuleTables<'_>,
    ) -> Self {
        Self {
            v4: DirectIndex::of(v4_starts),
            v6: TreeIndex::of(v6_starts),
            rows: RowIndex::of(blocks, rules, tables),
        }
    }
}
