//! What becomes of every packet between two classes of addresses: the walk of `classify`, with sets for packets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::region::Region;
use super::{Limits, TooLarge, rule};
use crate::decision::{Checkpoint, Decision, Reason, Verdict};
use crate::image::rule::RuleWords;
use crate::image::{ClassTier, Plane, View};
use crate::packet::{Crossing, IpVersion};
use crate::resource::Action;

/// A verdict, and what settled it, as `Decision::deciding` tells it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Outcome {
    /// The packet's fate.
    pub verdict: Verdict,
    /// The checkpoint that settled it, and why; `None` when none applies.
    pub decided: Option<(Checkpoint, Reason)>,
}

impl From<Decision> for Outcome {
    fn from(decision: Decision) -> Self {
        let decided = decision.deciding().map(|(at, half)| (at, half.reason));
        Self { verdict: decision.verdict(), decided }
    }
}

/// Packets with one outcome.
#[derive(Clone, Debug)]
pub struct Part {
    /// What becomes of them.
    pub outcome: Outcome,
    /// Which they are; never empty.
    pub region: Region,
}

/// All packets between two classes, each in exactly one part.
#[derive(Debug)]
pub struct Partition {
    /// In no order.
    pub parts: Vec<Part>,
    /// The same for the same partition of the same `Partitions`.
    pub(super) number: usize,
}

/// The partitions of one image. Classes that a program cannot tell apart share the work.
#[derive(Debug)]
pub struct Partitions<'a> {
    view: View<'a>,
    limits: Limits,
    /// Bricks in everything that is kept here.
    bricks: usize,
    programs: HashMap<u32, Rc<Vec<ClassTier>>>,
    rules: HashMap<RuleWords, Rc<Region>>,
    halves: HashMap<HalfKey, Rc<Half>>,
    known: HashMap<(IpVersion, Option<usize>, Option<usize>), Rc<Partition>>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum HalfKey {
    /// No program judges: the answer is the same for every packet.
    Settled(IpVersion, Checkpoint, Verdict, Reason),
    /// A program, and for each of its rules whether family and addresses fit.
    Walked(IpVersion, u32, Vec<bool>),
}

/// The outcome of one direction, for every packet.
#[derive(Debug)]
struct Half {
    number: usize,
    parts: Vec<Part>,
}

impl<'a> Partitions<'a> {
    /// Of an image.
    #[must_use]
    pub fn of(view: View<'a>, limits: Limits) -> Self {
        Self {
            view,
            limits,
            bricks: 0,
            programs: HashMap::new(),
            rules: HashMap::new(),
            halves: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// What becomes of packets from one address to another, of the same family.
    ///
    /// # Errors
    /// When the answer takes more memory than the limits allow.
    pub fn between(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        crossing: Crossing,
    ) -> Result<Rc<Partition>, TooLarge> {
        let classes = [self.view.class_of(source), self.view.class_of(destination)];
        self.between_classes(IpVersion::of(source), classes, crossing)
    }

    pub(super) fn between_classes(
        &mut self,
        version: IpVersion,
        classes: [u32; 2],
        crossing: Crossing,
    ) -> Result<Rc<Partition>, TooLarge> {
        let egress = if crossing.from.is_inside() {
            Some(self.half(version, classes, Checkpoint::Egress)?)
        } else {
            None
        };
        let ingress = if crossing.to.is_inside() {
            Some(self.half(version, classes, Checkpoint::Ingress)?)
        } else {
            None
        };
        let number = |half: &Option<Rc<Half>>| half.as_ref().map(|half| half.number);
        let key = (version, number(&egress), number(&ingress));
        if let Some(partition) = self.known.get(&key) {
            return Ok(Rc::clone(partition));
        }
        let parts = joined(version, egress.as_deref(), ingress.as_deref());
        self.keep(&parts)?;
        let partition = Rc::new(Partition { parts, number: self.known.len() });
        self.known.insert(key, Rc::clone(&partition));
        Ok(partition)
    }

    fn half(
        &mut self,
        version: IpVersion,
        [source, destination]: [u32; 2],
        at: Checkpoint,
    ) -> Result<Rc<Half>, TooLarge> {
        let protected = if at == Checkpoint::Ingress { destination } else { source };
        let (key, tiers) = match self.view.program(protected, at.direction(), Plane::Enforced) {
            Err((verdict, reason)) => {
                (HalfKey::Settled(version, at, verdict, reason), Rc::default())
            }
            Ok(program) => {
                let tiers = self.program(program);
                let rules = tiers.iter().flat_map(|tier| &tier.rules);
                let fits = rules.map(|(_, rule)| {
                    rule.is_about(version) && self.view.admits(rule, source, destination)
                });
                (HalfKey::Walked(version, program, fits.collect()), tiers)
            }
        };
        if let Some(half) = self.halves.get(&key) {
            return Ok(Rc::clone(half));
        }
        let parts = match &key {
            HalfKey::Settled(_, _, verdict, reason) => {
                let outcome = Outcome { verdict: *verdict, decided: Some((at, *reason)) };
                vec![Part { outcome, region: Region::everything(version) }]
            }
            HalfKey::Walked(_, _, fits) => self.walk(version, at, &tiers, fits)?,
        };
        self.keep(&parts)?;
        let half = Rc::new(Half { number: self.halves.len(), parts });
        self.halves.insert(key, Rc::clone(&half));
        Ok(half)
    }

    fn program(&mut self, program: u32) -> Rc<Vec<ClassTier>> {
        let view = self.view;
        let tiers = self.programs.entry(program).or_insert_with(|| view.tiers_of(program).into());
        Rc::clone(tiers)
    }

    /// Tier by tier, rule by rule, with what no rule has decided yet.
    fn walk(
        &mut self,
        version: IpVersion,
        at: Checkpoint,
        tiers: &[ClassTier],
        fits: &[bool],
    ) -> Result<Vec<Part>, TooLarge> {
        let mut parts = Vec::new();
        let mut settle = |verdict, reason, region: Region| {
            if !region.is_empty() {
                let outcome = Outcome { verdict, decided: Some((at, reason)) };
                parts.push(Part { outcome, region });
            }
        };
        let mut coming = Region::everything(version);
        let mut fits = fits.iter();
        for ClassTier { tier, denies, rules } in tiers {
            let mut passed = Region::default();
            for (reference, words) in rules {
                if fits.next() != Some(&true) || words.action() == Action::Log {
                    continue;
                }
                let packets = self.packets(words);
                let matched = coming.intersection(&packets);
                coming = coming.without(&packets);
                bounded(coming.size() + matched.size(), self.limits.walk_bricks)?;
                match words.action() {
                    Action::Allow => settle(Verdict::Allow, Reason::Rule(*reference), matched),
                    Action::Deny => settle(Verdict::Deny, Reason::Rule(*reference), matched),
                    Action::Pass => passed.join(matched),
                    Action::Log => {}
                }
            }
            if *denies {
                settle(Verdict::Deny, Reason::EndOfTier(*tier), coming);
                coming = passed;
            } else {
                coming.join(passed);
            }
        }
        settle(Verdict::Deny, Reason::NoTierDecided, coming);
        Ok(parts)
    }

    fn packets(&mut self, words: &RuleWords) -> Rc<Region> {
        let view = self.view;
        let make = || Rc::new(rule::packets(&view, words));
        Rc::clone(self.rules.entry(*words).or_insert_with(make))
    }

    fn keep(&mut self, parts: &[Part]) -> Result<(), TooLarge> {
        self.bricks += parts.iter().map(|part| part.region.size()).sum::<usize>();
        bounded(self.bricks, self.limits.bricks)
    }
}

fn bounded(count: usize, limit: usize) -> Result<(), TooLarge> {
    if count > limit { Err(TooLarge::Bricks { limit }) } else { Ok(()) }
}

/// A packet that egress denies is denied; what it allows is ingress's to judge.
fn joined(version: IpVersion, egress: Option<&Half>, ingress: Option<&Half>) -> Vec<Part> {
    match (egress, ingress) {
        (None, None) => {
            let outcome = Outcome::from(Decision::NOTHING_APPLIES);
            vec![Part { outcome, region: Region::everything(version) }]
        }
        (Some(half), None) | (None, Some(half)) => half.parts.clone(),
        (Some(egress), Some(ingress)) => {
            let denied = |part: &&Part| part.outcome.verdict == Verdict::Deny;
            let mut allowed = Region::default();
            for part in egress.parts.iter().filter(|part| !denied(part)) {
                allowed.join(part.region.clone());
            }
            let judged = ingress.parts.iter().filter_map(|part| {
                let region = part.region.intersection(&allowed);
                (!region.is_empty()).then_some(Part { outcome: part.outcome, region })
            });
            egress.parts.iter().filter(denied).cloned().chain(judged).collect()
        }
    }
}
