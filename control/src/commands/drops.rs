//! `ravelin drops`: why frames were dropped, at which port, and what a person does about it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::table::{Port, align, ports, table};
use super::{DONE, Output, SettingsArgument, WRONG};
use crate::cli::say;
use crate::publish::{Dataplane, DataplaneStatus};
use crate::reasons;

/// Arguments of `ravelin drops`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsArgument,
    /// Show reasons that never occurred as well
    #[arg(long)]
    all: bool,
    /// Show again every so many seconds what came on top, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    /// How to answer
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Asks the data plane and writes what it dropped to `out`. Returns the exit status.
///
/// # Errors
/// When `out` does not take what is written.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<u8> {
    let Some(settings) = arguments.settings.load() else { return Ok(WRONG) };
    let dataplane = Dataplane::at(&settings.dataplane.socket);
    let mut before: Option<Drops> = None;
    loop {
        let drops = match dataplane.status() {
            Ok(status) => Drops::of(&status),
            Err(error) => {
                say(&error.to_string());
                return Ok(WRONG);
            }
        };
        let shown = before.as_ref().map_or_else(|| drops.clone(), |before| drops.since(before));
        match arguments.output {
            Output::Human => out.write_all(shown.human(arguments.all).as_bytes())?,
            // In a row of answers each has a line.
            Output::Json if arguments.watch.is_some() => {
                writeln!(out, "{}", shown.json(arguments.all))?;
            }
            Output::Json => writeln!(out, "{:#}", shown.json(arguments.all))?,
        }
        let Some(seconds) = arguments.watch else { return Ok(DONE) };
        out.flush()?;
        before = Some(drops);
        thread::sleep(Duration::from_secs(seconds));
    }
}

/// What each port dropped, and what it only counted.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Drops {
    ports: Vec<String>,
    /// In the data plane's order.
    reasons: Vec<Reason>,
}

/// One reason, with a count for each port.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Reason {
    name: String,
    dropped: Vec<u64>,
    /// Failed this check and passed all the same.
    passed: Vec<u64>,
}

impl Drops {
    fn of(status: &DataplaneStatus) -> Self {
        let ports = ports(status);
        let count = |port: &Port<'_>, key: &str| port.value(key).parse().unwrap_or_default();
        let counts = |key: &str| ports.iter().map(|port| count(port, key)).collect();
        let names = ports.first().into_iter().flat_map(|port| &port.values);
        let names = names.filter_map(|(key, _)| key.strip_prefix("dropped."));
        let reasons =
            names.filter(|name| !["packets", "bytes"].contains(name)).map(|name| Reason {
                name: name.to_owned(),
                dropped: counts(&format!("dropped.{name}")),
                passed: counts(&format!("noticed.{name}")),
            });
        Self {
            reasons: reasons.collect(),
            ports: ports.iter().map(|port| port.name.to_owned()).collect(),
        }
    }

    /// What came on top. A data plane that was restarted in between counts from 0 again.
    fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        for (reason, before) in since.reasons.iter_mut().zip(&before.reasons) {
            let counts = reason.dropped.iter_mut().chain(&mut reason.passed);
            for (count, before) in counts.zip(before.dropped.iter().chain(&before.passed)) {
                *count = count.checked_sub(*before).unwrap_or(*count);
            }
        }
        since
    }

    fn shown(&self, all: bool) -> impl Iterator<Item = &Reason> {
        let occurred =
            |reason: &Reason| reason.dropped.iter().chain(&reason.passed).any(|count| *count > 0);
        self.reasons.iter().filter(move |reason| all || occurred(reason))
    }

    fn human(&self, all: bool) -> String {
        let mut text = String::new();
        let rows = |title: &str, of: fn(&Reason) -> &Vec<u64>, all: bool| {
            let head = std::iter::once(title.to_owned()).chain(self.ports.iter().cloned());
            let rows =
                self.shown(all).filter(|reason| all || of(reason).iter().any(|count| *count > 0));
            let cells = |reason: &Reason| {
                let counts = of(reason).iter().map(u64::to_string);
                std::iter::once(reason.name.clone()).chain(counts).collect()
            };
            table(head.collect(), rows.map(cells))
        };
        align(&rows("DROPPED FOR", |reason| &reason.dropped, all), &mut text);
        let passed = rows("COUNTED ONLY", |reason| &reason.passed, false);
        if !passed.is_empty() {
            text.push('\n');
            align(&passed, &mut text);
        }
        for reason in self.shown(all) {
            text.push_str(&explanation(&reason.name));
        }
        if text.is_empty() { "nothing was dropped\n".to_owned() } else { text }
    }

    fn json(&self, all: bool) -> Value {
        let by_port = |counts: &[u64]| -> BTreeMap<&str, u64> {
            self.ports.iter().map(String::as_str).zip(counts.iter().copied()).collect()
        };
        let reasons = self.shown(all).map(|reason| {
            let known = reasons::find(&reason.name);
            json!({
                "reason": reason.name,
                "dropped": by_port(&reason.dropped),
                "countedOnly": by_port(&reason.passed),
                "meaning": known.map(|known| known.meaning),
                "advice": known.map(|known| known.advice),
            })
        });
        json!({ "reasons": reasons.collect::<Vec<_>>() })
    }
}

/// A paragraph on a reason; of one that this version does not know, that.
fn explanation(name: &str) -> String {
    match reasons::find(name) {
        Some(reason) => format!("\n{name}: {}.\n  {}.\n", reason.meaning, capital(reason.advice)),
        None => format!("\n{name}: this version does not know the reason.\n"),
    }
}

fn capital(sentence: &str) -> String {
    let mut rest = sentence.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "\
port.0.name outside0
port.0.dropped.packets 12
port.0.dropped.bytes 640
port.0.dropped.land 2
port.0.dropped.policy-denied 10
port.0.dropped.novelty 0
port.0.noticed.land 0
port.1.name in.7
port.1.dropped.packets 1
port.1.dropped.bytes 60
port.1.dropped.land 0
port.1.dropped.policy-denied 1
port.1.dropped.novelty 0
port.1.noticed.land 5
";

    #[test]
    fn what_occurred_is_shown_with_its_meaning() {
        let expected = "\
DROPPED FOR    outside0  in.7
land           2         0
policy-denied  10        1

COUNTED ONLY  outside0  in.7
land          0         5

land: source and destination are one address.
  Nothing honest sends this: find the sender.

policy-denied: policy denies it.
  `ravelin trace` says which rule and why; the flow log has each such packet.
";
        assert_eq!(drops(STATUS).human(false), expected);
        let all = drops(STATUS).human(true);
        assert!(all.ends_with("\nnovelty: this version does not know the reason.\n"), "{all}");
    }

    #[test]
    fn json_has_every_count_by_port() {
        let json = drops(STATUS).json(false);
        assert_eq!(json["reasons"].as_array().unwrap().len(), 2);
        assert_eq!(json["reasons"][0]["reason"], "land");
        assert_eq!(json["reasons"][0]["dropped"], json!({ "outside0": 2, "in.7": 0 }));
        assert_eq!(json["reasons"][0]["countedOnly"], json!({ "outside0": 0, "in.7": 5 }));
        assert_eq!(drops(STATUS).json(true)["reasons"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_watch_shows_what_came_on_top_even_after_a_restart() {
        let before = drops(STATUS);
        let text =
            STATUS.replace("policy-denied 10", "policy-denied 14").replace("land 2", "land 1");
        let since = drops(&text).since(&before);
        let counts: Vec<_> = since.reasons.iter().map(|reason| reason.dropped[0]).collect();
        assert_eq!(counts, [1, 4, 0]);
        assert_eq!(before.since(&before).human(false), "nothing was dropped\n");
    }

    fn drops(text: &str) -> Drops {
        let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
        let lines = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Drops::of(&DataplaneStatus { lines })
    }
}
