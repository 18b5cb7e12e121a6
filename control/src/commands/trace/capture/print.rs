//! What came of a capture, as people and programs read it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use classifier::decision::Verdict;
use classifier::image::View;
use classifier::packet::PacketKey;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::sides::Sides;
use super::tally::{Counts, PAIRS_MAX, Pair, Row, Tally, Verdicts};
use super::{Fate, Judges};
use crate::capture::{CaptureError, Format, Packet, Recorded, Unjudged};
use crate::commands::ports::Ends;
use crate::commands::trace::print::{packet_words, transport_json};
use crate::commands::trace::{Origin, print};
use crate::commands::{Output, exact};
use crate::flowlog::protocol_name;

/// Answers of one kind that a person is shown; programs get all.
const ROWS_SHOWN: usize = 20;
/// Pairs below one answer that a person is shown.
const PAIRS_SHOWN: usize = 3;

/// A judged capture with everything that is said around it.
pub(super) struct Answer<'a> {
    pub(super) file: &'a Path,
    pub(super) origin: &'a Origin,
    pub(super) generation: u64,
    pub(super) against: Option<&'a Path>,
    pub(super) judges: &'a Judges<'a>,
    pub(super) sides: &'a Sides<'a>,
    pub(super) tally: &'a Tally,
    pub(super) flows_max: u32,
    pub(super) top: usize,
    pub(super) error: Option<&'a CaptureError>,
}

impl Answer<'_> {
    /// For people.
    pub(super) fn human(&self) -> String {
        let mut text = self.head();
        text += &self.rows("denied", &|verdicts| verdicts.is_denied(), &|row| {
            vec![exact::because(&self.judges.now.view, row.verdicts.now)]
        });
        text += &self.top_denied();
        text += &self.staged();
        text += &self.changes();
        text += &self.notes();
        text
    }

    fn head(&self) -> String {
        let Tally { format, packets, times, unjudged, stayed: [outside, inside], .. } = self.tally;
        let format = format.map_or("no capture", Format::name);
        let mut text = format!("capture   `{}`, {format}", self.file.display());
        if let Some((first, last)) = times {
            let _ = write!(text, ", {} to {}", time(*first), time(*last));
        }
        let _ = write!(text, "\npolicy    {}\n", print::origin_words(self.origin, self.generation));
        if let Some(against) = self.against {
            let _ = writeln!(text, "against   `{}`, compiled for this", against.display());
        }
        let _ = writeln!(text, "inside    {}", self.sides_words());
        let all = self.tally.sum(|_| true);
        let _ = writeln!(text, "packets   {packets}, of which {} judged", all.packets);
        for (why, count) in unjudged {
            let _ = writeln!(text, "          {count} not: {}", why.words());
        }
        for (count, side) in [(outside, "outside"), (inside, "inside")] {
            if *count > 0 {
                let words = "do not cross the gateway, both ends are";
                let _ = writeln!(text, "          {count} not: {words} {side}");
            }
        }
        let denied = self.tally.sum(Verdicts::is_denied);
        let allowed = self.tally.sum(|verdicts| !verdicts.is_denied());
        let _ = writeln!(text, "flows     {}", all.flows);
        let _ = writeln!(text, "allowed   {}", counts(allowed));
        let _ = writeln!(text, "denied    {}", counts(denied));
        text
    }

    fn sides_words(&self) -> String {
        match self.sides {
            Sides::All(side) => format!("every packet comes in from {side}, as told"),
            Sides::Inside(nets) => {
                let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
                format!("{}, as told", nets.join(", "))
            }
            Sides::Protected(_) => {
                "what some policy protects; `--inside` says it better".to_owned()
            }
        }
    }

    /// The answers that `wanted` likes, the most frequent first, each with the pairs that got it most.
    fn rows(
        &self,
        title: &str,
        wanted: &dyn Fn(&Verdicts) -> bool,
        because: &dyn Fn(&Row) -> Vec<String>,
    ) -> String {
        let (rows, pairs) = (self.sorted(wanted), self.pairs_of_rows());
        let mut text = String::new();
        if !rows.is_empty() {
            let _ = writeln!(text, "\n{title}");
        }
        for (number, row) in rows.iter().take(ROWS_SHOWN) {
            let _ = writeln!(text, "  {}", counts(row.counts));
            for line in because(row) {
                let _ = writeln!(text, "    {line}");
            }
            for (pair, count) in pairs.get(number).into_iter().flatten().take(PAIRS_SHOWN) {
                let _ = writeln!(text, "      {}: {}", pair_words(pair), counts(*count));
            }
            let (packet, key, Ends { from, to }) = row.first;
            let _ = writeln!(
                text,
                "      first packet {packet}: {}, {from} to {to}",
                packet_words(&key)
            );
        }
        if let Some(more) = rows.len().checked_sub(ROWS_SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(text, "  and {more} more, all of them with `-o json`");
        }
        text
    }

    fn sorted(&self, wanted: &dyn Fn(&Verdicts) -> bool) -> Vec<(usize, &Row)> {
        let rows = self.tally.rows.iter().enumerate();
        let mut rows: Vec<(usize, &Row)> = rows.filter(|(_, row)| wanted(&row.verdicts)).collect();
        rows.sort_by_key(|(number, row)| (Reverse(row.counts.packets), *number));
        rows
    }

    /// All pairs, the most frequent first.
    fn pairs(&self) -> Vec<(Pair, Counts)> {
        let mut pairs = self.tally.pairs.clone();
        pairs.sort_by_key(|(pair, counts)| (Reverse((counts.packets, counts.flows)), *pair));
        pairs
    }

    fn pairs_of_rows(&self) -> HashMap<usize, Vec<(Pair, Counts)>> {
        let mut rows: HashMap<usize, Vec<(Pair, Counts)>> = HashMap::new();
        for (pair, counts) in self.pairs() {
            rows.entry(pair.row).or_default().push((pair, counts));
        }
        rows
    }

    fn denied_pairs(&self) -> Vec<(Pair, Counts)> {
        let is_denied =
            |pair: &Pair| self.tally.rows.get(pair.row).is_some_and(|row| row.verdicts.is_denied());
        self.pairs().into_iter().filter(|(pair, _)| is_denied(pair)).collect()
    }

    fn top_denied(&self) -> String {
        let pairs = self.denied_pairs();
        let mut text = String::new();
        if !pairs.is_empty() && self.top > 0 {
            let _ = writeln!(text, "\ntop denied");
        }
        for (pair, count) in pairs.iter().take(self.top) {
            let _ = writeln!(text, "  {}: {}", pair_words(pair), counts(*count));
        }
        text
    }

    fn staged(&self) -> String {
        let view = &self.judges.now.view;
        if !view.has_pending() {
            return String::new();
        }
        let text = self.changed("if what is staged were applied", Verdicts::would_change, &|row| {
            row.verdicts.pending.map(|pending| exact::because(view, pending))
        });
        if text.is_empty() {
            return "\nnothing of this would change if what is staged were applied\n".to_owned();
        }
        text
    }

    fn changes(&self) -> String {
        let (Some(path), Some(against)) = (self.against, self.judges.against) else {
            return String::new();
        };
        let with = format!("with `{}`", path.display());
        let text = self.changed(&with, Verdicts::changes, &|row| {
            row.verdicts.against.map(|other| exact::because(&against.view, other))
        });
        if text.is_empty() { format!("\nnothing of this would change {with}\n") } else { text }
    }

    /// What would be denied, and what would be allowed.
    fn changed(
        &self,
        when: &str,
        changes: fn(&Verdicts) -> bool,
        would_be: &dyn Fn(&Row) -> Option<String>,
    ) -> String {
        let because = |row: &Row| {
            let is = exact::because(&self.judges.now.view, row.verdicts.now);
            let mut lines = vec![format!("is:       {is}")];
            lines.extend(would_be(row).map(|reason| format!("would be: {reason}")));
            lines
        };
        let mut text = String::new();
        for (word, denied) in [("denied", false), ("allowed", true)] {
            let title = format!("would be {word} {when}");
            let wanted = |verdicts: &Verdicts| changes(verdicts) && verdicts.is_denied() == denied;
            text += &self.rows(&title, &wanted, &because);
        }
        text
    }

    fn notes(&self) -> String {
        let Tally { guessed, not_remembered, pairs_left_out, .. } = self.tally;
        let mut notes = Vec::new();
        if *guessed > 0 {
            notes.push(format!(
                "{guessed} of the flows were recorded from their middle: the end with the lower port was taken for the server"
            ));
        }
        if *not_remembered > 0 {
            notes.push(format!(
                "the limit of {} flows was reached: {not_remembered} packets were judged by themselves, replies among them; raise `--flows-max`",
                self.flows_max
            ));
        }
        if pairs_left_out.packets > 0 {
            notes.push(format!(
                "the limit of {PAIRS_MAX} pairs was reached: {} are in no pair",
                counts(*pairs_left_out)
            ));
        }
        if let Some(error) = self.error {
            notes.push(format!("this is not the whole capture: {error}"));
        }
        notes.into_iter().flat_map(|note| ["\n".to_owned(), note, "\n".to_owned()]).collect()
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let Tally { format, packets, bytes, times, unjudged, stayed: [outside, inside], .. } =
            self.tally;
        let Tally { guessed, not_remembered, pairs_left_out, .. } = self.tally;
        let unjudged: Value =
            unjudged.iter().map(|(why, count)| unjudged_json(*why, *count)).collect();
        let view = &self.judges.now.view;
        let rows = self.sorted(&|_| true);
        let (denied, pairs) = (self.denied_pairs(), self.pairs_of_rows());
        let outcomes = rows.iter().map(|(number, row)| {
            self.row_json(row, pairs.get(number).map(Vec::as_slice).unwrap_or_default())
        });
        json!({
            "capture": self.file,
            "format": format.map(Format::name),
            "policy": print::origin_json(self.origin, self.generation),
            "against": self.against,
            "firstTime": times.map(|(first, _)| time(first)),
            "lastTime": times.map(|(_, last)| time(last)),
            "packets": packets,
            "bytes": bytes,
            "notJudged": unjudged,
            "stayed": { "outside": outside, "inside": inside },
            "judged": counts_json(self.tally.sum(|_| true)),
            "allowed": counts_json(self.tally.sum(|verdicts| !verdicts.is_denied())),
            "denied": counts_json(self.tally.sum(Verdicts::is_denied)),
            "outcomes": outcomes.collect::<Value>(),
            "topDenied": denied.iter().take(self.top).map(pair_json).collect::<Value>(),
            "changed": self.against.is_some().then(|| counts_json(self.tally.sum(Verdicts::changes))),
            "pendingDiffers": view.has_pending().then(|| counts_json(self.tally.sum(Verdicts::would_change))),
            "guessedFlows": guessed,
            "limits": {
                "flows": self.flows_max,
                "packetsWithoutRoom": not_remembered,
                "pairs": PAIRS_MAX,
                "withoutPair": counts_json(*pairs_left_out),
            },
            "error": self.error.map(|error| {
                json!({ "offset": error.offset(), "message": error.to_string() })
            }),
        })
    }

    fn row_json(&self, row: &Row, pairs: &[(Pair, Counts)]) -> Value {
        let (packet, key, ends) = row.first;
        let mut first = packet_json(&key);
        if let Value::Object(first) = &mut first {
            first.insert("packet".to_owned(), packet.into());
            first.insert("from".to_owned(), ends.from.to_string().into());
            first.insert("to".to_owned(), ends.to.to_string().into());
        }
        json!({
            "counts": counts_json(row.counts),
            "outcome": exact::outcome_json(&self.judges.now.view, row.verdicts.now),
            "pending": self.judges.pending_json(&row.verdicts),
            "pendingDiffers": row.verdicts.would_change(),
            "against": self.judges.against_json(&row.verdicts),
            "changes": row.verdicts.changes(),
            "first": first,
            "pairs": pairs.iter().take(self.top).map(pair_json).collect::<Value>(),
        })
    }
}

impl Judges<'_> {
    fn pending_json(&self, verdicts: &Verdicts) -> Option<Value> {
        Some(exact::outcome_json(&self.now.view, verdicts.pending?))
    }

    fn against_json(&self, verdicts: &Verdicts) -> Option<Value> {
        Some(exact::outcome_json(&self.against?.view, verdicts.against?))
    }
}

/// One packet of the capture, with what becomes of it.
pub(super) struct PacketLine<'a> {
    pub(super) recorded: &'a Recorded<'a>,
    pub(super) packet: &'a Packet,
    pub(super) fate: Fate,
    pub(super) judges: &'a Judges<'a>,
}

impl PacketLine<'_> {
    pub(super) fn write(&self, output: Output, out: &mut dyn Write) -> io::Result<()> {
        let words = packet_words(&self.packet.key);
        match (output, self.fate) {
            (Output::Json, fate) => writeln!(out, "{}", self.json(fate)),
            (Output::Human, Fate::Stays) => {
                writeln!(out, "{} {words}: does not cross the gateway", begin(self.recorded))
            }
            (Output::Human, Fate::Judged { verdicts, opened_by }) => {
                let now = said(&self.judges.now.view, verdicts.now, opened_by);
                write!(out, "{} {words}: {now}", begin(self.recorded))?;
                if let (Some(judge), Some(against)) = (self.judges.against, verdicts.against)
                    && verdicts.changes()
                {
                    write!(out, "; would be {}", said(&judge.view, against, opened_by))?;
                }
                if let Some(pending) = verdicts.pending.filter(|_| verdicts.would_change()) {
                    write!(out, "; staged: {}", said(&self.judges.now.view, pending, opened_by))?;
                }
                writeln!(out)
            }
        }
    }

    fn json(&self, fate: Fate) -> Value {
        let mut line = packet_json(&self.packet.key);
        let mut add = |name: &str, value: Value| {
            if let Value::Object(line) = &mut line {
                line.insert(name.to_owned(), value);
            }
        };
        add("packet", self.recorded.number.into());
        add("time", self.recorded.time_ns.map(time).into());
        add("vlans", self.packet.vlans.iter().flatten().copied().collect());
        match fate {
            Fate::Stays => add("crosses", false.into()),
            Fate::Judged { verdicts, opened_by } => {
                add("openedBy", opened_by.into());
                add("outcome", exact::outcome_json(&self.judges.now.view, verdicts.now));
                add("pending", self.judges.pending_json(&verdicts).into());
                add("against", self.judges.against_json(&verdicts).into());
            }
        }
        line
    }
}

/// A line about a packet that is not judged.
pub(super) fn unjudged_line(
    recorded: &Recorded<'_>,
    why: Unjudged,
    output: Output,
    out: &mut dyn Write,
) -> io::Result<()> {
    match output {
        Output::Human => writeln!(out, "{} not judged: {}", begin(recorded), why.words()),
        Output::Json => {
            let (number, time) = (recorded.number, recorded.time_ns.map(time));
            writeln!(out, "{}", json!({ "packet": number, "time": time, "notJudged": why.name() }))
        }
    }
}

fn begin(recorded: &Recorded<'_>) -> String {
    let time = recorded.time_ns.map_or_else(|| "-".to_owned(), time);
    format!("{} {time}", recorded.number)
}

fn said(view: &View<'_>, outcome: classifier::space::Outcome, opened_by: Option<u64>) -> String {
    let verdict = exact::verdict(outcome.verdict);
    match (opened_by, outcome.verdict) {
        (Some(packet), Verdict::Allow) => {
            format!("{verdict}, its flow was opened by packet {packet}")
        }
        (Some(packet), Verdict::Deny) => {
            format!("{verdict}, as packet {packet} that opened its flow")
        }
        (None, _) => format!("{verdict}, {}", exact::because(view, outcome)),
    }
}

/// "2 flows, 7 packets", "1 packet of no flow"
fn counts(counts: Counts) -> String {
    let Counts { flows, alone, packets, bytes: _ } = counts;
    let plural = |count: u64, noun: &str| {
        if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
    };
    let mut text = if flows > 0 || alone == 0 {
        format!("{}, {}", plural(flows, "flow"), plural(packets, "packet"))
    } else {
        plural(packets, "packet")
    };
    if alone > 0 {
        let _ = match flows {
            0 => write!(text, " of no flow"),
            _ => write!(text, ", {alone} of them of no flow"),
        };
    }
    text
}

fn counts_json(counts: Counts) -> Value {
    let Counts { flows, alone, packets, bytes } = counts;
    json!({ "flows": flows, "packets": packets, "packetsOfNoFlow": alone, "bytes": bytes })
}

fn pair_words(pair: &Pair) -> String {
    let Pair { src, dst, protocol, asked, .. } = pair;
    let name = protocol_name(*protocol);
    match (asked, name.as_str()) {
        (Some(kind), "icmp" | "icmpv6") => format!("{src} to {dst} {name} type {kind}"),
        (Some(port), _) => format!("{src} to {dst} {name} port {port}"),
        (None, _) => format!("{src} to {dst} protocol {name}"),
    }
}

fn pair_json((pair, counts): &(Pair, Counts)) -> Value {
    let Pair { src, dst, protocol, asked, .. } = pair;
    json!({
        "src": src,
        "dst": dst,
        "protocol": protocol_name(*protocol),
        "protocolNumber": protocol,
        "dstPortOrType": asked,
        "counts": counts_json(*counts),
    })
}

fn unjudged_json(why: Unjudged, count: u64) -> Value {
    let link = if let Unjudged::Link(number) = why { Some(number) } else { None };
    json!({ "reason": why.name(), "linkType": link, "packets": count })
}

fn packet_json(key: &PacketKey) -> Value {
    let PacketKey { src, dst, protocol, transport } = key;
    json!({
        "src": src,
        "dst": dst,
        "protocol": protocol_name(*protocol),
        "protocolNumber": protocol,
        "transport": transport_json(*transport),
    })
}

/// A time beyond what the calendar holds is no time that a capture has.
fn time(time_ns: u64) -> String {
    let time = Timestamp::from_nanosecond(time_ns.into()).unwrap_or(Timestamp::MAX);
    format!("{time:.6}")
}
