//! What one worker does with frames: parse, look up their flows, else ask the policy. Pure of IO; time is an argument.

mod ahead;
mod case;
mod ledger;

use std::sync::Arc;
use std::time::Duration;

use classifier::packet::Side;
use classifier::record::FlowRecord;
use rtrb::Producer;

use self::ahead::{Ahead, Foreseen};
use self::case::Case;
use self::ledger::Ledger;
use crate::counters::{CounterBlock, Counters, PortCounters};
use crate::device::{BATCH_FRAMES, Port};
use crate::disposition::{Disposition, DropReason, Reasons};
use crate::flow::{FlowTable, Sweep};
use crate::fragment::{Fragments, Whole};
use crate::moment::Moment;
use crate::parse::Parsed;
use crate::policy::PolicyReader;
use crate::sanity::Sanity;
use crate::worker::Judge;

/// What the settings say of a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortRules {
    /// The side it faces.
    pub side: Side,
    /// Whether frames that are neither IP nor ARP pass when they come in here.
    pub pass_non_ip: bool,
    /// Whether TCP connections whose beginning was not seen may go on when their packets come in here, if policy allows.
    /// Their sequence numbers cannot be checked.
    pub pick_up: bool,
}

/// What a pipeline is made of.
#[derive(Debug)]
pub struct Parts {
    /// The two ports, in the order of the settings.
    pub ports: [PortRules; 2],
    /// The checks of packets, the same for all workers.
    pub sanity: Arc<Sanity>,
    /// Whether flows stay allowed when policy changes. Otherwise they are judged again.
    pub keep_on_policy_change: bool,
    /// Where the policy in force is found.
    pub policy: PolicyReader,
    /// The one table of all workers.
    pub flows: Arc<FlowTable>,
    /// Where this worker keeps fragments.
    pub fragments: Fragments,
    /// Where this worker publishes its counters.
    pub counters: Arc<CounterBlock>,
    /// Takes flow records to the reporter.
    pub records: Producer<FlowRecord>,
    /// Wall-clock time at the origin of the worker's clock, in nanoseconds since 1970. Records are stamped with the
    /// worker's clock plus this, so a later step of the wall clock does not show in them.
    pub wall_offset_ns: u64,
}

/// The state of one worker between frames.
#[derive(Debug)]
pub struct Pipeline {
    sanity: Arc<Sanity>,
    policy: PolicyReader,
    flows: Arc<FlowTable>,
    fragments: Fragments,
    sweep: Sweep,
    ledger: Ledger,
    keep_on_policy_change: bool,
    ahead: Ahead,
    published: Arc<CounterBlock>,
    now: Moment,
}

impl Pipeline {
    /// A pipeline that has seen nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            ports,
            sanity,
            keep_on_policy_change,
            policy,
            flows,
            fragments,
            counters,
            records,
            wall_offset_ns,
        } = parts;
        Self {
            sanity,
            policy,
            flows,
            fragments,
            sweep: Sweep::default(),
            ledger: Ledger::new(ports, records, wall_offset_ns),
            keep_on_policy_change,
            ahead: Ahead::new(),
            published: counters,
            now: Moment::default(),
        }
    }

    /// What it counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.ledger.counters
    }

    /// Looks up what all the frames need, then decides over one after the other. Without a policy nothing passes, not
    /// even what passes below it.
    fn decide(&mut self, in_port: Port, frames: &[&[u8]], dispositions: &mut [Disposition]) {
        let Self { sanity, policy, flows, fragments, ledger, ahead, now, .. } = self;
        let Some(policy) = policy.snapshot() else {
            dispositions.fill(Disposition::Drop(DropReason::NoPolicy));
            return;
        };
        let (view, flows, now) = (&policy.image.view(), &**flows, *now);
        let keep_on_policy_change = self.keep_on_policy_change;
        let mut known = [None; BATCH_FRAMES];
        ahead.parse(frames, (sanity, in_port), fragments, now, &mut ledger.counters);
        ahead.find(flows, now, &mut known);
        ahead.classify(policy, view, ledger.crossings(in_port, policy), &known);
        let mut opened = false;
        for (disposition, foreseen) in dispositions.iter_mut().zip(ahead.foreseen(&known)) {
            let Foreseen { parsed, length, whole, flow, answer } = foreseen;
            let noticed = noticed(&parsed);
            if !noticed.is_empty() {
                ledger.counters.note_noticed(in_port, noticed);
            }
            *disposition = match parsed {
                Err(reason) => Disposition::Drop(reason),
                Ok(Parsed::Arp(_) | Parsed::NeighbourDiscovery(_)) => Disposition::Forward,
                Ok(Parsed::NonIp) if ledger.rules(in_port).pass_non_ip => Disposition::Forward,
                Ok(Parsed::NonIp) => Disposition::Drop(DropReason::NonIp),
                Ok(Parsed::Fragment(_)) => Disposition::Hold,
                Ok(Parsed::Ip(packet)) => {
                    let (ledger, opened, packet) = (&mut *ledger, &mut opened, &packet);
                    Case {
                        policy,
                        view,
                        flows,
                        ledger,
                        checks: sanity.checks(),
                        keep_on_policy_change,
                        packet,
                        in_port,
                        length,
                        now,
                        answer,
                        opened,
                    }
                    .decide(flow)
                    .completed(packet.completion)
                }
            };
            if let Some(whole) = whole {
                *disposition = decide_whole(*disposition, whole, fragments, &mut ledger.counters);
            }
        }
    }
}

/// What becomes of all fragments of a datagram, when this becomes of it.
fn decide_whole(
    disposition: Disposition,
    whole: Whole,
    fragments: &mut Fragments,
    counters: &mut Counters,
) -> Disposition {
    let reason = match disposition {
        Disposition::Forward => return Disposition::Release(whole),
        Disposition::Drop(reason) => reason,
        // Not of a packet; and of fragments nobody leaves a checksum to hardware.
        Disposition::Complete { .. } | Disposition::Hold | Disposition::Release(_) => {
            DropReason::Internal
        }
    };
    fragments.discard(whole, reason, counters);
    Disposition::Drop(reason)
}

/// The checks that a frame failed and passed all the same.
fn noticed(parsed: &Result<Parsed, DropReason>) -> Reasons {
    match parsed {
        Ok(Parsed::Arp(noticed) | Parsed::NeighbourDiscovery(noticed)) => *noticed,
        Ok(Parsed::Ip(packet)) => packet.noticed,
        Ok(Parsed::NonIp | Parsed::Fragment(_)) | Err(_) => Reasons::default(),
    }
}

impl Judge for Pipeline {
    /// Takes one snapshot of the policy for the whole batch.
    fn begin_batch(&mut self, now: Duration) {
        self.now = now.into();
        self.policy.refresh();
    }

    fn judge(&mut self, in_port: Port, frame: &[u8]) -> Disposition {
        let mut disposition = [Disposition::Drop(DropReason::Internal)];
        self.judge_batch(in_port, &[frame], &mut disposition);
        let [disposition] = disposition;
        disposition
    }

    fn judge_batch(&mut self, in_port: Port, frames: &[&[u8]], dispositions: &mut [Disposition]) {
        self.decide(in_port, frames, dispositions);
        let counters = &mut self.ledger.counters;
        for (frame, disposition) in frames.iter().zip(dispositions) {
            counters.note_received(in_port, frame.len());
            match *disposition {
                Disposition::Forward | Disposition::Complete { .. } => {
                    counters.note_forwarded(in_port, frame.len());
                }
                // Counted when it was copied.
                Disposition::Hold => {}
                Disposition::Release(_) => counters.note_held(in_port, frame.len()),
                Disposition::Drop(reason) => {
                    counters.note_dropped(in_port, reason, frame.len());
                }
            }
        }
    }

    fn account_unsent(&mut self, in_port: Port, length: u32) {
        self.ledger.counters.note_unsent(in_port, length as usize);
    }

    fn release(&mut self, datagram: Whole, send: &mut dyn FnMut(&[u8]) -> bool) {
        self.fragments.release(datagram, send, &mut self.ledger.counters);
    }

    /// Frees places of silent flows and fragments that waited for too long, and lets others see what was counted.
    fn end_batch(&mut self) {
        self.ledger.counters.flows_ended += self.sweep.go_on(&self.flows, self.now);
        self.fragments.end_batch(self.now, &mut self.ledger.counters);
        debug_assert!(self.ledger.counters.ports.iter().all(PortCounters::balances));
        self.published.publish(&self.ledger.counters);
    }
}
