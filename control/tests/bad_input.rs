//! What a person reads when something is wrong: every broken input below `tests/broken` with its exact answer beside it.
//!
//! `RAVELIN_REWRITE=1 cargo test -p control --test bad_input` writes the answers anew; read the difference.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use control::commands::check::{self, Arguments, CLEAN, Format, REFUSED, UNREADABLE};
use control::inventory;
use control::resolve::Gateway;

/// Inputs that are taken with warnings; all others are refused.
const TAKEN: [&str; 3] = ["settings/endpoints.toml", "settings/opened.toml", "warnings.toml"];

#[test]
fn every_broken_input_is_answered_as_written_beside_it() {
    let inputs = inputs();
    assert!(inputs.len() >= 80, "only {} inputs", inputs.len());
    let rewrite = std::env::var_os("RAVELIN_REWRITE").is_some();
    let mut wrong = Vec::new();
    for input in inputs {
        let answer_file = input.with_extension("txt");
        let (answer, _) = run(&input, Format::Human);
        if rewrite {
            fs::write(&answer_file, &answer).unwrap();
        }
        let expected = fs::read_to_string(&answer_file).unwrap_or_default();
        if answer != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- got\n{answer}", input.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_broken_input_is_refused_whole() {
    for input in inputs() {
        let taken = TAKEN.iter().any(|taken| input.ends_with(taken));
        let (answer, status) = run(&input, Format::Human);
        assert_eq!(status, if taken { CLEAN } else { REFUSED }, "{}:\n{answer}", input.display());
        if !input.starts_with("tests/broken/settings") {
            let loaded = inventory::load(&input, &Gateway::default());
            assert_eq!(loaded.policy_set.is_some(), taken, "{}", input.display());
        }
    }
}

#[test]
fn every_finding_says_what_to_do() {
    for input in inputs() {
        for finding in findings(&input) {
            let help = finding["help"].as_str().unwrap_or_default();
            assert!(!help.is_empty(), "{}: {finding}", input.display());
            for text in [&finding["message"], &finding["label"], &finding["help"]] {
                let text = text.as_str().unwrap_or_default();
                assert!(!text.ends_with('.'), "a full stop: {text}");
            }
        }
    }
}

#[test]
fn json_names_place_code_and_severity() {
    let findings = findings(Path::new("tests/broken/unknown-field.toml"));
    let first = &findings[0];
    assert_eq!(first["severity"], "error");
    assert_eq!(first["code"], "field.unknown");
    assert_eq!(first["place"]["file"], "tests/broken/unknown-field.toml");
    assert_eq!(
        (first["place"]["line"].as_u64(), first["place"]["column"].as_u64()),
        (Some(3), Some(1))
    );
    assert_eq!(first["help"], "did you mean `selector`?");
}

#[test]
fn sarif_holds_every_finding_with_its_region() {
    for input in inputs() {
        let (answer, _) = run(&input, Format::Sarif);
        let sarif: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        let findings = findings(&input);
        assert_eq!(results.len(), findings.len(), "{}", input.display());
        for (result, finding) in results.iter().zip(findings) {
            assert_eq!(
                (&result["ruleId"], &result["level"]),
                (&finding["code"], &finding["severity"])
            );
            let region = &result["locations"][0]["physicalLocation"]["region"];
            assert_eq!(region["startLine"], finding["place"]["line"], "{}", input.display());
            assert_eq!(region["startColumn"], finding["place"]["column"], "{}", input.display());
        }
    }
}

#[test]
fn a_path_that_is_not_there_is_another_status() {
    let (answer, status) = run(Path::new("tests/broken/no-such.toml"), Format::Human);
    assert_eq!(status, UNREADABLE);
    assert!(answer.contains("there is no such file"), "{answer}");
}

#[test]
fn bytes_that_are_no_text_are_named_with_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("latin.toml");
    fs::write(&file, b"# caf\xe9\n[[tiers]]\n").unwrap();
    let finding = &findings(&file)[0];
    assert_eq!(finding["message"], "the document is not UTF-8 text");
    assert_eq!(finding["help"], "save it as UTF-8");
    let place = &finding["place"];
    assert_eq!((place["line"].as_u64(), place["column"].as_u64()), (Some(1), Some(6)));
    let (answer, status) = run(&file, Format::Human);
    assert_eq!(status, REFUSED);
    assert!(answer.contains("not UTF-8 from here"), "{answer}");
}

#[test]
fn files_to_watch_include_lists_that_are_missing() {
    let loaded = inventory::load(Path::new("tests/broken/list-missing.toml"), &Gateway::default());
    let missing = Path::new("tests/broken/lists/no-such.cidr");
    assert!(loaded.files.iter().any(|file| file == missing), "{:?}", loaded.files);
}

#[test]
fn a_million_lines_are_read_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut list = String::new();
    for index in 0..1_000_000_u32 {
        let [_, a, b, c] = index.to_be_bytes();
        writeln!(list, "198.{a}.{b}.{c}/32").unwrap();
    }
    fs::write(directory.path().join("l.cidr"), list).unwrap();
    let document = directory.path().join("d.toml");
    fs::write(&document, "[[globalNetworkSets]]\nname = 'l'\nlist = { path = 'l.cidr' }\n")
        .unwrap();
    let loaded = inventory::load(&document, &Gateway::default());
    assert_eq!(loaded.findings, []);
    assert_eq!(loaded.policy_set.unwrap().objects[0].nets.len(), 1_000_000);
}

#[test]
fn toml_with_random_damage_is_answered() {
    let texts = [
        include_str!("../../config/policies/three-tiers.toml"),
        include_str!("../../config/policies/default-deny.toml"),
    ];
    answer_damaged("toml", &texts);
}

#[test]
fn yaml_with_random_damage_is_answered() {
    let texts = [
        include_str!("../../config/examples/calico/three-tiers.yaml"),
        include_str!("../../config/examples/calico/noc-ssh.yaml"),
        include_str!("../../config/examples/kubernetes/cluster.yaml"),
        include_str!("../../config/examples/kubernetes/cluster-guard.yaml"),
        include_str!("../../config/examples/kubernetes/allow-from-pods-of-a-namespace.yaml"),
    ];
    answer_damaged("yaml", &texts);
}

#[test]
fn json_with_random_damage_is_answered() {
    answer_damaged("json", &[include_str!("../../config/examples/calico/noc-ssh.json")]);
}

fn answer_damaged(language: &str, texts: &[&str]) {
    let mut random = fastrand::Rng::with_seed(DAMAGE_SEED);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("d").with_extension(language);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..DAMAGED_DOCUMENTS {
        let text = damaged(texts[round % texts.len()], &mut random);
        fs::write(&file, &text).unwrap();
        let (answer, status) = run(&file, Format::Human);
        match status {
            CLEAN => taken += 1,
            REFUSED => refused += 1,
            other => unreachable!("status {other}"),
        }
        let last = answer.lines().last().unwrap();
        assert_eq!(last.starts_with("ok: "), status == CLEAN, "seed {DAMAGE_SEED}:\n{answer}");
    }
    assert!(taken > 20 && refused > 1000, "{taken} taken, {refused} refused");
}

const DAMAGE_SEED: u64 = 2;
const DAMAGED_DOCUMENTS: usize = 3000;

/// The text with a few stretches cut, doubled or overwritten.
fn damaged(text: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    const SPICE: [&str; 14] =
        ["\"", "'", "[", "]]", "{", "}", "=", ",", "\n", "é", "\u{1f980}", "\\", "-1", "\"\"\""];
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..random.usize(1..4) {
        let start = random.usize(0..bytes.len());
        let end = (start + random.usize(0..12)).min(bytes.len());
        let stretch = bytes[start..end].to_vec();
        match random.u8(0..4) {
            0 => drop(bytes.drain(start..end)),
            1 => drop(bytes.splice(end..end, stretch)),
            2 => drop(bytes.splice(start..end, random.choice(SPICE).unwrap().bytes())),
            _ => drop(bytes.splice(start..start, [random.u8(..)])),
        }
    }
    bytes
}

fn findings(input: &Path) -> Vec<serde_json::Value> {
    let (answer, _) = run(input, Format::Json);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["findings"].as_array().unwrap().clone()
}

/// Runs `ravelin check` as the command does, without colours.
fn run(input: &Path, output: Format) -> (String, u8) {
    let mut out = Vec::new();
    let arguments = Arguments { path: input.to_owned(), output };
    let status = check::run(&arguments, false, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), status)
}

/// Every document, settings file and document directory below `tests/broken`, relative to the crate as tests run.
fn inputs() -> Vec<PathBuf> {
    let broken = Path::new("tests/broken");
    let mut inputs = vec![broken.join("two-files")];
    for directory in [broken.to_owned(), broken.join("settings")] {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| {
                ["json", "toml", "yaml"].iter().any(|known| extension == *known)
            }) {
                inputs.push(path);
            }
        }
    }
    inputs.sort();
    inputs
}
