//! The walk of `classify`, with sets for packets: tier by tier, rule by rule, with what no rule has decided yet.

use std::collections::HashMap;
use std::rc::Rc;

use super::TooLarge;
use super::partition::{Outcome, Part, bounded};
use super::region::Region;
use super::rule;
use crate::decision::{Checkpoint, Decision, Reason, Verdict};
use crate::image::rule::RuleWords;
use crate::image::{ClassTier, View};
use crate::packet::IpVersion;
use crate::resource::Action;

/// What rows ask of the packet itself, each computed once.
pub(super) struct Rows<'a, 'k> {
    pub(super) view: View<'a>,
    pub(super) known: &'k mut HashMap<RuleWords, Rc<Region>>,
}

impl Rows<'_, '_> {
    fn packets(&mut self, words: &RuleWords) -> Rc<Region> {
        let view = self.view;
        let make = || Rc::new(rule::packets(&view, words));
        Rc::clone(self.known.entry(*words).or_insert_with(make))
    }
}

/// One checkpoint under way.
pub(super) struct Walk {
    at: Checkpoint,
    most_bricks: usize,
    /// What nobody has decided.
    coming: Region,
    parts: Vec<Part>,
}

impl Walk {
    pub(super) fn begin(version: IpVersion, at: Checkpoint, most_bricks: usize) -> Self {
        Self { at, most_bricks, coming: Region::everything(version), parts: Vec::new() }
    }

    /// One program; `fits` tells for each of its rows in order whether family and addresses fit.
    pub(super) fn program(
        &mut self,
        tiers: &[ClassTier],
        fits: &mut impl Iterator<Item = bool>,
        rows: &mut Rows<'_, '_>,
    ) -> Result<(), TooLarge> {
        for ClassTier { tier, denies, rules } in tiers {
            let mut passed = Region::default();
            for (reference, words) in rules {
                if fits.next() != Some(true) || words.action() == Action::Log {
                    continue;
                }
                let packets = rows.packets(words);
                let matched = self.coming.intersection(&packets);
                self.coming = self.coming.without(&packets);
                bounded(self.coming.size() + matched.size(), self.most_bricks)?;
                match words.action() {
                    Action::Allow => self.settle(Verdict::Allow, Reason::Rule(*reference), matched),
                    Action::Deny => self.settle(Verdict::Deny, Reason::Rule(*reference), matched),
                    Action::Pass => passed.join(matched),
                    Action::Log => {}
                }
            }
            if *denies {
                let rest = std::mem::replace(&mut self.coming, passed);
                self.settle(Verdict::Deny, Reason::EndOfTier(*tier), rest);
            } else {
                self.coming.join(passed);
            }
        }
        Ok(())
    }

    /// All parts; what nobody has decided is `rest`.
    pub(super) fn finish(mut self, (verdict, reason): (Verdict, Reason)) -> Vec<Part> {
        let rest = std::mem::take(&mut self.coming);
        self.settle(verdict, reason, rest);
        self.parts
    }

    fn settle(&mut self, verdict: Verdict, reason: Reason, region: Region) {
        add(&mut self.parts, Outcome { verdict, decided: Some((self.at, reason)) }, region);
    }
}

/// All checkpoints: what one denies is denied, what it allows is the next one's to judge. One that has nothing to say
/// leaves the reason to who has spoken before, as `Decision::deciding` does.
pub(super) fn joined(version: IpVersion, halves: &[&[Part]]) -> Vec<Part> {
    let Some((first, rest)) = halves.split_first() else {
        let outcome = Outcome::from(Decision::NOTHING_APPLIES);
        return vec![Part { outcome, region: Region::everything(version) }];
    };
    let is_denied = |part: &Part| part.outcome.verdict == Verdict::Deny;
    let (mut denied, mut allowed): (Vec<Part>, Vec<Part>) =
        first.iter().cloned().partition(is_denied);
    for half in rest {
        let mut still_allowed = Vec::new();
        for before in &allowed {
            for part in *half {
                let region = part.region.intersection(&before.region);
                let says_nothing =
                    matches!(part.outcome.decided, Some((_, Reason::NoForwardPolicy)));
                let outcome = if says_nothing { before.outcome } else { part.outcome };
                let parts = if is_denied(part) { &mut denied } else { &mut still_allowed };
                add(parts, outcome, region);
            }
        }
        allowed = still_allowed;
    }
    [denied, allowed].concat()
}

/// Parts of one outcome are one part.
fn add(parts: &mut Vec<Part>, outcome: Outcome, region: Region) {
    if region.is_empty() {
        return;
    }
    match parts.iter_mut().find(|part| part.outcome == outcome) {
        Some(part) => part.region.join(region),
        None => parts.push(Part { outcome, region }),
    }
}
