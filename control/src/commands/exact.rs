//! Exact answers as people and programs read them: places, packets and reasons.

use std::fmt::Write as _;

use classifier::decision::{Checkpoint, Reason, Verdict};
use classifier::image::View;
use classifier::packet::IpVersion;
use classifier::space::{Block, Form, Member, ObjectName, Outcome, Packets, Place, Span};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::flowlog::{Position, protocol_name, reason_name};

/// Lines of one end that a person is shown; programs get all.
const MEMBERS_SHOWN: usize = 12;
/// Prefixes of one line that a person is shown.
const NETS_SHOWN: usize = 4;

/// What no object covers.
const INTERNET: &str = "the internet";

/// From where, to where, one line for each thing that has a name.
pub(super) fn ends(sources: &[&Place], destinations: &[&Place], versions: &[IpVersion]) -> String {
    let end = |word: &str, places: &[&Place]| {
        let mut text = String::new();
        for (at, line) in place_lines(places, versions).into_iter().enumerate() {
            let _ = writeln!(text, "{:<6}{line}", if at == 0 { word } else { "" });
        }
        text
    };
    end("from", sources) + &end("to", destinations)
}

fn place_lines(places: &[&Place], versions: &[IpVersion]) -> Vec<String> {
    let members = places.iter().flat_map(|place| place.members.iter().map(move |m| (*place, m)));
    let lines = members.filter_map(|(place, member)| member_line(place, member, versions));
    let mut lines: Vec<String> = lines.collect();
    // The internet first: of all things it must not be among those that are not shown.
    lines.sort_by_key(|line| !line.starts_with(INTERNET));
    let more = lines.len().saturating_sub(MEMBERS_SHOWN);
    if more > 0 {
        lines.truncate(MEMBERS_SHOWN);
        lines.push(format!("and {more} more, all of them with `-o json`"));
    }
    lines
}

fn member_line(place: &Place, member: &Member, versions: &[IpVersion]) -> Option<String> {
    let nets = nets(member, versions);
    if nets.is_empty() {
        return None;
    }
    if place.is_nobody {
        let family = match versions {
            [IpVersion::V4] => "IPv4 ",
            [IpVersion::V6] => "IPv6 ",
            _ => "",
        };
        return Some(format!(
            "{INTERNET}: every {family}address that no object covers and no rule names"
        ));
    }
    let shown: Vec<String> = nets.iter().take(NETS_SHOWN).map(ToString::to_string).collect();
    let mut shown = shown.join(", ");
    if let Some(more) = nets.len().checked_sub(NETS_SHOWN).filter(|more| *more > 0) {
        let _ = write!(shown, " and {more} more");
    }
    let names: Vec<String> = member.objects.iter().map(object).collect();
    Some(if names.is_empty() {
        format!("{INTERNET}, no object covers it: {shown}")
    } else {
        format!("{}: {shown}", names.join(" and "))
    })
}

fn nets(member: &Member, versions: &[IpVersion]) -> Vec<IpNet> {
    let ranges = member.ranges.iter().filter(|range| versions.contains(&range.version));
    ranges.flat_map(classifier::space::AddressRange::nets).collect()
}

fn object(object: &ObjectName) -> String {
    match &object.namespace {
        Some(namespace) => format!("{} `{namespace}/{}`", object.kind.name(), object.name),
        None => format!("{} `{}`", object.kind.name(), object.name),
    }
}

/// Packets, a line for each kind.
pub(super) fn packets(packets: &Packets) -> Vec<String> {
    match packets {
        Packets::All => vec!["everything".to_owned()],
        Packets::Some(blocks) => blocks.iter().map(block).collect(),
    }
}

fn block(block: &Block) -> String {
    let Block { form, protocols, first, second } = block;
    match form {
        Form::Ports => {
            let ports = |word, spans: &[Span]| axis(word, "port", spans, Span::PORTS);
            named(protocols) + &ports(" from", first) + &ports(" to", second)
        }
        Form::Icmp => {
            let kinds = axis("", "type", first, Span::BYTES);
            named(protocols) + &kinds + &axis("", "code", second, Span::BYTES)
        }
        Form::Opaque => axis("", "protocol", protocols, Span::BYTES).trim_start().to_owned(),
    }
}

/// Nothing when any value will do.
fn axis(word: &str, noun: &str, spans: &[Span], any: Span) -> String {
    if *spans == [any] {
        return String::new();
    }
    let one = matches!(spans, [span] if span.first == span.last);
    let shown: Vec<String> = spans.iter().map(|span| span_text(*span)).collect();
    format!("{word} {noun}{} {}", if one { "" } else { "s" }, shown.join(", "))
}

fn span_text(Span { first, last }: Span) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn named(protocols: &[Span]) -> String {
    let numbers = protocols.iter().flat_map(|span| span.first..=span.last);
    let names = numbers.filter_map(|number| u8::try_from(number).ok()).map(protocol_name);
    names.collect::<Vec<_>>().join(", ")
}

/// What decides, in words.
pub(super) fn because(view: &View<'_>, outcome: Outcome) -> String {
    let Some((at, reason)) = outcome.decided else {
        return "no policy direction applies to a packet that stays outside".to_owned();
    };
    let end = match at {
        Checkpoint::Egress => "source",
        Checkpoint::Ingress => "destination",
        Checkpoint::Entry | Checkpoint::Exit => "interface",
    };
    match reason {
        Reason::Rule(rule) => match view.rule(rule) {
            Some(info) => format!(
                "{}[{}] of policy `{}` in tier `{}`: {}",
                info.direction,
                info.rule,
                info.policy_name(),
                info.tier,
                info.text
            ),
            None => format!("{at}[{}] of policy number {}", rule.rule, rule.policy),
        },
        Reason::EndOfTier(tier) => format!(
            "{at}, no rule of tier `{}` decides, and its policies deny what they do not allow",
            view.tier_name(tier).unwrap_or("?")
        ),
        Reason::NoTierDecided => {
            format!("{at}, every tier passes the packet on, and behind the last is nothing")
        }
        Reason::Unselected => format!("{at}, no policy selects the {end}: the default"),
        Reason::Uncovered => format!("{at}, no object covers the {end}: the default"),
        Reason::NoForwardPolicy => {
            format!("{at}, no policy of the {end} decides about what is forwarded: allowed")
        }
        Reason::NoProfile => format!("{at}, no policy and no profile of the {end} decides"),
    }
}

/// The word for a verdict.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

/// For programs.
pub(super) fn places_json(places: &[&Place], versions: &[IpVersion]) -> Value {
    let member = |member: &Member| {
        let nets = nets(member, versions);
        let object = |ObjectName { kind, namespace, name }: &ObjectName| match namespace {
            Some(namespace) => {
                json!({ "kind": kind.name(), "namespace": namespace, "name": name })
            }
            None => json!({ "kind": kind.name(), "name": name }),
        };
        let objects: Value = member.objects.iter().map(object).collect();
        (!nets.is_empty()).then(|| json!({ "objects": objects, "nets": nets.iter().map(ToString::to_string).collect::<Value>() }))
    };
    places.iter().flat_map(|place| place.members.iter().filter_map(member)).collect()
}

/// For programs: `"all"`, or blocks of spans, first and last.
pub(super) fn packets_json(packets: &Packets) -> Value {
    let spans = |spans: &[Span]| -> Value {
        spans.iter().map(|span| json!([span.first, span.last])).collect()
    };
    let block = |block: &Block| {
        let Block { form, protocols, first, second } = block;
        let (protocols, first, second) = (spans(protocols), spans(first), spans(second));
        match form {
            Form::Ports => {
                json!({ "protocols": protocols, "srcPorts": first, "dstPorts": second })
            }
            Form::Icmp => {
                json!({ "protocols": protocols, "icmpTypes": first, "icmpCodes": second })
            }
            Form::Opaque => json!({ "protocols": protocols }),
        }
    };
    match packets {
        Packets::All => json!("all"),
        Packets::Some(blocks) => blocks.iter().map(block).collect(),
    }
}

/// For programs.
pub(super) fn outcome_json(view: &View<'_>, outcome: Outcome) -> Value {
    json!({
        "verdict": verdict(outcome.verdict),
        "reason": reason_name(outcome.decided),
        "decided": Position::of_reason(outcome.decided, Some(view)),
        "because": because(view, outcome),
    })
}

/// For programs: 4 and 6.
pub(super) fn versions_json(versions: &[IpVersion]) -> Value {
    let number = |version: &IpVersion| match version {
        IpVersion::V4 => 4,
        IpVersion::V6 => 6,
    };
    versions.iter().map(number).collect()
}

/// The places at some positions.
pub(super) fn at<'a>(places: &'a [Place], positions: &[usize]) -> Vec<&'a Place> {
    positions.iter().filter_map(|position| places.get(*position)).collect()
}
