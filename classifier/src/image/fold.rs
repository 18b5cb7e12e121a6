//! Image and patch as one image again.

use super::layout::{Head, NONE, Section, Tables};
use super::rule::RULE_WORDS;
use super::view::{Block, View, halves};
use super::{Image, ImageError};
use crate::packet::IpVersion;

impl Image {
    /// The same policy, of the same generation, without a patch. What the patch made useless stays in its tables.
    ///
    /// # Errors
    /// Never, unless there is a fault here: the image is checked as any other.
    pub fn fold(&self) -> Result<Self, ImageError> {
        let Some(patch) = &self.patch else { return Ok(self.clone()) };
        let mut tables = Tables::default();
        for section in Section::ALL {
            tables.set(section, self.base.part(section));
        }
        // These only grow, and count on in the patch.
        for section in [
            Section::Classes,
            Section::SetLists,
            Section::ListedSets,
            Section::Programs,
            Section::Segments,
            Section::Steps,
            Section::Extras,
            Section::PortRanges,
            Section::Objects,
            Section::Labels,
            Section::Text,
        ] {
            tables.add(section, patch.part(section));
        }
        let text = u32::try_from(self.base.part(Section::Text).len()).unwrap_or(NONE);
        let ends = patch.table::<u32>(Section::StringEnds).iter();
        let ends: Vec<u32> = ends.map(|end| text.saturating_add(*end)).collect();
        tables.add(Section::StringEnds, &ends);
        let view = self.view();
        pieces(&view, &mut tables);
        blocks(&view, self.base_rows::<4>(Section::Blocks), &mut tables);
        let match_sets = patch.layout.head.match_sets;
        let flags = self.base.layout.head.flags;
        Self::load(tables.assemble(Head { generation: self.generation(), flags, match_sets }))
    }
}

fn pieces(view: &View<'_>, tables: &mut Tables) {
    let v4 = view.pieces(IpVersion::V4);
    let starts: Vec<u32> =
        v4.iter().map(|(start, ..)| u32::try_from(*start).unwrap_or(u32::MAX)).collect();
    tables.set(Section::V4Starts, &starts);
    let v6 = view.pieces(IpVersion::V6);
    let starts: Vec<[u64; 2]> = v6.iter().map(|(start, ..)| halves(*start)).collect();
    tables.set(Section::V6Starts, &starts);
    for (pieces, classes, names) in
        [(v4, Section::V4Classes, Section::V4Names), (v6, Section::V6Classes, Section::V6Names)]
    {
        let (of_class, of_name): (Vec<u32>, Vec<u32>) =
            pieces.iter().map(|(_, class, name)| (*class, *name)).unzip();
        tables.set(classes, &of_class);
        tables.set(names, &of_name);
    }
}

/// Rows of rules follow one another in the order of the blocks, so they are all written again.
fn blocks(view: &View<'_>, count: usize, tables: &mut Tables) {
    let (mut rows, mut texts) = (Vec::new(), Vec::<u32>::new());
    let mut blocks: Vec<[u32; 4]> = Vec::with_capacity(count);
    let position = |rows: &Vec<[u32; RULE_WORDS]>| super::layout::position(rows.len());
    for number in 0..count {
        let block = view.block(super::layout::position(number));
        let Some(Block { row, .. }) = block else { continue };
        let [policy, direction, first, end] = *row;
        let begin = position(&rows);
        rows.extend(view.rows([first, end]));
        texts.extend(view.texts([first, end]));
        blocks.push([policy, direction, begin, position(&rows)]);
    }
    tables.set(Section::Rules, &rows);
    tables.set(Section::RuleTexts, &texts);
    tables.set(Section::Blocks, &blocks);
}
