//! Lists of match sets, as rows of rules ask them.

use super::rows::Rows;

/// A row of `Section::SetLists`.
pub(crate) type SetListRow = [u32; 5];

/// The colours of a list and of all that it contains.
pub(crate) fn colours_of([_, _, _, low, high]: &SetListRow) -> u64 {
    u64::from(*low) | u64::from(*high) << 32
}

/// The match sets that the addresses of a class belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sets<'a> {
    pub(crate) lists: Rows<'a, SetListRow>,
    pub(crate) listed: Rows<'a, u32>,
    /// Where in `lists`.
    pub(crate) list: u32,
}

impl<'a> Sets<'a> {
    /// The bit of a set: most questions end here.
    pub(crate) fn colour(set: u32) -> u64 {
        1 << (set % 64)
    }

    /// A bit for each set.
    pub(crate) fn colours(self) -> u64 {
        self.lists.get(self.list).map_or(0, colours_of)
    }

    /// The sets, in lists that are ascending each.
    pub(crate) fn levels(self) -> impl Iterator<Item = &'a [u32]> {
        let Self { lists, listed, list } = self;
        let row = move |list: u32| lists.get(list);
        std::iter::successors(row(list), move |[_, _, parent, ..]| row(*parent))
            .map(move |[first, end, ..]| listed.range([*first, *end]))
    }

    #[inline]
    pub(crate) fn contains(self, set: u32) -> bool {
        /// Up to here, looking at all is faster than a search.
        const FEW: usize = 16;
        let mut at = self.list;
        while let Some(row @ [first, end, parent, ..]) = self.lists.get(at) {
            if colours_of(row) & Self::colour(set) == 0 {
                return false;
            }
            let own = self.listed.range([*first, *end]);
            let here =
                if own.len() <= FEW { own.contains(&set) } else { own.binary_search(&set).is_ok() };
            if here {
                return true;
            }
            at = *parent;
        }
        false
    }
}
