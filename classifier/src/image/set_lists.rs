//! Lists of match sets, as rows of rules ask them.

use super::index::ClassCard;
use super::layout::NONE;
use super::rows::Rows;

/// A row of `Section::SetLists`.
pub(crate) type SetListRow = [u32; 5];

/// The colours of a list and of all that it contains.
pub(crate) fn colours_of([_, _, _, low, high]: &SetListRow) -> u64 {
    u64::from(*low) | u64::from(*high) << 32
}

/// `Section::SetLists` and `Section::ListedSets`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetTables<'a> {
    pub(crate) lists: Rows<'a, SetListRow>,
    pub(crate) listed: Rows<'a, u32>,
}

/// The match sets that the addresses of a class belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sets<'a> {
    tables: &'a SetTables<'a>,
    /// Ascending.
    own: &'a [u32],
    /// Where in the lists the rest is, or `NONE`.
    parent: u32,
    colours: u64,
}

impl<'a> Sets<'a> {
    /// Of the list at a position.
    #[inline]
    pub(crate) fn at(list: u32, tables: &'a SetTables<'a>) -> Self {
        match tables.lists.get(list) {
            Some(row @ [first, end, parent, ..]) => {
                let own = tables.listed.range([*first, *end]);
                Self { tables, own, parent: *parent, colours: colours_of(row) }
            }
            None => Self { tables, own: &[], parent: NONE, colours: 0 },
        }
    }

    /// The same of the list that a class has.
    #[inline]
    pub(crate) fn of(card: &ClassCard, tables: &'a SetTables<'a>) -> Self {
        let ClassCard { colours, own, parent, .. } = *card;
        Self { tables, own: tables.listed.range(own), parent, colours }
    }

    /// The bit of a set: most questions end here.
    pub(crate) fn colour(set: u32) -> u64 {
        1 << (set % 64)
    }

    /// A bit for each set.
    pub(crate) fn colours(&self) -> u64 {
        self.colours
    }

    /// Whether there is more than one list of them.
    pub(crate) fn is_deep(&self) -> bool {
        self.parent != NONE
    }

    /// The sets, in lists that are ascending each.
    pub(crate) fn levels(&self) -> impl Iterator<Item = &'a [u32]> + use<'a> {
        std::iter::successors(Some(*self), Self::outer).map(|sets| sets.own)
    }

    /// Those of the lists behind the first.
    #[inline]
    fn outer(&self) -> Option<Self> {
        (self.parent != NONE).then(|| Self::at(self.parent, self.tables))
    }

    #[inline]
    pub(crate) fn contains(&self, set: u32) -> bool {
        /// Up to here, looking at all is faster than a search.
        const FEW: usize = 16;
        let mut sets = *self;
        loop {
            let Self { own, colours, .. } = sets;
            if colours & Self::colour(set) == 0 {
                return false;
            }
            let here =
                if own.len() <= FEW { own.contains(&set) } else { own.binary_search(&set).is_ok() };
            if here {
                return true;
            }
            match sets.outer() {
                Some(outer) => sets = outer,
                None => return false,
            }
        }
    }
}
