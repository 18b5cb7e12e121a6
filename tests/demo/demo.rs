//! The demonstration: a real gateway between real hosts, all of them in network namespaces of this machine.
//!
//! `demo` shows it and cleans up; `demo --keep` leaves it up to play with; `demo --clean` takes away what `--keep` left.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program is its output")]

mod attempts;
mod kept;
mod quarantine;
mod show;

use std::env;
use std::process::ExitCode;

use ravelin::documents::SITE;
use ravelin::failure::Failure;
use ravelin::gateway::Gateway;
use ravelin::process::Process;
use ravelin::servers;
use ravelin::topology::Lab;

use crate::kept::Left;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] => demonstrate(false),
        ["--keep"] => demonstrate(true),
        ["--clean"] => kept::clean().map(|()| true),
        ["--serve"] => serve(),
        _ => Err(Failure::new("read the arguments", "expected nothing, `--keep` or `--clean`")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("demo: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether everything was as expected.
fn demonstrate(keep: bool) -> Result<bool, Failure> {
    kept::refuse_a_second_one()?;
    println!(
        "Ravelin: real packets, judged by a real gateway. Everything happens in network namespaces.\n"
    );
    let mut lab = Lab::new()?;
    let mut gateway = Gateway::new(&lab, &SITE)?;
    let mut servers = attempts::start_servers(&lab, gateway.directory(), keep)?;
    if keep {
        gateway = gateway.on_a_loose_leash();
    }
    gateway.start()?;
    show::topology(&lab);
    show::started(&gateway)?;
    let outcome = act(&lab, &gateway);
    if outcome.is_err() {
        eprintln!("{}", gateway.logs());
    }
    let summary = outcome?;
    println!("\n{summary}");
    if keep {
        let ravelin = gateway.program().to_owned();
        let (mut processes, directory) = gateway.keep();
        processes.extend(servers.iter_mut().map(Process::keep));
        let namespaces = lab.keep();
        let left = Left { processes, namespaces, directory: &directory, ravelin: &ravelin };
        kept::leave(&left)?;
    }
    Ok(summary.is_as_expected())
}

fn act(lab: &Lab, gateway: &Gateway<'_>) -> Result<show::Summary, Failure> {
    let mut summary = show::Summary::default();
    attempts::make(lab, gateway, &mut summary)?;
    quarantine::play(lab, gateway, &mut summary)?;
    Ok(summary)
}

/// The servers' own process: it serves in the namespace it was started in until it is ended.
fn serve() -> Result<bool, Failure> {
    servers::serve_here(&[22, 80, 5432], &[53])?;
    loop {
        std::thread::park();
    }
}
