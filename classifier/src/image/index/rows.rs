//! Which rows of a block can match a packet, without looking at most of them.
//!
//! A row is known by its digest. Most rules name who the other end may be, and most packets come from somebody whom few
//! rules name. So the rows of a long block are kept by the match set that the other end must belong to; a packet is asked
//! only of the rows of the sets that its other end belongs to, and of those that ask for none. Where one such list is
//! long, its rows are kept by protocol and destination port as well.

use std::collections::{BTreeMap, BTreeSet};

use super::digest::{Digest, Filter, Header};
use crate::decision::Direction;
use crate::image::layout::{NONE, position};
use crate::image::rows::Rows;
use crate::image::rule::{RULE_WORDS, RuleTables, RuleWords, action_of};
use crate::image::set_lists::Sets;
use crate::resource::Action;

/// A block, or a list, of fewer rows is walked.
const SHORT: usize = 16;

/// The index of all blocks of an image, or of a patch.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowIndex {
    /// `None` for a block without an index, which is walked.
    cards: Vec<Option<Card>>,
    /// The rows of one block after the other.
    digests: Vec<Digest>,
    /// For each long block a hash table of its keys, at most half full.
    keys: Vec<Key>,
    /// For each place of `keys` its rows.
    lists: Vec<List>,
    /// Rows, counted from the block's first, ascending in each list.
    rows: Vec<u32>,
    /// Where each cell of a list begins: protocol and port in one number, ascending in each list.
    starts: Vec<u32>,
    /// For each start the range of its rows in `rows`.
    cells: Vec<[u32; 2]>,
}

/// A block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Card {
    pub(crate) policy: u32,
    pub(crate) direction: Direction,
    /// A bit for each match set that rows ask the other end to belong to.
    colours: u64,
    /// Range in `digests`.
    digests: [u32; 2],
    /// Where its hash table begins: the first place is that of rows that ask for no set.
    keys: u32,
    /// How many bits of a hash choose the place; 0 in a short block, which has no table.
    key_bits: u8,
    /// Whether some rows ask for no set.
    has_any: bool,
}

impl Card {
    /// Whether any row may match a packet whose other end this is.
    #[inline]
    pub(crate) fn concerns(&self, other_end: &Sets<'_>) -> bool {
        self.has_any || self.colours & other_end.colours() != 0
    }
}

/// A match set that rows of a long block ask for.
#[derive(Clone, Copy, Debug)]
struct Key {
    /// `NONE` in a free place, and in the first.
    set: u32,
    /// The first of its rows.
    first: u32,
    /// Admits what any of its rows matches.
    filter: Filter,
}

/// The rows of one key.
#[derive(Clone, Copy, Debug, Default)]
struct List {
    /// Range in `rows` of those that can match whatever the port.
    anywhere: [u32; 2],
    /// Range in `starts` of those that are kept by port.
    cells: [u32; 2],
}

/// The rows of a block that matter for a packet, counted from its first, and their first words.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct First {
    /// The first that matches and ends the block.
    pub(crate) terminal: Option<(u32, u32)>,
    /// The first that matches and logs; it may stand behind the other.
    pub(crate) log: Option<(u32, u32)>,
}

impl First {
    /// True when nothing behind the row can matter.
    fn is_before(&self, row: u32) -> bool {
        self.terminal.is_some_and(|(terminal, _)| terminal <= row)
    }

    /// Notes a row that matches; true when it ends the block.
    fn note(&mut self, row: u32, head: u32) -> bool {
        let ends = action_of(head) != Action::Log;
        let place = if ends { &mut self.terminal } else { &mut self.log };
        if place.is_none_or(|(first, _)| row < first) {
            *place = Some((row, head));
        }
        ends
    }
}

impl RowIndex {
    /// Works the index out from the tables: blocks as in `Section::Blocks`, rows of rules, and what they point to. Blocks
    /// that share so many rows that all of them together are more than there are rows have no index.
    pub(crate) fn of(
        blocks: &[[u32; 4]],
        rules: Rows<'_, [u32; RULE_WORDS]>,
        tables: RuleTables<'_>,
    ) -> Self {
        let mut index = Self::default();
        for [policy, direction, first, end] in blocks {
            let direction = if *direction == 0 { Direction::Egress } else { Direction::Ingress };
            let rows = rules.range([*first, *end]);
            let fits = index.digests.len() + rows.len() <= rules.len();
            let card = fits.then(|| index.add(rows, *policy, direction, tables));
            index.cards.push(card);
        }
        index
    }

    /// What is known of a block; `None` when it is to be walked.
    #[inline]
    pub(crate) fn card(&self, block: u32) -> Option<&Card> {
        self.cards.get(block as usize)?.as_ref()
    }

    /// Of a block the first row that matches and ends it, and the first that matches and logs. `full` says whether all of
    /// a row matches; it is asked of rows of which the digest does not tell.
    #[inline]
    pub(crate) fn first_of(
        &self,
        card: &Card,
        header: Header,
        other_end: &Sets<'_>,
        full: impl Fn(u32) -> bool,
    ) -> First {
        let digests = slice(&self.digests, card.digests);
        if card.key_bits == 0 {
            return walk(digests, header, other_end, full);
        }
        let search = Search { index: self, card, digests, header, full };
        search.first_of(other_end)
    }

    fn add(
        &mut self,
        rows: &[[u32; RULE_WORDS]],
        policy: u32,
        direction: Direction,
        tables: RuleTables<'_>,
    ) -> Card {
        let begin = self.digests.len();
        let digest = |words: &_| Digest::of(RuleWords(*words), direction, tables);
        self.digests.extend(rows.iter().map(digest));
        let digests = [position(begin), position(self.digests.len())];
        let sets = || slice(&self.digests, digests).iter().map(|digest| digest.set);
        let colours = sets().filter(|set| *set != NONE).fold(0, |all, set| all | Sets::colour(set));
        let has_any = sets().any(|set| set == NONE);
        let (keys, key_bits) =
            if rows.len() < SHORT { (0, 0) } else { self.table(rows, begin, tables) };
        Card { policy, direction, colours, digests, keys, key_bits, has_any }
    }

    /// Makes the hash table of a long block; says where it is and how many bits choose a place.
    fn table(
        &mut self,
        rows: &[[u32; RULE_WORDS]],
        begin: usize,
        tables: RuleTables<'_>,
    ) -> (u32, u8) {
        let mut by_set: BTreeMap<u32, Vec<(u32, RuleWords)>> = BTreeMap::new();
        let digests = self.digests.get(begin..).unwrap_or_default();
        for ((number, words), digest) in (0..).zip(rows).zip(digests) {
            by_set.entry(digest.set).or_default().push((number, RuleWords(*words)));
        }
        let places = (by_set.len() * 2).next_power_of_two();
        let bits = u8::try_from(places.ilog2()).unwrap_or(u8::MAX);
        let first = self.keys.len();
        self.keys.resize(first + 1 + places, Key::FREE);
        self.lists.resize(first + 1 + places, List::default());
        for (set, rows) in by_set {
            let key = self.key(set, &rows, begin);
            let list = self.list(&rows, tables);
            let place = if set == NONE { first } else { self.free_place(first, bits, set) };
            if let (Some(key_place), Some(list_place)) =
                (self.keys.get_mut(place), self.lists.get_mut(place))
            {
                (*key_place, *list_place) = (key, list);
            }
        }
        (position(first), bits)
    }

    fn key(&self, set: u32, rows: &[(u32, RuleWords)], begin: usize) -> Key {
        let filters = rows.iter().filter_map(|(row, _)| self.digests.get(begin + *row as usize));
        let filter = filters.map(|digest| digest.filter).reduce(Filter::joined);
        let first = rows.first().map_or(NONE, |(row, _)| *row);
        Key { set, first, filter: filter.unwrap_or(Filter::NOTHING) }
    }

    fn free_place(&self, first: usize, bits: u8, set: u32) -> usize {
        let mut place = home(set, bits);
        while self.keys.get(first + 1 + place).is_some_and(|key| key.set != NONE) {
            place = next(place, bits);
        }
        first + 1 + place
    }

    fn list(&mut self, rows: &[(u32, RuleWords)], tables: RuleTables<'_>) -> List {
        let by_port = if rows.len() < SHORT { None } else { Cells::of(rows, tables) };
        let begin = position(self.rows.len());
        let Some(cells) = by_port else {
            self.rows.extend(rows.iter().map(|(number, _)| number));
            return List { anywhere: [begin, position(self.rows.len())], cells: [0, 0] };
        };
        self.rows.extend(&cells.anywhere);
        let anywhere = [begin, position(self.rows.len())];
        let first = position(self.starts.len());
        for (start, rows) in cells.cells {
            let begin = position(self.rows.len());
            self.rows.extend(rows);
            self.starts.push(start);
            self.cells.push([begin, position(self.rows.len())]);
        }
        List { anywhere, cells: [first, position(self.starts.len())] }
    }
}

impl Key {
    const FREE: Self = Self { set: NONE, first: NONE, filter: Filter::NOTHING };
}

/// Looks at the rows of a short block one after the other.
#[inline]
fn walk(
    digests: &[Digest],
    header: Header,
    other_end: &Sets<'_>,
    full: impl Fn(u32) -> bool,
) -> First {
    let mut first = First::default();
    for (row, digest) in (0..).zip(digests) {
        if digest.filter.admits(header)
            && (digest.set == NONE || other_end.contains(digest.set))
            && (digest.is_all || full(row))
            && first.note(row, digest.head)
        {
            break;
        }
    }
    first
}

/// A search in a long block.
struct Search<'a, F> {
    index: &'a RowIndex,
    card: &'a Card,
    digests: &'a [Digest],
    header: Header,
    full: F,
}

impl<F: Fn(u32) -> bool> Search<'_, F> {
    #[inline]
    fn first_of(&self, other_end: &Sets<'_>) -> First {
        let Card { colours, keys, key_bits, .. } = *self.card;
        let (begin, places) = (keys as usize, 1 << key_bits);
        let mut first = First::default();
        self.visit(begin, &mut first);
        if colours & other_end.colours() == 0 {
            return first;
        }
        if other_end.is_deep() && places <= 2 * SHORT {
            for place in begin + 1..=begin + places {
                let set = self.index.keys.get(place).map_or(NONE, |key| key.set);
                if set != NONE && other_end.contains(set) {
                    self.visit(place, &mut first);
                }
            }
        } else {
            for set in other_end.levels().flatten() {
                if colours & Sets::colour(*set) != 0
                    && let Some(place) = self.place_of(*set)
                {
                    self.visit(place, &mut first);
                }
            }
        }
        first
    }

    /// Where in the tables the key of a set is.
    #[inline]
    fn place_of(&self, set: u32) -> Option<usize> {
        let Card { keys, key_bits, .. } = *self.card;
        let mut place = home(set, key_bits);
        loop {
            let at = keys as usize + 1 + place;
            let key = self.index.keys.get(at)?;
            if key.set == set {
                return Some(at);
            }
            if key.set == NONE {
                return None;
            }
            place = next(place, key_bits);
        }
    }

    /// Asks the rows of a key.
    #[inline]
    fn visit(&self, place: usize, first: &mut First) {
        let Some(key) = self.index.keys.get(place) else { return };
        if first.is_before(key.first) || !key.filter.admits(self.header) {
            return;
        }
        let Some(list) = self.index.lists.get(place) else { return };
        self.ask(slice(&self.index.rows, list.anywhere), first);
        let (Some(port), [begin, end]) = (self.header.port_key(), list.cells) else { return };
        let starts = slice(&self.index.starts, [begin, end]);
        let Some(at) = starts.partition_point(|start| *start <= port).checked_sub(1) else {
            return;
        };
        if let Some(cell) = self.index.cells.get(begin as usize + at) {
            self.ask(slice(&self.index.rows, *cell), first);
        }
    }

    #[inline]
    fn ask(&self, rows: &[u32], first: &mut First) {
        for row in rows {
            if first.is_before(*row) {
                return;
            }
            let Some(digest) = self.digests.get(*row as usize) else { continue };
            if digest.filter.admits(self.header)
                && (digest.is_all || (self.full)(*row))
                && first.note(*row, digest.head)
            {
                return;
            }
        }
    }
}

/// Where a set is looked for first, in a table of 2^bits places.
fn home(set: u32, bits: u8) -> usize {
    /// 2^32 divided by the golden ratio: numbers in a row come to lie far apart.
    const SPREAD: u32 = 0x9E37_79B9;
    (set.wrapping_mul(SPREAD) >> (u32::BITS - u32::from(bits)).min(31)) as usize
}

/// Where it is looked for next.
fn next(place: usize, bits: u8) -> usize {
    (place + 1) & ((1 << bits) - 1)
}

/// The rows of a list by protocol and destination port.
struct Cells {
    anywhere: Vec<u32>,
    /// Where each begins, and its rows.
    cells: Vec<(u32, Vec<u32>)>,
}

impl Cells {
    /// `None` when ranges overlap so much that cells would not pay.
    fn of(rows: &[(u32, RuleWords)], tables: RuleTables<'_>) -> Option<Self> {
        let mut anywhere = Vec::new();
        // Where a row comes in and where it goes out again.
        let mut edges: BTreeMap<u32, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
        for (number, words) in rows {
            let spans = words.destination_spans(tables);
            if spans.is_empty() {
                anywhere.push(*number);
            }
            for (first, last) in spans {
                edges.entry(first).or_default().0.push(*number);
                edges.entry(last + 1).or_default().1.push(*number);
            }
        }
        let mut inside: BTreeSet<u32> = BTreeSet::new();
        let mut cells = Vec::with_capacity(edges.len());
        let mut left = rows.len() * 8;
        for (start, (entering, leaving)) in edges {
            for row in leaving {
                inside.remove(&row);
            }
            inside.extend(entering);
            left = left.checked_sub(inside.len())?;
            cells.push((start, inside.iter().copied().collect()));
        }
        Some(Self { anywhere, cells })
    }
}

fn slice<T>(table: &[T], [first, end]: [u32; 2]) -> &[T] {
    table.get(first as usize..end as usize).unwrap_or_default()
}
