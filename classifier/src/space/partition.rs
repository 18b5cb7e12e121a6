//! What becomes of every packet between two classes of addresses: the walk of `classify`, with sets for packets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::region::Region;
use super::walk::{Rows, Walk, joined};
use super::{Limits, TooLarge};
use crate::decision::{Checkpoint, Decision, Reason, Verdict};
use crate::image::rule::RuleWords;
use crate::image::{ClassTier, Plane, View};
use crate::packet::{Crossing, IpVersion, Place};

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
    known: HashMap<(IpVersion, [Option<usize>; 4]), Rc<Partition>>,
}

/// What a checkpoint asks, and for each of its rules whether family and addresses fit.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct HalfKey {
    version: IpVersion,
    asked: Asked,
    fits: Vec<bool>,
}

/// The programs that a checkpoint asks one after the other, and what it says when none decides.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Asked {
    at: Checkpoint,
    programs: Vec<u32>,
    rest: (Verdict, Reason),
}

/// The outcome of one checkpoint, for every packet.
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
        let mut halves: Vec<Rc<Half>> = Vec::with_capacity(4);
        let mut numbers = [None; 4];
        for (at, number) in Checkpoint::ALL.into_iter().zip(&mut numbers) {
            if let Some(asked) = self.asked(at, classes, crossing) {
                let half = self.half(version, classes, asked)?;
                *number = Some(half.number);
                halves.push(half);
            }
        }
        let key = (version, numbers);
        if let Some(partition) = self.known.get(&key) {
            return Ok(Rc::clone(partition));
        }
        let halves: Vec<&[Part]> = halves.iter().map(|half| half.parts.as_slice()).collect();
        let parts = joined(version, &halves);
        self.keep(&parts)?;
        let partition = Rc::new(Partition { parts, number: self.known.len() });
        self.known.insert(key, Rc::clone(&partition));
        Ok(partition)
    }

    /// `None` when the checkpoint does not apply.
    fn asked(
        &self,
        at: Checkpoint,
        [source, destination]: [u32; 2],
        Crossing { from, to }: Crossing,
    ) -> Option<Asked> {
        let asked = |programs, rest| Some(Asked { at, programs, rest });
        match at {
            Checkpoint::Entry => self.at_interface(at, from, to),
            Checkpoint::Exit => self.at_interface(at, to, from),
            Checkpoint::Egress | Checkpoint::Ingress => {
                let is_egress = at == Checkpoint::Egress;
                let (place, class) = if is_egress { (from, source) } else { (to, destination) };
                if !place.is_inside() {
                    return None;
                }
                match self.view.program(class, at.direction(), Plane::Enforced) {
                    Ok(program) => asked(vec![program], (Verdict::Deny, Reason::NoTierDecided)),
                    Err(answer) => asked(Vec::new(), answer),
                }
            }
        }
    }

    /// What the endpoint of the port `here` asks of packets from or to `there`.
    fn at_interface(&self, at: Checkpoint, here: Place, there: Place) -> Option<Asked> {
        let endpoint = self.view.endpoint(here, Plane::Enforced)?;
        let is_entry = at == Checkpoint::Entry;
        let of = if is_entry { endpoint.ingress } else { endpoint.egress };
        let is_forwarded = matches!(there, Place::Port { .. });
        let mut programs = Vec::new();
        if is_entry || !is_forwarded {
            programs.push(of.untracked);
        }
        if is_entry {
            programs.push(of.pre_dnat);
        }
        let rest = if is_forwarded {
            programs.push(of.forward);
            (Verdict::Allow, Reason::NoForwardPolicy)
        } else {
            programs.push(of.normal);
            (Verdict::Deny, Reason::NoProfile)
        };
        Some(Asked { at, programs, rest })
    }

    fn half(
        &mut self,
        version: IpVersion,
        [source, destination]: [u32; 2],
        asked: Asked,
    ) -> Result<Rc<Half>, TooLarge> {
        let programs: Vec<_> = asked.programs.iter().map(|number| self.program(*number)).collect();
        let rules = programs.iter().flat_map(|tiers| tiers.iter()).flat_map(|tier| &tier.rules);
        let fits = rules
            .map(|(_, rule)| rule.is_about(version) && self.view.admits(rule, source, destination));
        let key = HalfKey { version, asked, fits: fits.collect() };
        if let Some(half) = self.halves.get(&key) {
            return Ok(Rc::clone(half));
        }
        let mut walk = Walk::begin(version, key.asked.at, self.limits.walk_bricks);
        let mut fits = key.fits.iter().copied();
        let mut rows = Rows { view: self.view, known: &mut self.rules };
        for tiers in &programs {
            walk.program(tiers, &mut fits, &mut rows)?;
        }
        let parts = walk.finish(key.asked.rest);
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

    fn keep(&mut self, parts: &[Part]) -> Result<(), TooLarge> {
        self.bricks += parts.iter().map(|part| part.region.size()).sum::<usize>();
        bounded(self.bricks, self.limits.bricks)
    }
}

pub(super) fn bounded(count: usize, limit: usize) -> Result<(), TooLarge> {
    if count > limit { Err(TooLarge::Bricks { limit }) } else { Ok(()) }
}
