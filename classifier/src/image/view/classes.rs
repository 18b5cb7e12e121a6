//! What the exact questions ask of an image: classes, pieces and programs instead of single packets.

use super::{ObjectInfo, View};
use crate::decision::{Direction, RuleRef};
use crate::image::rule::{PortList, RuleWords};
use crate::resource::ObjectKind;

/// A tier of a program: its number and whether its end denies, and the policies that apply.
#[derive(Clone, Debug)]
pub(crate) struct ClassTier {
    pub(crate) tier: u32,
    pub(crate) denies: bool,
    pub(crate) rules: Vec<(RuleRef, RuleWords)>,
}

impl<'a> View<'a> {
    /// The object at a position of the table that `pieces` points into.
    pub(crate) fn object(&self, object: u32) -> Option<ObjectInfo<'a>> {
        let [kind, name, first, end, namespace] = self.objects.get(object).copied()?;
        let namespace = self.optional_string(namespace);
        let kind = *ObjectKind::ALL.get(kind as usize)?;
        let labels = self.labels.range([first, end]);
        Some(ObjectInfo { kind, namespace, name: self.string(name), labels, view: *self })
    }

    /// Whether no object covers the class's addresses and no rule names them.
    pub(crate) fn is_nobody(&self, class: u32) -> bool {
        self.classes.get(class).is_some_and(|[covered, ..]| *covered == 0)
            && self.sets_of(class).colours() == 0
    }

    /// The tiers of a program with their rules, in the order in which `classify` walks them.
    pub(crate) fn tiers_of(&self, program: u32) -> Vec<ClassTier> {
        let segments = self.programs.get(program).copied().unwrap_or_default();
        let tier = |[tier, first, end, denies]: &[u32; 4]| ClassTier {
            tier: *tier,
            denies: *denies != 0,
            rules: self
                .steps
                .range([*first, *end])
                .iter()
                .flat_map(|s| self.rules_of(*s))
                .collect(),
        };
        self.segments.range(segments).iter().map(tier).collect()
    }

    fn rules_of(&self, step: u32) -> Vec<(RuleRef, RuleWords)> {
        let block = self.block(step).map(|block| *block.row);
        let Some([policy, direction, first, end]) = block else { return Vec::new() };
        let direction = if direction == 0 { Direction::Egress } else { Direction::Ingress };
        let rule = |words: &_| {
            let words = RuleWords(*words);
            (RuleRef { policy, direction, rule: words.number() }, words)
        };
        self.rules.range([first, end]).iter().map(rule).collect()
    }

    /// Whether what the rule asks of addresses is true of every packet from the one class to the other.
    pub(crate) fn admits(&self, rule: &RuleWords, source: u32, destination: u32) -> bool {
        rule.admits_addresses(&self.sets_of(source), &self.sets_of(destination), self.rule_tables)
    }

    /// The port ranges of a list, first and last.
    pub(crate) fn ports(&self, list: PortList) -> impl Iterator<Item = (u16, u16)> + use<'a> {
        let end = list.first.saturating_add(list.count.into());
        let half = |word: u32| u16::try_from(word & 0xffff).unwrap_or(u16::MAX);
        let ranges = self.rule_tables.port_ranges.range([list.first, end]);
        ranges.iter().map(move |range| (half(range >> 16), half(*range)))
    }
}
