//! The one table that `make bench` leaves: what each bench saw, beside its peer in the same rounds and the bar it is held
//! to.
//!
//! A bench hands its rows to `record`, which keeps them under `target/bench/` in a file of that bench and renders
//! `target/bench/table.md` and `table.json` from the files of all benches. A bench that runs again replaces its own rows.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "benches stop at the first surprise"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::{Value, json};

/// One line of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// What was measured, the input's size included: `IPv4, 900k prefixes, prefix-drawn, batch of 32`.
    pub(crate) what: String,
    /// Of all the figures: `ns`, `B/prefix`, `s`.
    pub(crate) unit: &'static str,
    /// Our figure.
    pub(crate) ours: Seen,
    /// Who else did the same in the same rounds, by name.
    pub(crate) peer: Option<(String, Seen)>,
    /// What must be shown.
    pub(crate) bar: Bound,
    /// What we are after.
    pub(crate) goal: Bound,
}

/// A figure that was taken several times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// The most that a figure may be; nothing is asked where both are `None`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bound {
    /// In the row's unit.
    pub(crate) at_most: Option<f64>,
    /// As a multiple of the peer's median.
    pub(crate) times_peer: Option<f64>,
}

impl Seen {
    /// Of one figure a round. A single one is its own range; none at all is all zeroes.
    pub(crate) fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
        Self { median: at(rounds.len() / 2), min: at(0), max: at(rounds.len().saturating_sub(1)) }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl Bound {
    fn json(self) -> Value {
        json!({ "at_most": self.at_most, "times_peer": self.times_peer })
    }
}

/// Keeps the rows of a bench, in place of those of its last run, and renders the table of all benches.
pub(crate) fn record(bench: &str, rows: &[Row]) {
    let directory = directory();
    fs::create_dir_all(directory.join("rows")).expect("a directory under target/");
    let rows: Vec<Value> = rows.iter().map(row_json).collect();
    let part = json!({ "bench": bench, "made": made(), "rows": rows });
    let path = directory.join("rows").join(format!("{bench}.json"));
    fs::write(path, format!("{part:#}\n")).expect("a file under target/");
    let parts = parts(&directory.join("rows"));
    fs::write(directory.join("table.md"), markdown(&parts)).expect("a file under target/");
    let table = json!({ "machine": machine(), "benches": parts });
    fs::write(directory.join("table.json"), format!("{table:#}\n")).expect("a file under target/");
}

/// `target/bench`, wherever `target` is.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench")
}

fn row_json(row: &Row) -> Value {
    let Row { what, unit, ours, peer, bar, goal } = row;
    let ratio = peer.as_ref().map(|(_, seen)| ours.median / seen.median);
    let within = |bound: &Bound| {
        bound.at_most.is_none_or(|most| ours.median <= most)
            && bound.times_peer.is_none_or(|most| ratio.is_some_and(|ratio| ratio <= most))
    };
    let asked = |bound: &Bound| bound.at_most.is_some() || bound.times_peer.is_some();
    let verdict = match (asked(bar), asked(goal)) {
        (false, false) => "",
        (_, true) if within(goal) => "goal",
        (true, _) if within(bar) => "bar",
        _ => "missed",
    };
    json!({
        "what": what,
        "unit": unit,
        "ours": ours.json(),
        "peer": peer.as_ref().map(|(name, seen)| json!({ "name": name, "seen": seen.json() })),
        "ratio": ratio,
        "bar": bar.json(),
        "goal": goal.json(),
        "verdict": verdict,
    })
}

/// When, from which commit and under which load a bench ran.
fn made() -> Value {
    let dirty = !output("git", &["status", "--porcelain"]).is_empty();
    json!({
        "at": output("date", &["--iso-8601=seconds"]),
        "commit": output("git", &["rev-parse", "--short", "HEAD"]) + if dirty { " and changes" } else { "" },
        "load_average": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    })
}

fn machine() -> Value {
    let cpu = output("lscpu", &[]);
    let field = |name: &str| {
        cpu.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map_or("unknown", str::trim)
    };
    json!({
        "model": field("Model name"),
        "family_model": format!("{} {} {}", field("Vendor ID"), field("CPU family"), field("Model")),
        "cores": field("CPU(s)"),
        "l2": field("L2 cache"),
        "l3": field("L3 cache"),
        "kernel": output("uname", &["-sr"]),
    })
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn parts(directory: &Path) -> Vec<Value> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .expect("a directory under target/")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let read = |path: &PathBuf| fs::read_to_string(path).ok();
    paths.iter().filter_map(read).filter_map(|text| serde_json::from_str(&text).ok()).collect()
}

fn markdown(parts: &[Value]) -> String {
    let machine = machine();
    let mut text = String::from("# Figures\n\n");
    line(
        &mut text,
        &format!(
            "{} ({}), {} cores, L2 {}, L3 {}; {}.",
            text_of(&machine["model"]),
            text_of(&machine["family_model"]),
            text_of(&machine["cores"]),
            text_of(&machine["l2"]),
            text_of(&machine["l3"]),
            text_of(&machine["kernel"]),
        ),
    );
    line(
        &mut text,
        "Median [least to most] of the rounds; a ratio is of medians, ours by the peer's.",
    );
    for part in parts {
        let made = &part["made"];
        line(
            &mut text,
            &format!(
                "\n## {}\n\n{}, commit {}, load average at the end {}.\n",
                text_of(&part["bench"]),
                text_of(&made["at"]),
                text_of(&made["commit"]),
                text_of(&made["load_average"]),
            ),
        );
        line(&mut text, "| what | unit | ours | peer | its figure | ratio | bar | goal | met |");
        line(&mut text, "|---|---|---|---|---|---|---|---|---|");
        for row in part["rows"].as_array().into_iter().flatten() {
            line(&mut text, &markdown_row(row));
        }
    }
    text
}

fn markdown_row(row: &Value) -> String {
    let peer = &row["peer"];
    let name = peer["name"].as_str().unwrap_or_default();
    let theirs = if peer.is_null() { String::new() } else { seen_text(&peer["seen"]) };
    let ratio = row["ratio"].as_f64().map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    format!(
        "| {} | {} | {} | {name} | {theirs} | {ratio} | {} | {} | {} |",
        text_of(&row["what"]),
        text_of(&row["unit"]),
        seen_text(&row["ours"]),
        bound_text(&row["bar"]),
        bound_text(&row["goal"]),
        text_of(&row["verdict"]),
    )
}

fn seen_text(seen: &Value) -> String {
    let [median, min, max] =
        ["median", "min", "max"].map(|name| seen[name].as_f64().unwrap_or(0.0));
    if min.to_bits() == max.to_bits() {
        return number(median);
    }
    format!("{} [{} to {}]", number(median), number(min), number(max))
}

/// Three figures that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 1.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

fn bound_text(bound: &Value) -> String {
    let at_most = bound["at_most"].as_f64().map(|most| format!("≤ {most}"));
    let times = bound["times_peer"].as_f64().map(|most| format!("≤ {most}x"));
    at_most.into_iter().chain(times).collect::<Vec<_>>().join(", ")
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("memory");
}
