//! What is looked up for all packets of a batch before the first is judged, so that they do not wait for memory one after
//! the other.
//!
//! Nothing of it decides: a packet before may open, cut or renew a flow of the same batch. Judging checks that what was
//! looked up is what it asks for, and else looks again.

use classifier::decision::Decision;
use classifier::image::View;
use classifier::packet::{Crossing, PacketKey};

use super::case::opening;
use crate::counters::Counters;
use crate::device::{BATCH_FRAMES, Port};
use crate::disposition::DropReason;
use crate::flow::{End, Flow, FlowKey, FlowTable, Start, State, Way, start};
use crate::fragment::{Fragments, Taken, Whole};
use crate::moment::Moment;
use crate::parse::{Packet, Parsed, Signal, parse};
use crate::policy::Published;
use crate::sanity::Sanity;

/// The batch under way. Its room is allocated once.
#[derive(Debug)]
pub(super) struct Ahead {
    seen: Vec<Seen>,
    /// Of the packets that may belong to a flow.
    keys: Vec<FlowKey>,
    questions: Vec<Question>,
    decisions: Vec<Decision>,
    /// What the pending policy says; empty when none is staged.
    pending: Vec<Decision>,
}

/// A frame.
#[derive(Clone, Copy, Debug)]
struct Seen {
    parsed: Result<Parsed, DropReason>,
    /// Its length; that of the whole datagram where it makes one whole, which then is what was parsed.
    length: usize,
    whole: Option<Whole>,
    /// Position of its flow's key, and which end of the flow sent it.
    flow: Option<(usize, End)>,
    /// Position of what will probably be asked of the policy, if anything will.
    question: Option<usize>,
}

/// What the policy is asked.
type Question = (PacketKey, Crossing);

/// A frame with all that was looked up for it.
pub(super) struct Foreseen<'a, 'f> {
    pub(super) parsed: Result<Parsed, DropReason>,
    pub(super) length: usize,
    pub(super) whole: Option<Whole>,
    pub(super) flow: Option<Found<'f>>,
    pub(super) answer: Option<Answer<'a>>,
}

/// The flow that a packet may belong to.
#[derive(Clone, Copy)]
pub(super) struct Found<'f> {
    pub(super) key: FlowKey,
    pub(super) sender: End,
    /// As it was before the batch.
    pub(super) known: Option<Flow<'f>>,
}

/// What the policy said when it was asked before.
#[derive(Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) question: &'a Question,
    pub(super) decision: &'a Decision,
    pub(super) pending: Option<&'a Decision>,
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self {
            seen: Vec::with_capacity(BATCH_FRAMES),
            keys: Vec::with_capacity(BATCH_FRAMES),
            questions: Vec::with_capacity(BATCH_FRAMES),
            decisions: Vec::with_capacity(BATCH_FRAMES),
            pending: Vec::with_capacity(BATCH_FRAMES),
        }
    }

    /// Begins a batch: reads the headers of at most `BATCH_FRAMES` frames, and lets those wait that are fragments.
    pub(super) fn parse(
        &mut self,
        frames: &[&[u8]],
        (sanity, in_port): (&Sanity, Port),
        fragments: &mut Fragments,
        now: Moment,
        counters: &mut Counters,
    ) {
        let Self { seen, keys, .. } = self;
        seen.clear();
        keys.clear();
        for frame in frames.iter().take(BATCH_FRAMES) {
            let (mut parsed, mut length, mut whole) =
                (parse(frame, sanity, in_port), frame.len(), None);
            if let Ok(Parsed::Fragment(piece)) = &parsed {
                match fragments.take(piece, frame, in_port, now, counters) {
                    Taken::Held => {}
                    Taken::Refused(reason) => parsed = Err(reason),
                    Taken::Whole(datagram) => {
                        whole = Some(datagram);
                        let rebuilt = fragments.rebuild(datagram);
                        length = rebuilt.map_or(length, <[u8]>::len);
                        parsed = rebuilt.and_then(|frame| parse_whole(frame, sanity, in_port));
                    }
                }
            }
            let flow = match &parsed {
                Ok(Parsed::Ip(packet)) => FlowKey::of(packet, in_port).map(|(key, sender)| {
                    keys.push(key);
                    (keys.len() - 1, sender)
                }),
                _ => None,
            };
            seen.push(Seen { parsed, length, whole, flow, question: None });
        }
    }

    /// Looks up the flows.
    pub(super) fn find<'f>(
        &self,
        flows: &'f FlowTable,
        now: Moment,
        known: &mut [Option<Flow<'f>>; BATCH_FRAMES],
    ) {
        flows.find_batch(&self.keys, now, known);
    }

    /// Asks the policy what will probably be asked. `crossings` are the ways in by the port and back.
    pub(super) fn classify(
        &mut self,
        policy: &Published,
        view: &View<'_>,
        [there, back]: [Crossing; 2],
        known: &[Option<Flow<'_>>; BATCH_FRAMES],
    ) {
        let Self { seen, questions, decisions, pending, .. } = self;
        questions.clear();
        decisions.clear();
        pending.clear();
        for seen in seen {
            let Ok(Parsed::Ip(packet)) = &seen.parsed else { continue };
            let flow =
                seen.flow.map(|(at, sender)| (known.get(at).and_then(Option::as_ref), sender));
            let Some(way) = probable(packet, flow, policy.epoch) else { continue };
            let (key, from_here) = opening(packet, way);
            let question = (key, if from_here { there } else { back });
            seen.question = Some(questions.len());
            questions.push(question);
        }
        decisions.resize(questions.len(), Decision::NOTHING_APPLIES);
        view.classify_batch(questions, decisions);
        if policy.has_pending() {
            pending.resize(questions.len(), Decision::NOTHING_APPLIES);
            view.classify_batch_pending(questions, pending);
        }
    }

    /// What was looked up for each frame, in their order.
    pub(super) fn foreseen<'a, 'f>(
        &'a self,
        known: &'a [Option<Flow<'f>>; BATCH_FRAMES],
    ) -> impl Iterator<Item = Foreseen<'a, 'f>> {
        self.seen.iter().map(move |seen| {
            let Seen { parsed, length, whole, flow, question } = *seen;
            let flow = flow.and_then(|(at, sender)| {
                let (key, known) = (*self.keys.get(at)?, *known.get(at)?);
                Some(Found { key, sender, known })
            });
            let answer = question.and_then(|at| {
                let (question, decision) = (self.questions.get(at)?, self.decisions.get(at)?);
                Some(Answer { question, decision, pending: self.pending.get(at) })
            });
            Foreseen { parsed, length, whole, flow, answer }
        })
    }
}

/// Reads a datagram that was put together. It is a packet that policy judges, or nothing; nobody leaves the checksum of
/// fragments to hardware.
fn parse_whole(frame: &[u8], sanity: &Sanity, in_port: Port) -> Result<Parsed, DropReason> {
    match parse(frame, sanity, in_port)? {
        Parsed::Ip(Packet { completion: Some(_), .. }) => Err(DropReason::Checksum),
        packet @ Parsed::Ip(_) => Ok(packet),
        Parsed::NeighbourDiscovery(_) => Err(DropReason::NeighbourDiscovery),
        Parsed::Arp(_) | Parsed::NonIp | Parsed::Fragment(_) => Err(DropReason::FragmentInvalid),
    }
}

/// Whether the policy will be asked of the packet if nothing changes before: as it is, or, to judge its flow again, of the
/// packet that opened the flow.
fn probable(packet: &Packet, flow: Option<(Option<&Flow<'_>>, End)>, epoch: u64) -> Option<Way> {
    let Some((known, sender)) = flow else { return Some(Way::Original) };
    let Some(flow) = known else {
        let begins = start(packet.signal, packet.key.protocol, false);
        return (!matches!(begins, Start::Refuse(_))).then_some(Way::Original);
    };
    let way = flow.way(sender);
    if flow.epoch() < epoch {
        return Some(way);
    }
    // A SYN on a connection that is in use or over is probably not of that connection.
    let begins_anew = matches!(packet.signal, Signal::Tcp(segment) if segment.flags.opens());
    (begins_anew && flow.state() != State::Opening).then_some(Way::Original)
}
