//! What a packet needs of the class of one of its addresses, in half a cache line.

use super::programs::run;
use crate::image::layout::{CLASS_WORDS, NONE};
use crate::image::rows::Rows;
use crate::image::set_lists::{SetListRow, colours_of};

/// A class.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct ClassCard {
    /// Of its list of match sets, all colours.
    pub(crate) colours: u64,
    /// The list's own sets: a range in `Section::ListedSets`.
    pub(crate) own: [u32; 2],
    /// The list that its list contains, or `NONE`.
    pub(crate) parent: u32,
    /// Where the run of its ingress program begins; `NONE` when it has none that could decide.
    pub(crate) ingress: u32,
    /// The same for egress.
    pub(crate) egress: u32,
}

impl ClassCard {
    /// A class that nobody is of.
    pub(crate) const NOBODY: Self =
        Self { colours: 0, own: [0; 2], parent: NONE, ingress: NONE, egress: NONE };
}

/// Works out the cards of classes: rows of `Section::Classes`. The other tables are those of image and patch together;
/// `starts` and `words` those of the programs' runs.
pub(crate) fn class_cards(
    classes: &[[u32; CLASS_WORDS]],
    lists: Rows<'_, SetListRow>,
    starts: Rows<'_, u32>,
    words: Rows<'_, u32>,
) -> Vec<ClassCard> {
    let start = |covered: u32, program: u32| {
        let start = starts.get(program).copied().unwrap_or(NONE);
        let decides = covered != 0 && run(words, start).is_some_and(|run| !run.is_empty());
        if decides { start } else { NONE }
    };
    let card = |[covered, ingress, egress, _, _, list]: &[u32; CLASS_WORDS]| {
        let (colours, own, parent) = match lists.get(*list) {
            Some(row @ [first, end, parent, ..]) => (colours_of(row), [*first, *end], *parent),
            None => (0, [0; 2], NONE),
        };
        let (ingress, egress) = (start(*covered, *ingress), start(*covered, *egress));
        ClassCard { colours, own, parent, ingress, egress }
    };
    classes.iter().map(card).collect()
}
