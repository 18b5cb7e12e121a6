//! What makes an image quick to ask. Nothing here decides anything: all of it is worked out from the tables of an image
//! when that is loaded, and every answer is the one that a walk over the tables gives.

mod classes;
mod digest;
mod pieces;
mod programs;
mod rows;

use zerocopy::{FromBytes, Immutable, KnownLayout};

pub(crate) use self::classes::ClassCard;
use self::classes::class_cards;
pub(crate) use self::digest::Header;
pub use self::pieces::{V4Index, V6Index};
use self::programs::ProgramIndex;
pub(crate) use self::programs::{RunTier, next_tier, run};
pub(crate) use self::rows::{Card, First, RowIndex};
use super::Base;
use super::layout::{Layout, Section};
use super::rows::Rows;
use super::rule::RuleTables;

/// Everything that is worked out when an image is loaded.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) v4: V4Index,
    pub(super) v6: V6Index,
    pub(super) tables: TableIndex,
}

impl Index {
    /// Of the tables of an image.
    pub(super) fn of(bytes: &[u8], layout: &Layout) -> Self {
        Self {
            v4: V4Index::of(layout.table(bytes, Section::V4Starts)),
            v6: V6Index::of(layout.table(bytes, Section::V6Starts)),
            tables: TableIndex::of(bytes, layout, None),
        }
    }
}

/// What is worked out of blocks, programs and classes: those of an image, or those that a patch adds.
#[derive(Clone, Debug)]
pub(crate) struct TableIndex {
    /// Of the blocks, in their own order.
    pub(crate) rows: RowIndex,
    pub(crate) programs: ProgramIndex,
    pub(crate) classes: Vec<ClassCard>,
}

impl TableIndex {
    /// Of an image, or of a patch of `base`: in time linear in the tables of either.
    pub(super) fn of(bytes: &[u8], layout: &Layout, base: Option<&Base>) -> Self {
        let source = Source { bytes, layout, base };
        let tables = RuleTables {
            port_ranges: source.rows(Section::PortRanges),
            extras: source.rows(Section::Extras),
        };
        let (segments, steps) = (source.rows(Section::Segments), source.rows(Section::Steps));
        let (starts, words): (&[u32], &[u32]) = match base {
            Some(Base { index: Index { tables: Self { programs, .. }, .. }, .. }) => {
                (&programs.starts, &programs.words)
            }
            None => (&[], &[]),
        };
        let programs =
            ProgramIndex::of(source.own(Section::Programs), segments, steps, words.len());
        let starts = Rows::new(starts, &programs.starts);
        let words = Rows::new(words, &programs.words);
        let classes = class_cards(
            source.own(Section::Classes),
            source.rows(Section::SetLists),
            starts,
            words,
        );
        let rules = source.rows(Section::Rules);
        let rows = RowIndex::of(source.own(Section::Blocks), rules, tables);
        Self { rows, programs, classes }
    }
}

/// Where tables are read from.
#[derive(Clone, Copy)]
struct Source<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
    /// What the tables are counted on from, if they are a patch's.
    base: Option<&'a Base>,
}

impl<'a> Source<'a> {
    fn own<T: FromBytes + Immutable + KnownLayout>(self, section: Section) -> &'a [T] {
        self.layout.table(self.bytes, section)
    }

    fn rows<T: FromBytes + Immutable + KnownLayout>(self, section: Section) -> Rows<'a, T> {
        match self.base {
            Some(base) => Rows::new(base.table(section), self.own(section)),
            None => Rows::from(self.own(section)),
        }
    }
}
