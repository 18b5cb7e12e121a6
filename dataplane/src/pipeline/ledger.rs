//! What a worker notes: counters, and flow records for the reporter.

use classifier::decision::{Decision, Verdict};
use classifier::packet::{Crossing, PacketKey};
use classifier::record::{FlowRecord, Pending, RecordKind};
use rtrb::Producer;

use super::PortRules;
use crate::counters::Counters;
use crate::device::Port;
use crate::moment::Moment;
use crate::parse::Vlans;
use crate::policy::Published;

/// One worker's notes, and what the settings say of the ports.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) counters: Counters,
    ports: [PortRules; 2],
    records: Producer<FlowRecord>,
    wall_offset_ns: u64,
}

/// What a record says of a packet beside its kind and the decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted {
    pub(super) packet: PacketKey,
    pub(super) in_port: Port,
    pub(super) vlans: Vlans,
    pub(super) length: usize,
    pub(super) generation: u64,
    pub(super) now: Moment,
}

/// What policy says of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) decision: Decision,
    /// What it would say if every staged policy had been applied; `None` when none is staged.
    pub(super) pending: Option<Pending>,
}

impl Judged {
    pub(super) fn verdict(&self) -> Verdict {
        self.decision.verdict()
    }
}

impl Ledger {
    pub(super) fn new(
        ports: [PortRules; 2],
        records: Producer<FlowRecord>,
        wall_offset_ns: u64,
    ) -> Self {
        Self { counters: Counters::default(), ports, records, wall_offset_ns }
    }

    pub(super) fn rules(&self, port: Port) -> PortRules {
        let [a, b] = self.ports;
        if port == Port::A { a } else { b }
    }

    /// The way of a packet that comes in by `port`.
    pub(super) fn crossing(&self, port: Port, policy: &Published) -> Crossing {
        let place = |port: Port| policy.place(port, self.rules(port).side);
        Crossing { from: place(port), to: place(port.other()) }
    }

    /// The ways of packets that come in by `port`, and of those that come in by the other one.
    pub(super) fn crossings(&self, port: Port, policy: &Published) -> [Crossing; 2] {
        [port, port.other()].map(|port| self.crossing(port, policy))
    }

    /// Queues a record. A full queue costs the record, never time.
    pub(super) fn record(&mut self, kind: RecordKind, noted: Noted, judged: &Judged) {
        let Judged { decision, pending } = judged;
        let Noted { packet, in_port, vlans, length, generation, now } = noted;
        let record = FlowRecord {
            time_ns: self.wall_offset_ns.saturating_add(now.nanos()),
            generation,
            kind,
            in_port: number(in_port),
            out_port: number(in_port.other()),
            vlans,
            length: u16::try_from(length).unwrap_or(u16::MAX),
            packet,
            decided: decision.deciding().map(|(at, half)| (at, half.reason)),
            logged: decision.logged(),
            pending: *pending,
        };
        match self.records.push(record) {
            Ok(()) => self.counters.records_queued += 1,
            Err(_) => self.counters.records_lost += 1,
        }
    }
}

fn number(port: Port) -> u8 {
    match port {
        Port::A => 0,
        Port::B => 1,
    }
}
