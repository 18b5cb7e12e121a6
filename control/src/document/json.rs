//! JSON text to nodes (RFC 8259).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::node::{DEPTH_MAX, Entry, Node, Table, Text, Value, duplicate_key, too_deep};
use crate::diagnostic::{Diagnostic, Source};

/// Most duplicate keys that are named.
const DUPLICATES_MAX: usize = 50;

/// Reads `source` as JSON: one value.
///
/// # Errors
/// The first thing that is not JSON, and every key that stands twice before it.
pub(crate) fn read(source: &Arc<Source>) -> Result<Node, Vec<Diagnostic>> {
    let mut text = JsonText { source, at: 0, duplicates: Vec::new() };
    let root = text.document();
    let mut findings = text.duplicates;
    match root {
        Ok(root) if findings.is_empty() => Ok(root),
        Ok(_) => Err(findings),
        Err(finding) => {
            findings.push(*finding);
            Err(findings)
        }
    }
}

type Result1<T> = Result<T, Box<Diagnostic>>;

/// The text, and how far it has been read.
struct JsonText<'a> {
    source: &'a Arc<Source>,
    at: usize,
    duplicates: Vec<Diagnostic>,
}

impl JsonText<'_> {
    fn document(&mut self) -> Result1<Node> {
        let root = self.value(0)?;
        self.skip_blanks();
        if self.rest().is_empty() {
            return Ok(root);
        }
        let help = "put several resources into one list: `{ \"apiVersion\": \"v1\", \"kind\": \"List\", \
                    \"items\": [ ... ] }`";
        Err(self.syntax("something follows the value", "expected the end of the file", help))
    }

    fn value(&mut self, depth: usize) -> Result1<Node> {
        self.skip_blanks();
        if depth >= DEPTH_MAX && self.rest().starts_with(['{', '[']) {
            return Err(Box::new(too_deep(self.source, self.here())));
        }
        match self.rest().bytes().next() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let (text, span) = self.string()?;
                Ok(Node { span, value: Value::Text(text) })
            }
            Some(_) => self.word(),
            None => Err(self.syntax(
                "the text ends too early",
                "expected a value",
                "close every bracket; is the file whole?",
            )),
        }
    }

    fn object(&mut self, depth: usize) -> Result1<Node> {
        let start = self.at;
        self.at += 1;
        let mut table = Table::default();
        let mut places: HashMap<String, Range<usize>> = HashMap::new();
        if self.takes('}') {
            return Ok(self.node(start, Value::Table(table)));
        }
        loop {
            self.skip_blanks();
            if !self.rest().starts_with('"') {
                let help = "write `\"key\": value`, and no comma behind the last one; JSON has no comments";
                return Err(self.syntax("expected a key", "expected a key in quotes", help));
            }
            let (key, key_span) = self.string()?;
            if !self.takes(':') {
                let help = "write `\"key\": value`";
                return Err(self.syntax("expected a colon", "expected `:` behind the key", help));
            }
            let node = self.value(depth + 1)?;
            if let Some(first) = places.get(&key.value) {
                if self.duplicates.len() < DUPLICATES_MAX {
                    let finding = duplicate_key(self.source, &key.value, &key_span, first);
                    self.duplicates.push(finding);
                }
            } else {
                places.insert(key.value.clone(), key_span.clone());
            }
            table.entries.push(Entry { key: key.value, key_span, node });
            if self.takes('}') {
                table.entries.shrink_to_fit();
                return Ok(self.node(start, Value::Table(table)));
            }
            self.comma('}')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result1<Node> {
        let start = self.at;
        self.at += 1;
        let mut items = Vec::new();
        if self.takes(']') {
            return Ok(self.node(start, Value::Array(items)));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.takes(']') {
                items.shrink_to_fit();
                return Ok(self.node(start, Value::Array(items)));
            }
            self.comma(']')?;
        }
    }

    /// A string with its place, quotes included.
    fn string(&mut self) -> Result1<(Text, Range<usize>)> {
        let start = self.at;
        let mut escaped = false;
        let closing = self.rest().bytes().skip(1).position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let Some(closing) = closing else {
            let help = "close the string with the quote that opens it";
            return Err(self.syntax("a string does not end", "begins here", help));
        };
        let span = start..start + closing + 2;
        let raw = self.source.text().get(span.clone()).unwrap_or_default();
        let Ok(value) = serde_json::from_str::<String>(raw) else {
            let finding = Diagnostic::error("json.syntax", "not JSON: a string cannot be read")
                .at(self.source.place(span), "holds a line break, or an escape that JSON has not")
                .help("write a line break as `\\n` and a backslash as `\\\\`; is a quote missing?");
            return Err(Box::new(finding));
        };
        self.at = span.end;
        let inner = raw.get(1..raw.len() - 1);
        let verbatim_at = (inner == Some(value.as_str())).then_some(start + 1);
        Ok((Text { value, verbatim_at }, span))
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result1<Node> {
        let rest = self.rest();
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = rest.get(..len).unwrap_or_default();
        let value = match word {
            "null" => Some(Value::Null),
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => number(word),
        };
        let Some(value) = value else {
            let help = "put a string in quotes; numbers are written as 22 or 0.5";
            return Err(self.syntax("expected a value", "not a value of JSON", help));
        };
        self.at += len;
        Ok(Node { span: self.at - len..self.at, value })
    }

    /// An array or object stands at its bracket, or as a whole if it is on one line.
    fn node(&self, start: usize, value: Value) -> Node {
        let on_one_line =
            self.source.text().get(start..self.at).is_some_and(|part| !part.contains('\n'));
        let span = if on_one_line { start..self.at } else { start..start + 1 };
        Node { span, value }
    }

    fn comma(&mut self, closing: char) -> Result1<()> {
        if self.takes(',') {
            return Ok(());
        }
        let label = format!("expected `,` or `{closing}`");
        let help = "add the comma, or the bracket that closes: it may be missing in a line above";
        Err(self.syntax("expected a comma", &label, help))
    }

    /// Whether `wanted` comes next; if so it is read.
    fn takes(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(wanted);
        self.at += usize::from(found);
        found
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn rest(&self) -> &str {
        self.source.text().get(self.at..).unwrap_or_default()
    }

    /// The next character.
    fn here(&self) -> Range<usize> {
        self.at..self.at + self.rest().chars().next().map_or(0, char::len_utf8)
    }

    fn syntax(&self, what: &str, label: &str, help: &str) -> Box<Diagnostic> {
        let finding = Diagnostic::error("json.syntax", format!("not JSON: {what}"))
            .at(self.source.place(self.here()), label)
            .help(help);
        Box::new(finding)
    }
}

fn number(word: &str) -> Option<Value> {
    let is_number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if is_number && word.parse().is_ok_and(f64::is_infinite) {
        return Some(Value::Other("a number beyond 64 bits"));
    }
    let number: serde_json::Number = serde_json::from_str(word).ok()?;
    if let Some(integer) = number.as_i64() {
        return Some(Value::Integer(integer));
    }
    if number.is_u64() {
        return Some(Value::Other("an integer beyond 64 bits"));
    }
    number.as_f64().map(Value::Float)
}
