//! The patch in the making: what changes have added to an image so far.

use std::collections::{BTreeMap, BTreeSet};

use super::overlay::Overlay;
use crate::compile::classes::Classes;
use crate::compile::covers::{Family, NameKey, name_key};
use crate::compile::emit::{self, ObjectRows, Programs, RuleWriter, Strings};
use crate::compile::expand::Row;
use crate::compile::pieces::Piece;
use crate::compile::position;
use crate::decision::Direction;
use crate::image::layout::{CLASS_WORDS, Head, Section, Tables};
use crate::image::rule::{RULE_WORDS, direction_word};
use crate::image::{Image, ImageBytes};
use crate::resource::{Object, ObjectKind};

/// Rows that stand behind those of an image, and what stands in place of its pieces and blocks.
#[derive(Debug)]
pub(super) struct Added {
    base: BaseRows,
    overlays: [Overlay; 2],
    class_rows: Vec<[u32; CLASS_WORDS]>,
    objects: ObjectRows,
    /// What each of `objects` is called.
    keys: Vec<OwnedKey>,
    strings: Strings,
    rules: RuleWriter,
    blocks: BTreeMap<u32, Block>,
    /// What has changed since a fold began, while one is under way.
    since: Option<Since>,
}

type OwnedKey = (ObjectKind, Option<String>, String);

/// How many rows the tables of the image have.
#[derive(Clone, Copy, Debug)]
struct BaseRows {
    classes: usize,
    lists: usize,
    programs: usize,
    segments: usize,
    steps: usize,
    rules: usize,
    objects: usize,
}

/// The rows of one policy in one direction, and the texts of their rules.
#[derive(Debug)]
struct Block {
    policy: u32,
    direction: Direction,
    rows: Vec<([u32; RULE_WORDS], u32)>,
}

/// Where the tables ended when a fold began, and what was replaced since.
#[derive(Debug)]
struct Since {
    strings: usize,
    text: usize,
    objects: usize,
    labels: usize,
    extras: usize,
    port_ranges: usize,
    /// For each family.
    ranges: [Vec<[u128; 2]>; 2],
    blocks: BTreeSet<u32>,
}

impl BaseRows {
    fn of(image: &Image) -> Self {
        Self {
            classes: image.base_rows::<CLASS_WORDS>(Section::Classes),
            lists: image.base_rows::<5>(Section::SetLists),
            programs: image.base_rows::<2>(Section::Programs),
            segments: image.base_rows::<4>(Section::Segments),
            steps: image.base_rows::<1>(Section::Steps),
            rules: image.base_rows::<RULE_WORDS>(Section::Rules),
            objects: image.base_rows::<5>(Section::Objects),
        }
    }
}

impl Added {
    /// Nothing yet.
    pub(super) fn behind(image: &Image) -> Self {
        let base = BaseRows::of(image);
        let rules = RuleWriter::behind(
            image.base_rows::<4>(Section::Extras),
            image.base_rows::<1>(Section::PortRanges),
        );
        Self {
            base,
            overlays: Default::default(),
            class_rows: Vec::new(),
            objects: ObjectRows::behind(base.objects, image.base_rows::<2>(Section::Labels)),
            keys: Vec::new(),
            strings: Strings::behind(image.base_rows::<1>(Section::StringEnds)),
            rules,
            blocks: BTreeMap::new(),
            since: None,
        }
    }

    /// Adds a row for an object; returns its number.
    pub(super) fn object(&mut self, object: &Object) -> u32 {
        let (kind, namespace, name) = name_key(object);
        self.keys.push((kind, namespace.map(str::to_owned), name.to_owned()));
        self.objects.add(object, &mut self.strings)
    }

    /// What an object that was added here is called.
    pub(super) fn key(&self, number: u32) -> Option<NameKey<'_>> {
        let at = (number as usize).checked_sub(self.base.objects)?;
        let (kind, namespace, name) = self.keys.get(at)?;
        Some((*kind, namespace.as_deref(), name))
    }

    /// Puts pieces in place of all that is in the range.
    pub(super) fn put(&mut self, family: Family, range: [u128; 2], pieces: &[Piece]) {
        let [v4, v6] = &mut self.overlays;
        let is_v4 = family == Family::BOTH[0];
        let overlay = if is_v4 { v4 } else { v6 };
        overlay.put(range, family.last(0, 0), pieces);
        if let Some(Since { ranges: [v4, v6], .. }) = &mut self.since {
            if is_v4 { v4.push(range) } else { v6.push(range) }
        }
    }

    /// Puts rows in place of those of a block.
    pub(super) fn block(
        &mut self,
        number: u32,
        policy: u32,
        direction: Direction,
        rows: &[Row<'_>],
    ) {
        let rows = rows.iter().map(|row| self.rules.row(row, false, &mut self.strings)).collect();
        self.blocks.insert(number, Block { policy, direction, rows });
        if let Some(since) = &mut self.since {
            since.blocks.insert(number);
        }
    }

    /// All of it, as the patch of `image`.
    pub(super) fn patch(
        &mut self,
        image: &Image,
        generation: u64,
        programs: &mut Programs,
        classes: &Classes,
        match_sets: usize,
    ) -> ImageBytes {
        let written = self.base.classes + self.class_rows.len();
        let new = classes.known().iter().skip(written);
        self.class_rows.extend(new.map(|class| programs.class_row(class, &classes.blocks)));
        let mut tables = Tables::default();
        let [v4, v6] = &self.overlays;
        emit::pieces(&mut tables, &v4.pieces(), &v6.pieces());
        tables.set(Section::Classes, &self.class_rows);
        let (lists, sets) = classes.lists.tables_from(self.base.lists);
        tables.set(Section::SetLists, lists);
        tables.set(Section::ListedSets, sets);
        tables.set(Section::Programs, programs.ranges.get(self.base.programs..).unwrap_or(&[]));
        tables.set(Section::Segments, programs.segments.get(self.base.segments..).unwrap_or(&[]));
        tables.set(Section::Steps, programs.steps.get(self.base.steps..).unwrap_or(&[]));
        self.rules_into(&mut tables);
        tables.set(Section::Objects, &self.objects.rows);
        tables.set(Section::Labels, &self.objects.labels);
        tables.set(Section::StringEnds, &self.strings.ends);
        tables.set(Section::Text, self.strings.text.as_bytes());
        tables.set(Section::PatchOf, &image.base_identity());
        tables.assemble_patch(Head { generation, flags: 0, match_sets: position(match_sets) })
    }

    fn rules_into(&self, tables: &mut Tables) {
        let (mut rows, mut texts) = (Vec::new(), Vec::new());
        let mut blocks: Vec<[u32; 4]> = Vec::with_capacity(self.blocks.len());
        for Block { policy, direction, rows: own } in self.blocks.values() {
            let first = position(self.base.rules + rows.len());
            rows.extend(own.iter().map(|(words, _)| *words));
            texts.extend(own.iter().map(|(_, text)| *text));
            let end = position(self.base.rules + rows.len());
            blocks.push([*policy, direction_word(*direction), first, end]);
        }
        let numbers: Vec<u32> = self.blocks.keys().copied().collect();
        tables.set(Section::Rules, &rows);
        tables.set(Section::RuleTexts, &texts);
        tables.set(Section::Extras, &self.rules.extras);
        tables.set(Section::PortRanges, &self.rules.ports.ranges);
        tables.set(Section::Blocks, &blocks);
        tables.set(Section::BlockNumbers, &numbers);
    }

    /// From here on, what changes is remembered for `fold_ends`.
    pub(super) fn fold_begins(&mut self) {
        self.since = Some(Since {
            strings: self.strings.ends.len(),
            text: self.strings.text.len(),
            objects: self.objects.rows.len(),
            labels: self.objects.labels.len(),
            extras: self.rules.extras.len(),
            port_ranges: self.rules.ports.ranges.len(),
            ranges: [Vec::new(), Vec::new()],
            blocks: BTreeSet::new(),
        });
    }

    /// What was there when the fold began is in `folded` now; what came since stays. False when no fold had begun.
    pub(super) fn fold_ends(&mut self, folded: &Image) -> bool {
        let Some(since) = self.since.take() else { return false };
        let base = BaseRows::of(folded);
        let in_base = base.classes.saturating_sub(self.base.classes);
        self.class_rows.drain(..in_base.min(self.class_rows.len()));
        self.base = base;
        let labels = folded.base_rows::<2>(Section::Labels);
        self.objects.go_on_behind([base.objects, labels], [since.objects, since.labels]);
        self.keys.drain(..since.objects.min(self.keys.len()));
        let strings = folded.base_rows::<1>(Section::StringEnds);
        self.strings.go_on_behind(strings, [since.strings, since.text]);
        let tables = [Section::Extras, Section::PortRanges];
        let [extras, port_ranges] = tables;
        let rows = [folded.base_rows::<4>(extras), folded.base_rows::<1>(port_ranges)];
        self.rules.go_on_behind(rows, [since.extras, since.port_ranges]);
        self.blocks.retain(|number, _| since.blocks.contains(number));
        let overlays = self.overlays.iter_mut().zip(since.ranges).zip(Family::BOTH);
        for ((overlay, ranges), family) in overlays {
            let mut rest = Overlay::default();
            for range in ranges {
                rest.put(range, family.last(0, 0), &overlay.between(range));
            }
            *overlay = rest;
        }
        true
    }
}
