//! What one worker does with a frame: parse, look up its flow, else ask the policy. Pure of IO; time is an argument.

mod case;
mod ledger;

use std::sync::Arc;
use std::time::Duration;

use classifier::packet::Side;
use classifier::record::FlowRecord;
use rtrb::Producer;

use self::case::Case;
use self::ledger::Ledger;
use crate::counters::{CounterBlock, Counters, PortCounters};
use crate::device::Port;
use crate::disposition::{Disposition, DropReason};
use crate::flow::{FlowTable, Sweep};
use crate::moment::Moment;
use crate::parse::{Parsed, parse};
use crate::policy::PolicyReader;
use crate::worker::Judge;

/// What the settings say of a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortRules {
    /// The side it faces.
    pub side: Side,
    /// Whether frames that are neither IP nor ARP pass when they come in here.
    pub pass_non_ip: bool,
}

/// What a pipeline is made of.
#[derive(Debug)]
pub struct Parts {
    /// The two ports, in the order of the settings.
    pub ports: [PortRules; 2],
    /// Where the policy in force is found.
    pub policy: PolicyReader,
    /// The one table of all workers.
    pub flows: Arc<FlowTable>,
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
    policy: PolicyReader,
    flows: Arc<FlowTable>,
    sweep: Sweep,
    ledger: Ledger,
    published: Arc<CounterBlock>,
    now: Moment,
}

impl Pipeline {
    /// A pipeline that has seen nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { ports, policy, flows, counters, records, wall_offset_ns } = parts;
        Self {
            policy,
            flows,
            sweep: Sweep::default(),
            ledger: Ledger::new(ports, records, wall_offset_ns),
            published: counters,
            now: Moment::default(),
        }
    }

    /// What it counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.ledger.counters
    }

    /// Without a policy nothing passes, not even what passes below it.
    fn decide(&mut self, in_port: Port, frame: &[u8]) -> Disposition {
        let Some(policy) = self.policy.snapshot() else {
            return Disposition::Drop(DropReason::NoPolicy);
        };
        match parse(frame) {
            Err(reason) => Disposition::Drop(reason),
            Ok(Parsed::Arp | Parsed::NeighbourDiscovery) => Disposition::Forward,
            Ok(Parsed::NonIp) if self.ledger.rules(in_port).pass_non_ip => Disposition::Forward,
            Ok(Parsed::NonIp) => Disposition::Drop(DropReason::NonIp),
            Ok(Parsed::Ip(packet)) => {
                let (flows, ledger, now) = (&*self.flows, &mut self.ledger, self.now);
                let length = frame.len();
                Case { policy, flows, ledger, packet: &packet, in_port, length, now }.decide()
            }
        }
    }
}

impl Judge for Pipeline {
    /// Takes one snapshot of the policy for the whole batch.
    fn begin_batch(&mut self, now: Duration) {
        self.now = now.into();
        self.policy.refresh();
    }

    fn judge(&mut self, in_port: Port, frame: &[u8]) -> Disposition {
        let disposition = self.decide(in_port, frame);
        let counters = &mut self.ledger.counters;
        counters.note_received(in_port, frame.len());
        match disposition {
            Disposition::Forward => counters.note_forwarded(in_port, frame.len()),
            Disposition::Drop(reason) => counters.note_dropped(in_port, reason, frame.len()),
        }
        disposition
    }

    fn account_unsent(&mut self, in_port: Port, length: u32) {
        self.ledger.counters.note_unsent(in_port, length as usize);
    }

    /// Frees places of silent flows, and lets others see what was counted.
    fn end_batch(&mut self) {
        self.ledger.counters.flows_ended += self.sweep.go_on(&self.flows, self.now);
        debug_assert!(self.ledger.counters.ports.iter().all(PortCounters::balances));
        self.published.publish(&self.ledger.counters);
    }
}
