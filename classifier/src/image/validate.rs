//! Checks that an image hangs together: every position in every table points into the table it means.
//!
//! The packet path stays safe on an unchecked image too (every access is checked and doubt denies); this is so that a
//! damaged or foreign image is refused whole, with a reason, while the old one stays in force.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::layout::{
    CLASS_WORDS, FLAG_ALLOW_UNCOVERED, FLAG_ALLOW_UNSELECTED, FLAG_STAGED, INTERFACE_GOVERNED,
    INTERFACE_WORDS, Layout, NONE, Section, position,
};
use super::rows::Rows;
use super::rule::{Extras, RULE_WORDS, RuleWords};
use super::set_lists::{SetListRow, Sets, colours_of};
use super::{Base, ImageError};
use crate::resource::ObjectKind;

/// How many rows a table has: in the image, and with those that a patch adds.
#[derive(Clone, Copy)]
struct Count {
    base: usize,
    all: usize,
}

impl Count {
    fn has(self, row: u32) -> bool {
        (row as usize) < self.all
    }

    /// Whether the range lies in the table, in one part of it.
    fn holds(self, [first, end]: [u32; 2]) -> bool {
        let (first, end) = (first as usize, end as usize);
        first <= end && end <= self.all && (end <= self.base || first >= self.base)
    }
}

/// Most tables hold positions: a table, and how many there are of what it points to.
struct Counts {
    classes: Count,
    programs: Count,
    segments: Count,
    steps: Count,
    blocks: Count,
    rules: Count,
    port_ranges: Count,
    extras: Count,
    tiers: Count,
    policies: Count,
    objects: Count,
    labels: Count,
    strings: Count,
}

/// Checks every table, in one pass over each: of an image, or of a patch of `base`.
pub(super) fn validate(
    bytes: &[u8],
    layout: &Layout,
    base: Option<&Base>,
) -> Result<(), ImageError> {
    let check = Check { bytes, layout, base };
    for section in Section::ALL {
        check.whole_values(section)?;
    }
    let counts = check.counts();
    let head = layout.head;
    ensure(
        head.flags & !(FLAG_ALLOW_UNSELECTED | FLAG_ALLOW_UNCOVERED | FLAG_STAGED) == 0,
        Section::Classes,
        "has unknown flags",
    )?;
    check.only_what_a_patch_may_hold()?;
    check.pieces(&counts)?;
    check.classes(&counts)?;
    check.programs(&counts)?;
    check.rules(&counts)?;
    check.interfaces(&counts)?;
    check.names(&counts)?;
    check.strings()
}

struct Check<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
    /// What a patch belongs to.
    base: Option<&'a Base>,
}

impl Check<'_> {
    fn table<const N: usize>(&self, section: Section) -> &[[u32; N]] {
        self.layout.table(self.bytes, section)
    }

    fn words(&self, section: Section) -> &[u32] {
        self.layout.table(self.bytes, section)
    }

    /// The rows of the image, and those of the patch behind them.
    fn rows<T: FromBytes + Immutable + KnownLayout>(&self, section: Section) -> Rows<'_, T> {
        let own = self.layout.table(self.bytes, section);
        self.base.map_or(Rows::from(own), |base| Rows::new(base.table(section), own))
    }

    fn count<const N: usize>(&self, section: Section) -> Count {
        let base = self.base.map_or(0, |base| base.table::<[u32; N]>(section).len());
        Count { base, all: base + self.table::<N>(section).len() }
    }

    fn counts(&self) -> Counts {
        Counts {
            classes: self.count::<CLASS_WORDS>(Section::Classes),
            programs: self.count::<2>(Section::Programs),
            segments: self.count::<4>(Section::Segments),
            steps: self.count::<1>(Section::Steps),
            blocks: self.count::<4>(Section::Blocks),
            rules: self.count::<RULE_WORDS>(Section::Rules),
            port_ranges: self.count::<1>(Section::PortRanges),
            extras: self.count::<4>(Section::Extras),
            tiers: self.count::<1>(Section::Tiers),
            policies: self.count::<6>(Section::Policies),
            objects: self.count::<5>(Section::Objects),
            labels: self.count::<2>(Section::Labels),
            strings: self.count::<1>(Section::StringEnds),
        }
    }

    fn whole_values(&self, section: Section) -> Result<(), ImageError> {
        let value = match section {
            Section::Text => 1,
            Section::Programs | Section::Labels => 8,
            Section::V6Starts | Section::Segments | Section::Blocks | Section::Extras => 16,
            Section::SetLists | Section::Objects => 20,
            Section::Classes => CLASS_WORDS * 4,
            Section::Policies => 24,
            Section::Interfaces => INTERFACE_WORDS * 4,
            Section::Rules => RULE_WORDS * 4,
            Section::ListedSets
            | Section::V4Starts
            | Section::V4Classes
            | Section::V4Names
            | Section::V6Classes
            | Section::V6Names
            | Section::Steps
            | Section::RuleTexts
            | Section::PortRanges
            | Section::Tiers
            | Section::StringEnds
            | Section::BlockNumbers
            | Section::PatchOf => 4,
        };
        let length = self.layout.part(self.bytes, section).len();
        ensure(length.is_multiple_of(value), section, "does not divide into whole entries")
    }

    /// What a patch cannot change is empty in it; the sections of patches are empty in an image.
    fn only_what_a_patch_may_hold(&self) -> Result<(), ImageError> {
        let foreign: &[Section] = match self.base {
            Some(_) => &[Section::Tiers, Section::Policies, Section::Interfaces],
            None => &[Section::BlockNumbers, Section::PatchOf],
        };
        foreign.iter().try_for_each(|section| {
            let part = self.layout.part(self.bytes, *section);
            ensure(part.is_empty(), *section, "does not belong here")
        })
    }

    fn pieces(&self, counts: &Counts) -> Result<(), ImageError> {
        let v4: &[u32] = self.layout.table(self.bytes, Section::V4Starts);
        let v6: &[[u64; 2]] = self.layout.table(self.bytes, Section::V6Starts);
        // A patch need not say anything of the first address.
        let from_0 = self.base.is_none();
        ensure(
            (!from_0 || v4.first() == Some(&0)) && v4.is_sorted_by(|a, b| a < b),
            Section::V4Starts,
            "is not ascending from 0",
        )?;
        ensure(
            (!from_0 || v6.first() == Some(&[0, 0])) && v6.is_sorted_by(|a, b| a < b),
            Section::V6Starts,
            "is not ascending from 0",
        )?;
        let tables = [
            (Section::V4Classes, v4.len(), counts.classes, !from_0),
            (Section::V4Names, v4.len(), counts.objects, true),
            (Section::V6Classes, v6.len(), counts.classes, !from_0),
            (Section::V6Names, v6.len(), counts.objects, true),
        ];
        for (section, pieces, limit, may_be_none) in tables {
            let values = self.words(section);
            ensure(values.len() == pieces, section, "does not have an entry for each piece")?;
            let fits = |value: &u32| limit.has(*value) || (may_be_none && *value == NONE);
            ensure(values.iter().all(fits), section, OUTSIDE)?;
        }
        Ok(())
    }

    fn classes(&self, counts: &Counts) -> Result<(), ImageError> {
        let lists = self.count::<5>(Section::SetLists);
        let fits = |[covered, programs @ .., list]: &[u32; CLASS_WORDS]| {
            *covered < 2
                && programs.iter().all(|program| counts.programs.has(*program))
                && lists.has(*list)
        };
        ensure(self.table(Section::Classes).iter().all(fits), Section::Classes, OUTSIDE)?;
        self.set_lists()
    }

    /// Lists are ascending, contain only lists before them, and no colour is missing or too much: a wrong one would hide a
    /// set.
    fn set_lists(&self) -> Result<(), ImageError> {
        let sets: Rows<'_, u32> = self.rows(Section::ListedSets);
        let lists: Rows<'_, SetListRow> = self.rows(Section::SetLists);
        let own_lists = self.table::<5>(Section::SetLists);
        let own_sets = self.words(Section::ListedSets);
        let limit = self.layout.head.match_sets;
        let grows = self.base.is_none_or(|base| base.layout.head.match_sets <= limit);
        ensure(grows && own_sets.iter().all(|set| *set < limit), Section::ListedSets, OUTSIDE)?;
        ensure(
            follow_one_another(
                sets.len() - own_sets.len(),
                own_lists.iter().map(|[first, end, ..]| [*first, *end]),
            ),
            Section::SetLists,
            "has ranges that do not follow one another",
        )?;
        let first = lists.len() - own_lists.len();
        for (at, row @ [first, end, parent, ..]) in (first..).zip(own_lists) {
            let own = sets.range([*first, *end]);
            let before = |list: &u32| (*list as usize) < at;
            let inherited = match *parent {
                NONE => Some(0),
                parent => Some(parent).filter(before).and_then(|at| lists.get(at)).map(colours_of),
            };
            let own_colours = own.iter().map(|set| Sets::colour(*set));
            let colours = inherited.map(|inherited| own_colours.fold(inherited, |all, c| all | c));
            ensure(
                own.len() == (end - first) as usize
                    && own.is_sorted_by(|a, b| a < b)
                    && colours == Some(colours_of(row)),
                Section::SetLists,
                "has a list that is out of order, or colours that are not those of its sets",
            )?;
        }
        Ok(())
    }

    fn programs(&self, counts: &Counts) -> Result<(), ImageError> {
        let fits = |range: &[u32; 2]| counts.segments.holds(*range);
        ensure(self.table(Section::Programs).iter().all(fits), Section::Programs, OUTSIDE)?;
        ensure(
            self.rows(Section::Programs).get(0) == Some(&[0_u32, 0]),
            Section::Programs,
            "does not begin with the empty program",
        )?;
        let fits = |[tier, first, end, denies]: &[u32; 4]| {
            counts.tiers.has(*tier) && counts.steps.holds([*first, *end]) && *denies < 2
        };
        ensure(self.table(Section::Segments).iter().all(fits), Section::Segments, OUTSIDE)?;
        let blocks = if self.base.is_some() { counts.blocks.base } else { counts.blocks.all };
        let fits = |step: &u32| (*step as usize) < blocks;
        ensure(self.words(Section::Steps).iter().all(fits), Section::Steps, OUTSIDE)?;
        let fits = |[policy, direction, first, end]: &[u32; 4]| {
            counts.policies.has(*policy) && *direction < 2 && counts.rules.holds([*first, *end])
        };
        ensure(self.table(Section::Blocks).iter().all(fits), Section::Blocks, OUTSIDE)?;
        self.block_numbers()?;
        self.work(counts)
    }

    /// Blocks of a patch take the place of blocks of the same policy and direction, each of one.
    fn block_numbers(&self) -> Result<(), ImageError> {
        let numbers = self.words(Section::BlockNumbers);
        let own: &[[u32; 4]] = self.table(Section::Blocks);
        let replaced = |number: &u32| {
            let base = self.base?.table::<[u32; 4]>(Section::Blocks);
            base.get(*number as usize).map(|[policy, direction, ..]| [*policy, *direction])
        };
        let fits = if self.base.is_some() {
            let own = own.iter().map(|[policy, direction, ..]| Some([*policy, *direction]));
            numbers.is_sorted_by(|a, b| a < b) && numbers.iter().map(replaced).eq(own)
        } else {
            numbers.is_empty()
        };
        ensure(fits, Section::BlockNumbers, "does not say which blocks are replaced")
    }

    /// A program visits no rule twice, so that no image, however it was made, costs a packet more than all its rules.
    ///
    /// That ranges do not overlap comes first: it keeps this check itself to one pass.
    fn work(&self, counts: &Counts) -> Result<(), ImageError> {
        const OVERLAP: &str = "has ranges that do not follow one another";
        let programs = self.table::<2>(Section::Programs);
        let segments: Rows<'_, [u32; 4]> = self.rows(Section::Segments);
        let ranges = programs.iter().copied();
        ensure(follow_one_another(counts.segments.base, ranges), Section::Programs, OVERLAP)?;
        let own = self.table::<4>(Section::Segments).iter();
        let ranges = own.map(|[_, first, end, _]| [*first, *end]);
        ensure(follow_one_another(counts.steps.base, ranges), Section::Segments, OVERLAP)?;
        let own = self.table::<4>(Section::Blocks).iter();
        let ranges = own.map(|[_, _, first, end]| [*first, *end]);
        ensure(follow_one_another(counts.rules.base, ranges), Section::Blocks, OVERLAP)?;
        let steps: Rows<'_, u32> = self.rows(Section::Steps);
        let in_order = |range: &[u32; 2]| {
            let segments = segments.range(*range);
            let (Some([_, first, ..]), Some([_, _, end, _])) = (segments.first(), segments.last())
            else {
                return true;
            };
            steps.range([*first, *end]).is_sorted_by(|a, b| a < b)
        };
        ensure(programs.iter().all(in_order), Section::Steps, "visits blocks out of order")
    }

    fn rules(&self, counts: &Counts) -> Result<(), ImageError> {
        let sets = self.layout.head.match_sets as usize;
        let fits = |words: &[u32; RULE_WORDS]| {
            let rule = RuleWords(*words);
            let lists = rule.ports().into_iter().all(|list| {
                let end = list.first.saturating_add(u32::from(list.count));
                counts.port_ranges.holds([list.first, end])
            });
            let extra = rule.extra();
            lists
                && (extra == NONE || counts.extras.has(extra))
                && rule
                    .match_sets()
                    .as_flattened()
                    .iter()
                    .all(|set| *set == NONE || below(*set, sets))
        };
        ensure(self.table(Section::Rules).iter().all(fits), Section::Rules, OUTSIDE)?;
        let fits =
            |sets_asked: &Extras| sets_asked.iter().all(|set| *set == NONE || below(*set, sets));
        ensure(self.table(Section::Extras).iter().all(fits), Section::Extras, OUTSIDE)?;
        let texts = self.words(Section::RuleTexts);
        ensure(
            texts.len() == counts.rules.all - counts.rules.base
                && texts.iter().all(|text| counts.strings.has(*text)),
            Section::RuleTexts,
            "does not have a text for each rule",
        )?;
        self.numbers()?;
        let fits = |range: &u32| range >> 16 <= range & 0xffff;
        ensure(
            self.words(Section::PortRanges).iter().all(fits),
            Section::PortRanges,
            "has a range that ends before it begins",
        )
    }

    /// Rows of a block stand in the order of the rules they belong to, so that a rule is found by its number.
    fn numbers(&self) -> Result<(), ImageError> {
        let rules: Rows<'_, [u32; RULE_WORDS]> = self.rows(Section::Rules);
        let number = |words: &[u32; RULE_WORDS]| RuleWords(*words).number();
        let in_order =
            |[_, _, first, end]: &[u32; 4]| rules.range([*first, *end]).is_sorted_by_key(number);
        let blocks = self.table(Section::Blocks);
        ensure(blocks.iter().all(in_order), Section::Rules, "are out of order in a block")
    }

    fn interfaces(&self, counts: &Counts) -> Result<(), ImageError> {
        let rows = self.table::<INTERFACE_WORDS>(Section::Interfaces);
        let fits = |[name, endpoint, flags, programs @ ..]: &[u32; INTERFACE_WORDS]| {
            counts.strings.has(*name)
                && (*endpoint == NONE || counts.strings.has(*endpoint))
                && flags & !INTERFACE_GOVERNED == 0
                && programs.iter().all(|program| counts.programs.has(*program))
        };
        ensure(
            (self.base.is_some() || !rows.is_empty()) && rows.iter().all(fits),
            Section::Interfaces,
            OUTSIDE,
        )
    }

    fn names(&self, counts: &Counts) -> Result<(), ImageError> {
        let fits = |name: &u32| counts.strings.has(*name);
        ensure(self.words(Section::Tiers).iter().all(fits), Section::Tiers, OUTSIDE)?;
        let block = |block: u32| block == NONE || counts.blocks.has(block);
        let string_or_none = |text: &u32| *text == NONE || counts.strings.has(*text);
        let fits = |[name, tier, ingress, egress, kind, namespace]: &[u32; 6]| {
            counts.strings.has(*name)
                && counts.strings.has(*kind)
                && string_or_none(namespace)
                && counts.tiers.has(*tier)
                && block(*ingress)
                && block(*egress)
        };
        ensure(self.table(Section::Policies).iter().all(fits), Section::Policies, OUTSIDE)?;
        let fits = |[kind, name, first, end, namespace]: &[u32; 5]| {
            below(*kind, ObjectKind::ALL.len())
                && string_or_none(namespace)
                && counts.strings.has(*name)
                && counts.labels.holds([*first, *end])
        };
        ensure(self.table(Section::Objects).iter().all(fits), Section::Objects, OUTSIDE)?;
        let fits =
            |[name, value]: &[u32; 2]| counts.strings.has(*name) && counts.strings.has(*value);
        ensure(self.table(Section::Labels).iter().all(fits), Section::Labels, OUTSIDE)
    }

    fn strings(&self) -> Result<(), ImageError> {
        let text = self.layout.part(self.bytes, Section::Text);
        let Ok(text) = std::str::from_utf8(text) else {
            return ensure(false, Section::Text, "is not UTF-8");
        };
        let ends = self.words(Section::StringEnds);
        let fits = ends.is_sorted() && ends.iter().all(|end| text.is_char_boundary(*end as usize));
        ensure(fits, Section::StringEnds, OUTSIDE)
    }
}

const OUTSIDE: &str = "points outside of what it names";

fn below(value: u32, limit: usize) -> bool {
    (value as usize) < limit
}

/// Whether each range begins where the one before it ends, the first at `from`.
fn follow_one_another(from: usize, mut ranges: impl Iterator<Item = [u32; 2]>) -> bool {
    let mut at = position(from);
    ranges.all(|[first, end]| std::mem::replace(&mut at, end) == first)
}

fn ensure(holds: bool, section: Section, why: &'static str) -> Result<(), ImageError> {
    if holds { Ok(()) } else { Err(ImageError::Table { table: format!("{section:?}"), why }) }
}

#[cfg(test)]
mod tests;
