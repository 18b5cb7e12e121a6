//! `ravelin`: the command line and, as `ravelin control`, the daemon.

use std::process::ExitCode;

use clap::Parser;
use control::cli::{Cli, run};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(run(&Cli::parse()))
}
