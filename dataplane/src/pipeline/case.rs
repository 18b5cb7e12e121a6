//! One IP packet before its judge: by its flow if it has one, else by the policy. Decided first, noted after.

use classifier::decision::Verdict;
use classifier::image::View;
use classifier::packet::{PacketKey, Transport};
use classifier::record::{Pending, RecordKind};

use super::ahead::{Answer, Found};
use super::ledger::{Judged, Ledger, Noted};
use crate::device::Port;
use crate::disposition::{Disposition, DropReason};
use crate::flow::{Admission, Admitted, End, Flow, FlowKey, FlowTable};
use crate::flow::{Start, State, Step, Way, start, step};
use crate::moment::Moment;
use crate::parse::{Packet, Query, Signal};
use crate::policy::Published;

/// A packet and all that its fate depends on.
pub(super) struct Case<'a> {
    pub(super) policy: &'a Published,
    pub(super) view: &'a View<'a>,
    pub(super) flows: &'a FlowTable,
    pub(super) ledger: &'a mut Ledger,
    pub(super) packet: &'a Packet,
    pub(super) in_port: Port,
    pub(super) length: usize,
    pub(super) now: Moment,
    /// What the policy said when it was asked for the whole batch.
    pub(super) answer: Option<Answer<'a>>,
    /// Whether a flow was opened since the flows of the batch were looked up.
    pub(super) opened: &'a mut bool,
}

impl<'a> Case<'a> {
    /// `found` is what was known of its flow before the batch.
    pub(super) fn decide(mut self, found: Option<Found<'a>>) -> Disposition {
        if self.is_untracked() {
            return self.judge_alone();
        }
        let Some(Found { key, sender, known }) = found else {
            return self.judge_alone();
        };
        match self.find(&key, known) {
            Some(flow) => self.judge_in(flow, &key, sender),
            None => match start(self.packet.signal, self.packet.key.protocol) {
                Start::Flow(state) => self.judge_opening(&key, sender, state, None),
                Start::Nothing => self.judge_alone(),
                Start::Refuse => Disposition::Drop(DropReason::TcpNotOpening),
            },
        }
    }

    /// The flow as it is now. What was known of it before may be over by a packet of the same batch; where none was
    /// known and none opened since, there is none.
    fn find(&self, key: &FlowKey, known: Option<Flow<'a>>) -> Option<Flow<'a>> {
        if known.is_none() && !*self.opened {
            return None;
        }
        known.and_then(Flow::again).or_else(|| self.flows.find(key, self.now))
    }

    /// A packet of a known flow passes if the policy in force allows the flow.
    ///
    /// A flow of a later publication than this batch's was allowed by a worker that is ahead of us: it stays as it is.
    fn judge_in(&mut self, mut flow: Flow<'a>, key: &FlowKey, sender: End) -> Disposition {
        let (way, signal) = (flow.way(sender), self.packet.signal);
        if flow.epoch() < self.policy.epoch && !self.is_still_allowed(&mut flow, way) {
            return Disposition::Drop(DropReason::PolicyDenied);
        }
        match step(flow.state(), way, signal) {
            Step::Stay(_) => {
                flow.touch(self.now, |state| match step(state, way, signal) {
                    Step::Stay(next) => next,
                    Step::Judge | Step::Replace => state,
                });
                Disposition::Forward
            }
            Step::Judge => self.judge_alone(),
            Step::Replace => self.judge_opening(key, sender, State::Opening, Some(flow)),
        }
    }

    /// Judges a flow of an older publication again, by the packet that opened it, and cuts it if that is denied now.
    ///
    /// When another worker has changed the flow meanwhile, only this packet is decided here.
    fn is_still_allowed(&mut self, flow: &mut Flow<'_>, way: Way) -> bool {
        let mut noted = self.noted();
        if way == Way::Reply {
            noted.packet = opening_of_reply(self.packet);
            noted.in_port = self.in_port.other();
        }
        let judged = self.classify(&noted);
        if judged.verdict() == Verdict::Allow {
            let _ = flow.renew(self.policy.epoch);
            return true;
        }
        if self.flows.remove(flow) {
            self.ledger.counters.flows_cut += 1;
            self.ledger.record(RecordKind::Cut, noted, &judged);
        } else {
            self.ledger.record(RecordKind::Denied, noted, &judged);
        }
        false
    }

    /// A packet that may open a flow, or take the place of one that is over.
    fn judge_opening(
        &mut self,
        key: &FlowKey,
        sender: End,
        state: State,
        over: Option<Flow<'_>>,
    ) -> Disposition {
        let noted = self.noted();
        let judged = self.classify(&noted);
        if judged.verdict() == Verdict::Deny {
            return self.deny(noted, &judged);
        }
        *self.opened = true;
        let admission = Admission { opened_by: sender, epoch: self.policy.epoch, state };
        let replaced = over.is_some_and(|over| self.flows.replace(&over, key, admission, self.now));
        let admitted = if replaced {
            Ok(Admitted { started: 1, ended: 1 })
        } else {
            self.flows.admit(key, admission, self.now)
        };
        let Ok(Admitted { started, ended }) = admitted else {
            return Disposition::Drop(DropReason::FlowTableFull);
        };
        self.ledger.counters.flows_started += started;
        self.ledger.counters.flows_ended += ended;
        if started > 0 {
            self.ledger.record(RecordKind::Started, noted, &judged);
        }
        self.allow(noted, &judged)
    }

    /// A packet that policy judges by itself.
    fn judge_alone(&mut self) -> Disposition {
        let noted = self.noted();
        let judged = self.classify(&noted);
        match judged.verdict() {
            Verdict::Allow => self.allow(noted, &judged),
            Verdict::Deny => self.deny(noted, &judged),
        }
    }

    /// Whether a `doNotTrack` policy decides about the packet: then no flow plays a part, neither one that is known nor a
    /// new one.
    fn is_untracked(&self) -> bool {
        if !self.policy.asks_untracked(self.in_port) {
            return false;
        }
        let from = self.policy.place(self.in_port, self.ledger.rules(self.in_port).side);
        self.view.classify_untracked(&self.packet.key, from).is_some()
    }

    fn allow(&mut self, noted: Noted, judged: &Judged) -> Disposition {
        if judged.decision.logged().is_some() {
            self.ledger.record(RecordKind::Logged, noted, judged);
        }
        Disposition::Forward
    }

    fn deny(&mut self, noted: Noted, judged: &Judged) -> Disposition {
        self.ledger.record(RecordKind::Denied, noted, judged);
        Disposition::Drop(DropReason::PolicyDenied)
    }

    /// Asks the policy, and beside it, where something is staged, the policy that may come.
    fn classify(&mut self, noted: &Noted) -> Judged {
        let crossing = self.ledger.crossing(noted.in_port, self.policy);
        let answer = self.answer.filter(|answer| *answer.question == (noted.packet, crossing));
        let decision = match answer {
            Some(answer) => *answer.decision,
            None => self.view.classify(&noted.packet, crossing),
        };
        if !self.policy.has_pending() {
            return Judged { decision, pending: None };
        }
        let pending = Pending::from(&match answer.and_then(|answer| answer.pending) {
            Some(pending) => *pending,
            None => self.view.classify_pending(&noted.packet, crossing),
        });
        let differs = pending.verdict != decision.verdict();
        self.ledger.counters.pending_differs += u64::from(differs);
        Judged { decision, pending: Some(pending) }
    }

    fn noted(&self) -> Noted {
        Noted {
            packet: self.packet.key,
            in_port: self.in_port,
            vlans: self.packet.vlans,
            length: self.length,
            generation: self.policy.image.generation(),
            now: self.now,
        }
    }
}

/// The packet that opened the flow which `reply` belongs to, as far as rules can see it.
pub(super) fn opening_of_reply(reply: &Packet) -> PacketKey {
    let PacketKey { src, dst, protocol, transport } = reply.key;
    let transport = match (reply.signal, transport) {
        (Signal::Reply(Query { kind, .. }), _) => Transport::Icmp { kind, code: 0 },
        (_, Transport::Ports { src, dst }) => Transport::Ports { src: dst, dst: src },
        (_, Transport::Icmp { .. } | Transport::Opaque) => transport,
    };
    PacketKey { src: dst, dst: src, protocol, transport }
}
