//! Compiled equals reference on the large estates, whole. `cargo bench --bench equality`, or with words behind `--` that names
//! of cases contain; `--questions=NUMBER` asks more. Ends at the first difference, without success.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "it reads the clock, stops at the first surprise and prints what it saw"
)]

use std::process::ExitCode;
use std::time::Instant;

use fastrand::Rng;
use ravelin::equality::{compare, questions};
use ravelin::scenario::CASES;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUESTIONS: usize = 10_000;

fn main() -> ExitCode {
    let (options, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with('-'));
    let count = options.iter().find_map(|option| option.strip_prefix("--questions="));
    let count = count.map_or(QUESTIONS, |count| count.parse().expect("a number of questions"));
    for case in CASES {
        if !words.is_empty() && !words.iter().any(|word| case.name.contains(word.as_str())) {
            continue;
        }
        let started = Instant::now();
        let scenario = (case.make)();
        if let Some(note) = scenario.note {
            println!("{}: {note}", case.name);
        }
        let asked = questions(&scenario, count, &mut Rng::with_seed(13));
        match compare(&scenario.set, &asked) {
            Ok(tally) => println!("{}: {tally}; {:.1?}", case.name, started.elapsed()),
            Err(failure) => {
                println!("{}: {failure}", case.name);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
