//! The tables of an image, and the two things asked of them: a decision, and names.

mod classes;

use std::net::IpAddr;

pub(crate) use self::classes::ClassTier;
use super::layout::{FLAG_ALLOW_UNCOVERED, FLAG_ALLOW_UNSELECTED, Layout, NONE, Section};
use super::rule::{Candidate, RULE_WORDS, RuleWords, direction_word};
use super::trace::{Observer, Silent};
use crate::decision::{Checkpoint, Decision, Direction, Half, Reason, RuleRef, Verdict};
use crate::packet::{Crossing, PacketKey};
use crate::resource::{Action, ObjectKind};

/// A validated image, opened for reading.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    flags: u32,
    set_words: usize,
    v4_starts: &'a [u32],
    v4_classes: &'a [u32],
    v4_names: &'a [u32],
    v6_starts: &'a [[u64; 2]],
    v6_classes: &'a [u32],
    v6_names: &'a [u32],
    classes: &'a [[u32; 3]],
    class_sets: &'a [u64],
    programs: &'a [[u32; 2]],
    segments: &'a [[u32; 3]],
    steps: &'a [u32],
    blocks: &'a [[u32; 4]],
    rules: &'a [[u32; RULE_WORDS]],
    port_ranges: &'a [u32],
    tiers: &'a [[u32; 2]],
    policies: &'a [[u32; 4]],
    objects: &'a [[u32; 4]],
    labels: &'a [[u32; 2]],
    string_ends: &'a [u32],
    text: &'a [u8],
}

/// A rule, with names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RuleInfo<'a> {
    /// Its tier.
    pub tier: &'a str,
    /// Its policy.
    pub policy: &'a str,
    /// Which of the policy's rule lists.
    pub direction: Direction,
    /// Position in that list, from 0.
    pub rule: u32,
    /// What it does.
    pub action: Action,
    /// What it says, for people.
    pub text: &'a str,
}

/// An object, with names.
#[derive(Clone, Copy, Debug)]
pub struct ObjectInfo<'a> {
    /// The resource kind.
    pub kind: ObjectKind,
    /// The resource name.
    pub name: &'a str,
    labels: &'a [[u32; 2]],
    view: View<'a>,
}

impl<'a> ObjectInfo<'a> {
    /// Its labels in name order.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let view = self.view;
        self.labels.iter().map(move |[name, value]| (view.string(*name), view.string(*value)))
    }
}

impl<'a> View<'a> {
    pub(super) fn new(bytes: &'a [u8], layout: &Layout) -> Self {
        Self {
            flags: layout.head.flags,
            set_words: layout.head.match_sets.div_ceil(64) as usize,
            v4_starts: layout.table(bytes, Section::V4Starts),
            v4_classes: layout.table(bytes, Section::V4Classes),
            v4_names: layout.table(bytes, Section::V4Names),
            v6_starts: layout.table(bytes, Section::V6Starts),
            v6_classes: layout.table(bytes, Section::V6Classes),
            v6_names: layout.table(bytes, Section::V6Names),
            classes: layout.table(bytes, Section::Classes),
            class_sets: layout.table(bytes, Section::ClassSets),
            programs: layout.table(bytes, Section::Programs),
            segments: layout.table(bytes, Section::Segments),
            steps: layout.table(bytes, Section::Steps),
            blocks: layout.table(bytes, Section::Blocks),
            rules: layout.table(bytes, Section::Rules),
            port_ranges: layout.table(bytes, Section::PortRanges),
            tiers: layout.table(bytes, Section::Tiers),
            policies: layout.table(bytes, Section::Policies),
            objects: layout.table(bytes, Section::Objects),
            labels: layout.table(bytes, Section::Labels),
            string_ends: layout.table(bytes, Section::StringEnds),
            text: layout.part(bytes, Section::Text),
        }
    }

    /// Decides one packet. Cannot fail: what is in doubt is denied.
    pub fn classify(&self, packet: &PacketKey, crossing: Crossing) -> Decision {
        self.decide(packet, crossing, &mut Silent)
    }

    /// The one evaluation, which `classify` runs silently and `trace` with a listener.
    pub(super) fn decide<O: Observer>(
        &self,
        packet: &PacketKey,
        crossing: Crossing,
        observer: &mut O,
    ) -> Decision {
        let source = self.class_of(packet.src);
        let destination = self.class_of(packet.dst);
        let candidate = Candidate {
            packet,
            source_sets: self.sets_of(source),
            destination_sets: self.sets_of(destination),
        };
        let mut decision = Decision::NOTHING_APPLIES;
        if crossing.from.is_inside() {
            let half = self.half(Checkpoint::Egress, source, candidate, observer);
            decision.egress = Some(half);
            if half.verdict == Verdict::Deny {
                return decision;
            }
        }
        if crossing.to.is_inside() {
            decision.ingress =
                Some(self.half(Checkpoint::Ingress, destination, candidate, observer));
        }
        decision
    }

    /// Evaluates one direction of what is protected: tiers, policies, rules, in order.
    fn half<O: Observer>(
        &self,
        at: Checkpoint,
        class: u32,
        candidate: Candidate<'_>,
        observer: &mut O,
    ) -> Half {
        observer.checkpoint(at);
        let [covered, ingress, egress] =
            self.classes.get(class as usize).copied().unwrap_or_default();
        let program = if at == Checkpoint::Ingress { ingress } else { egress };
        if covered == 0 {
            return self.default_half(Reason::Uncovered, FLAG_ALLOW_UNCOVERED);
        }
        let program = self.programs.get(program as usize).copied().unwrap_or_default();
        let segments = range(self.segments, program);
        if segments.is_empty() {
            return self.default_half(Reason::Unselected, FLAG_ALLOW_UNSELECTED);
        }
        let mut logged = None;
        for [tier, first, end] in segments {
            observer.tier(*tier);
            let steps = range(self.steps, [*first, *end]);
            if let Some((verdict, reason)) =
                self.tier(*tier, steps, candidate, &mut logged, observer)
            {
                return Half { verdict, reason, logged };
            }
        }
        Half { verdict: Verdict::Deny, reason: Reason::NoTierDecided, logged }
    }

    /// `None` when the tier leaves the packet to the next one.
    fn tier<O: Observer>(
        &self,
        tier: u32,
        steps: &[u32],
        candidate: Candidate<'_>,
        logged: &mut Option<RuleRef>,
        observer: &mut O,
    ) -> Option<(Verdict, Reason)> {
        for step in steps {
            let Some([policy, direction, first, end]) = self.blocks.get(*step as usize).copied()
            else {
                continue;
            };
            observer.policy(policy);
            let direction = if direction == 0 { Direction::Egress } else { Direction::Ingress };
            for (index, words) in range(self.rules, [first, end]).iter().enumerate() {
                let words = RuleWords(*words);
                let mismatch = words.mismatch(candidate, self.port_ranges);
                let rule =
                    RuleRef { policy, direction, rule: u32::try_from(index).unwrap_or(NONE) };
                observer.rule(rule, mismatch);
                if mismatch.is_some() {
                    continue;
                }
                match words.action() {
                    Action::Allow => return Some((Verdict::Allow, Reason::Rule(rule))),
                    Action::Deny => return Some((Verdict::Deny, Reason::Rule(rule))),
                    Action::Log => *logged = logged.or(Some(rule)),
                    Action::Pass => return None,
                }
            }
        }
        let denies = self.tiers.get(tier as usize).is_none_or(|[_, denies]| *denies != 0);
        denies.then_some((Verdict::Deny, Reason::EndOfTier(tier)))
    }

    fn default_half(&self, reason: Reason, allowing_flag: u32) -> Half {
        let verdict = if self.flags & allowing_flag == 0 { Verdict::Deny } else { Verdict::Allow };
        Half { verdict, reason, logged: None }
    }

    /// The class of an address: one search in a table of disjoint pieces.
    pub(crate) fn class_of(&self, address: IpAddr) -> u32 {
        match address {
            IpAddr::V4(address) => {
                let piece = piece_of(self.v4_starts, &u32::from(address));
                self.v4_classes.get(piece).copied().unwrap_or(NONE)
            }
            IpAddr::V6(address) => {
                let piece = piece_of(self.v6_starts, &halves(u128::from(address)));
                self.v6_classes.get(piece).copied().unwrap_or(NONE)
            }
        }
    }

    fn sets_of(&self, class: u32) -> &'a [u64] {
        let first = (class as usize).saturating_mul(self.set_words);
        self.class_sets.get(first..first.saturating_add(self.set_words)).unwrap_or_default()
    }

    /// The object that names an address: the one with the longest covering prefix.
    #[must_use]
    pub fn object_of(&self, address: IpAddr) -> Option<ObjectInfo<'a>> {
        let object = match address {
            IpAddr::V4(address) => self.v4_names.get(piece_of(self.v4_starts, &u32::from(address))),
            IpAddr::V6(address) => {
                self.v6_names.get(piece_of(self.v6_starts, &halves(u128::from(address))))
            }
        };
        self.object(*object?)
    }

    /// The rule behind a reference; `None` when this image has no such rule.
    #[must_use]
    pub fn rule(&self, rule: RuleRef) -> Option<RuleInfo<'a>> {
        let [name, tier, ingress, egress] = self.policies.get(rule.policy as usize).copied()?;
        let block = if rule.direction == Direction::Ingress { ingress } else { egress };
        let [_, direction, first, end] = self.blocks.get(block as usize).copied()?;
        let rules = range(self.rules, [first, end]);
        let words = RuleWords(*rules.get(rule.rule as usize)?);
        (direction == direction_word(rule.direction)).then_some(RuleInfo {
            tier: self.tier_name(tier)?,
            policy: self.string(name),
            direction: rule.direction,
            rule: rule.rule,
            action: words.action(),
            text: self.string(words.text()),
        })
    }

    /// The name of a tier, by its number in a decision.
    #[must_use]
    pub fn tier_name(&self, tier: u32) -> Option<&'a str> {
        self.tiers.get(tier as usize).map(|[name, _]| self.string(*name))
    }

    /// The name of a policy, by its number in a decision.
    #[must_use]
    pub fn policy_name(&self, policy: u32) -> Option<&'a str> {
        self.policies.get(policy as usize).map(|[name, ..]| self.string(*name))
    }

    /// How much the image holds.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            pieces_v4: self.v4_starts.len(),
            pieces_v6: self.v6_starts.len(),
            classes: self.classes.len(),
            policies: self.policies.len(),
            rules: self.rules.len(),
            objects: self.objects.len(),
        }
    }

    fn string(&self, index: u32) -> &'a str {
        let index = index as usize;
        let end = |at: usize| self.string_ends.get(at).copied().unwrap_or_default() as usize;
        let start = index.checked_sub(1).map_or(0, end);
        let part = self.text.get(start..end(index)).unwrap_or_default();
        std::str::from_utf8(part).unwrap_or_default()
    }
}

/// How much an image holds, for `status` and limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sizes {
    /// Disjoint pieces of the IPv4 space.
    pub pieces_v4: usize,
    /// Disjoint pieces of the IPv6 space.
    pub pieces_v6: usize,
    /// Identity classes.
    pub classes: usize,
    /// Policies.
    pub policies: usize,
    /// Rules of all policies.
    pub rules: usize,
    /// Objects with labels.
    pub objects: usize,
}

/// A half-open range of a table; nothing when it lies outside.
fn range<T>(table: &[T], [first, end]: [u32; 2]) -> &[T] {
    table.get(first as usize..end as usize).unwrap_or_default()
}

/// The last piece that starts at or below `address`; the first one starts at 0.
fn piece_of<T: Ord>(starts: &[T], address: &T) -> usize {
    starts.partition_point(|start| start <= address).wrapping_sub(1)
}

/// An IPv6 address as the table holds it.
pub(crate) fn halves(address: u128) -> [u64; 2] {
    let bytes = address.to_be_bytes();
    let (high, low) = bytes.split_at(8);
    let half = |part: &[u8]| part.try_into().map_or(0, u64::from_be_bytes);
    [half(high), half(low)]
}

/// The number behind an IPv6 address of the table.
fn halves_joined([high, low]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}
