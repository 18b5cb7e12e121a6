//! Why: the same evaluation as `classify`, with a listener that writes down what was visited.

use super::rule::Mismatch;
use super::view::{ObjectInfo, Plane, ResourceName, View};
use crate::decision::{Checkpoint, Decision, Half, Reason, RuleRef};
use crate::packet::{Crossing, PacketKey};
use crate::resource::Action;

/// Everything that was visited to decide one packet.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// The answer, the same as `classify` gives.
    pub decision: Decision,
    /// What names the source, if an object covers it.
    pub source: Option<ObjectInfo<'a>>,
    /// What names the destination, if an object covers it.
    pub destination: Option<ObjectInfo<'a>>,
    /// The checkpoints that were asked, in order.
    pub halves: Vec<TraceHalf<'a>>,
}

/// One checkpoint.
#[derive(Clone, Debug)]
pub struct TraceHalf<'a> {
    /// Which.
    pub at: Checkpoint,
    /// Its outcome.
    pub half: Half,
    /// The tiers with policies that apply, as far as they were reached.
    pub tiers: Vec<TraceTier<'a>>,
}

/// One tier.
#[derive(Clone, Debug)]
pub struct TraceTier<'a> {
    /// Its name.
    pub name: &'a str,
    /// The policies that apply, as far as they were reached.
    pub policies: Vec<TracePolicy<'a>>,
    /// How the tier was left.
    pub end: End,
}

/// How a tier was left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// A rule allowed or denied.
    Decided,
    /// A rule passed the packet on.
    Passed,
    /// No rule decided, and the tier's default action denies.
    DefaultDeny,
    /// No rule decided, and the tier's default action passes.
    DefaultPass,
}

/// One policy.
#[derive(Clone, Debug)]
pub struct TracePolicy<'a> {
    /// Its name.
    pub name: ResourceName<'a>,
    /// Its rules, as far as they were reached.
    pub rules: Vec<TraceRule<'a>>,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct TraceRule<'a> {
    /// Position in the policy's list, from 0.
    pub index: u32,
    /// What it does.
    pub action: Action,
    /// What it says.
    pub text: &'a str,
    /// The field that did not match; `None` when the rule matched.
    pub mismatch: Option<Mismatch>,
}

/// Hears of everything that an evaluation visits, in order.
pub(super) trait Observer {
    /// Whether rules that cannot match are to be visited too.
    const HEARS_ALL: bool;
    fn checkpoint(&mut self, at: Checkpoint);
    fn tier(&mut self, tier: u32);
    fn policy(&mut self, policy: u32);
    fn rule(&mut self, rule: RuleRef, mismatch: Option<Mismatch>);
}

/// Hears nothing and costs nothing.
pub(super) struct Silent;

impl Observer for Silent {
    const HEARS_ALL: bool = false;

    fn checkpoint(&mut self, _: Checkpoint) {}
    fn tier(&mut self, _: u32) {}
    fn policy(&mut self, _: u32) {}
    fn rule(&mut self, _: RuleRef, _: Option<Mismatch>) {}
}

/// Writes down the visits.
struct Recorder<'a> {
    view: View<'a>,
    halves: Vec<(Checkpoint, Vec<TraceTier<'a>>)>,
}

impl<'a> Recorder<'a> {
    fn open_tier(&mut self) -> Option<&mut TraceTier<'a>> {
        self.halves.last_mut()?.1.last_mut()
    }
}

impl Observer for Recorder<'_> {
    const HEARS_ALL: bool = true;

    fn checkpoint(&mut self, at: Checkpoint) {
        self.halves.push((at, Vec::new()));
    }

    fn tier(&mut self, tier: u32) {
        let name = self.view.tier_name(tier).unwrap_or_default();
        if let Some((_, tiers)) = self.halves.last_mut() {
            // What is left open here ended in the tier's own default; a rule or the outcome corrects it.
            tiers.push(TraceTier { name, policies: Vec::new(), end: End::DefaultPass });
        }
    }

    fn policy(&mut self, policy: u32) {
        let Some(name) = self.view.policy_name(policy) else { return };
        if let Some(tier) = self.open_tier() {
            tier.policies.push(TracePolicy { name, rules: Vec::new() });
        }
    }

    fn rule(&mut self, rule: RuleRef, mismatch: Option<Mismatch>) {
        let Some(info) = self.view.rule(rule) else { return };
        let Some(tier) = self.open_tier() else { return };
        if let Some(policy) = tier.policies.last_mut() {
            let (index, action, text) = (info.rule, info.action, info.text);
            match policy.rules.last_mut() {
                // Another row of the same rule: the rule matches when one does, else its last row says why not.
                Some(same) if same.index == index => {
                    same.mismatch = same.mismatch.and(mismatch);
                }
                _ => policy.rules.push(TraceRule { index, action, text, mismatch }),
            }
        }
        if mismatch.is_none() {
            match info.action {
                Action::Allow | Action::Deny => tier.end = End::Decided,
                Action::Pass => tier.end = End::Passed,
                Action::Log => {}
            }
        }
    }
}

impl<'a> View<'a> {
    /// Decides one packet and tells every tier, policy and rule that was visited.
    #[must_use]
    pub fn trace(&self, packet: &PacketKey, crossing: Crossing) -> Trace<'a> {
        self.record(packet, crossing, Plane::Enforced)
    }

    /// The same for the pending evaluation.
    #[must_use]
    pub fn trace_pending(&self, packet: &PacketKey, crossing: Crossing) -> Trace<'a> {
        self.record(packet, crossing, Plane::Pending)
    }

    fn record(&self, packet: &PacketKey, crossing: Crossing, plane: Plane) -> Trace<'a> {
        let mut recorder = Recorder { view: *self, halves: Vec::new() };
        let decision = self.decide(packet, crossing, plane, &mut recorder);
        let halves = recorder
            .halves
            .into_iter()
            .filter_map(|(at, tiers)| Some(finish(at, decision.half(at)?, tiers)));
        Trace {
            decision,
            source: self.object_of(packet.src),
            destination: self.object_of(packet.dst),
            halves: halves.collect(),
        }
    }
}

fn finish(at: Checkpoint, half: Half, mut tiers: Vec<TraceTier<'_>>) -> TraceHalf<'_> {
    if let (Reason::EndOfTier(_), Some(last)) = (half.reason, tiers.last_mut()) {
        last.end = End::DefaultDeny;
    }
    TraceHalf { at, half, tiers }
}
