//! The house rules that no compiler checks: which way crates depend, where each dependency lives, and how large a file is.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::path::Path;

/// Longest source file, in lines.
const LINES_MAX: usize = 600;

/// A crate's name in code and the only places that may name it. Tests and benches may use anything.
const HOMES: [(&str, &[&str]); 10] = [
    ("xsk_rs", &["dataplane/src/device/af_xdp"]),
    ("aya", &["dataplane/src/device/af_xdp"]),
    ("etherparse", &["dataplane/src/parse", "control/src/capture"]),
    ("pcap_parser", &["control/src/capture"]),
    ("arc_swap", &["dataplane/src/policy"]),
    ("serde", &["control/src"]),
    ("serde_json", &["control/src"]),
    ("toml", &["control/src"]),
    ("miette", &["control/src"]),
    ("notify", &["control/src"]),
];

/// The one module that touches rings and shared memory, and the test whose allocator counts.
const UNSAFE_HOMES: [&str; 2] =
    ["dataplane/src/device/af_xdp", "dataplane/tests/packets/allocations.rs"];

/// Crates of ours, and those of ours that each may depend on.
const DIRECTIONS: [(&str, &[&str]); 3] =
    [("classifier", &[]), ("control", &["classifier"]), ("dataplane", &["classifier"])];

/// Words that promise instead of doing, in two parts so that this file does not hold them.
const PROMISES: [(&str, &str); 5] =
    [("to", "do!("), ("unimplement", "ed!("), ("FIX", "ME"), ("XX", "X"), ("#[ign", "ore")];

struct SourceFile {
    path: String,
    text: String,
}

impl SourceFile {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    fn is_below(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// Lines of code with their numbers, comments left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.map(|(number, line)| (number, line.split("//").next().unwrap_or(line)))
    }

    fn findings_where(&self, what: &str, bad: impl Fn(&str) -> bool) -> Vec<String> {
        let found = self.code().filter(|(_, line)| bad(line));
        found.map(|(number, _)| format!("{}:{number}: {what}", self.path)).collect()
    }
}

#[test]
fn crates_depend_one_way() {
    assert_none(tree().iter().flat_map(wrong_directions));
    let manifest = "[dependencies]\nclassifier.workspace = true\ndataplane.workspace = true\n";
    assert_eq!(wrong_directions(&SourceFile::new("control/Cargo.toml", manifest)).len(), 1);
}

#[test]
fn every_dependency_has_one_home() {
    assert_none(tree().iter().flat_map(strays));
    let stray = SourceFile::new("classifier/src/image/mod.rs", "use serde::Serialize;\n");
    assert_eq!(strays(&stray).len(), 1);
    let home = SourceFile::new("control/src/settings.rs", "use serde::Serialize;\n");
    assert_eq!(strays(&home).len(), 0);
}

#[test]
fn unsafe_code_lives_in_the_af_xdp_module() {
    let tree = tree();
    assert_none(tree.iter().flat_map(unsafe_outside));
    let line = "    unsafe { poll() }\n";
    assert_eq!(unsafe_outside(&SourceFile::new("dataplane/src/worker.rs", line)).len(), 1);
    let home = SourceFile::new("dataplane/src/device/af_xdp/rings.rs", line);
    assert_eq!(unsafe_outside(&home).len(), 0);
    for root in ["classifier/src/lib.rs", "control/src/lib.rs"] {
        let file = tree.iter().find(|file| file.path == root).unwrap();
        assert!(file.text.contains("#![forbid(unsafe_code)]"), "{root} must forbid unsafe code");
    }
}

#[test]
fn classifier_reads_no_clock_and_does_no_io() {
    assert_none(tree().iter().flat_map(impurities));
    let clock =
        SourceFile::new("classifier/src/image/view.rs", "let now = std::time::Instant::now();");
    assert_eq!(impurities(&clock).len(), 1);
}

#[test]
fn files_stay_small_enough_to_read() {
    assert_none(tree().iter().filter_map(too_long));
    let long = SourceFile::new("control/src/daemon.rs", &"\n".repeat(LINES_MAX + 1));
    assert!(too_long(&long).is_some());
}

#[test]
fn nothing_is_left_for_later() {
    assert_none(tree().iter().flat_map(promises));
    let (start, end) = PROMISES[0];
    let promise = SourceFile::new("control/src/daemon.rs", &format!("{start}{end})"));
    assert_eq!(promises(&promise).len(), 1);
}

fn wrong_directions(file: &SourceFile) -> Vec<String> {
    let ours = DIRECTIONS.map(|(name, _)| name);
    let allowed =
        DIRECTIONS.into_iter().find(|(name, _)| file.path == format!("{name}/Cargo.toml"));
    let Some((this, allowed)) = allowed else { return Vec::new() };
    let forbidden = ours.into_iter().filter(|name| *name != this && !allowed.contains(name));
    let names = |line: &str, name: &str| line.starts_with(name) && !line.starts_with("name");
    forbidden
        .flat_map(|name| {
            let what = format!("`{this}` must not depend on `{name}`");
            file.findings_where(&what, |line| names(line.trim(), name))
        })
        .collect()
}

fn strays(file: &SourceFile) -> Vec<String> {
    let is_product = file.is_rust() && file.path.contains("/src/");
    let abroad = HOMES.iter().filter(|(_, homes)| is_product && !file.is_below(homes));
    abroad
        .flat_map(|(name, homes)| {
            let path = format!("{name}::");
            let what = format!("`{name}` belongs to {}", homes.join(", "));
            file.findings_where(&what, |line| holds_word(line, &path))
        })
        .collect()
}

fn unsafe_outside(file: &SourceFile) -> Vec<String> {
    if !file.is_rust() || file.is_below(&UNSAFE_HOMES) {
        return Vec::new();
    }
    let opens =
        |line: &str| ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|it| line.contains(it));
    file.findings_where("unsafe code belongs to dataplane/src/device/af_xdp", opens)
}

fn impurities(file: &SourceFile) -> Vec<String> {
    if !file.is_below(&["classifier/src"]) {
        return Vec::new();
    }
    let io = [
        "std::fs",
        "std::io",
        "std::net::Tcp",
        "std::net::Udp",
        "std::process",
        "std::thread",
        "std::time",
        "std::env",
    ];
    file.findings_where("classifier is pure", |line| io.iter().any(|it| line.contains(it)))
}

fn too_long(file: &SourceFile) -> Option<String> {
    let lines = file.text.lines().count();
    (file.is_rust() && lines > LINES_MAX)
        .then(|| format!("{}: {lines} lines, at most {LINES_MAX}", file.path))
}

fn promises(file: &SourceFile) -> Vec<String> {
    let words = PROMISES.map(|(start, end)| format!("{start}{end}"));
    // In comments too, so not by `findings_where`.
    let lines = file.text.lines().enumerate().filter(|_| file.is_rust());
    lines
        .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
        .map(|(index, line)| format!("{}:{}: {}", file.path, index + 1, line.trim()))
        .collect()
}

/// Whether `line` holds `word` and not as the end of a longer name.
fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|start| start.chars().next_back());
        !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    })
}

fn assert_none(findings: impl Iterator<Item = String>) {
    let findings: Vec<String> = findings.collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Every Rust file and manifest of the workspace, but for this one, which holds samples of all that is forbidden.
fn tree() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for place in ["benches", "classifier", "control", "dataplane", "tests", "Cargo.toml"] {
        collect(root, &root.join(place), &mut files);
    }
    files.retain(|file| file.path != "tests/tidy.rs");
    assert!(files.len() > 50, "the tree was not found");
    files
}

fn collect(root: &Path, path: &Path, files: &mut Vec<SourceFile>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(root, &entry.unwrap().path(), files);
        }
        return;
    }
    let wanted = path.extension().is_some_and(|extension| extension == "rs" || extension == "toml");
    if wanted && path.is_file() {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        files.push(SourceFile::new(name, &fs::read_to_string(path).unwrap()));
    }
}
