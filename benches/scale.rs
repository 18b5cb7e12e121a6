//! What scale costs: compile, memory, load and decisions on large estates, each in a process of its own so that its peak of
//! memory is its own. `cargo bench --bench scale`, or with words behind `--` that names of cases contain.
#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "benches stop at the first surprise and print what they saw"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;

use classifier::compile::{Limits, compile};
use classifier::decision::Verdict;
use classifier::image::{Image, ImageBytes};
use classifier::packet::{Crossing, IpVersion, PacketKey};
use fastrand::Rng;
use ravelin::scenario::{CASES, Case, Draw, INWARD};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Says to a process of ours which case it runs.
const CASE: &str = "RAVELIN_SCALE_CASE";
const ROUNDS: usize = 3;
const PACKETS: usize = 1 << 18;
const PASSES: usize = 3;

fn main() {
    if let Ok(name) = std::env::var(CASE) {
        measure(CASES.iter().find(|case| case.name == name).expect("a case of this bench"));
        return;
    }
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted =
        |case: &&Case| words.is_empty() || words.iter().any(|word| case.name.contains(word));
    let cases: Vec<&Case> = CASES.iter().filter(wanted).collect();
    let mut seen: Vec<Figures> = cases.iter().map(|_| Figures::new()).collect();
    for round in 1..=ROUNDS {
        for (case, figures) in cases.iter().zip(&mut seen) {
            println!("round {round}: {}", case.name);
            for (name, value) in run(case) {
                figures.entry(name).or_default().push(value);
            }
        }
    }
    report(&cases, &seen);
}

/// What rounds saw, by what it is called.
type Figures = BTreeMap<String, Vec<f64>>;

/// Runs one case in a process of its own.
fn run(case: &Case) -> Vec<(String, f64)> {
    let itself = std::env::current_exe().expect("this program");
    let output = Command::new(itself).env(CASE, case.name).output().expect("this program");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let figure = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    said.lines().filter_map(figure).collect()
}

/// Names and values, one a line, for the process that started this one.
fn measure(case: &Case) {
    let scenario = (case.make)();
    let size = scenario.size();
    println!("sets {}", size.sets);
    println!("prefixes {}", size.prefixes);
    println!("of them IPv6 {}", size.v6_prefixes);
    println!("rules {}", size.rules);
    println!("input, MB {:.0}", memory_mb("VmRSS:"));
    let started = cpu_seconds();
    let image = compile(&scenario.set, 1, &Limits::default()).expect("a policy that compiles");
    println!("compile, s {:.3}", cpu_seconds() - started);
    println!("peak with input, MB {:.0}", memory_mb("VmHWM:"));
    println!("image, MB {:.1}", image.bytes().len() as f64 / 1e6);
    let bytes = ImageBytes::from_slice(image.bytes());
    let started = cpu_seconds();
    black_box(Image::load(bytes).expect("a good image"));
    println!("load, ms {:.1}", (cpu_seconds() - started) * 1e3);
    let mut rng = Rng::with_seed(11);
    for draw in Draw::ALL {
        let packets = scenario.packets(PACKETS, draw, &mut rng);
        classify(&image, &packets, INWARD, draw.name());
        if scenario.crossing != INWARD {
            classify(&image, &packets, scenario.crossing, &format!("{}, both ends", draw.name()));
        }
    }
    for (version, name) in [(IpVersion::V4, "IPv4"), (IpVersion::V6, "IPv6")] {
        if version == IpVersion::V6 && scenario.percent.v6 == 0 {
            continue;
        }
        let packets = scenario.packets_of(version, PACKETS, Draw::Even, &mut rng);
        classify(&image, &packets, INWARD, &format!("uniform, {name} only"));
    }
}

fn classify(image: &Image, packets: &[PacketKey], crossing: Crossing, name: &str) {
    let view = image.view();
    let mut allowed = 0;
    let mut times: Vec<f64> = (0..PASSES)
        .map(|_| {
            let started = cpu_seconds();
            let is_allowed = |packet: &&PacketKey| {
                view.classify(black_box(packet), crossing).verdict() == Verdict::Allow
            };
            allowed = packets.iter().filter(is_allowed).count();
            (cpu_seconds() - started) * 1e9 / packets.len() as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("one by one, {name}, ns {:.1}", times[PASSES / 2]);
    println!("allowed, {name}, % {:.1}", allowed as f64 * 100.0 / packets.len() as f64);
}

/// One column for each case: median, and range where rounds differ.
fn report(cases: &[&Case], seen: &[Figures]) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("\nload average: {}; {ROUNDS} rounds, median [range]\n", load.trim());
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    println!("| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    let mut rows: Vec<&String> = seen.iter().flat_map(BTreeMap::keys).collect();
    rows.sort_unstable();
    rows.dedup();
    for row in rows {
        let cells = seen.iter().map(|figures| figures.get(row).map_or(String::new(), |v| cell(v)));
        println!("| {row} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

fn cell(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
    let median = sorted[sorted.len() / 2];
    if low.to_bits() == high.to_bits() {
        return format!("{median}");
    }
    format!("{median} [{low} to {high}]")
}

/// CPU time of this thread: what the neighbours do shows less in it than on the clock.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A figure of `/proc/self/status`.
fn memory_mb(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the key");
    let kilobytes = line.split_whitespace().next().expect("a number");
    kilobytes.parse::<f64>().expect("a number") / 1e3
}
