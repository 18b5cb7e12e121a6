//! What a person sees.

use std::fmt;
use std::io::IsTerminal;

use classifier::packet::IpVersion;
use ravelin::attempt::{Probe, Seen};
use ravelin::failure::Failure;
use ravelin::gateway::Gateway;
use ravelin::topology::{Host, Lab};

/// One attempt and what came of it.
pub(crate) struct Row<'lab> {
    pub(crate) from: &'lab Host,
    pub(crate) to: &'lab Host,
    pub(crate) version: IpVersion,
    pub(crate) probe: Probe,
    pub(crate) expected: Seen,
    pub(crate) seen: Seen,
    pub(crate) expected_rule: &'static str,
    pub(crate) rule: String,
}

impl Row<'_> {
    pub(crate) fn is_as_expected(&self) -> bool {
        self.seen == self.expected && self.rule == self.expected_rule
    }

    pub(crate) fn show(&self, number: u32) {
        let Self { from, to, version, probe, expected, seen, expected_rule, rule } = self;
        let family = if *version == IpVersion::V4 { "IPv4" } else { "IPv6" };
        let way = format!("{} -> {}", from.name, to.name);
        let probe = probe.to_string();
        let outcome = mark(self.is_as_expected());
        let wish = match expected {
            Seen::Answered => "allowed",
            Seen::Nothing | Seen::Refused => "denied",
        };
        let seen = seen.to_string();
        println!(
            " {number:>2}  {way:<20} {family} {probe:<14} {wish:<9} {seen:<9} {rule:<26} {outcome}"
        );
        if rule != expected_rule {
            println!("     the deciding rule should have been {expected_rule}");
        }
    }
}

/// How many attempts and steps there were, and how many went as they should.
#[derive(Default)]
pub(crate) struct Summary {
    rows: u32,
    rows_good: u32,
    steps: u32,
    steps_good: u32,
}

impl Summary {
    pub(crate) fn count(&mut self, row: &Row<'_>) {
        self.rows += 1;
        self.rows_good += u32::from(row.is_as_expected());
    }

    /// Counts and shows one step that is no attempt.
    pub(crate) fn step(&mut self, good: bool, what: &str) {
        self.steps += 1;
        self.steps_good += u32::from(good);
        println!("     {what:<78} {}", mark(good));
    }

    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    pub(crate) fn is_as_expected(&self) -> bool {
        self.rows == self.rows_good && self.steps == self.steps_good
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, rows_good, steps, steps_good } = self;
        writeln!(
            f,
            "{rows_good} of {rows} attempts and {steps_good} of {steps} steps went as expected."
        )?;
        f.write_str(if self.is_as_expected() {
            "Everything was as expected."
        } else {
            "NOT everything was as expected."
        })
    }
}

pub(crate) fn topology(lab: &Lab) {
    let line = |host: &Host| format!("{:<10} {:<14} {}", host.name, host.v4, host.v6);
    let [noc, office, embargoed, stranger, server, candidate] = lab.hosts().map(line);
    println!("  outside   {noc}");
    println!("            {office}");
    println!("            {embargoed}   (on the embargo list)");
    println!("            {stranger}   (no object covers it)");
    println!("     |");
    println!("  gateway   two ports, AF_XDP, no address of its own");
    println!("     |");
    println!("  inside    {server}");
    println!("            {candidate}\n");
}

pub(crate) fn started(gateway: &Gateway<'_>) -> Result<(), Failure> {
    let generation = gateway.generation()?;
    println!(
        "The gateway is up, policy generation {generation} is in force, from {}:",
        gateway.policies().display()
    );
    println!(
        "  quarantine and embargo in tiers of their own; then ssh-only-from-noc, web-on-production, services; then deny\n"
    );
    Ok(())
}

pub(crate) fn head() {
    println!("  #  who                  what                should be seen      decided by");
}

fn mark(good: bool) -> &'static str {
    match (good, std::io::stdout().is_terminal()) {
        (true, true) => "\x1b[32mas expected\x1b[0m",
        (true, false) => "as expected",
        (false, true) => "\x1b[31mNOT AS EXPECTED\x1b[0m",
        (false, false) => "NOT AS EXPECTED",
    }
}
