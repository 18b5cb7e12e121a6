//! Programs as runs of words: what a packet is asked of lies in one place, not in three tables.

use crate::image::layout::{NONE, position};
use crate::image::rows::Rows;

/// The runs of the programs of an image, or of a patch. A run is its length in words, then for each tier the tier's number,
/// twice the number of its blocks plus one when its end denies, and the blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProgramIndex {
    /// Where the run of each program begins, counted behind those of the image; `NONE` for a program without one.
    pub(crate) starts: Vec<u32>,
    pub(crate) words: Vec<u32>,
}

/// A tier of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunTier<'a> {
    pub(crate) tier: u32,
    pub(crate) denies: bool,
    /// Numbers of blocks.
    pub(crate) steps: &'a [u32],
}

impl ProgramIndex {
    /// Of rows of `Section::Programs`; `before` is how many words stand before these. The runs together are not longer
    /// than a few times the tables: where programs share much, some have no run.
    pub(crate) fn of(
        programs: &[[u32; 2]],
        segments: Rows<'_, [u32; 4]>,
        steps: Rows<'_, u32>,
        before: usize,
    ) -> Self {
        let mut index = Self::default();
        let mut left = 4 * (programs.len() + segments.len() + steps.len());
        for range in programs {
            let begin = index.words.len();
            index.words.push(0);
            for [tier, first, end, denies] in segments.range(*range) {
                let steps = steps.range([*first, *end]);
                index.words.extend([*tier, position(steps.len()) << 1 | denies & 1]);
                index.words.extend(steps);
                if index.words.len() - begin > left {
                    break;
                }
            }
            let length = index.words.len() - begin;
            let fits = length <= left;
            if fits {
                left -= length;
                if let Some(word) = index.words.get_mut(begin) {
                    *word = position(length - 1);
                }
            } else {
                index.words.truncate(begin);
            }
            index.starts.push(if fits { position(before + begin) } else { NONE });
        }
        index
    }
}

/// The tiers of the run that begins at `start`; `None` when there is no run.
#[inline]
pub(crate) fn run(words: Rows<'_, u32>, start: u32) -> Option<&[u32]> {
    let length = *words.get(start)?;
    let first = start + 1;
    Some(words.range([first, first.saturating_add(length)]))
}

/// Takes the first tier from a run.
#[inline]
pub(crate) fn next_tier<'a>(run: &mut &'a [u32]) -> Option<RunTier<'a>> {
    let [tier, count, rest @ ..] = *run else { return None };
    let (steps, rest) = rest.split_at_checked((count >> 1) as usize)?;
    *run = rest;
    Some(RunTier { tier: *tier, denies: count & 1 != 0, steps })
}
