//! `ravelin status`: what runs, what is in force, what is counted, and what is wrong.

mod tables;

use std::io::{self, Write};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{DONE, Output, SettingsArgument, WRONG};
use crate::publish::{Dataplane, DataplaneStatus};
use crate::report;
use crate::settings::Settings;

/// Arguments of `ravelin status`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsArgument,
    /// How to answer
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Asks both daemons and writes what they say to `out`. Returns the exit status: 0 when all is well.
///
/// # Errors
/// When `out` does not take what is written.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> io::Result<u8> {
    let Some(settings) = arguments.settings.load() else { return Ok(WRONG) };
    let status = Status::ask(&settings);
    match arguments.output {
        Output::Human => out.write_all(status.human(Timestamp::now()).as_bytes())?,
        Output::Json => writeln!(out, "{:#}", status.json())?,
    }
    Ok(if status.troubles().is_empty() { DONE } else { WRONG })
}

/// What both daemons said, or why they did not.
struct Status {
    gateway: String,
    dataplane: Result<DataplaneStatus, String>,
    control: Result<Value, String>,
}

impl Status {
    fn ask(settings: &Settings) -> Self {
        let dataplane = Dataplane::at(&settings.dataplane.socket).status();
        let control = report::ask(&settings.control_socket);
        let no_daemon = |error| no_daemon(&settings.control_socket, &error);
        Self {
            gateway: settings.gateway_name.clone(),
            dataplane: dataplane.map_err(|error| error.to_string()),
            control: control.map_err(no_daemon),
        }
    }

    /// Everything that a person should look at, worst first.
    fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        match &self.dataplane {
            Err(error) => troubles.push(error.clone()),
            Ok(status) if status.generation().is_none() => {
                troubles.push("no policy is in force: nothing passes".to_owned());
            }
            Ok(_) => {}
        }
        match &self.control {
            Err(error) => troubles.push(error.clone()),
            Ok(report) => troubles.extend(report_troubles(report)),
        }
        troubles
    }

    fn json(&self) -> Value {
        let (counters, dataplane_error) = match &self.dataplane {
            Ok(status) => (Some(flat(status)), None),
            Err(error) => (None, Some(error)),
        };
        let (report, control_error) = match &self.control {
            Ok(report) => (Some(report), None),
            Err(error) => (None, Some(error)),
        };
        let troubles = self.troubles();
        json!({
            "gateway": self.gateway,
            "ok": troubles.is_empty(),
            "troubles": troubles,
            "dataplane": { "error": dataplane_error, "status": counters },
            "control": { "error": control_error, "report": report },
        })
    }

    fn human(&self, now: Timestamp) -> String {
        let mut page = Page::default();
        page.line("gateway", &self.gateway);
        page.line("policy", &self.policy(now));
        page.line("data plane", &self.dataplane(now));
        if let Ok(report) = &self.control {
            page.line("documents", &documents(report));
            page.line("flow log", &flow_log(report));
        }
        for trouble in self.troubles() {
            page.line("TROUBLE", &trouble);
        }
        if let Ok(report) = &self.control {
            page.findings(at(report, "/lastLoad/findings"));
        }
        if let Ok(status) = &self.dataplane {
            page.text.push_str(&tables::render(status));
        }
        page.text
    }

    fn policy(&self, now: Timestamp) -> String {
        let Ok(status) = &self.dataplane else { return "unknown".to_owned() };
        let Some(generation) = status.generation() else { return "none in force".to_owned() };
        let age = age_of(status, "policy.since", now);
        let age = age.map(|age| format!(", in force for {age}")).unwrap_or_default();
        format!("generation {generation}{age}")
    }

    fn dataplane(&self, now: Timestamp) -> String {
        let Ok(status) = &self.dataplane else { return "does not answer".to_owned() };
        let value = |key| status.value(key).unwrap_or("?");
        let age = age_of(status, "dataplane.since", now);
        let age = age.map(|age| format!(" for {age}")).unwrap_or_default();
        let (version, workers) = (value("dataplane.version"), value("dataplane.workers"));
        format!("version {version}, running{age}, workers {workers}")
    }
}

fn no_daemon(socket: &std::path::Path, error: &io::Error) -> String {
    format!("the daemon does not answer on `{}`: {error}", socket.display())
}

fn report_troubles(report: &Value) -> Vec<String> {
    let mut troubles = Vec::new();
    if at(report, "/lastLoad/accepted") == false {
        troubles.push("the documents are refused; what was in force stays".to_owned());
    }
    if let Some(error) = at(report, "/dataplane/error").as_str() {
        troubles.push(format!("the daemon: {error}"));
    } else if at(report, "/policy/current") == false && at(report, "/lastLoad/accepted") == true {
        troubles.push("what is in force is not yet what the documents say".to_owned());
    }
    if let Some(error) = at(report, "/flowLog/error").as_str() {
        troubles.push(format!("the flow log: {error}"));
    }
    troubles
}

fn documents(report: &Value) -> String {
    let load = at(report, "/lastLoad");
    let outcome = match at(load, "/accepted").as_bool() {
        None => return "not read yet".to_owned(),
        Some(true) => "accepted",
        Some(false) => "REFUSED",
    };
    let count = |of: &Value| of.as_array().map_or(0, Vec::len);
    format!(
        "{outcome} at {}, {} findings; in force from {} documents and {} lists",
        at(load, "/at").as_str().unwrap_or("?"),
        count(at(load, "/findings")),
        count(at(report, "/policy/sources")),
        count(at(report, "/policy/lists")),
    )
}

fn flow_log(report: &Value) -> String {
    let log = at(report, "/flowLog");
    let number = |name: &str| at(log, &format!("/{name}")).as_u64().unwrap_or_default();
    let (written, lost, unreadable) = (number("written"), number("lost"), number("unreadable"));
    format!("{written} lines written, {lost} records lost, {unreadable} unreadable")
}

/// A part of a report; nothing where it is not.
fn at<'a>(report: &'a Value, pointer: &str) -> &'a Value {
    static NOTHING: Value = Value::Null;
    report.pointer(pointer).unwrap_or(&NOTHING)
}

/// How long ago the time at `key` was, in seconds since 1970 there.
fn age_of(status: &DataplaneStatus, key: &str, now: Timestamp) -> Option<String> {
    let since = Timestamp::from_second(status.value(key)?.parse().ok()?).ok()?;
    Some(age(now.duration_since(since)))
}

/// "45s", "3m 20s", "2h 5m", "12d 3h"
fn age(age: SignedDuration) -> String {
    let seconds = age.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        (_, _, _) => format!("{days}d {}h", hours % 24),
    }
}

/// The data plane's lines as one JSON object; numbers become numbers.
fn flat(status: &DataplaneStatus) -> Map<String, Value> {
    let value =
        |text: &str| text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
    status.lines.iter().map(|(key, text)| (key.clone(), value(text))).collect()
}

/// Text for people, in two columns.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, key: &str, value: &str) {
        let line = format!("{key:<10}  {value}\n");
        self.text.push_str(&line);
    }

    fn findings(&mut self, findings: &Value) {
        for finding in findings.as_array().into_iter().flatten() {
            let text = |name: &str| at(finding, &format!("/{name}")).as_str().unwrap_or_default();
            let place = at(finding, "/place");
            let place = at(place, "/file")
                .as_str()
                .map(|file| format!("{file}:{}:{}: ", at(place, "/line"), at(place, "/column")));
            let place = place.unwrap_or_default();
            self.line("", &format!("{place}{}: {}", text("severity"), text("message")));
            if let Some(help) = at(finding, "/help").as_str() {
                self.line("", &format!("  help: {help}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_at_work_is_shown_without_trouble() {
        let status = Status { dataplane: Ok(dataplane()), control: Ok(report(true)), ..quiet() };
        let expected = "\
gateway     gw1
policy      generation 12, in force for 3m 20s
data plane  version 0.1.0, running for 2h 46m, workers 2
documents   accepted at 2026-01-02T03:04:05Z, 0 findings; in force from 2 documents and 1 lists
flow log    7 lines written, 2 records lost, 0 unreadable

flows.now  100
";
        assert_eq!(status.human(Timestamp::from_second(1_000_200).unwrap()), expected);
        let json = status.json();
        assert_eq!(json["ok"], true);
        assert_eq!(json["dataplane"]["status"]["flows.now"], 100);
        assert_eq!(json["control"]["report"]["policy"]["generation"], 12);
    }

    #[test]
    fn refused_documents_are_shown_with_their_place() {
        let status = Status { dataplane: Ok(dataplane()), control: Ok(report(false)), ..quiet() };
        let page = status.human(Timestamp::UNIX_EPOCH);
        for line in [
            "TROUBLE     the documents are refused; what was in force stays\n",
            "            a.toml:3:5: error: `protcol` is not a field\n",
            "              help: did you mean `protocol`?\n",
        ] {
            assert!(page.contains(line), "no `{line}` in\n{page}");
        }
        assert_eq!(status.json()["ok"], false);
    }

    #[test]
    fn what_does_not_answer_is_said() {
        let status = quiet();
        assert_eq!(status.troubles(), ["no data plane", "no daemon"]);
        let expected = "gateway     gw1\npolicy      unknown\ndata plane  does not answer\n\
                        TROUBLE     no data plane\nTROUBLE     no daemon\n";
        assert_eq!(status.human(Timestamp::UNIX_EPOCH), expected);
    }

    #[test]
    fn no_policy_is_trouble() {
        let lines = vec![("policy.generation".to_owned(), "none".to_owned())];
        let status = Status { dataplane: Ok(DataplaneStatus { lines }), ..quiet() };
        assert_eq!(status.troubles()[0], "no policy is in force: nothing passes");
    }

    fn quiet() -> Status {
        let (dataplane, control) = (Err("no data plane".to_owned()), Err("no daemon".to_owned()));
        Status { gateway: "gw1".to_owned(), dataplane, control }
    }

    fn dataplane() -> DataplaneStatus {
        let lines = [
            ("policy.generation", "12"),
            ("policy.since", "1000000"),
            ("dataplane.version", "0.1.0"),
            ("dataplane.since", "990200"),
            ("dataplane.workers", "2"),
            ("flows.now", "100"),
        ];
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        DataplaneStatus { lines: lines.map(owned).to_vec() }
    }

    fn report(accepted: bool) -> Value {
        let finding = json!({
            "severity": "error",
            "message": "`protcol` is not a field",
            "place": { "file": "a.toml", "line": 3, "column": 5 },
            "help": "did you mean `protocol`?",
        });
        let findings = if accepted { json!([]) } else { json!([finding]) };
        json!({
            "policy": { "generation": 12, "current": true, "sources": ["a", "b"], "lists": ["c"] },
            "lastLoad": { "at": "2026-01-02T03:04:05Z", "accepted": accepted, "findings": findings },
            "dataplane": { "connected": true, "error": null },
            "flowLog": { "written": 7, "lost": 2, "unreadable": 0, "error": null },
        })
    }
}
