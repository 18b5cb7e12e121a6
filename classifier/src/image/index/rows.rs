//! Which rows of a long block can match a packet, without walking the block.
//!
//! Most rules name who the other end may be, and most packets come from somebody whom few rules name. So the rows of a
//! block are kept by the match set that the other end must belong to; a packet is asked only of the rows of the sets that
//! its other end belongs to, and of those that ask for none. Where one such list is long, its rows are kept by protocol
//! and destination port as well. Each list is ascending; which of them has the first row that matches is for the caller to
//! find.

use std::collections::{BTreeMap, BTreeSet};

use crate::decision::Direction;
use crate::image::layout::{NONE, position};
use crate::image::rows::Rows;
use crate::image::rule::{RULE_WORDS, RuleTables, RuleWords};
use crate::image::set_lists::Sets;
use crate::packet::{PacketKey, Transport};

/// A block, or a list, of fewer rows is walked.
const SHORT: usize = 16;

/// The index of all long blocks of an image.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowIndex {
    /// For each block its range in `keys`; empty for one without an index.
    blocks: Vec<Indexed>,
    /// Match sets, ascending within a block; `NONE` is the last and stands for rows that ask for no set.
    keys: Vec<u32>,
    /// For each key its rows.
    lists: Vec<List>,
    /// Rows, counted from the block's first, ascending in each list.
    rows: Vec<u32>,
    /// Where each cell of a list begins: protocol and port in one number, ascending in each list.
    starts: Vec<u32>,
    /// For each start the range of its rows in `rows`.
    cells: Vec<[u32; 2]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Indexed {
    keys: [u32; 2],
    colours: u64,
}

/// The rows of one key.
#[derive(Clone, Copy, Debug, Default)]
struct List {
    /// Range in `rows` of those that can match whatever the port.
    anywhere: [u32; 2],
    /// Range in `starts` of those that are kept by port.
    cells: [u32; 2],
}

impl RowIndex {
    /// Works the index out from the tables: blocks as in `Section::Blocks`, rows of rules, and what they point to.
    pub(crate) fn of(
        blocks: &[[u32; 4]],
        rules: Rows<'_, [u32; RULE_WORDS]>,
        tables: RuleTables<'_>,
    ) -> Self {
        let mut index = Self::default();
        for [_, direction, first, end] in blocks {
            let rows = rules.range([*first, *end]);
            let direction = if *direction == 0 { Direction::Egress } else { Direction::Ingress };
            let indexed = if rows.len() < SHORT {
                Indexed::default()
            } else {
                index.add(rows, direction, tables)
            };
            index.blocks.push(indexed);
        }
        index
    }

    /// Hands the lists of rows of a block that a packet is to be asked of to `visit`, in no order; a row may come twice.
    /// False when the block has no index and is to be walked.
    #[inline]
    pub(crate) fn visit<'a>(
        &'a self,
        block: u32,
        packet: &PacketKey,
        other_end: Sets<'_>,
        mut visit: impl FnMut(&'a [u32]),
    ) -> bool {
        let Some(Indexed { keys: [first, end], colours }) = self.blocks.get(block as usize) else {
            return false;
        };
        let keys = slice(&self.keys, [*first, *end]);
        let Some((_, sets)) = keys.split_last() else { return false };
        let port = port_key(packet);
        let mut ask = |at: usize| {
            if let Some(list) = self.lists.get(*first as usize + at) {
                self.visit_list(list, port, &mut visit);
            }
        };
        if colours & other_end.colours() != 0 {
            if sets.len() < SHORT {
                for (at, set) in sets.iter().enumerate() {
                    if other_end.contains(*set) {
                        ask(at);
                    }
                }
            } else {
                for set in other_end.levels().flatten() {
                    if colours & Sets::colour(*set) != 0
                        && let Ok(at) = sets.binary_search(set)
                    {
                        ask(at);
                    }
                }
            }
        }
        ask(sets.len());
        true
    }

    #[inline]
    fn visit_list<'a>(&'a self, list: &List, port: Option<u32>, visit: &mut impl FnMut(&'a [u32])) {
        visit(slice(&self.rows, list.anywhere));
        let (Some(port), [first, end]) = (port, list.cells) else { return };
        let starts = slice(&self.starts, [first, end]);
        let Some(at) = starts.partition_point(|start| *start <= port).checked_sub(1) else {
            return;
        };
        if let Some(cell) = self.cells.get(first as usize + at) {
            visit(slice(&self.rows, *cell));
        }
    }

    fn add(
        &mut self,
        rows: &[[u32; RULE_WORDS]],
        direction: Direction,
        tables: RuleTables<'_>,
    ) -> Indexed {
        let mut by_key: BTreeMap<u32, Vec<(u32, RuleWords)>> = BTreeMap::from([(NONE, Vec::new())]);
        for (number, words) in (0..).zip(rows) {
            let words = RuleWords(*words);
            let key = words.needed_set(direction, tables);
            by_key.entry(key).or_default().push((number, words));
        }
        let first = position(self.keys.len());
        let mut colours = 0;
        for (key, rows) in by_key {
            if key != NONE {
                colours |= Sets::colour(key);
            }
            let list = self.list(&rows, tables);
            self.keys.push(key);
            self.lists.push(list);
        }
        Indexed { keys: [first, position(self.keys.len())], colours }
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

fn port_key(packet: &PacketKey) -> Option<u32> {
    match packet.transport {
        Transport::Ports { dst, .. } => Some(u32::from(packet.protocol) << 16 | u32::from(dst)),
        Transport::Icmp { .. } | Transport::Opaque => None,
    }
}

fn slice(table: &[u32], [first, end]: [u32; 2]) -> &[u32] {
    table.get(first as usize..end as usize).unwrap_or_default()
}
