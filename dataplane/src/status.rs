//! What the data plane says of itself beside the policy: `key value` lines, for `ravelin status` and for people.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::counters::{Count, CounterBlock, Counters};
use crate::device::Port;
use crate::disposition::DropReason;
use crate::flow::{FlowTable, Timer};
use crate::handover::{DeskCounts, status_line};
use crate::reporter::ReporterCounters;
use crate::settings::PortSettings;

/// Where the numbers come from. Reading them disturbs no worker.
#[derive(Debug)]
pub struct Sources {
    /// When the process started.
    pub since: SystemTime,
    /// The ports.
    pub ports: [PortSettings; 2],
    /// The counters of each worker.
    pub workers: Vec<Arc<CounterBlock>>,
    /// The flow table.
    pub flows: Arc<FlowTable>,
    /// What became of flow records behind the workers.
    pub reporter: Arc<ReporterCounters>,
    /// What people did to flows.
    pub desk: Arc<DeskCounts>,
}

impl Sources {
    /// Appends the lines. For each port, received = forwarded + held + dropped, in every answer.
    pub fn describe(&self, lines: &mut String) {
        let mut sum = Counters::default();
        self.workers.iter().for_each(|worker| sum.add(&worker.read()));
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        status_line(lines, "dataplane.version", &env!("CARGO_PKG_VERSION"));
        status_line(lines, "dataplane.since", &since);
        status_line(lines, "dataplane.workers", &self.workers.len());
        for (port, settings) in Port::BOTH.into_iter().zip(&self.ports) {
            describe_port(lines, port, settings, &sum);
        }
        self.describe_flows(lines, &sum);
        status_line(lines, "records.queued", &sum.records_queued);
        let records_lost = sum.records_lost + self.desk.records_lost();
        status_line(lines, "records.lost-to-full-queue", &records_lost);
        self.reporter.describe(lines);
    }

    fn describe_flows(&self, lines: &mut String, sum: &Counters) {
        status_line(lines, "flows.now", &self.flows.live());
        status_line(lines, "flows.max", &self.flows.capacity());
        status_line(lines, "flows.started", &sum.flows_started);
        status_line(lines, "flows.ended", &sum.flows_ended);
        status_line(lines, "flows.cut", &sum.flows_cut);
        status_line(lines, "flows.killed", &self.desk.killed());
        status_line(lines, "flows.gave-way", &self.flows.gave_way());
        status_line(lines, "flows.half-open", &self.flows.half_open());
        let patience = self.flows.timers().millis(Timer::TcpOpening) / 1_000;
        status_line(lines, "flows.half-open-seconds", &patience);
        status_line(lines, "pending.differs", &sum.pending_differs);
    }
}

/// A key of a port: `port.` and its number first.
pub(crate) fn port_key(port: Port, rest: &str) -> String {
    format!("port.{}.{rest}", port.index())
}

fn describe_port(lines: &mut String, port: Port, settings: &PortSettings, sum: &Counters) {
    let PortSettings { name, side, pass_non_ip, judge_mid_stream, networks: _ } = settings;
    let counters = sum.port(port);
    status_line(lines, &port_key(port, "name"), name);
    status_line(lines, &port_key(port, "side"), side);
    status_line(lines, &port_key(port, "non-ip"), &if *pass_non_ip { "pass" } else { "drop" });
    let mid_stream = if *judge_mid_stream { "judge" } else { "refuse" };
    status_line(lines, &port_key(port, "mid-stream"), &mid_stream);
    let mut count = |what: &str, count: Count| {
        let Count { packets, bytes } = count;
        status_line(lines, &port_key(port, &format!("{what}.packets")), &packets);
        status_line(lines, &port_key(port, &format!("{what}.bytes")), &bytes);
    };
    count("received", counters.received);
    count("forwarded", counters.forwarded);
    count("held", counters.held);
    count("dropped", counters.dropped_in_all());
    for reason in DropReason::ALL {
        let packets = counters.dropped_for(reason).packets;
        status_line(lines, &port_key(port, &format!("dropped.{}", reason.name())), &packets);
    }
    for reason in DropReason::ALL.into_iter().filter(|reason| reason.can_be_counted_only()) {
        let packets = counters.noticed_for(reason);
        status_line(lines, &port_key(port, &format!("noticed.{}", reason.name())), &packets);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;
    use std::time::Duration;

    use classifier::packet::Side;
    use rtrb::RingBuffer;

    use super::*;
    use crate::device::memory::MemoryDevice;
    use crate::fragment::{FragmentLimits, Fragments};
    use crate::pipeline::{Parts, Pipeline, PortRules};
    use crate::policy::PolicySlot;
    use crate::sanity::Networks;
    use crate::worker::Worker;

    #[test]
    fn status_tells_what_became_of_every_frame() {
        let flows = Arc::new(FlowTable::new(1024, RandomState::new()));
        let workers = vec![Arc::new(CounterBlock::new()), Arc::new(CounterBlock::new())];
        for (count, block) in (1..).zip(&workers) {
            let rules = |side| PortRules { side, pass_non_ip: false, pick_up: false };
            let parts = Parts {
                ports: [rules(Side::Outside), rules(Side::Inside)],
                sanity: Arc::default(),
                keep_on_policy_change: false,
                policy: PolicySlot::new().reader(),
                flows: Arc::clone(&flows),
                fragments: Fragments::new(FragmentLimits::default(), RandomState::new()),
                counters: Arc::clone(block),
                records: RingBuffer::new(16).0,
                wall_offset_ns: 0,
            };
            let mut worker = Worker::new(MemoryDevice::new(16, 64, 16), Pipeline::new(parts));
            for _ in 0..count {
                assert!(worker.device_mut().arrive(Port::B, &[0; 60]));
            }
            worker.round(Duration::ZERO);
        }
        let port = |name: &str, side| PortSettings {
            name: name.to_owned(),
            side,
            pass_non_ip: false,
            judge_mid_stream: false,
            networks: Networks::default(),
        };
        let sources = Sources {
            since: UNIX_EPOCH + Duration::from_secs(77),
            ports: [port("left", Side::Outside), port("right", Side::Inside)],
            workers,
            flows,
            reporter: Arc::default(),
            desk: Arc::default(),
        };
        let mut lines = String::new();
        sources.describe(&mut lines);
        for line in [
            "dataplane.since 77",
            "dataplane.workers 2",
            "port.0.name left",
            "port.0.side outside",
            "port.0.received.packets 0",
            "port.1.name right",
            "port.1.non-ip drop",
            "port.1.received.packets 3",
            "port.1.received.bytes 180",
            "port.1.forwarded.packets 0",
            "port.1.dropped.packets 3",
            "port.1.dropped.no-policy 3",
            "port.1.dropped.internal 0",
            "port.1.held.packets 0",
            "port.1.noticed.land 0",
            "flows.now 0",
            "flows.max 1024",
            "flows.killed 0",
            "pending.differs 0",
            "records.lost-to-full-queue 0",
            "records.written 0",
        ] {
            assert!(lines.lines().any(|found| found == line), "no `{line}` in:\n{lines}");
        }
    }
}
