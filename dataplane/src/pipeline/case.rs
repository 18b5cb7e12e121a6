//! One IP packet before its judge: by its flow if it has one, else by the policy. Decided first, noted after.

use classifier::decision::Verdict;
use classifier::image::View;
use classifier::packet::{PacketKey, Transport};
use classifier::record::{Pending, RecordKind};

use super::ahead::{Answer, Found};
use super::ledger::{Judged, Ledger, Noted};
use crate::checks::Checks;
use crate::device::Port;
use crate::disposition::{Disposition, DropReason, Reasons};
use crate::flow::{Admission, Admitted, Connection, End, Flow, FlowKey, FlowTable};
use crate::flow::{Refusal, Start, State, Tracked, Way, start};
use crate::moment::Moment;
use crate::parse::{Packet, Query, Quote, Quoted, Segment, Signal};
use crate::policy::Published;

/// Attempts to judge a packet by its flow while other workers change it: one renews it, or answers its SYN, at a time.
const ATTEMPTS: usize = 8;

/// A packet and all that its fate depends on.
pub(super) struct Case<'a> {
    pub(super) policy: &'a Published,
    pub(super) view: &'a View<'a>,
    pub(super) flows: &'a FlowTable,
    pub(super) ledger: &'a mut Ledger,
    pub(super) checks: &'a Checks,
    /// Whether flows stay allowed when policy changes.
    pub(super) keep_on_policy_change: bool,
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
            None => self.judge_without(&key, sender),
        }
    }

    /// A packet that belongs to no known flow.
    fn judge_without(&mut self, key: &FlowKey, sender: End) -> Disposition {
        let pick_up = self.ledger.rules(self.in_port).pick_up;
        match start(self.packet.signal, self.packet.key.protocol, pick_up) {
            Start::Flow(state) => self.judge_opening(key, self.admission(sender, state), None),
            // Without a flow, not even a packet whose check is waived may pass for a part of one.
            Start::Refuse(reason) if self.refuses(reason) => Disposition::Drop(reason),
            Start::Nothing | Start::Refuse(DropReason::IcmpUnmatched) => self.judge_alone(),
            Start::Refuse(_) => Disposition::Drop(DropReason::TcpNotOpening),
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

    /// A packet of a known flow passes if it belongs there and the policy in force allows the flow.
    ///
    /// A flow of a later publication than this batch's was allowed by a worker that is ahead of us: it stays as it is.
    fn judge_in(&mut self, mut flow: Flow<'a>, key: &FlowKey, sender: End) -> Disposition {
        for _ in 0..ATTEMPTS {
            let way = flow.way(sender);
            if self.is_outdated(&flow) && !self.is_still_allowed(&mut flow, way) {
                return Disposition::Drop(DropReason::PolicyDenied);
            }
            let fate = match self.packet.signal {
                Signal::Tcp(segment) => self.track(&flow, key, sender, &segment),
                Signal::Error(quote) => Some(self.judge_error(&flow, way, &quote)),
                Signal::Request(_) | Signal::Reply(_) | Signal::Datagram | Signal::Message => {
                    flow.touch(way, self.now);
                    Some(Disposition::Forward)
                }
            };
            if let Some(fate) = fate {
                return fate;
            }
            let Some(moved) = self.flows.find(key, self.now) else {
                return self.judge_without(key, sender);
            };
            flow = moved;
        }
        Disposition::Drop(DropReason::Internal)
    }

    /// A segment of a known connection. `None`: another worker changed the flow meanwhile.
    fn track(
        &mut self,
        flow: &Flow<'a>,
        key: &FlowKey,
        sender: End,
        segment: &Segment,
    ) -> Option<Disposition> {
        let way = flow.way(sender);
        Some(match self.flows.track(flow, key, way, segment, self.now) {
            Tracked::Refused(reason) if self.refuses(reason) => Disposition::Drop(reason),
            Tracked::Passes | Tracked::Refused(_) => Disposition::Forward,
            Tracked::Judged(expected) => {
                let fate = self.judge_alone();
                if let (Disposition::Forward, Some(expected)) = (fate, expected) {
                    self.flows.expect(flow, expected);
                }
                fate
            }
            Tracked::Replaces => {
                let admission = self.admission(sender, State::Opening);
                self.judge_opening(key, admission, Some(*flow))
            }
            Tracked::Restarts(connection) => return self.restart(flow, key, sender, connection),
            Tracked::Moved => return None,
        })
    }

    /// The answer to a SYN that passed on a connection it did not belong to: if its direction is still allowed, its flow takes
    /// the place of that one.
    fn restart(
        &mut self,
        flow: &Flow<'a>,
        key: &FlowKey,
        sender: End,
        connection: Connection,
    ) -> Option<Disposition> {
        let noted = self.noted_opening(Way::Reply);
        let judged = self.classify(&noted);
        if judged.verdict() == Verdict::Deny {
            return Some(self.deny(noted, &judged));
        }
        let (opened_by, epoch) = (sender.other(), self.policy.epoch);
        let is_limited = true;
        let state = State::Answered;
        let admission = Admission { opened_by, epoch, state, connection, is_limited };
        match self.put(key, admission, Some(*flow)) {
            Ok(0) => None,
            Ok(_) => {
                self.ledger.record(RecordKind::Started, noted, &judged);
                Some(self.allow(noted, &judged))
            }
            Err(reason) => Some(Disposition::Drop(reason)),
        }
    }

    /// An ICMP error about a packet that `flow` had going `way`. It must come back to who sent that packet (RFC 5508 REQ-4),
    /// and be about one in flight; who sends it does not matter. It passes as it is, and neither keeps the flow alive
    /// nor ends it (RFC 5382 REQ-10, RFC 5508 REQ-6).
    fn judge_error(&mut self, flow: &Flow<'a>, way: Way, quote: &Quote) -> Disposition {
        let is_in_flight = match quote.part {
            Quoted::Tcp(seq) => self.flows.is_in_flight(flow, way, seq),
            Quoted::Query(_) | Quoted::Datagram => !flow.state().is_tcp(),
        };
        let matches = self.packet.key.dst == quote.key.src && is_in_flight;
        if !matches && self.refuses(DropReason::IcmpUnmatched) {
            return Disposition::Drop(DropReason::IcmpUnmatched);
        }
        if matches { Disposition::Forward } else { self.judge_alone() }
    }

    /// Whether a check that the packet failed is one that drops it. One that is set to count only is counted.
    fn refuses(&mut self, reason: DropReason) -> bool {
        let refuses = self.checks.refuse(reason);
        if !refuses {
            self.ledger.counters.note_noticed(self.in_port, Reasons::default().with(reason));
        }
        refuses
    }

    /// Whether a later policy has to allow the flow before its next packet passes.
    fn is_outdated(&self, flow: &Flow<'_>) -> bool {
        flow.epoch() < self.policy.epoch && !self.keep_on_policy_change
    }

    /// Judges a flow of an older publication again, by the packet that opened it, and cuts it if that is denied now.
    ///
    /// When another worker has changed the flow meanwhile, only this packet is decided here.
    fn is_still_allowed(&mut self, flow: &mut Flow<'_>, way: Way) -> bool {
        let noted = self.noted_opening(way);
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
        admission: Admission,
        over: Option<Flow<'_>>,
    ) -> Disposition {
        let noted = self.noted();
        let judged = self.classify(&noted);
        if judged.verdict() == Verdict::Deny {
            return self.deny(noted, &judged);
        }
        let started = match over {
            Some(over) => match self.put(key, admission, Some(over)) {
                Ok(0) => self.put(key, admission, None),
                started => started,
            },
            None => self.put(key, admission, None),
        };
        match started {
            Ok(started) => {
                if started > 0 {
                    self.ledger.record(RecordKind::Started, noted, &judged);
                }
                self.allow(noted, &judged)
            }
            Err(reason) => Disposition::Drop(reason),
        }
    }

    /// Puts a flow into the table, in the place of `over` if there is one; how many started. A limit that is set to count
    /// only is asked first, so that it is counted, and then passed over.
    fn put(
        &mut self,
        key: &FlowKey,
        admission: Admission,
        over: Option<Flow<'_>>,
    ) -> Result<u64, DropReason> {
        let mut admitted = self.put_as(key, admission, over);
        if let Err(refusal) = admitted
            && !self.refuses(reason_of(refusal))
        {
            admitted = self.put_as(key, Admission { is_limited: false, ..admission }, over);
        }
        let Admitted { started, ended } = admitted.map_err(reason_of)?;
        *self.opened = true;
        self.ledger.counters.flows_started += started;
        self.ledger.counters.flows_ended += ended;
        Ok(started)
    }

    fn put_as(
        &self,
        key: &FlowKey,
        admission: Admission,
        over: Option<Flow<'_>>,
    ) -> Result<Admitted, Refusal> {
        match over {
            Some(over) => self.flows.replace(&over, key, admission, self.now),
            None => self.flows.admit(key, admission, self.now),
        }
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

    /// The flow that this packet of `opened_by` begins.
    fn admission(&self, opened_by: End, state: State) -> Admission {
        let connection = match self.packet.signal {
            Signal::Tcp(segment) if segment.flags.opens() => Connection::opened(&segment),
            Signal::Tcp(segment) => Connection::picked_up(&segment),
            Signal::Request(_)
            | Signal::Reply(_)
            | Signal::Error(_)
            | Signal::Message
            | Signal::Datagram => Connection::default(),
        };
        Admission { opened_by, epoch: self.policy.epoch, state, connection, is_limited: true }
    }

    /// The packet that opened the flow of this one, which went `way`, as far as rules can see it.
    fn noted_opening(&self, way: Way) -> Noted {
        let noted = self.noted();
        let (packet, from_here) = opening(self.packet, way);
        let in_port = if from_here { self.in_port } else { self.in_port.other() };
        Noted { packet, in_port, ..noted }
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

/// What the drop of a packet is counted as whose flow is refused.
fn reason_of(refusal: Refusal) -> DropReason {
    match refusal {
        Refusal::Full => DropReason::FlowTableFull,
        Refusal::HalfOpen => DropReason::HalfOpenLimit,
        Refusal::FlowsOfSource => DropReason::SourceFlowLimit,
        Refusal::NewFlowRate => DropReason::NewFlowRate,
    }
}

/// The packet that opened the flow which `packet` belongs to, going `way`, as far as rules can see it, and whether it came in
/// by the same port. Of an ICMP error, `way` is that of the quoted packet, which came in by the other port.
pub(super) fn opening(packet: &Packet, way: Way) -> (PacketKey, bool) {
    let (key, asks, from_here) = match packet.signal {
        Signal::Error(Quote { key, part: Quoted::Query(query) }) => (key, Some(query), false),
        Signal::Error(Quote { key, .. }) => (key, None, false),
        Signal::Reply(query) => (packet.key, Some(query), true),
        Signal::Request(_) | Signal::Message | Signal::Datagram | Signal::Tcp(_) => {
            (packet.key, None, true)
        }
    };
    match way {
        Way::Original => (key, from_here),
        Way::Reply => (reversed(&key, asks), !from_here),
    }
}

/// The other way of a conversation. What answers a query is the other way of that query.
fn reversed(key: &PacketKey, query: Option<Query>) -> PacketKey {
    let PacketKey { src, dst, protocol, transport } = *key;
    let transport = match (query, transport) {
        (Some(Query { kind, .. }), _) => Transport::Icmp { kind, code: 0 },
        (None, Transport::Ports { src, dst }) => Transport::Ports { src: dst, dst: src },
        (None, Transport::Icmp { .. } | Transport::Opaque) => transport,
    };
    PacketKey { src: dst, dst: src, protocol, transport }
}
