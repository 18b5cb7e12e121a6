//! The one evaluation, which `classify` runs silently and `trace` with a listener.

use super::{Block, View};
use crate::decision::{Checkpoint, Decision, Direction, Half, Reason, RuleRef, Verdict};
use crate::image::index::{Card, First, Header, RunTier, next_tier, run};
use crate::image::layout::{FLAG_ALLOW_UNCOVERED, FLAG_ALLOW_UNSELECTED, INTERFACE_GOVERNED, NONE};
use crate::image::rule::{Candidate, RULE_WORDS, RuleWords, action_of, number_of};
use crate::image::trace::{Observer, Silent};
use crate::packet::{Crossing, PacketKey, Place};
use crate::resource::Action;

/// Which of the two evaluations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Plane {
    /// What is in force.
    Enforced,
    /// As if every staged policy had been applied.
    Pending,
}

/// The programs of what governs a port, of one plane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    pub(crate) ingress: EndpointPrograms,
    pub(crate) egress: EndpointPrograms,
}

/// Numbers of the programs of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointPrograms {
    pub(crate) untracked: u32,
    /// The empty one for egress.
    pub(crate) pre_dnat: u32,
    pub(crate) forward: u32,
    /// Profiles included.
    pub(crate) normal: u32,
}

/// One evaluation under way.
struct Walk<'a, 'v, O> {
    view: &'v View<'a>,
    candidate: Candidate<'v>,
    header: Header,
    logged: Option<RuleRef>,
    observer: &'v mut O,
}

impl View<'_> {
    pub(in crate::image) fn decide<O: Observer>(
        &self,
        packet: &PacketKey,
        crossing: Crossing,
        plane: Plane,
        observer: &mut O,
    ) -> Decision {
        let classes = [packet.src, packet.dst].map(|address| self.class_of(address));
        self.decide_between(packet, classes, crossing, plane, observer)
    }

    /// The same, when the classes of the two addresses are known.
    pub(super) fn decide_between<O: Observer>(
        &self,
        packet: &PacketKey,
        [source, destination]: [u32; 2],
        crossing: Crossing,
        plane: Plane,
        observer: &mut O,
    ) -> Decision {
        let candidate = self.candidate(packet, [source, destination]);
        let mut walk =
            Walk { view: self, candidate, header: Header::of(packet), logged: None, observer };
        let mut decision = Decision::NOTHING_APPLIES;
        let Crossing { from, to } = crossing;
        if let Some(endpoint) = self.endpoint(from, plane) {
            let (half, untracked) = walk.at_interface(Checkpoint::Entry, endpoint, is_port(to));
            decision.entry = Some(half);
            decision.untracked = untracked;
            if half.verdict == Verdict::Deny {
                return decision;
            }
        }
        if from.is_inside() {
            let half = walk.of_class(Checkpoint::Egress, source, plane);
            decision.egress = Some(half);
            if half.verdict == Verdict::Deny {
                return decision;
            }
        }
        if to.is_inside() {
            let half = walk.of_class(Checkpoint::Ingress, destination, plane);
            decision.ingress = Some(half);
            if half.verdict == Verdict::Deny {
                return decision;
            }
        }
        if let Some(endpoint) = self.endpoint(to, plane) {
            let (half, untracked) = walk.at_interface(Checkpoint::Exit, endpoint, is_port(from));
            decision.exit = Some(half);
            decision.untracked |= untracked;
        }
        decision
    }

    /// Whether any `doNotTrack` policy is asked of what enters by the port.
    #[must_use]
    pub fn asks_untracked(&self, from: Place) -> bool {
        self.endpoint(from, Plane::Enforced).is_some_and(|endpoint| endpoint.ingress.untracked != 0)
    }

    /// What a `doNotTrack` policy says of a packet that enters by the port, if one decides. It is asked before any state
    /// (Calico `static.go`, raw PREROUTING): also of packets of a flow that is known.
    #[must_use]
    pub fn classify_untracked(&self, packet: &PacketKey, from: Place) -> Option<Verdict> {
        let endpoint = self.endpoint(from, Plane::Enforced)?;
        let candidate =
            self.candidate(packet, [packet.src, packet.dst].map(|at| self.class_of(at)));
        let mut walk = Walk {
            view: self,
            candidate,
            header: Header::of(packet),
            logged: None,
            observer: &mut Silent,
        };
        walk.program(endpoint.ingress.untracked).map(|(verdict, _)| verdict)
    }

    fn candidate<'v>(
        &'v self,
        packet: &'v PacketKey,
        [source, destination]: [u32; 2],
    ) -> Candidate<'v> {
        let (source_sets, destination_sets) = (self.sets_of(source), self.sets_of(destination));
        Candidate { packet, source_sets, destination_sets }
    }

    /// What governs the port, if anything does.
    pub(crate) fn endpoint(&self, place: Place, plane: Plane) -> Option<Endpoint> {
        let Place::Port { number, .. } = place else { return None };
        let [_, _, flags, programs @ ..] = self.interface(number)?;
        if flags & INTERFACE_GOVERNED == 0 {
            return None;
        }
        let (enforced, pending) = programs.split_at(7);
        let programs = match plane {
            Plane::Enforced => enforced,
            Plane::Pending => pending,
        };
        let programs: [u32; 7] = programs.try_into().ok()?;
        let [untracked_in, pre_dnat, forward_in, normal_in, untracked_out, forward_out, normal_out] =
            programs;
        Some(Endpoint {
            ingress: EndpointPrograms {
                untracked: untracked_in,
                pre_dnat,
                forward: forward_in,
                normal: normal_in,
            },
            egress: EndpointPrograms {
                untracked: untracked_out,
                pre_dnat: 0,
                forward: forward_out,
                normal: normal_out,
            },
        })
    }
}

fn is_port(place: Place) -> bool {
    matches!(place, Place::Port { .. })
}

impl<O: Observer> Walk<'_, '_, O> {
    /// Entry or exit of a port that an endpoint governs. The second is whether a `doNotTrack` policy allowed.
    fn at_interface(
        &mut self,
        at: Checkpoint,
        endpoint: Endpoint,
        forwarded: bool,
    ) -> (Half, bool) {
        self.begin(at);
        let is_entry = at == Checkpoint::Entry;
        let programs = if is_entry { endpoint.ingress } else { endpoint.egress };
        // What is forwarded was asked for untracked policy when it entered.
        if is_entry || !forwarded {
            if let Some((verdict, reason)) = self.program(programs.untracked) {
                return (self.half(verdict, reason), verdict == Verdict::Allow);
            }
            if let Some((verdict, reason)) = self.program(programs.pre_dnat) {
                return (self.half(verdict, reason), false);
            }
        }
        let (verdict, reason) = if forwarded {
            let decided = self.program(programs.forward);
            decided.unwrap_or((Verdict::Allow, Reason::NoForwardPolicy))
        } else {
            self.program(programs.normal).unwrap_or((Verdict::Deny, Reason::NoProfile))
        };
        (self.half(verdict, reason), false)
    }

    /// What is behind the gateway, in one direction.
    fn of_class(&mut self, at: Checkpoint, class: u32, plane: Plane) -> Half {
        self.begin(at);
        let view = self.view;
        let run = if O::HEARS_ALL { None } else { view.run_of_class(class, at.direction(), plane) };
        let decided = match run {
            Some(run) => self.run(run),
            None => match view.program(class, at.direction(), plane) {
                Ok(program) => self.program(program),
                Err((verdict, reason)) => return self.half(verdict, reason),
            },
        };
        let (verdict, reason) = decided.unwrap_or((Verdict::Deny, Reason::NoTierDecided));
        self.half(verdict, reason)
    }

    fn begin(&mut self, at: Checkpoint) {
        self.observer.checkpoint(at);
        self.logged = None;
    }

    fn half(&self, verdict: Verdict, reason: Reason) -> Half {
        Half { verdict, reason, logged: self.logged }
    }

    /// Tiers, policies, rules, in order; `None` when no tier decides.
    fn program(&mut self, program: u32) -> Option<(Verdict, Reason)> {
        let view = self.view;
        if !O::HEARS_ALL
            && let Some(run) = view.run_of(program)
        {
            return self.run(run);
        }
        let segments = view.programs.get(program).copied().unwrap_or_default();
        view.segments.range(segments).iter().find_map(|[tier, first, end, denies]| {
            self.observer.tier(*tier);
            self.tier(*tier, view.steps.range([*first, *end]), *denies != 0)
        })
    }

    /// The same of a program as one run of words.
    fn run(&mut self, mut run: &[u32]) -> Option<(Verdict, Reason)> {
        while let Some(RunTier { tier, denies, steps }) = next_tier(&mut run) {
            if let Some(decided) = self.tier(tier, steps, denies) {
                return Some(decided);
            }
        }
        None
    }

    /// `None` when the tier leaves the packet to the next one.
    fn tier(&mut self, tier: u32, steps: &[u32], denies: bool) -> Option<(Verdict, Reason)> {
        for step in steps {
            match self.block(*step) {
                Step::Decided(verdict, rule) => return Some((verdict, Reason::Rule(rule))),
                Step::Passed => return None,
                Step::Undecided => {}
            }
        }
        denies.then_some((Verdict::Deny, Reason::EndOfTier(tier)))
    }

    fn block(&mut self, step: u32) -> Step {
        let view = self.view;
        let Some(block) = view.block(step) else { return Step::Undecided };
        if !O::HEARS_ALL
            && let Some(card) = block.index.card(block.number)
        {
            return self.indexed(block, card);
        }
        let [policy, direction, first, end] = *block.row;
        self.observer.policy(policy);
        let direction = if direction == 0 { Direction::Egress } else { Direction::Ingress };
        self.rows(view.rules.range([first, end]), RuleRef { policy, direction, rule: 0 })
    }

    /// What the rows of a block say, found by its index.
    fn indexed(&mut self, block: Block<'_>, card: &Card) -> Step {
        let (view, candidate) = (self.view, &self.candidate);
        let other_end = candidate.other_end(card.direction);
        if !card.concerns(other_end) {
            return Step::Undecided;
        }
        let matches = |row: u32| {
            let [_, _, first, end] = *block.row;
            let words = view.rules.range([first, end]).get(row as usize);
            words.is_some_and(|words| {
                RuleWords(*words).mismatch(candidate, view.rule_tables).is_none()
            })
        };
        let First { terminal, log } = block.index.first_of(card, self.header, other_end, matches);
        let place = RuleRef { policy: card.policy, direction: card.direction, rule: 0 };
        if let Some((_, head)) = log.filter(|log| terminal.is_none_or(|end| log.0 < end.0)) {
            self.logged = self.logged.or(Some(RuleRef { rule: number_of(head), ..place }));
        }
        terminal.map_or(Step::Undecided, |(_, head)| Step::of(head, place))
    }

    fn rows(&mut self, rows: &[[u32; RULE_WORDS]], place: RuleRef) -> Step {
        for words in rows {
            let step = self.row(RuleWords(*words), place);
            if !matches!(step, Step::Undecided) {
                return step;
            }
        }
        Step::Undecided
    }

    #[inline]
    fn row(&mut self, words: RuleWords, place: RuleRef) -> Step {
        let mismatch = words.mismatch(&self.candidate, self.view.rule_tables);
        let rule = RuleRef { rule: words.number(), ..place };
        self.observer.rule(rule, mismatch);
        if mismatch.is_some() {
            return Step::Undecided;
        }
        if words.action() == Action::Log {
            self.logged = self.logged.or(Some(rule));
        }
        Step::of(words.head(), place)
    }
}

/// Where rules leave a packet.
enum Step {
    /// One allowed or denied.
    Decided(Verdict, RuleRef),
    /// One passed it to the next tier.
    Passed,
    /// None did either.
    Undecided,
}

impl Step {
    /// Where a row that matches leaves them, by its first word; `place` is its policy and direction.
    fn of(head: u32, place: RuleRef) -> Self {
        let rule = RuleRef { rule: number_of(head), ..place };
        match action_of(head) {
            Action::Allow => Self::Decided(Verdict::Allow, rule),
            Action::Deny => Self::Decided(Verdict::Deny, rule),
            Action::Pass => Self::Passed,
            Action::Log => Self::Undecided,
        }
    }
}

impl View<'_> {
    /// The number of the program that judges packets of the class in the direction, or, where none does, the answer.
    pub(crate) fn program(
        &self,
        class: u32,
        direction: Direction,
        plane: Plane,
    ) -> Result<u32, (Verdict, Reason)> {
        let [covered, ingress, egress, pending_ingress, pending_egress, _] =
            self.classes.get(class).copied().unwrap_or_default();
        let program = match (plane, direction) {
            (Plane::Enforced, Direction::Ingress) => ingress,
            (Plane::Enforced, Direction::Egress) => egress,
            (Plane::Pending, Direction::Ingress) => pending_ingress,
            (Plane::Pending, Direction::Egress) => pending_egress,
        };
        let segments = self.programs.get(program).copied().unwrap_or_default();
        let half = if covered == 0 {
            self.default_half(Reason::Uncovered, FLAG_ALLOW_UNCOVERED)
        } else if self.segments.range(segments).is_empty() {
            self.default_half(Reason::Unselected, FLAG_ALLOW_UNSELECTED)
        } else {
            return Ok(program);
        };
        Err((half.verdict, half.reason))
    }

    /// The run of the program that judges packets of the class, if it has one.
    #[inline]
    pub(super) fn run_of_class(
        &self,
        class: u32,
        direction: Direction,
        plane: Plane,
    ) -> Option<&[u32]> {
        let card = match plane {
            Plane::Enforced => self.class_card(class),
            Plane::Pending => return None,
        };
        let start = match direction {
            Direction::Egress => card.egress,
            Direction::Ingress => card.ingress,
        };
        run(self.program_words, start)
    }

    fn run_of(&self, program: u32) -> Option<&[u32]> {
        run(self.program_words, *self.program_starts.get(program)?)
    }

    /// The row of a port; the last one is that of all ports without a row of their own.
    fn interface(&self, number: Option<u16>) -> Option<[u32; super::INTERFACE_WORDS]> {
        let (rest, own) = self.interfaces.split_last()?;
        let own_row = number.and_then(|number| own.get(usize::from(number)));
        Some(*own_row.unwrap_or(rest))
    }

    /// The position of a port in the policy set that this image was compiled from, by the name of its interface.
    #[must_use]
    pub fn port_number(&self, interface: &str) -> Option<u16> {
        let (_, own) = self.interfaces.split_last()?;
        let at = own.iter().position(|[name, ..]| self.string(*name) == interface)?;
        u16::try_from(at).ok()
    }

    /// The name of the interface endpoint that governs a port, if one does.
    #[must_use]
    pub fn endpoint_name(&self, place: Place) -> Option<&str> {
        let Place::Port { number, .. } = place else { return None };
        let [_, name, ..] = self.interface(number)?;
        (name != NONE).then(|| self.string(name))
    }
}
