//! Strict reading of nodes: every field is known or a finding, every value has its type or is a finding.

use std::ops::Range;
use std::sync::Arc;

use super::dialect::Dialect;
use super::node::{Entry, Node, Table, Text, Value};
use crate::diagnostic::{Diagnostic, Place, Source};

/// How alike two words must be for one to be suggested for the other, from 0 to 1.
const SUGGESTION_LIKENESS_MIN: f64 = 0.6;
/// Longest word that anything is suggested for, bytes.
const SUGGESTION_LEN_MAX: usize = 100;
/// Most findings of a document for which words are compared.
const SUGGESTIONS_MAX: usize = 500;

/// Most findings of a document that are kept; more than are ever shown.
const FINDINGS_MAX: usize = 1000;

/// The fields that Calico and Kubernetes have in `metadata`; things that have them name them first.
pub(crate) const METADATA_FIELDS: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// A thing with fields, as messages speak of it.
#[derive(Debug)]
pub(crate) struct Thing {
    /// With its article: "a policy".
    pub(crate) name: &'static str,
    /// Every field that is read.
    pub(crate) fields: &'static [&'static str],
    /// Fields that Calico has and this gateway does not act on.
    pub(crate) unsupported: &'static [Unsupported],
}

/// A real field that is not acted on here, where ignoring it could change what passes.
#[derive(Debug)]
pub(crate) struct Unsupported {
    pub(crate) field: &'static str,
    pub(crate) help: &'static str,
}

/// Reads nodes of one source and collects what is wrong with them.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) source: Arc<Source>,
    pub(crate) dialect: Dialect,
    pub(crate) findings: Vec<Diagnostic>,
    has_error: bool,
    /// Whether rules with `http` are taken.
    pub(crate) takes_http: bool,
}

impl Reader {
    pub(crate) fn new(source: &Arc<Source>) -> Self {
        let dialect = Dialect::of(source.file());
        let (source, findings) = (Arc::clone(source), Vec::new());
        Self { source, dialect, findings, has_error: false, takes_http: true }
    }

    /// Takes a finding, in the words of TOML; it is told in those of the document.
    pub(crate) fn report(&mut self, mut finding: Diagnostic) {
        // A flood is cut, but never so that no error is left.
        if self.findings.len() >= FINDINGS_MAX && (self.has_error || !finding.is_error()) {
            return;
        }
        self.has_error |= finding.is_error();
        let dialect = self.dialect;
        finding.message = dialect.words(&finding.message);
        finding.label = finding.label.map(|label| dialect.words(&label));
        finding.help = finding.help.map(|help| dialect.help(&help));
        self.findings.push(finding);
    }

    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        self.source.place(span.clone())
    }

    /// The fields of `node`, which must be a table. Fields that `thing` does not have are reported here.
    pub(crate) fn fields<'a>(
        &mut self,
        node: &'a Node,
        thing: &'static Thing,
    ) -> Option<Fields<'a>> {
        let Value::Table(table) = &node.value else {
            let message = format!("expected {}, found {}", thing.name, node.kind());
            let finding = Diagnostic::error("field.type", message)
                .at(self.place(&node.span), "expected a table")
                .help(format!("write it as a table; its fields are {}", quoted_list(thing.fields)));
            self.report(finding);
            return None;
        };
        Some(self.fields_of_table(table, node.span.clone(), thing))
    }

    /// Like `fields`, for a table that is known to be one.
    pub(crate) fn fields_of_table<'a>(
        &mut self,
        table: &'a Table,
        span: Range<usize>,
        thing: &'static Thing,
    ) -> Fields<'a> {
        for entry in &table.entries {
            if thing.fields.contains(&entry.key.as_str()) {
                self.warn_if_null(entry);
                continue;
            }
            match thing.unsupported.iter().find(|unsupported| unsupported.field == entry.key) {
                Some(unsupported) => self.unsupported(entry, unsupported),
                None => self.unknown(entry, thing),
            }
        }
        Fields { table, span, thing }
    }

    fn warn_if_null(&mut self, entry: &Entry) {
        if !matches!(entry.node.value, Value::Null) {
            return;
        }
        let finding = Diagnostic::warning("field.empty", format!("`{}` has no value", entry.key))
            .at(self.place(&entry.key_span), "the same as leaving it out")
            .help("give it a value, or remove it; what belongs to it is indented deeper");
        self.report(finding);
    }

    /// The items of an array.
    pub(crate) fn array<'a>(&mut self, entry: &'a Entry) -> &'a [Node] {
        if let Value::Array(items) = &entry.node.value {
            return items;
        }
        let raw = self.source.text().get(entry.node.span.clone()).unwrap_or("...").to_owned();
        let help = match (self.dialect, &entry.node.value) {
            // The table stands at its header.
            (Dialect::Toml, _) if raw.starts_with('[') => {
                format!("write `[{raw}]`, with two brackets")
            }
            (Dialect::Yaml, Value::Table(_)) => "begin each item with `- `".to_owned(),
            (Dialect::Json, Value::Table(_)) => "put `[` and `]` around it".to_owned(),
            (_, _) => format!("write `{} = [{raw}]`", entry.key),
        };
        self.mistyped(&entry.key, &entry.node, "an array", help);
        &[]
    }

    /// A string.
    pub(crate) fn text<'a>(&mut self, key: &str, node: &'a Node) -> Option<&'a Text> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        let raw = self.source.text().get(node.span.clone()).unwrap_or("...").to_owned();
        let help = match &node.value {
            Value::Bool(_) | Value::Float(_) | Value::Integer(_) => {
                format!("put it in quotes: `\"{raw}\"`")
            }
            Value::Array(_) | Value::Null | Value::Other(_) | Value::Table(_) | Value::Text(_) => {
                "write one string in quotes".to_owned()
            }
        };
        self.mistyped(key, node, "a string", help);
        None
    }

    /// A number, whole or not.
    pub(crate) fn number(&mut self, entry: &Entry) -> Option<f64> {
        let number = match &entry.node.value {
            // Orders beyond 2^53 lose their last digits, as in Calico, whose orders are floats.
            #[expect(clippy::cast_precision_loss, reason = "orders are floats by definition")]
            Value::Integer(number) => *number as f64,
            Value::Float(number) => *number,
            Value::Array(_)
            | Value::Bool(_)
            | Value::Null
            | Value::Other(_)
            | Value::Table(_)
            | Value::Text(_) => {
                let help = format!("write `{} = 100`, without quotes", entry.key);
                self.mistyped(&entry.key, &entry.node, "a number", help);
                return None;
            }
        };
        if number.is_finite() {
            return Some(number);
        }
        let message = format!("`{}` must be a finite number", entry.key);
        let finding = Diagnostic::error("field.value", message)
            .at(self.place(&entry.node.span), "not a finite number")
            .help(format!("leave `{}` out to come last", entry.key));
        self.report(finding);
        None
    }

    /// A boolean; false if it is none.
    pub(crate) fn boolean(&mut self, entry: &Entry) -> bool {
        if let Value::Bool(value) = entry.node.value {
            return value;
        }
        let help =
            format!("write `{} = true` or `{} = false`, without quotes", entry.key, entry.key);
        self.mistyped(&entry.key, &entry.node, "a boolean", help);
        false
    }

    /// A whole number within `range`.
    pub(crate) fn integer(
        &mut self,
        key: &str,
        node: &Node,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let Value::Integer(number) = &node.value else {
            self.mistyped(key, node, "an integer", format!("write {wanted}, without quotes"));
            return None;
        };
        if range.contains(number) {
            return Some(*number);
        }
        let finding = Diagnostic::error("field.value", format!("`{key}` cannot be {number}"))
            .at(self.place(&node.span), "out of range")
            .help(format!("write {wanted}"));
        self.report(finding);
        None
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &str,
        node: &Node,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(key, node)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let some = if words.len() > 1 { "one of " } else { "" };
        let help = match suggestion(&text.value, &words) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("write {some}{}", quoted_list(&words)),
        };
        let finding =
            Diagnostic::error("field.value", format!("`{key}` cannot be `{}`", text.value))
                .at(self.place(&node.span), format!("expected {some}{}", quoted_list(&words)))
                .help(help);
        self.report(finding);
        None
    }

    /// Reports a value of the wrong type; `wanted` with its article.
    pub(crate) fn mistyped(&mut self, key: &str, node: &Node, wanted: &str, help: String) {
        let message = format!("`{key}` must be {wanted}, not {}", node.kind());
        let finding = Diagnostic::error("field.type", message)
            .at(self.place(&node.span), format!("expected {wanted}"))
            .help(help);
        self.report(finding);
    }

    fn unsupported(&mut self, entry: &Entry, unsupported: &Unsupported) {
        if entry.node.is_unset() {
            return;
        }
        let Unsupported { field, help } = unsupported;
        let message = format!("`{field}` is not supported here");
        let finding = Diagnostic::error("field.unsupported", message)
            .at(self.place(&entry.key_span), "ignoring it could change what passes")
            .help(*help);
        self.report(finding);
    }

    fn unknown(&mut self, entry: &Entry, thing: &Thing) {
        let message = format!("{} has no field `{}`", thing.name, entry.key);
        let is_toml = self.dialect == Dialect::Toml;
        // Elsewhere these stand in `metadata`, and are not among the fields that could be meant.
        let has_metadata = thing.fields.contains(&"annotations")
            && thing.fields.iter().any(|field| !METADATA_FIELDS.contains(field));
        let is_elsewhere = |field: &&str| METADATA_FIELDS.contains(field);
        let mut fields = thing.fields.to_vec();
        fields.retain(|field| is_toml || !has_metadata || !is_elsewhere(field));
        let fields = fields.as_slice();
        let help = match entry.key.as_str() {
            "metadata" | "spec" if is_toml => {
                format!("in TOML the fields of `{}` stand directly in the table", entry.key)
            }
            "apiVersion" | "kind" if is_toml => {
                format!(
                    "in TOML the name of the table says the kind: {}",
                    quoted_list(thing.fields)
                )
            }
            "control" | "dataplane" | "defaults" | "flowlog" | "gateway" | "policy" | "ports"
                if thing.fields.contains(&"tiers") =>
            {
                format!("`{}` belongs in the settings file, `ravelin.toml`", entry.key)
            }
            "applyOnForward" | "doNotTrack" | "namespaceSelector" | "preDNAT"
                if thing.fields.contains(&"serviceAccountSelector") =>
            {
                "a policy of a namespace selects in that namespace only: write a global network policy"
                    .to_owned()
            }
            "namespace" if thing.fields.contains(&"annotations") => {
                "remove it: this kind of resource is in no namespace".to_owned()
            }
            "stagedAction" if thing.fields.contains(&"serviceAccountSelector") => {
                "only the staged kinds have it: write a staged policy of this kind".to_owned()
            }
            // One who writes so many wrong words needs no help with each.
            _ if self.findings.len() > SUGGESTIONS_MAX => "correct the ones above first".to_owned(),
            key => match suggestion(key, fields) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("its fields are {}", quoted_list(fields)),
            },
        };
        let finding = Diagnostic::error("field.unknown", message)
            .at(self.place(&entry.key_span), "unknown field")
            .help(help);
        self.report(finding);
    }
}

impl Node {
    /// Whether the value says no more than leaving the field out: false, an empty string, array or table.
    pub(crate) fn is_unset(&self) -> bool {
        match &self.value {
            Value::Array(items) => items.is_empty(),
            Value::Bool(value) => !value,
            Value::Float(_) | Value::Integer(_) | Value::Other(_) => false,
            Value::Null => true,
            Value::Table(table) => table.entries.is_empty(),
            Value::Text(text) => text.value.is_empty(),
        }
    }
}

/// The fields of one table, all of them known to exist.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    table: &'a Table,
    /// Where the table stands.
    pub(crate) span: Range<usize>,
    thing: &'static Thing,
}

impl<'a> Fields<'a> {
    /// The field, if it is there.
    pub(crate) fn entry(&self, field: &'static str) -> Option<&'a Entry> {
        debug_assert!(self.thing.fields.contains(&field), "`{field}` is not declared");
        self.table.entry(field).filter(|entry| !matches!(entry.node.value, Value::Null))
    }

    /// Everything that is written.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &'a Entry> {
        self.table.entries.iter()
    }

    /// The field, reported if it is missing. `example` shows how to write it.
    pub(crate) fn required(
        &self,
        field: &'static str,
        example: &str,
        reader: &mut Reader,
    ) -> Option<&'a Entry> {
        let entry = self.entry(field);
        if entry.is_none() {
            let message = format!("{} needs `{field}`", self.thing.name);
            let finding = Diagnostic::error("field.missing", message)
                .at(reader.place(&self.span), format!("`{field}` is missing here"))
                .help(format!("add `{example}`"));
            reader.report(finding);
        }
        entry
    }
}

/// What other firewalls call things, and what they are called here.
const SYNONYMS: &[(&str, &str)] = &[
    ("accept", "Allow"),
    ("allow", "Accept"),
    ("permit", "Allow"),
    ("block", "Deny"),
    ("drop", "Deny"),
    ("reject", "Deny"),
];

/// The word of `words` that `word` was most likely meant to be.
pub(crate) fn suggestion<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    if word.len() > SUGGESTION_LEN_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    if let Some((_, ours)) = SYNONYMS.iter().find(|(theirs, _)| *theirs == lower)
        && let Some(known) = words.iter().find(|known| *known == ours)
    {
        return Some(known);
    }
    let likeness =
        |known: &str| strsim::normalized_damerau_levenshtein(&lower, &known.to_lowercase());
    words
        .iter()
        .map(|known| (likeness(known), *known))
        .filter(|(likeness, _)| *likeness >= SUGGESTION_LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// "`a`, `b` and `c`"
pub(crate) fn quoted_list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
