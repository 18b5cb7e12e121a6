//! The seeds of the fuzz targets, replayed: what fuzzing once found stays found, without nightly or libFuzzer.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    unreachable_pub,
    dead_code,
    reason = "test helpers"
)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/gate.rs"]
mod gate;
#[path = "../fuzz/src/parser.rs"]
mod parser;
#[path = "../fuzz/src/script.rs"]
mod script;
#[path = "packets/second_parser/mod.rs"]
mod second_parser;

fn replay(target: &str, least: usize, run: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut count = 0;
    for seed in fs::read_dir(seeds).unwrap() {
        let path = seed.unwrap().path();
        let input = fs::read(&path).unwrap();
        // Panics of a target do not say which input it was.
        let replayed = std::panic::catch_unwind(|| run(&input));
        assert!(replayed.is_ok(), "{}", path.display());
        // Every input that is cut off is one too.
        for length in 0..input.len().min(256) {
            run(&input[..length]);
        }
        count += 1;
    }
    assert!(count >= least, "{count} seeds of {target}");
}

#[test]
fn parser_reads_every_seed_as_the_second_parser_does() {
    replay("parser", 40, parser::parser);
}

#[test]
fn fragments_of_every_seed_leave_whole_or_not_at_all() {
    replay("fragments", 4, script::fragments);
}

#[test]
fn flows_of_every_seed_are_accounted_for() {
    replay("flows", 4, script::flows);
}
