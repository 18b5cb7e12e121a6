//! `[sanity]`: what is checked of packets beside policy.

use std::path::PathBuf;

use super::reader::{Section, thing};
use crate::diagnostic::Diagnostic;
use crate::document::{Entry, Reader, Thing, quoted_list, suggestion};
use crate::reasons;

/// What is checked of packets; the data plane's own words for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SanitySettings {
    /// How strict checks are where standards disagree: `default` or `cc-strict`.
    pub profile: &'static str,
    /// What is done about transport checksums: `complete`, `verify` or `ignore`.
    pub checksums: &'static str,
    /// Checks whose failures are counted and nothing more, by the names of their reasons.
    pub count_only: Vec<&'static str>,
    /// A table of special-purpose addresses in place of the one that is built in.
    pub special_purpose: Option<PathBuf>,
}

pub(super) static SANITY: Thing =
    thing("the sanity section", &["profile", "checksums", "countOnly", "specialPurpose"]);

const PROFILES: &[(&str, &str)] = &[("default", "default"), ("cc-strict", "cc-strict")];
const CHECKSUMS: &[(&str, &str)] =
    &[("complete", "complete"), ("verify", "verify"), ("ignore", "ignore")];

impl Default for SanitySettings {
    fn default() -> Self {
        Self {
            profile: "default",
            checksums: "complete",
            count_only: Vec::new(),
            special_purpose: None,
        }
    }
}

pub(super) fn read(section: &Section<'_>, reader: &mut Reader) -> SanitySettings {
    let Some(fields) = &section.fields else { return SanitySettings::default() };
    let mut choice = |field, choices, default| {
        let entry = fields.entry(field);
        entry.and_then(|entry| reader.choice(field, &entry.node, choices)).unwrap_or(default)
    };
    let profile = choice("profile", PROFILES, "default");
    let checksums = choice("checksums", CHECKSUMS, "complete");
    let count_only = fields.entry("countOnly").map(|entry| count_only(entry, reader));
    SanitySettings {
        profile,
        checksums,
        count_only: count_only.unwrap_or_default(),
        special_purpose: section.optional_path("specialPurpose", reader),
    }
}

/// Reasons by name. What they let pass is warned of, each time the settings are read.
fn count_only(entry: &Entry, reader: &mut Reader) -> Vec<&'static str> {
    let can_be: Vec<&str> = reasons::ALL
        .iter()
        .filter(|reason| reason.can_be_counted_only)
        .map(|reason| reason.name)
        .collect();
    let mut named = Vec::new();
    for node in reader.array(entry) {
        let Some(text) = reader.text("countOnly", node) else { continue };
        let at = reader.place(&node.span);
        let finding = match reasons::find(&text.value) {
            Some(reason) if reason.can_be_counted_only => {
                named.push(reason.name);
                Diagnostic::warning("settings.open", format!("`{}` lets packets pass", text.value))
                    .at(at, format!("passes what would be dropped: {}", reason.meaning))
                    .help(
                        "take it out of `countOnly` once `ravelin drops` shows what it would drop",
                    )
            }
            Some(_) => Diagnostic::error("field.value", format!("`{}` always drops", text.value))
                .at(at, "expected a check that can be counted only")
                .help(format!("write some of {}", quoted_list(&can_be))),
            None => {
                let help = match suggestion(&text.value, &can_be) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("write some of {}", quoted_list(&can_be)),
                };
                let message = format!("`countOnly` cannot name `{}`", text.value);
                Diagnostic::error("field.value", message).at(at, "expected a reason").help(help)
            }
        };
        reader.report(finding);
    }
    named
}
