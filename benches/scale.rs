//! What scale costs: compile, memory and classify on large estates. Repeat with `cargo bench --bench scale`.
#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "benches stop at the first surprise and print what they saw"
)]

mod scenario;

use std::hint::black_box;

use classifier::compile::{Limits, compile};
use classifier::decision::Verdict;
use classifier::image::{Image, ImageBytes};
use classifier::packet::{Crossing, PacketKey, Side};
use fastrand::Rng;
use scenario::corporate::corporate;
use scenario::nesting::nesting;
use scenario::{Draw, Scenario};

const INWARD: Crossing = Crossing::sides(Side::Outside, Side::Inside);
const ROUNDS: usize = 3;

fn main() {
    for (scale, rules) in [(0.001, 10), (0.01, 1_000), (1.0, 1_000), (1.0, 10_000), (1.0, 50_000)] {
        report("corporate", &corporate(7, scale, rules));
    }
    report("nesting", &nesting(7, 10_000, 100));
    println!("peak memory of all of it: {:.0} MB", peak_memory_mb());
}

fn report(name: &str, scenario: &Scenario) {
    let set = &scenario.set;
    let prefixes: usize = set.objects.iter().map(|object| object.nets.len()).sum();
    let rules: usize = set.policies.iter().map(|policy| policy.ingress.len()).sum();
    println!("{name}: {} sets, {prefixes} prefixes, {rules} rules", set.objects.len());
    let started = cpu_seconds();
    let image = compile(set, 1, &Limits::default()).expect("a policy that compiles");
    println!("  compile    {:>8.3} s of CPU", cpu_seconds() - started);
    let bytes = ImageBytes::from_slice(image.bytes());
    let started = cpu_seconds();
    Image::load(bytes).expect("a good image");
    println!("  load       {:>8.3} s of CPU", cpu_seconds() - started);
    println!(
        "  image      {:>8.1} MB   {:?}",
        image.bytes().len() as f64 / 1e6,
        image.view().sizes()
    );
    let mut rng = Rng::with_seed(11);
    for draw in [Draw::Even, Draw::Zipf] {
        let packets = scenario.packets(1 << 18, draw, &mut rng);
        classify(&image, &packets, draw);
    }
}

/// CPU time of this thread: what the neighbours do shows less in it than on the clock.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The most that this process had in memory at a time.
fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kilobytes = line.split_whitespace().nth(1).expect("a number");
    kilobytes.parse::<f64>().expect("a number") / 1e3
}

fn classify(image: &Image, packets: &[PacketKey], draw: Draw) {
    let view = image.view();
    let mut allowed = 0;
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = cpu_seconds();
            allowed = packets
                .iter()
                .filter(|packet| {
                    view.classify(black_box(packet), INWARD).verdict() == Verdict::Allow
                })
                .count();
            (cpu_seconds() - started) * 1e9 / packets.len() as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "  classify   {:>8.1} ns [{:.1} to {:.1}] {draw:?}, {allowed} of {} allowed",
        times[ROUNDS / 2],
        times[0],
        times[ROUNDS - 1],
        packets.len()
    );
}
