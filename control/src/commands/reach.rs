//! `ravelin reach`: what may pass from here to there? Exact: every packet is accounted for.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use classifier::image::View;
use classifier::packet::Crossing;
use classifier::selector::Selector;
use classifier::space::{Entry, Limits, Passage, Question, Reach, reach};
use serde_json::{Value, json};

use super::check::Output;
use super::documents::{Documents, INWARD, Way, gateway};
use super::trace::settings;
use super::{DONE, SETTINGS_PATH, WRONG, exact};
use crate::cli::say;

/// Arguments of `ravelin reach`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Packets from objects with these labels [default: from everywhere, the internet included]
    #[arg(long, value_name = "SELECTOR")]
    from: Option<String>,
    /// Packets to objects with these labels [default: to everywhere]
    #[arg(long, value_name = "SELECTOR", required_unless_present = "from")]
    to: Option<String>,
    #[command(flatten)]
    way: Way,
    /// The policy documents, a file or a directory [default: those that the settings name]
    #[arg(short = 'f', long = "file", value_name = "PATH")]
    file: Option<PathBuf>,
    /// The settings file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to answer
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Writes everything that may pass to `out`. Returns the exit status: 0 whether or not something passes.
///
/// # Errors
/// When `out` does not take what is written.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<u8> {
    let Some((documents, question)) = asked(arguments) else { return Ok(WRONG) };
    let view = documents.image.view();
    let answer = match reach(&documents.set, &view, &question, Limits::default()) {
        Ok(answer) => answer,
        Err(error) => {
            say(&format!("{error}: {}", error.help()));
            return Ok(WRONG);
        }
    };
    match arguments.output {
        Output::Human => out.write_all(human(&view, &question, &answer).as_bytes())?,
        Output::Json => writeln!(out, "{:#}", json(arguments, &view, &question, &answer))?,
    }
    Ok(DONE)
}

/// What to ask of what; why there is nothing is said.
fn asked(arguments: &Arguments) -> Option<(Documents, Question)> {
    let from = selector("--from", arguments.from.as_deref())?;
    let to = selector("--to", arguments.to.as_deref())?;
    let crossing = arguments.way.crossing().unwrap_or(INWARD);
    let settings = settings(arguments.config.as_deref())?;
    let named = settings.as_ref().map(|settings| settings.policy_directory.clone());
    let Some(path) = arguments.file.clone().or(named) else {
        say(&format!(
            "there is no `{SETTINGS_PATH}` to say where the documents are: name them with `-f`, or a settings file with `--config`"
        ));
        return None;
    };
    let documents = Documents::load(&path, &gateway(settings.as_ref()))?;
    Some((documents, Question { from, to, crossing }))
}

#[expect(clippy::option_option, reason = "no selector and a wrong selector are two things")]
fn selector(flag: &str, text: Option<&str>) -> Option<Option<Selector>> {
    let Some(text) = text else { return Some(None) };
    match Selector::parse(text) {
        Ok(selector) => Some(Some(selector)),
        Err(error) => {
            let place = error.offset + 1;
            say(&format!("`{flag} {text}`: at character {place}: {}", error.message));
            None
        }
    }
}

fn human(view: &View<'_>, question: &Question, answer: &Reach) -> String {
    let Crossing { from, to } = question.crossing;
    let mut text = format!("what may pass from {from} to {to}\n");
    for (word, selector, places) in
        [("--from", &question.from, &answer.sources), ("--to", &question.to, &answer.destinations)]
    {
        if let (Some(selector), true) = (selector, places.is_empty()) {
            let _ = writeln!(text, "\nno object with an address matches `{word} {selector}`");
        }
    }
    for Entry { versions, sources, destinations, content } in &answer.entries {
        let sources = exact::at(&answer.sources, sources);
        let destinations = exact::at(&answer.destinations, destinations);
        let _ = write!(text, "\n{}", exact::ends(&sources, &destinations, versions));
        for Passage { outcome, packets } in content {
            for line in exact::packets(packets) {
                let _ = writeln!(text, "      {line}");
            }
            let _ = writeln!(text, "        {}", exact::because(view, *outcome));
        }
    }
    text + if answer.entries.is_empty() { "\nnothing passes\n" } else { "\nnothing else passes\n" }
}

fn json(arguments: &Arguments, view: &View<'_>, question: &Question, answer: &Reach) -> Value {
    let passage = |Passage { outcome, packets }: &Passage| {
        let mut passage = exact::outcome_json(view, *outcome);
        if let Some(fields) = passage.as_object_mut() {
            fields.insert("packets".to_owned(), exact::packets_json(packets));
        }
        passage
    };
    let entry = |Entry { versions, sources, destinations, content }: &Entry<Passage>| {
        json!({
            "ipVersions": exact::versions_json(versions),
            "sources": exact::places_json(&exact::at(&answer.sources, sources), versions),
            "destinations":
                exact::places_json(&exact::at(&answer.destinations, destinations), versions),
            "passes": content.iter().map(passage).collect::<Value>(),
        })
    };
    json!({
        "from": arguments.from,
        "to": arguments.to,
        "in": question.crossing.from.to_string(),
        "out": question.crossing.to.to_string(),
        "entries": answer.entries.iter().map(entry).collect::<Value>(),
    })
}
