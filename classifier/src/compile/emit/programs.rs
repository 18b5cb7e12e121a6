//! Programs: the blocks that are asked at one place, cut into tiers.

use hashbrown::HashMap;

use crate::compile::classes::{BlockLists, Class};
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
    /// The programs of lists of blocks, by the numbers of the lists.
    of_lists: Vec<Option<u32>>,
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
            of_lists: Vec::new(),
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
    pub(crate) fn class_row(&mut self, class: &Class, blocks: &BlockLists) -> [u32; CLASS_WORDS] {
        let [ingress, egress, later_ingress, later_egress] = class.blocks;
        let mut of = |list| self.of_list(list, blocks);
        let enforced @ [ingress, egress] = [of(ingress), of(egress)];
        let pending = [of(later_ingress), of(later_egress)];
        let [later_ingress, later_egress] = if self.has_staged { pending } else { enforced };
        let covered = u32::from(class.covered);
        [covered, ingress, egress, later_ingress, later_egress, class.sets]
    }

    fn of_list(&mut self, list: u32, blocks: &BlockLists) -> u32 {
        if let Some(Some(number)) = self.of_lists.get(list as usize) {
            return *number;
        }
        let number = self.intern(blocks.ranks(list), false);
        let least = list as usize + 1;
        if self.of_lists.len() < least {
            self.of_lists.resize(least, None);
        }
        if let Some(slot) = self.of_lists.get_mut(list as usize) {
            *slot = Some(number);
        }
        number
    }

    pub(super) fn write(&self, tables: &mut Tables) {
        tables.set(Section::Programs, &self.ranges);
        tables.set(Section::Segments, &self.segments);
        tables.set(Section::Steps, &self.steps);
    }
}
