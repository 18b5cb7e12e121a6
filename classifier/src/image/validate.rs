//! Checks that an image hangs together: every position in every table points into the table it means.
//!
//! The packet path stays safe on an unchecked image too (every access is checked and doubt denies); this is so that a
//! damaged or foreign image is refused whole, with a reason, while the old one stays in force.

use super::ImageError;
use super::layout::{
    CLASS_WORDS, FLAG_ALLOW_UNCOVERED, FLAG_ALLOW_UNSELECTED, FLAG_STAGED, INTERFACE_GOVERNED,
    INTERFACE_WORDS, Layout, NONE, Section,
};
use super::rule::{Extras, RULE_WORDS, RuleWords};
use super::set_lists::{SetListRow, Sets, colours_of};
use crate::resource::ObjectKind;

/// Most tables hold positions: a table, and how many there are of what it points to.
struct Counts {
    classes: usize,
    programs: usize,
    segments: usize,
    steps: usize,
    blocks: usize,
    rules: usize,
    port_ranges: usize,
    extras: usize,
    tiers: usize,
    policies: usize,
    objects: usize,
    labels: usize,
    strings: usize,
}

/// Checks every table, in one pass over each.
pub(super) fn validate(bytes: &[u8], layout: &Layout) -> Result<(), ImageError> {
    let check = Check { bytes, layout };
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
}

impl Check<'_> {
    fn table<const N: usize>(&self, section: Section) -> &[[u32; N]] {
        self.layout.table(self.bytes, section)
    }

    fn words(&self, section: Section) -> &[u32] {
        self.layout.table(self.bytes, section)
    }

    fn counts(&self) -> Counts {
        Counts {
            classes: self.table::<CLASS_WORDS>(Section::Classes).len(),
            programs: self.table::<2>(Section::Programs).len(),
            segments: self.table::<4>(Section::Segments).len(),
            steps: self.words(Section::Steps).len(),
            blocks: self.table::<4>(Section::Blocks).len(),
            rules: self.table::<RULE_WORDS>(Section::Rules).len(),
            port_ranges: self.words(Section::PortRanges).len(),
            extras: self.table::<4>(Section::Extras).len(),
            tiers: self.words(Section::Tiers).len(),
            policies: self.table::<6>(Section::Policies).len(),
            objects: self.table::<5>(Section::Objects).len(),
            labels: self.table::<2>(Section::Labels).len(),
            strings: self.words(Section::StringEnds).len(),
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
            | Section::StringEnds => 4,
        };
        let length = self.layout.part(self.bytes, section).len();
        ensure(length.is_multiple_of(value), section, "does not divide into whole entries")
    }

    fn pieces(&self, counts: &Counts) -> Result<(), ImageError> {
        let v4: &[u32] = self.layout.table(self.bytes, Section::V4Starts);
        let v6: &[[u64; 2]] = self.layout.table(self.bytes, Section::V6Starts);
        ensure(
            v4.first() == Some(&0) && v4.is_sorted_by(|a, b| a < b),
            Section::V4Starts,
            "is not ascending from 0",
        )?;
        ensure(
            v6.first() == Some(&[0, 0]) && v6.is_sorted_by(|a, b| a < b),
            Section::V6Starts,
            "is not ascending from 0",
        )?;
        let tables = [
            (Section::V4Classes, v4.len(), counts.classes, false),
            (Section::V4Names, v4.len(), counts.objects, true),
            (Section::V6Classes, v6.len(), counts.classes, false),
            (Section::V6Names, v6.len(), counts.objects, true),
        ];
        for (section, pieces, limit, may_be_none) in tables {
            let values = self.words(section);
            ensure(values.len() == pieces, section, "does not have an entry for each piece")?;
            let fits = |value: &u32| below(*value, limit) || (may_be_none && *value == NONE);
            ensure(values.iter().all(fits), section, OUTSIDE)?;
        }
        Ok(())
    }

    fn classes(&self, counts: &Counts) -> Result<(), ImageError> {
        let lists = self.table::<5>(Section::SetLists);
        let fits = |[covered, programs @ .., list]: &[u32; CLASS_WORDS]| {
            *covered < 2
                && programs.iter().all(|program| below(*program, counts.programs))
                && below(*list, lists.len())
        };
        ensure(self.table(Section::Classes).iter().all(fits), Section::Classes, OUTSIDE)?;
        self.set_lists(lists)
    }

    /// Lists are ascending, contain only lists before them, and no colour is missing or too much: a wrong one would hide a
    /// set.
    fn set_lists(&self, lists: &[SetListRow]) -> Result<(), ImageError> {
        let sets = self.words(Section::ListedSets);
        let limit = self.layout.head.match_sets as usize;
        ensure(sets.iter().all(|set| below(*set, limit)), Section::ListedSets, OUTSIDE)?;
        ensure(
            follow_one_another(lists.iter().map(|[first, end, ..]| [*first, *end])),
            Section::SetLists,
            "has ranges that do not follow one another",
        )?;
        for (at, row @ [first, end, parent, ..]) in lists.iter().enumerate() {
            let own = sets.get(*first as usize..*end as usize);
            let in_order = own.is_some_and(|own| own.is_sorted_by(|a, b| a < b));
            let before = lists.get(..at).unwrap_or_default();
            let inherited = match *parent {
                NONE => Some(0),
                parent => before.get(parent as usize).map(colours_of),
            };
            let own_colours = own.unwrap_or_default().iter().map(|set| Sets::colour(*set));
            let colours = inherited.map(|inherited| own_colours.fold(inherited, |all, c| all | c));
            ensure(
                in_order && colours == Some(colours_of(row)),
                Section::SetLists,
                "has a list that is out of order, or colours that are not those of its sets",
            )?;
        }
        Ok(())
    }

    fn programs(&self, counts: &Counts) -> Result<(), ImageError> {
        let fits = |range: &[u32; 2]| is_range(*range, counts.segments);
        ensure(self.table(Section::Programs).iter().all(fits), Section::Programs, OUTSIDE)?;
        ensure(
            self.table::<2>(Section::Programs).first() == Some(&[0, 0]),
            Section::Programs,
            "does not begin with the empty program",
        )?;
        let fits = |[tier, first, end, denies]: &[u32; 4]| {
            below(*tier, counts.tiers) && is_range([*first, *end], counts.steps) && *denies < 2
        };
        ensure(self.table(Section::Segments).iter().all(fits), Section::Segments, OUTSIDE)?;
        let fits = |step: &u32| below(*step, counts.blocks);
        ensure(self.words(Section::Steps).iter().all(fits), Section::Steps, OUTSIDE)?;
        let fits = |[policy, direction, first, end]: &[u32; 4]| {
            below(*policy, counts.policies)
                && *direction < 2
                && is_range([*first, *end], counts.rules)
        };
        ensure(self.table(Section::Blocks).iter().all(fits), Section::Blocks, OUTSIDE)?;
        self.work()
    }

    /// A program visits no rule twice, so that no image, however it was made, costs a packet more than all its rules.
    ///
    /// That ranges do not overlap comes first: it keeps this check itself to one pass.
    fn work(&self) -> Result<(), ImageError> {
        const OVERLAP: &str = "has ranges that do not follow one another";
        let programs = self.table::<2>(Section::Programs);
        let segments = self.table::<4>(Section::Segments);
        let blocks = self.table::<4>(Section::Blocks);
        ensure(follow_one_another(programs.iter().copied()), Section::Programs, OVERLAP)?;
        let ranges = segments.iter().map(|[_, first, end, _]| [*first, *end]);
        ensure(follow_one_another(ranges), Section::Segments, OVERLAP)?;
        let ranges = blocks.iter().map(|[_, _, first, end]| [*first, *end]);
        ensure(follow_one_another(ranges), Section::Blocks, OVERLAP)?;
        let steps = self.words(Section::Steps);
        let in_order = |[first, end]: &[u32; 2]| {
            let segments = segments.get(*first as usize..*end as usize).unwrap_or_default();
            let (Some([_, first, ..]), Some([_, _, end, _])) = (segments.first(), segments.last())
            else {
                return true;
            };
            let steps = steps.get(*first as usize..*end as usize).unwrap_or_default();
            steps.is_sorted_by(|a, b| a < b)
        };
        ensure(programs.iter().all(in_order), Section::Steps, "visits blocks out of order")
    }

    fn rules(&self, counts: &Counts) -> Result<(), ImageError> {
        let sets = self.layout.head.match_sets as usize;
        let fits = |words: &[u32; RULE_WORDS]| {
            let rule = RuleWords(*words);
            let lists = rule.ports().into_iter().all(|list| {
                is_range(
                    [list.first, list.first.saturating_add(u32::from(list.count))],
                    counts.port_ranges,
                )
            });
            let extra = rule.extra();
            lists
                && (extra == NONE || below(extra, counts.extras))
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
            texts.len() == counts.rules && texts.iter().all(|text| below(*text, counts.strings)),
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
        let rules = self.table::<RULE_WORDS>(Section::Rules);
        let number = |words: &[u32; RULE_WORDS]| RuleWords(*words).number();
        let in_order = |[_, _, first, end]: &[u32; 4]| {
            let rows = rules.get(*first as usize..*end as usize).unwrap_or_default();
            rows.is_sorted_by_key(number)
        };
        let blocks = self.table(Section::Blocks);
        ensure(blocks.iter().all(in_order), Section::Rules, "are out of order in a block")
    }

    fn interfaces(&self, counts: &Counts) -> Result<(), ImageError> {
        let rows = self.table::<INTERFACE_WORDS>(Section::Interfaces);
        let fits = |[name, endpoint, flags, programs @ ..]: &[u32; INTERFACE_WORDS]| {
            below(*name, counts.strings)
                && (*endpoint == NONE || below(*endpoint, counts.strings))
                && flags & !INTERFACE_GOVERNED == 0
                && programs.iter().all(|program| below(*program, counts.programs))
        };
        ensure(!rows.is_empty() && rows.iter().all(fits), Section::Interfaces, OUTSIDE)
    }

    fn names(&self, counts: &Counts) -> Result<(), ImageError> {
        let fits = |name: &u32| below(*name, counts.strings);
        ensure(self.words(Section::Tiers).iter().all(fits), Section::Tiers, OUTSIDE)?;
        let block = |block: u32| block == NONE || below(block, counts.blocks);
        let string_or_none = |text: &u32| *text == NONE || below(*text, counts.strings);
        let fits = |[name, tier, ingress, egress, kind, namespace]: &[u32; 6]| {
            below(*name, counts.strings)
                && below(*kind, counts.strings)
                && string_or_none(namespace)
                && below(*tier, counts.tiers)
                && block(*ingress)
                && block(*egress)
        };
        ensure(self.table(Section::Policies).iter().all(fits), Section::Policies, OUTSIDE)?;
        let fits = |[kind, name, first, end, namespace]: &[u32; 5]| {
            below(*kind, ObjectKind::ALL.len())
                && string_or_none(namespace)
                && below(*name, counts.strings)
                && is_range([*first, *end], counts.labels)
        };
        ensure(self.table(Section::Objects).iter().all(fits), Section::Objects, OUTSIDE)?;
        let fits = |[name, value]: &[u32; 2]| {
            below(*name, counts.strings) && below(*value, counts.strings)
        };
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

fn is_range([first, end]: [u32; 2], limit: usize) -> bool {
    first <= end && end as usize <= limit
}

/// Whether each range begins where the one before it ends.
fn follow_one_another(mut ranges: impl Iterator<Item = [u32; 2]>) -> bool {
    let mut at = 0;
    ranges.all(|[first, end]| std::mem::replace(&mut at, end) == first)
}

fn ensure(holds: bool, section: Section, why: &'static str) -> Result<(), ImageError> {
    if holds { Ok(()) } else { Err(ImageError::Table { table: format!("{section:?}"), why }) }
}

#[cfg(test)]
mod tests;
