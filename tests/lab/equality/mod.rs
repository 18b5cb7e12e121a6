//! Compiled against reference on estates that are too large to be walked whole for every packet.
//!
//! The reference walks every object for every rule it looks at. All that it asks of objects is which of them cover one of a
//! packet's two addresses; so it is given those objects only, each with the nets that do, and everything else as it is.
//! Which objects these are is found by comparing every net with the sorted addresses of all questions, which shares nothing
//! with the compiler, and for some addresses it is checked by asking every net in turn.

mod covering;
mod questions;

use std::fmt;
use std::num::NonZero;
use std::thread;

use classifier::compile::{Limits, compile};
use classifier::decision::{Decision, Reason, Verdict};
use classifier::image::Image;
use classifier::packet::{Crossing, PacketKey};
use classifier::reference;
use classifier::resource::PolicySet;

use self::covering::Covering;
pub use self::questions::questions;
use crate::failure::Failure;

/// Of so many questions one is asked of the pending evaluation too, which costs the reference the square of the policies.
const PENDING_OF: usize = 4;
/// Of so many questions one has its trace compared.
const TRACED_OF: usize = 8;

/// A packet and its way.
pub type Question = (PacketKey, Crossing);

/// What a comparison met. Without all of it the comparison shows little.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Questions whose answers were equal.
    pub questions: usize,
    /// Packets allowed.
    pub allowed: usize,
    /// Denied by a rule.
    pub denied_by_rule: usize,
    /// Denied by the end of a tier, or of the last one.
    pub denied_by_tier: usize,
    /// Denied because no policy speaks of what is there, or nothing is there.
    pub denied_by_default: usize,
    /// Staged policies would change the verdict.
    pub pending_differs: usize,
    /// Objects that cover one end of a packet, at most.
    pub covering_max: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { questions, allowed, denied_by_rule, denied_by_tier, denied_by_default, .. } =
            self;
        let Self { pending_differs, covering_max, .. } = self;
        write!(
            f,
            "{questions} equal: {allowed} allowed; denied: {denied_by_rule} by rules, {denied_by_tier} by tiers, \
             {denied_by_default} by default; {pending_differs} pending otherwise; up to {covering_max} objects at an address"
        )
    }
}

/// Compiles the set and compares every answer.
///
/// # Errors
/// At the first difference: the question and both answers.
pub fn compare(set: &PolicySet, questions: &[Question]) -> Result<Tally, Failure> {
    let image = compile(set, 1, &Limits::default());
    let image = image.map_err(|errors| Failure::new("compile", format!("{errors:?}")))?;
    compare_image(set, &image, questions)
}

/// Compares every answer of an image.
///
/// # Errors
/// As `compare`.
pub fn compare_image(
    set: &PolicySet,
    image: &Image,
    questions: &[Question],
) -> Result<Tally, Failure> {
    let covering = &Covering::of(set, questions)?;
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let parts = questions.chunks(questions.len().div_ceil(workers).max(1));
    thread::scope(|scope| {
        let part = |part| scope.spawn(move || compare_part(set, image, covering, part));
        let running: Vec<_> = parts.map(part).collect();
        let mut sum = Tally::default();
        for part in running {
            let joined = part.join();
            sum.add(joined.map_err(|_| Failure::new("compare", "a fault in the comparison"))??);
        }
        Ok(sum)
    })
}

fn compare_part(
    set: &PolicySet,
    image: &Image,
    covering: &Covering,
    questions: &[Question],
) -> Result<Tally, Failure> {
    let view = image.view();
    let mut small = PolicySet { objects: Vec::new(), ..set_without_objects(set) };
    let mut tally = Tally::default();
    let mut batch = vec![Decision::NOTHING_APPLIES; questions.len()];
    view.classify_batch(questions, &mut batch);
    for (number, ((packet, crossing), batched)) in questions.iter().zip(batch).enumerate() {
        small.objects = covering.objects(set, packet);
        tally.covering_max = tally.covering_max.max(small.objects.len());
        let expected = reference::evaluate(&small, packet, *crossing);
        let same = |what, decided: Decision, expected: Decision| {
            let told =
                || format!("{packet:?} {crossing:?}: {decided:?}, the reference: {expected:?}");
            if decided == expected { Ok(()) } else { Err(Failure::new(what, told())) }
        };
        same("classify", view.classify(packet, *crossing), expected)?;
        same("classify in a batch", batched, expected)?;
        if number.is_multiple_of(TRACED_OF) {
            same("trace", view.trace(packet, *crossing).decision, expected)?;
        }
        if !view.has_pending() {
            same("pending", view.classify_pending(packet, *crossing), expected)?;
        } else if number.is_multiple_of(PENDING_OF) {
            let pending = reference::evaluate_pending(&small, packet, *crossing);
            same("pending", view.classify_pending(packet, *crossing), pending)?;
            tally.pending_differs += usize::from(pending.verdict() != expected.verdict());
        }
        tally.count(&expected);
    }
    Ok(tally)
}

impl Tally {
    fn count(&mut self, decision: &Decision) {
        self.questions += 1;
        if decision.verdict() == Verdict::Allow {
            self.allowed += 1;
            return;
        }
        let denying = decision.halves().find(|(_, half)| half.verdict == Verdict::Deny);
        let counter = match denying.map(|(_, half)| half.reason) {
            Some(Reason::Rule(_)) => &mut self.denied_by_rule,
            Some(Reason::EndOfTier(_) | Reason::NoTierDecided) => &mut self.denied_by_tier,
            Some(
                Reason::Unselected
                | Reason::Uncovered
                | Reason::NoForwardPolicy
                | Reason::NoProfile,
            )
            | None => &mut self.denied_by_default,
        };
        *counter += 1;
    }

    fn add(&mut self, other: Self) {
        self.questions += other.questions;
        self.allowed += other.allowed;
        self.denied_by_rule += other.denied_by_rule;
        self.denied_by_tier += other.denied_by_tier;
        self.denied_by_default += other.denied_by_default;
        self.pending_differs += other.pending_differs;
        self.covering_max = self.covering_max.max(other.covering_max);
    }
}

fn set_without_objects(set: &PolicySet) -> PolicySet {
    let PolicySet { tiers, policies, objects: _, profiles, services, interfaces, ports, defaults } =
        set;
    PolicySet {
        tiers: tiers.clone(),
        policies: policies.clone(),
        objects: Vec::new(),
        profiles: profiles.clone(),
        services: services.clone(),
        interfaces: interfaces.clone(),
        ports: ports.clone(),
        defaults: *defaults,
    }
}
