//! The command line: which commands there are and what they take.

use std::io::{self, IsTerminal, Write};

use clap::{Parser, Subcommand};

use crate::commands::{
    check, control, convert, dataplane, diff, drops, flows, fmt, reach, status, trace, version,
};

const EXIT_STATUS: &str = "\
Exit status: 0 when all is well, 1 when something is wrong and was said, 2 when the command line or the path given to \
`check` is. `trace` ends with 0 whatever the verdict.";

/// A gateway that judges packets by label policy.
#[derive(Clone, Debug, Parser)]
#[command(name = "ravelin", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Check policy documents or a settings file, and say everything that is wrong
    Check(check::Arguments),
    /// Run the daemon: keep what is in force the same as the policy documents, and write the flow log
    Control(control::Arguments),
    /// Write a policy document in another language: TOML, YAML or JSON
    Convert(convert::Arguments),
    /// Start the data plane, ravelin-dataplane, with the flags that the settings say
    Dataplane(dataplane::Arguments),
    /// Show exactly what two policies decide differently
    Diff(diff::Arguments),
    /// Show why frames were dropped, at which port, and what to do about it
    Drops(drops::Arguments),
    /// Show live flows with names, labels and the rule that allows each, count them, or end them
    Flows(flows::Arguments),
    /// Write the selectors of policy documents in canonical form, and touch nothing else
    Fmt(fmt::Arguments),
    /// Show exactly what may pass from one thing to another, and the rule that allows it
    Reach(reach::Arguments),
    /// Show ports, counters, the policy in force and what is wrong
    Status(status::Arguments),
    /// Show what would become of a packet, and every tier, policy and rule on the way
    Trace(trace::Arguments),
    /// Show the versions of this program and of its policy images
    Version(version::Arguments),
}

/// Runs a command. Answers go to standard output, talk to standard error. Returns the exit status.
#[must_use]
pub fn run(cli: &Cli) -> u8 {
    let out = &mut io::stdout().lock();
    let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let status = match &cli.command {
        Command::Check(arguments) => check::run(arguments, color, out),
        Command::Control(arguments) => Ok(control::run(arguments)),
        Command::Convert(arguments) => convert::run(arguments, out),
        Command::Dataplane(arguments) => Ok(dataplane::run(arguments)),
        Command::Diff(arguments) => diff::run(arguments, out),
        Command::Drops(arguments) => drops::run(arguments, out),
        Command::Flows(arguments) => flows::run(arguments, out),
        Command::Fmt(arguments) => fmt::run(arguments, out),
        Command::Reach(arguments) => reach::run(arguments, out),
        Command::Status(arguments) => status::run(arguments, out),
        Command::Trace(arguments) => trace::run(arguments, out),
        Command::Version(arguments) => version::run(arguments, out),
    };
    match status.and_then(|status| out.flush().map(|()| status)) {
        Ok(status) => status,
        // Whoever read us, `head` for instance, has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            say(&format!("cannot write the answer: {error}"));
            1
        }
    }
}

/// One line of talk on standard error.
pub(crate) fn say(line: &str) {
    // There is nobody else to tell.
    let _ = writeln!(io::stderr(), "ravelin: {line}");
}
