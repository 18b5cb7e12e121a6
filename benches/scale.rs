//! What scale costs: compile, memory, load and decisions on large estates, each in a process of its own so that its peak of
//! memory is its own. `cargo bench --bench scale`, or with words behind `--` that names of cases contain.
#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "benches stop at the first surprise and print what they saw"
)]

#[path = "support/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;

use classifier::compile::{Limits, compile};
use classifier::decision::{Decision, Verdict};
use classifier::image::{Image, ImageBytes};
use classifier::packet::{Crossing, IpVersion, PacketKey};
use fastrand::Rng;
use ravelin::scenario::{CASES, Case, Draw, INWARD};
use ravelin::support::meter::{Memory, cpu_seconds};
use table::{Bound, Row, Seen};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Says to a process of ours which case it runs.
const CASE: &str = "RAVELIN_SCALE_CASE";
const ROUNDS: usize = 3;
const PACKETS: usize = 1 << 18;
const PASSES: usize = 3;
const LONG_NS: f64 = 1e9;

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
    table::record("scale", &rows(&cases, &seen));
}

/// What rounds saw, by what it is called.
type Figures = BTreeMap<String, Vec<f64>>;

/// Runs one case in a process of its own.
fn run(case: &Case) -> Vec<(String, f64)> {
    let itself = std::env::current_exe().expect("this program");
    let output = Command::new(itself).env(CASE, case.name).output().expect("this program");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    print!("{complaint}");
    let figure = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    said.lines().filter_map(figure).collect()
}

/// Names and values, one a line, for the process that started this one.
fn measure(case: &Case) {
    let scenario = (case.make)();
    if let Some(note) = scenario.note {
        eprintln!("{}: {note}", case.name);
    }
    let size = scenario.size();
    println!("sets {}", size.sets);
    println!("prefixes {}", size.prefixes);
    println!("IPv6 prefixes {}", size.v6_prefixes);
    println!("rules {}", size.rules);
    println!("input memory {:.0}", Memory::Resident.of_this_process());
    let started = cpu_seconds();
    let image = compile(&scenario.set, 1, &Limits::default()).expect("a policy that compiles");
    println!("compile {:.3}", cpu_seconds() - started);
    println!("peak memory {:.0}", Memory::Peak.of_this_process());
    println!("image {:.1}", image.bytes().len() as f64 / 1e6);
    let bytes = ImageBytes::from_slice(image.bytes());
    let started = cpu_seconds();
    black_box(Image::load(bytes).expect("a good image"));
    println!("load {:.1}", (cpu_seconds() - started) * 1e3);
    let mut rng = Rng::with_seed(11);
    for draw in Draw::ALL {
        let packets = scenario.packets(PACKETS, draw, &mut rng);
        classify(&image, &packets, INWARD, draw.name());
        if scenario.crossing != INWARD {
            let name = format!("{}, judged for both ends", draw.name());
            classify(&image, &packets, scenario.crossing, &name);
        }
    }
    for (version, name) in [(IpVersion::V4, "IPv4 only"), (IpVersion::V6, "IPv6 only")] {
        if scenario.percent.v6 > 0 {
            let packets = scenario.packets_of(version, PACKETS, Draw::Even, &mut rng);
            classify(&image, &packets, INWARD, &format!("uniform, {name}"));
        }
    }
}

/// In batches, as the worker does, and one by one.
fn classify(image: &Image, packets: &[PacketKey], crossing: Crossing, name: &str) {
    let view = image.view();
    let asked: Vec<(PacketKey, Crossing)> = packets.iter().map(|key| (*key, crossing)).collect();
    let mut decisions = vec![Decision::NOTHING_APPLIES; asked.len()];
    let batched = passes(|| view.classify_batch(black_box(&asked), &mut decisions));
    let allowed = decisions.iter().filter(|it| it.verdict() == Verdict::Allow).count();
    let single = passes(|| {
        for (packet, crossing) in black_box(&asked) {
            let _ = black_box(view.classify(packet, *crossing));
        }
    });
    println!("batch, {name} {:.1}", batched / packets.len() as f64);
    println!("one by one, {name} {:.1}", single / packets.len() as f64);
    println!("allowed, {name} {:.1}", allowed as f64 * 100.0 / packets.len() as f64);
}

/// Nanoseconds of CPU of the middle one of a few passes, or of fewer where they take long.
fn passes(mut pass: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = Vec::new();
    while times.len() < PASSES && times.iter().sum::<f64>() < LONG_NS {
        let started = cpu_seconds();
        pass();
        times.push((cpu_seconds() - started) * 1e9);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn rows(cases: &[&Case], seen: &[Figures]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (case, figures) in cases.iter().zip(seen) {
        for (name, values) in figures {
            let (bar, goal) = bounds(case.name, name);
            rows.push(Row {
                what: format!("{}: {name}", case.name),
                unit: unit(name),
                ours: Seen::of(values.clone()),
                bar: at_most(bar),
                goal: at_most(goal),
                ..Row::default()
            });
        }
    }
    let named = |name: &str| Some(&seen[cases.iter().position(|case| case.name == name)?]);
    for (few, many, what) in [
        ("corporate-10-rules", "corporate-10k-rules", "growth from 10 to 10,000 rules"),
        (
            "corporate-10-rules-small",
            "corporate-10-rules",
            "growth from 1,300 to 1.37 million prefixes",
        ),
        ("corporate-10-rules-small", "corporate-10k-rules", "growth of both"),
    ] {
        let (Some(few), Some(many)) = (named(few), named(many)) else { continue };
        for draw in Draw::ALL {
            let name = format!("batch, {}", draw.name());
            let ratios = many[&name].iter().zip(&few[&name]).map(|(many, few)| many / few);
            let (bar, goal) = (at_most(Some(4.0)), at_most(Some(2.0)));
            let ours = Seen::of(ratios.collect());
            let what = format!("{what}: {name}");
            rows.push(Row { what, unit: "times", ours, bar, goal, ..Row::default() });
        }
    }
    rows
}

fn unit(name: &str) -> &'static str {
    match name {
        "compile" => "s of CPU",
        "image" | "input memory" | "peak memory" => "MB",
        "load" => "ms of CPU",
        name if name.starts_with("batch") || name.starts_with("one by one") => "ns of CPU",
        name if name.starts_with("allowed") => "%",
        _ => "",
    }
}

/// Bar and goal of a figure, if it has any.
fn bounds(case: &str, name: &str) -> (Option<f64>, Option<f64>) {
    let (bar, goal) = match (case, name) {
        ("corporate-1k-rules", "batch, uniform" | "batch, zipf") => (120.0, 60.0),
        ("corporate-10k-rules", "batch, uniform" | "batch, zipf") => (200.0, 100.0),
        ("corporate-48k-rules", "batch, uniform" | "batch, zipf") => (400.0, 150.0),
        ("corporate-10k-rules", "compile") => (1.0, 0.4),
        ("corporate-48k-rules" | "nesting", "compile") => (2.0, 1.0),
        ("corporate-10k-rules" | "corporate-48k-rules", "peak memory") => (600.0, 600.0),
        ("nesting", "peak memory") => (512.0, 200.0),
        (_, "load") => (150.0, 150.0),
        _ => return (None, None),
    };
    (Some(bar), Some(goal))
}

fn at_most(most: Option<f64>) -> Bound {
    Bound { at_most: most, ..Bound::default() }
}
