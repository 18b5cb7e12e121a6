//! Where people look at live flows and end some. The handover's thread does it: no worker waits, whatever is asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use classifier::decision::Decision;
use classifier::handover::flows::{Conversation, encode_page};
use classifier::image::Image;
use classifier::packet::{Crossing, Side};
use classifier::record::{FlowRecord, Pending, RecordKind};
use rtrb::Producer;

use crate::device::Port;
use crate::flow::FlowTable;
use crate::moment::Moment;
use crate::policy::{PolicyReader, Published};

/// What a desk works with.
pub struct DeskParts {
    /// The one table of all workers.
    pub table: Arc<FlowTable>,
    /// Where the policy in force is found.
    pub policy: PolicyReader,
    /// The side that each port faces, in the order of the settings.
    pub sides: [Side; 2],
    /// Takes flow records to the reporter.
    pub records: Producer<FlowRecord>,
    /// The workers' clock.
    pub clock: Box<dyn Fn() -> Moment + Send>,
    /// Wall-clock time at that clock's origin, in nanoseconds since 1970.
    pub wall_offset_ns: u64,
}

/// Lists flows and ends them.
#[derive(Debug)]
pub struct FlowDesk {
    parts: DeskParts,
    counts: Arc<DeskCounts>,
}

/// What was done at a desk, readable from another thread.
#[derive(Debug, Default)]
pub struct DeskCounts {
    killed: AtomicU64,
    records_lost: AtomicU64,
}

impl DeskCounts {
    /// Flows that a person ended.
    #[must_use]
    pub fn killed(&self) -> u64 {
        self.killed.load(Ordering::Relaxed)
    }

    /// Records of it that were lost because the queue to the reporter was full.
    #[must_use]
    pub fn records_lost(&self) -> u64 {
        self.records_lost.load(Ordering::Relaxed)
    }
}

impl FlowDesk {
    /// A desk where nothing was done yet.
    #[must_use]
    pub fn new(parts: DeskParts) -> Self {
        Self { parts, counts: Arc::default() }
    }

    /// What was done here.
    #[must_use]
    pub fn counts(&self) -> Arc<DeskCounts> {
        Arc::clone(&self.counts)
    }

    /// The page of flows that `cursor` leads to.
    pub(super) fn page(&mut self, cursor: u64) -> Vec<u8> {
        let DeskParts { table, policy, clock, .. } = &mut self.parts;
        policy.refresh();
        let epoch = policy.snapshot().map_or(u64::MAX, |published| published.epoch);
        let (next, flows) = table.page(cursor, clock(), epoch);
        encode_page(next, &flows)
    }

    /// Ends flows. Each leaves a record; the next packet of it is one of no known flow. Returns how many there were.
    pub(super) fn kill(&mut self, conversations: &[Conversation]) -> u64 {
        let Self { parts, counts } = self;
        parts.policy.refresh();
        let mut killed = 0;
        for conversation in conversations {
            let now = (parts.clock)();
            if parts.table.kill(conversation, now) {
                killed += 1;
                let record = record_of(parts, conversation, now);
                if parts.records.push(record).is_err() {
                    counts.records_lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        counts.killed.fetch_add(killed, Ordering::Relaxed);
        killed
    }
}

impl fmt::Debug for DeskParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeskParts").field("sides", &self.sides).finish_non_exhaustive()
    }
}

/// The record says what the policy in force says of the flow that a person ended all the same.
fn record_of(parts: &DeskParts, conversation: &Conversation, now: Moment) -> FlowRecord {
    let packet = conversation.packet();
    let published = parts.policy.snapshot();
    let generation = published.map_or(0, |published| published.image.generation());
    let judge = |published: &Published| {
        let crossing = crossing(published, parts.sides, conversation.in_port);
        judged(&published.image, conversation, crossing)
    };
    let (decision, pending) = published.map_or((Decision::NOTHING_APPLIES, None), judge);
    FlowRecord {
        time_ns: parts.wall_offset_ns.saturating_add(now.nanos()),
        generation,
        kind: RecordKind::Killed,
        in_port: conversation.in_port,
        out_port: 1 - conversation.in_port.min(1),
        vlans: conversation.vlans,
        length: 0,
        packet,
        decided: decision.deciding().map(|(at, half)| (at, half.reason)),
        logged: decision.logged(),
        pending,
    }
}

fn judged(
    image: &Image,
    conversation: &Conversation,
    crossing: Crossing,
) -> (Decision, Option<Pending>) {
    let (view, packet) = (image.view(), conversation.packet());
    let pending = view.has_pending().then(|| view.classify_pending(&packet, crossing));
    (view.classify(&packet, crossing), pending.as_ref().map(Pending::from))
}

fn crossing(published: &Published, [a, b]: [Side; 2], in_port: u8) -> Crossing {
    let (first, second) = (published.place(Port::A, a), published.place(Port::B, b));
    if in_port == 0 {
        Crossing { from: first, to: second }
    } else {
        Crossing { from: second, to: first }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::path::Path;
    use std::time::SystemTime;

    use classifier::compile::{Limits, compile};
    use classifier::decision::{Direction, Reason, RuleRef};
    use classifier::handover::flows::{END, decode_page};
    use classifier::handover::{Reply, Request};
    use classifier::packet::protocol;
    use classifier::resource::{Action, Object, ObjectKind, Policy, PolicySet, Rule, Tier};
    use classifier::selector::Selector;
    use rtrb::{Consumer, RingBuffer};

    use super::*;
    use crate::flow::{Admission, Connection, End, FlowKey, State};
    use crate::handover::{Answer, Handover, Message};
    use crate::policy::PolicySlot;

    #[test]
    fn killed_flow_is_gone_counted_and_recorded_with_its_rule() {
        let (mut desk, table, mut records) = desk(4);
        admit(&table, 1, 1);
        let now = SystemTime::UNIX_EPOCH;
        let answered = |answer: Answer<'_>| (answer.reply, answer.text);
        let body = conversation(1).encode().repeat(2);
        let message = |body: &[u8]| Message {
            request: Some(Request::Kill as u8),
            body: body.to_vec(),
            descriptors: Vec::new(),
        };
        let counts = desk.counts();
        assert_eq!(desk.page(0).len(), 8 + 52);
        let mut handover = handover(desk);
        assert_eq!(answered(handover.answer(message(&body), now)), (Reply::Done, "1".to_owned()));
        assert_eq!((table.live(), counts.killed(), counts.records_lost()), (0, 1, 0));
        let record = records.pop().unwrap();
        assert_eq!((record.kind, record.generation), (RecordKind::Killed, 9));
        assert_eq!((record.in_port, record.out_port), (0, 1));
        assert_eq!(record.time_ns, 1_000 + 5_000_000_000);
        let rule = RuleRef { policy: 0, direction: Direction::Ingress, rule: 0 };
        assert_eq!(record.decided.unwrap().1, Reason::Rule(rule));
        assert!(records.pop().is_err(), "the second time there was none");
        let refused = (Reply::Refused, "these are no flows".to_owned());
        for hostile in [&body[..41], &[], &[0xff; 42]] {
            assert_eq!(answered(handover.answer(message(hostile), now)), refused);
        }
    }

    #[test]
    fn full_queue_costs_the_record_and_is_counted() {
        let (mut desk, table, _records) = desk(1);
        for number in 0..3 {
            admit(&table, number, 1);
        }
        let all: Vec<_> = (0..3).map(conversation).collect();
        assert_eq!(desk.kill(&all), 3);
        assert_eq!((desk.counts().killed(), desk.counts().records_lost()), (3, 2));
    }

    #[test]
    fn pages_come_by_request_and_say_what_the_policy_in_force_was_asked() {
        let (desk, table, _records) = desk(1);
        admit(&table, 1, 1);
        admit(&table, 2, 0);
        let mut handover = handover(desk);
        let mut ask = |body: &[u8]| {
            let (request, body) = (Some(Request::Flows as u8), body.to_vec());
            let message = Message { request, body, descriptors: Vec::new() };
            let answer = handover.answer(message, SystemTime::UNIX_EPOCH);
            (answer.reply, answer.text, answer.bytes)
        };
        let (reply, _, page) = ask(&0_u64.to_le_bytes());
        let (next, flows) = decode_page(&page).unwrap();
        assert_eq!((reply, next, flows.len()), (Reply::Done, END, 2));
        for flow in flows {
            assert_eq!(flow.is_current, flow.conversation == conversation(1));
        }
        for hostile in [&[][..], &[0; 7], &[0; 9]] {
            let expected = (Reply::Refused, "a cursor has eight bytes".to_owned(), Vec::new());
            assert_eq!(ask(hostile), expected);
        }
    }

    fn handover(desk: FlowDesk) -> Handover {
        let nothing = Path::new("/nonexistent");
        Handover::new(nothing, 0, Box::new(|_| ()), Box::new(|_| ())).with_desk(desk)
    }

    /// A desk with an empty table, five seconds after the start of the clock, with a policy in force.
    fn desk(records: usize) -> (FlowDesk, Arc<FlowTable>, Consumer<FlowRecord>) {
        let table = Arc::new(FlowTable::new(1024, RandomState::new()));
        let slot = PolicySlot::new();
        slot.publish(Arc::new(compile(&policy(), 9, &Limits::default()).unwrap()));
        let (records, end) = RingBuffer::new(records);
        let desk = FlowDesk::new(DeskParts {
            table: Arc::clone(&table),
            policy: slot.reader(),
            sides: [Side::Outside, Side::Inside],
            records,
            clock: Box::new(|| Moment::from_millis(5_000)),
            wall_offset_ns: 1_000,
        });
        (desk, table, end)
    }

    fn admit(table: &FlowTable, number: u16, epoch: u64) {
        let key = FlowKey::of_conversation(&conversation(number));
        // The lower address stands first, and it opens.
        let (opened_by, state) = (End::First, State::Opening);
        let connection = Connection::default();
        let admission = Admission { opened_by, epoch, state, connection, is_limited: false };
        table.admit(&key, admission, Moment::from_millis(0)).unwrap();
    }

    fn conversation(number: u16) -> Conversation {
        Conversation {
            src: "198.18.10.5".parse().unwrap(),
            dst: "198.18.70.9".parse().unwrap(),
            protocol: protocol::TCP,
            numbers: [number, 22],
            vlans: [None; 2],
            in_port: 0,
        }
    }

    /// Whoever asks may reach the one object.
    fn policy() -> PolicySet {
        let open = Policy {
            name: "open".to_owned(),
            tier: Tier::DEFAULT.to_owned(),
            selector: Selector::parse("all()").unwrap(),
            applies_ingress: true,
            ingress: vec![Rule::new(Action::Allow)],
            ..Policy::new("")
        };
        let object = Object {
            kind: ObjectKind::GlobalNetworkSet,
            name: "server".to_owned(),
            nets: vec!["198.18.70.9/32".parse().unwrap()],
            ..Object::new(ObjectKind::GlobalNetworkSet, "")
        };
        PolicySet { policies: vec![open], objects: vec![object], ..PolicySet::new() }
    }
}
