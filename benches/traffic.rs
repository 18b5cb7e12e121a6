//! Gateway CPU per packet on veth, 64-byte UDP, beside kernel forwarding with nftables and conntrack, in the same rounds.
//!
//! `cargo bench --bench traffic` (root). Two hosts and a gateway, each in a namespace of its own; the processor time of all
//! that has to do with the packets, less that of a run whose packets are dropped at the gateway's door, for each packet.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench reports and stops at the first surprise"
)]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

#[path = "support/table.rs"]
mod table;
mod testbed;

use std::fmt;
use std::time::Duration;

use table::{Bound, Row, Seen};
use testbed::{Estate, Gateway, Testbed, Traffic};

const ROUNDS: usize = 5;
const RULES: [u16; 3] = [1, 100, 1_000];
/// Far below what saturates one core here, so that nothing queues and CPU time is proportional to packets.
const PACKETS_PER_SECOND: u32 = 60_000;
const RUN: Duration = Duration::from_secs(3);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("--send") => testbed::send(&arguments),
        Some("--answer") => testbed::answer(),
        _ => compare(&arguments),
    }
}

/// The two baselines first.
fn gateways() -> Vec<Gateway> {
    let mut gateways = vec![Gateway::DropAtXdp, Gateway::DropAtIngress];
    for rules in RULES {
        gateways.extend([Gateway::KernelRules(rules), Gateway::RavelinRules(rules)]);
    }
    for estate in Estate::ALL {
        gateways.push(Gateway::Ravelin(estate));
        gateways.push(Gateway::Nftables(estate));
        gateways.push(Gateway::Ipset(estate));
    }
    gateways
}

/// Runs every gateway, or the two baselines and those whose name contains a word given on the command line.
/// `--rounds=NUMBER` runs more rounds, or fewer.
fn compare(arguments: &[String]) {
    let (options, words): (Vec<&String>, Vec<&String>) =
        arguments.iter().skip(1).partition(|word| word.starts_with('-'));
    let rounds = options.iter().find_map(|option| option.strip_prefix("--rounds="));
    let rounds = rounds.map_or(ROUNDS, |number| number.parse().expect("a number of rounds"));
    let mut gateways = gateways();
    if !words.is_empty() {
        let named =
            |gateway: &Gateway| words.iter().any(|word| gateway.to_string().contains(*word));
        let baselines = gateways.drain(..2).collect::<Vec<_>>();
        gateways = baselines.into_iter().chain(gateways.into_iter().filter(named)).collect();
    }
    let mut seen: Vec<Line> = gateways.into_iter().flat_map(Line::of).collect();
    for round in 1..=rounds {
        let mut lines = seen.as_mut_slice();
        while let Some(first) = lines.first() {
            let gateway = first.gateway;
            let (now, later) = lines.split_at_mut(gateway.traffic().len());
            let testbed = Testbed::new(gateway);
            for line in now {
                let run = testbed.run(line.traffic, PACKETS_PER_SECOND, RUN);
                println!("round {round}: {line}: {run}");
                line.runs.push(run);
            }
            lines = later;
        }
    }
    report(&seen, rounds);
    table::record("traffic", &rows(&seen));
}

/// One gateway under one kind of traffic, and what it cost in each round.
#[derive(Debug)]
struct Line {
    gateway: Gateway,
    traffic: Traffic,
    runs: Vec<Run>,
}

impl Line {
    fn of(gateway: Gateway) -> impl Iterator<Item = Self> {
        let line = move |traffic: &Traffic| Self { gateway, traffic: *traffic, runs: Vec::new() };
        gateway.traffic().iter().map(line)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.gateway, self.traffic)
    }
}

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    sent: u64,
    arrived: u64,
    /// Processor time of the sender, the data plane and the kernel's soft interrupts.
    own_ns: u64,
    /// Of everything on the machine, in coarse steps.
    busy_ns: u64,
}

impl Run {
    fn own(&self) -> f64 {
        as_float(self.own_ns) / as_float(self.sent.max(1))
    }

    fn busy(&self) -> f64 {
        as_float(self.busy_ns) / as_float(self.sent.max(1))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, arrived, .. } = self;
        let (own, busy) = (self.own(), self.busy());
        write!(f, "sent {sent}, arrived {arrived}, {own:.0} ns/packet, whole machine {busy:.0}")
    }
}

/// What the same traffic costs in each round when it is dropped at the door.
fn dropped(seen: &[Line], traffic: Traffic) -> Vec<f64> {
    let fresh = traffic == Traffic::Fresh;
    let is_baseline = |line: &&Line| {
        matches!(line.gateway, Gateway::DropAtXdp) && fresh == (line.traffic == Traffic::Fresh)
    };
    let line = seen.iter().find(is_baseline).expect("the XDP drop runs");
    line.runs.iter().map(Run::own).collect()
}

/// What the gateway costs in each round: all contexts, less what dropping at the door costs in the median.
fn gateway_costs(seen: &[Line], line: &Line) -> Seen {
    let door = Seen::of(dropped(seen, line.traffic)).median;
    Seen::of(line.runs.iter().map(|run| run.own() - door).collect())
}

fn report(seen: &[Line], rounds: usize) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("\nload average: {}", load.trim());
    println!(
        "{PACKETS_PER_SECOND} packets/s, {RUN:?} a run, {rounds} rounds, median [range], ns of CPU per packet\n"
    );
    println!("| gateway | traffic | arrived | all contexts | less XDP_DROP | whole machine |");
    println!("|---|---|---|---|---|---|");
    for line in seen {
        let (sent, arrived) =
            line.runs.iter().fold((0, 0), |sum, run| (sum.0 + run.sent, sum.1 + run.arrived));
        let share = 100.0 * as_float(arrived) / as_float(sent);
        let own = Seen::of(line.runs.iter().map(Run::own).collect());
        let busy = Seen::of(line.runs.iter().map(Run::busy).collect());
        let net = gateway_costs(seen, line).median;
        let Line { gateway, traffic, .. } = line;
        println!(
            "| {gateway} | {traffic} | {share:.2} % | {:.0} [{:.0}..{:.0}] | {net:.0} | {:.0} [{:.0}..{:.0}] |",
            own.median, own.min, own.max, busy.median, busy.min, busy.max
        );
    }
}

/// Ravelin's lines beside the kernel's, and how the large estate compares with the small one in the same rounds.
fn rows(seen: &[Line]) -> Vec<Row> {
    let find = |wanted: fn(&Line) -> bool| seen.iter().find(|line| wanted(line));
    let mut rows = Vec::new();
    for line in seen {
        let (peer, bar, goal) = match (line.gateway, line.traffic) {
            (Gateway::RavelinRules(rules), _) => {
                let same = |line: &&Line| {
                    matches!(line.gateway, Gateway::KernelRules(n) if n == rules)
                        && line.traffic == Traffic::Unanswered
                };
                let bar = [(1, 1.3), (100, 0.7), (1_000, 0.1)].into_iter().find(|it| it.0 == rules);
                let goal = (rules == 1).then_some(0.5);
                (seen.iter().find(same), bar.map(|it| it.1), goal)
            }
            (Gateway::Ravelin(estate), traffic) => {
                let same = |line: &&Line| {
                    matches!(line.gateway, Gateway::Nftables(other) if other == estate)
                        && (line.traffic == Traffic::Fresh) == (traffic == Traffic::Fresh)
                };
                (seen.iter().find(same), None, None)
            }
            _ => (None, None, None),
        };
        let times = |times_peer| Bound { times_peer, ..Bound::default() };
        rows.push(Row {
            what: format!("{line}: CPU less XDP_DROP"),
            unit: "ns/packet",
            ours: gateway_costs(seen, line),
            peer: peer.map(|peer| (peer.gateway.to_string(), gateway_costs(seen, peer))),
            bar: times(bar),
            goal: times(goal),
        });
    }
    let small = find(|it| is_of(it, Estate::Small));
    let large = find(|it| is_of(it, Estate::Large));
    if let (Some(small), Some(large)) = (small, large) {
        let door = dropped(seen, Traffic::Unanswered);
        let rounds = large.runs.iter().zip(&small.runs).zip(door);
        let ratios =
            rounds.map(|((large, small), door)| (large.own() - door) / (small.own() - door));
        rows.push(Row {
            what: "established flows: 10,000 rules and 1,350,000 prefixes by 10 rules and 1,000 prefixes".to_owned(),
            unit: "times",
            ours: Seen::of(ratios.collect()),
            bar: Bound { at_most: Some(1.2), ..Bound::default() },
            ..Row::default()
        });
    }
    rows
}

fn is_of(line: &Line, estate: Estate) -> bool {
    matches!(line.gateway, Gateway::Ravelin(own) if own == estate)
        && line.traffic == Traffic::Unanswered
}

#[expect(clippy::cast_precision_loss, reason = "figures of a report")]
fn as_float(value: u64) -> f64 {
    value as f64
}
