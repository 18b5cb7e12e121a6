//! `ravelin diff`: what would be decided differently? Exact: every packet is accounted for.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use classifier::image::{Image, View};
use classifier::packet::Crossing;
use classifier::space::{Change, Diff, Entry, Limits, TooLarge, diff};
use serde_json::{Value, json};

use super::check::Output;
use super::documents::{Documents, INWARD, OUTWARD, Way, gateway};
use super::trace::settings;
use super::{SETTINGS_PATH, exact};
use crate::cli::say;
use crate::publish::Dataplane;
use crate::settings::Settings;

/// Exit status when every packet has the same verdict.
pub const SAME: u8 = 0;
/// Exit status when some packet has another verdict.
pub const DIFFERENT: u8 = 1;
/// Exit status when there is no answer.
pub const NO_ANSWER: u8 = 2;

/// Changes of the rule alone that a person is shown.
const REASONS_SHOWN: usize = 20;

/// Arguments of `ravelin diff`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The old policy: a document, a directory of them, or a settings file; with `--in-force` the new one
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The new policy
    #[arg(value_name = "B", required_unless_present = "in_force", conflicts_with = "in_force")]
    second: Option<PathBuf>,
    /// Compare with the policy in force, as the old one
    #[arg(long)]
    in_force: bool,
    /// Also show where another rule decides and the verdict stays
    #[arg(long)]
    rules: bool,
    #[command(flatten)]
    way: Way,
    /// The settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to answer
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Writes every difference to `out`. Both ways through the gateway are compared unless one is named: then packets
/// between two things behind it have the same verdict too, for both directions must allow them.
///
/// # Errors
/// When `out` does not take what is written.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<u8> {
    let Some((old, new)) = policies(arguments) else { return Ok(NO_ANSWER) };
    let (old, new) = (old.view(), new.view());
    let crossings = arguments.way.crossing().map_or(vec![INWARD, OUTWARD], |way| vec![way]);
    let compared: Result<Vec<(Crossing, Diff)>, TooLarge> = crossings
        .into_iter()
        .map(|crossing| Ok((crossing, diff(&old, &new, crossing, Limits::default())?)))
        .collect();
    let diffs = match compared {
        Ok(diffs) => diffs,
        Err(error) => {
            say(&format!("{error}: {}", error.help()));
            return Ok(NO_ANSWER);
        }
    };
    let same = diffs.iter().all(|(_, diff)| diff.verdicts.is_empty());
    let answer = Answer { old, new, diffs, rules: arguments.rules };
    match arguments.output {
        Output::Human => out.write_all(answer.human().as_bytes())?,
        Output::Json => writeln!(out, "{:#}", answer.json())?,
    }
    Ok(if same { SAME } else { DIFFERENT })
}

/// The old policy and the new one; why there is none is said.
fn policies(arguments: &Arguments) -> Option<(Image, Image)> {
    let settings = settings(arguments.config.as_deref())?;
    let gateway = gateway(settings.as_ref());
    let first = Documents::load(&arguments.first, &gateway)?.image;
    match &arguments.second {
        Some(second) => Some((first, Documents::load(second, &gateway)?.image)),
        None => Some((in_force(settings.as_ref())?, first)),
    }
}

/// The image in force; why there is none is said.
fn in_force(settings: Option<&Settings>) -> Option<Image> {
    let Some(settings) = settings else {
        say(&format!(
            "there is no `{SETTINGS_PATH}` to say where the data plane is: name a settings file with `--config`, or two policies"
        ));
        return None;
    };
    let image = Dataplane::at(&settings.dataplane.socket).image();
    image.map_err(|error| say(&format!("{error}; name two policies to compare these"))).ok()
}

struct Answer<'a> {
    old: View<'a>,
    new: View<'a>,
    diffs: Vec<(Crossing, Diff)>,
    rules: bool,
}

impl Answer<'_> {
    fn human(&self) -> String {
        let mut text = String::new();
        for (crossing, diff) in &self.diffs {
            let Crossing { from, to } = crossing;
            if !diff.verdicts.is_empty() {
                let _ = writeln!(text, "what changes from {from} to {to}");
            }
            for entry in &diff.verdicts {
                text += &self.entry(diff, entry);
            }
            if !diff.verdicts.is_empty() {
                text += "\n";
            }
        }
        text += if text.is_empty() {
            "the same: every packet has the same verdict\n"
        } else {
            "nothing else changes\n"
        };
        if self.rules {
            text += &self.reasons();
        }
        text
    }

    fn reasons(&self) -> String {
        let mut text = String::new();
        for (crossing, diff) in &self.diffs {
            if diff.reasons.is_empty() {
                continue;
            }
            let Crossing { from, to } = crossing;
            let _ = write!(
                text,
                "\nwhere another rule decides and the verdict stays, from {from} to {to}\n"
            );
            for entry in diff.reasons.iter().take(REASONS_SHOWN) {
                text += &self.entry(diff, entry);
            }
            let more = diff.reasons.len().saturating_sub(REASONS_SHOWN);
            if more > 0 {
                let _ = writeln!(text, "\nand {more} more, all of them with `-o json`");
            }
        }
        if text.is_empty() { "no other rule decides anything\n".to_owned() } else { text }
    }

    fn entry(&self, diff: &Diff, entry: &Entry<Change>) -> String {
        let Entry { versions, sources, destinations, content } = entry;
        let sources = exact::at(&diff.places, sources);
        let destinations = exact::at(&diff.places, destinations);
        let mut text = format!("\n{}", exact::ends(&sources, &destinations, versions));
        for Change { was, now, packets } in content {
            for line in exact::packets(packets) {
                let _ = writeln!(text, "      {line}");
            }
            let (before, after) = (exact::verdict(was.verdict), exact::verdict(now.verdict));
            let _ = writeln!(text, "        was {before}: {}", exact::because(&self.old, *was));
            let _ = writeln!(text, "        now {after}: {}", exact::because(&self.new, *now));
        }
        text
    }

    fn json(&self) -> Value {
        let same = self.diffs.iter().all(|(_, diff)| diff.verdicts.is_empty());
        let crossing = |(crossing, diff): &(Crossing, Diff)| {
            let entries = |entries: &[Entry<Change>]| -> Value {
                entries.iter().map(|entry| self.entry_json(diff, entry)).collect()
            };
            let rules = self.rules.then(|| entries(&diff.reasons));
            json!({
                "in": crossing.from.to_string(),
                "out": crossing.to.to_string(),
                "verdicts": entries(&diff.verdicts),
                "rules": rules,
            })
        };
        json!({ "same": same, "crossings": self.diffs.iter().map(crossing).collect::<Value>() })
    }

    fn entry_json(&self, diff: &Diff, entry: &Entry<Change>) -> Value {
        let Entry { versions, sources, destinations, content } = entry;
        let change = |Change { was, now, packets }: &Change| {
            json!({
                "packets": exact::packets_json(packets),
                "was": exact::outcome_json(&self.old, *was),
                "now": exact::outcome_json(&self.new, *now),
            })
        };
        let places =
            |positions: &[usize]| exact::places_json(&exact::at(&diff.places, positions), versions);
        json!({
            "ipVersions": exact::versions_json(versions),
            "sources": places(sources),
            "destinations": places(destinations),
            "changes": content.iter().map(change).collect::<Value>(),
        })
    }
}
