//! Gateway CPU per packet on veth, 64-byte UDP, beside kernel forwarding with nftables and conntrack, in the same rounds.
//!
//! `make bench-traffic` (root). Two hosts and a gateway, each in a namespace of its own; the machine's busy time over a
//! run, less that of a run whose packets are dropped at the gateway's door, divided by the packets that arrived.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench reports and stops at the first surprise"
)]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod support;
mod testbed;

use std::time::Duration;

use testbed::{Filter, Testbed};

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

fn filters() -> Vec<Filter> {
    let mut filters = vec![Filter::DropAtXdp, Filter::DropAtIngress];
    for rules in RULES {
        filters.push(Filter::Kernel { rules, established: false });
        filters.push(Filter::Kernel { rules, established: true });
        filters.push(Filter::Ravelin { rules });
    }
    filters
}

/// Runs every filter, or the two baselines and those whose name contains a word given on the command line.
fn compare(arguments: &[String]) {
    let mut filters = filters();
    if let Some(word) = arguments.iter().skip(1).find(|word| !word.starts_with('-')) {
        filters.retain(|filter| {
            filter.to_string().contains(word.as_str())
                || filter.to_string().contains("XDP_DROP")
                || filter.to_string().contains("ingress")
        });
    }
    let mut seen: Vec<Vec<Run>> = filters.iter().map(|_| Vec::new()).collect();
    for round in 1..=ROUNDS {
        for (filter, runs) in filters.iter().zip(&mut seen) {
            let run = Testbed::new(*filter).run(PACKETS_PER_SECOND, RUN);
            println!(
                "round {round}: {filter}: sent {}, arrived {}, busy {} ns/packet sent",
                run.sent,
                run.arrived,
                run.busy_ns / run.sent.max(1)
            );
            runs.push(run);
        }
    }
    report(&filters, &seen);
}

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    sent: u64,
    arrived: u64,
    busy_ns: u64,
}

fn report(filters: &[Filter], seen: &[Vec<Run>]) {
    let per_packet = |runs: &[Run]| -> Vec<f64> {
        runs.iter().map(|run| as_float(run.busy_ns) / as_float(run.sent.max(1))).collect()
    };
    let costs: Vec<Vec<f64>> = seen.iter().map(|runs| per_packet(runs)).collect();
    let xdp = median(costs.first().expect("the XDP drop runs"));
    let ingress = median(costs.get(1).expect("the ingress drop runs"));
    println!(
        "\nload average: {}",
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()
    );
    println!(
        "{PACKETS_PER_SECOND} packets/s, {RUN:?} a run, {ROUNDS} rounds, median [range], ns of CPU per packet\n"
    );
    println!("| gateway | arrived | whole machine | less XDP_DROP | less drop at ingress |");
    println!("|---|---|---|---|---|");
    for ((filter, runs), cost) in filters.iter().zip(seen).zip(&costs) {
        let (sent, arrived) =
            runs.iter().fold((0, 0), |sum, run| (sum.0 + run.sent, sum.1 + run.arrived));
        let share = 100.0 * as_float(arrived) / as_float(sent);
        let (low, high) =
            cost.iter().fold((f64::MAX, 0.0_f64), |range, ns| (range.0.min(*ns), range.1.max(*ns)));
        let median = median(cost);
        println!(
            "| {filter} | {share:.2} % | {median:.0} [{low:.0}..{high:.0}] | {:.0} | {:.0} |",
            median - xdp,
            median - ingress
        );
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "figures of a report")]
fn as_float(value: u64) -> f64 {
    value as f64
}
