//! Programs: the blocks that are asked at one place, cut into tiers.

use std::collections::HashMap;

use crate::compile::classes::Class;
use crate::compile::content::Protection;
use crate::compile::order::Order;
use crate::compile::position;
use crate::image::layout::{CLASS_WORDS, NONE, Section, Tables};

/// Programs, each stored once: the blocks that are asked at one place, cut into tiers.
#[derive(Debug)]
pub(crate) struct Programs {
    /// For each block its tier.
    tier_of: Vec<u32>,
    /// For each tier whether its end denies.
    tier_denies: Vec<bool>,
    has_staged: bool,
    numbers: HashMap<(Vec<u32>, bool), u32>,
    pub(crate) ranges: Vec<[u32; 2]>,
    pub(crate) segments: Vec<[u32; 4]>,
    pub(crate) steps: Vec<u32>,
}

impl Programs {
    /// Program 0 is the empty one: no policy is asked.
    pub(crate) fn new(order: &Order<'_>) -> Self {
        Self {
            tier_of: order.blocks.iter().map(|block| block.tier).collect(),
            tier_denies: order.tier_denies.clone(),
            has_staged: order.has_staged,
            numbers: HashMap::new(),
            ranges: vec![[0, 0]],
            segments: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// The number of the program of these blocks; with `ends_pass` no tier's end denies.
    pub(super) fn intern(&mut self, ranks: &[u32], ends_pass: bool) -> u32 {
        if ranks.is_empty() {
            return 0;
        }
        let key = (ranks.to_vec(), ends_pass);
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let tier_of = |rank: &u32| self.tier_of.get(*rank as usize).copied();
        let first = position(self.segments.len());
        for segment in ranks.chunk_by(|a, b| tier_of(a) == tier_of(b)) {
            let begin = position(self.steps.len());
            self.steps.extend(segment);
            let tier = segment.first().and_then(tier_of).unwrap_or(NONE);
            let denies = self.tier_denies.get(tier as usize).is_none_or(|denies| *denies);
            let denies = u32::from(denies && !ends_pass);
            self.segments.push([tier, begin, position(self.steps.len()), denies]);
        }
        let number = position(self.ranges.len());
        self.ranges.push([first, position(self.segments.len())]);
        self.numbers.insert(key, number);
        number
    }

    /// A row of `Section::Classes`.
    pub(crate) fn class_row(&mut self, class: &Class) -> [u32; CLASS_WORDS] {
        let enforced @ [ingress, egress] = self.of(&class.enforced);
        let [later_ingress, later_egress] =
            if self.has_staged { self.of(&class.pending) } else { enforced };
        let covered = u32::from(class.covered);
        [covered, ingress, egress, later_ingress, later_egress, class.sets]
    }

    fn of(&mut self, protection: &Protection) -> [u32; 2] {
        let Protection { ingress, egress } = protection;
        [self.intern(ingress, false), self.intern(egress, false)]
    }

    pub(super) fn write(&self, tables: &mut Tables) {
        tables.set(Section::Programs, &self.ranges);
        tables.set(Section::Segments, &self.segments);
        tables.set(Section::Steps, &self.steps);
    }
}
