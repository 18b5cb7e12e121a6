//! YAML text to nodes, one for each document in the text.
//!
//! YAML 1.2, with the words and numbers of YAML 1.1 that kubectl's reader still knows: what it would not take as a string
//! is none here either. Aliases and merge keys are refused: what they stand for can be written out, and a document
//! cannot grow while it is read.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::node::{DEPTH_MAX, Entry, Node, Table, Text, Value, duplicate_key, too_deep};
use crate::diagnostic::{Diagnostic, Source};

/// Most findings before the rest of the text is not looked at.
const FINDINGS_MAX: usize = 50;

/// Reads `source` as YAML.
///
/// # Errors
/// What is not YAML, or not YAML that is taken here.
pub(crate) fn read(source: &Arc<Source>) -> Result<Vec<Node>, Vec<Diagnostic>> {
    let mut tree = Tree::new(source);
    for event in Parser::new_from_str(source.text()) {
        let done = match event {
            Ok((event, span)) => tree.take(event, span),
            Err(error) => Err(tree.syntax(&error)),
        };
        if let Err(finding) = done {
            tree.findings.push(*finding);
            break;
        }
        if tree.findings.len() >= FINDINGS_MAX {
            break;
        }
    }
    if tree.findings.is_empty() { Ok(tree.documents) } else { Err(tree.findings) }
}

/// The nodes so far, and those that are still open.
struct Tree<'a> {
    source: &'a Arc<Source>,
    /// Where each character begins, unless all are one byte.
    char_starts: Vec<usize>,
    documents: Vec<Node>,
    open: Vec<Open>,
    findings: Vec<Diagnostic>,
}

/// A list or mapping whose end has not come yet.
enum Open {
    Mapping { start: usize, table: Table, places: HashMap<String, Range<usize>>, key: Option<Key> },
    Sequence { start: usize, items: Vec<Node> },
}

struct Key {
    name: String,
    span: Range<usize>,
}

type Done = Result<(), Box<Diagnostic>>;

impl<'a> Tree<'a> {
    fn new(source: &'a Arc<Source>) -> Self {
        let text = source.text();
        let char_starts = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(start, _)| start).collect()
        };
        let (documents, open, findings) = (Vec::new(), Vec::new(), Vec::new());
        Self { source, char_starts, documents, open, findings }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Done {
        let span = self.bytes(span);
        match event {
            Event::Alias(_) => {
                let message = "aliases are not read";
                let label = "stands for something elsewhere";
                let help = "write out what it stands for, here and at every other `*`";
                self.expansion("yaml.alias", message, &span, label, help);
                self.close(Node { span, value: Value::Null });
            }
            Event::Scalar(value, style, _, tag) => {
                if self.awaits_key() {
                    self.key(value.into_owned(), style, span);
                    return Ok(());
                }
                let value = scalar(value, style, tag.as_deref(), &span, self.source.text());
                self.close(Node { span, value });
            }
            Event::SequenceStart(..) => {
                let start = span.start;
                self.begin(Open::Sequence { start, items: Vec::new() }, span)?;
            }
            Event::MappingStart(..) => {
                let (table, places) = (Table::default(), HashMap::new());
                let open = Open::Mapping { start: span.start, table, places, key: None };
                self.begin(open, span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span.end),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Mapping { key: None, .. }))
    }

    fn key(&mut self, name: String, style: ScalarStyle, span: Range<usize>) {
        if name == "<<" && style == ScalarStyle::Plain {
            let message = "merge keys are not read";
            let label = "takes keys from elsewhere";
            let help = "write out the keys that it stands for, here and at every other `<<`";
            self.expansion("yaml.merge-key", message, &span, label, help);
        }
        if let Some(Open::Mapping { key, .. }) = self.open.last_mut() {
            *key = Some(Key { name, span });
        }
    }

    /// What stands for something else is named once; where there is one, there are many.
    fn expansion(
        &mut self,
        code: &'static str,
        message: &str,
        span: &Range<usize>,
        label: &str,
        help: &str,
    ) {
        if self.findings.iter().any(|known| ["yaml.alias", "yaml.merge-key"].contains(&known.code))
        {
            return;
        }
        let place = self.source.place(span.clone());
        self.findings.push(Diagnostic::error(code, message).at(place, label).help(help));
    }

    fn begin(&mut self, open: Open, span: Range<usize>) -> Done {
        let place = || self.source.place(first_char(self.source.text(), span.start));
        if self.awaits_key() {
            let finding = Diagnostic::error("yaml.key", "a key must be a word")
                .at(place(), "a list or mapping, where a key is expected")
                .help("write `key: value`; a value that begins with `{` or `[` stands in quotes");
            return Err(Box::new(finding));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(Box::new(too_deep(
                self.source,
                first_char(self.source.text(), span.start),
            )));
        }
        self.open.push(open);
        Ok(())
    }

    /// Closes the innermost list or mapping. It stands where it begins: at its first key or item, or as a whole if it is
    /// in brackets on one line.
    fn end(&mut self, end: usize) {
        let text = self.source.text();
        let (start, value) = match self.open.pop() {
            Some(Open::Mapping { start, mut table, .. }) => {
                table.entries.shrink_to_fit();
                (start, Value::Table(table))
            }
            Some(Open::Sequence { start, mut items }) => {
                items.shrink_to_fit();
                (start, Value::Array(items))
            }
            None => return,
        };
        let inline = text.get(start..end).filter(|part| {
            part.starts_with(['{', '[']) && part.ends_with(['}', ']']) && !part.contains('\n')
        });
        let span = match (&value, inline) {
            (_, Some(_)) => start..end,
            (Value::Table(table), None)
                if !text.get(start..).unwrap_or_default().starts_with('{') =>
            {
                table.entries.first().map_or(start..start, |entry| entry.key_span.clone())
            }
            (_, None) => first_char(text, start),
        };
        self.close(Node { span, value });
    }

    /// Puts a finished node where it belongs.
    fn close(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { table, places, key, .. }) => match key.take() {
                // An alias as a key; it has its finding.
                None => *key = Some(Key { name: String::new(), span: node.span }),
                Some(Key { name, span }) => {
                    if let Some(first) = places.get(&name) {
                        let finding = duplicate_key(self.source, &name, &span, first);
                        self.findings.push(finding);
                    } else {
                        places.insert(name.clone(), span.clone());
                    }
                    table.entries.push(Entry { key: name, key_span: span, node });
                }
            },
        }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }

    /// The byte at which the character with this index begins.
    fn byte(&self, index: usize) -> usize {
        let len = self.source.text().len();
        if self.char_starts.is_empty() {
            return index.min(len);
        }
        self.char_starts.get(index).copied().unwrap_or(len)
    }

    fn syntax(&self, error: &ScanError) -> Box<Diagnostic> {
        let text = self.source.text();
        let at = self.byte(error.marker().index());
        if error.info().contains("recursion limit exceeded") {
            return Box::new(too_deep(self.source, first_char(text, at)));
        }
        let line_start =
            text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |nl| nl + 1);
        let indentation = text.get(line_start..).unwrap_or_default();
        let indentation = indentation.split(|c| c != ' ' && c != '\t').next().unwrap_or_default();
        if let Some(tab) = indentation.find('\t') {
            let at = line_start + tab;
            let finding = Diagnostic::error("yaml.tab", "a tab stands in the indentation")
                .at(self.source.place(at..at + 1), "a tab")
                .help("indent with spaces only");
            return Box::new(finding);
        }
        let info = error.info();
        let words = info.rsplit_once(", ").map_or(info, |(_, words)| words);
        let finding = Diagnostic::error("yaml.syntax", format!("not YAML: {words}"))
            .at(self.source.place(first_char(text, at)), "here")
            .help(syntax_help(info));
        Box::new(finding)
    }
}

/// The parser says what it expected; this says what to type.
fn syntax_help(info: &str) -> &'static str {
    let has = |words: &str| info.contains(words);
    if has("flow") || has("bracket") {
        "add the comma, or the bracket that closes: it may be missing in a line above"
    } else if has("block mapping") || has("block collection") || has("indent") {
        "put the keys of one mapping, and the `-` of one list, exactly below each other"
    } else if has("mapping values are not allowed") {
        "indent the line like the one above; a value that holds `: ` stands in quotes"
    } else if has("simple key") || has("':'") {
        "write `key: value`, with a space behind the colon"
    } else if has("quoted scalar, found unknown escape") {
        "write the string in single quotes: a backslash means itself there"
    } else if has("quoted scalar") {
        "close the string with the quote that opens it"
    } else {
        "correct the line; nothing of this file is read until it is YAML"
    }
}

/// The character at `start`, or nothing at the end of the text.
fn first_char(text: &str, start: usize) -> Range<usize> {
    let len = text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let newline = text.get(start..).is_some_and(|rest| rest.starts_with(['\n', '\r']));
    if newline { start..start } else { start..start + len }
}

fn scalar(
    value: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Range<usize>,
    text: &str,
) -> Value {
    let raw = text.get(span.clone()).unwrap_or_default();
    let is_string = match tag {
        None => style != ScalarStyle::Plain,
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => true,
        Some(_) => return Value::Other("a value with a tag"),
    };
    if !is_string && let Some(value) = plain(&value) {
        return value;
    }
    let verbatim_at = match style {
        ScalarStyle::Plain => (raw == value).then_some(span.start),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
            let inner = raw.get(1..raw.len().saturating_sub(1));
            (inner == Some(&*value)).then_some(span.start + 1)
        }
        ScalarStyle::Literal | ScalarStyle::Folded => None,
    };
    Value::Text(Text { value: value.into_owned(), verbatim_at })
}

/// What a word without quotes is, if not a string.
pub(super) fn plain(word: &str) -> Option<Value> {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            Some(Value::Bool(true))
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            Some(Value::Bool(false))
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(Value::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => Some(Value::Float(f64::NEG_INFINITY)),
        ".nan" | ".NaN" | ".NAN" => Some(Value::Float(f64::NAN)),
        _ => number(word),
    }
}

fn number(word: &str) -> Option<Value> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let first = unsigned.bytes().next()?;
    if !first.is_ascii_digit() && first != b'.' {
        return None;
    }
    let all = |digits: &str, good: fn(&u8) -> bool| {
        !digits.is_empty() && digits.bytes().all(|byte| good(&byte) || byte == b'_')
    };
    let prefixed = |prefix: &str, good| unsigned.strip_prefix(prefix).is_some_and(|d| all(d, good));
    let is_digits = unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits && (unsigned == "0" || first != b'0') {
        let integer =
            word.parse().map_or(Value::Other("an integer beyond 64 bits"), Value::Integer);
        return Some(integer);
    }
    // 010 is ten to one reader and eight to another.
    if all(unsigned, u8::is_ascii_digit)
        || prefixed("0x", u8::is_ascii_hexdigit)
        || prefixed("0o", u8::is_ascii_digit)
        || prefixed("0b", u8::is_ascii_digit)
    {
        return Some(Value::Other("a number in a form that readers disagree on"));
    }
    let is_float = |byte: u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    if !word.bytes().all(is_float) {
        return None;
    }
    word.parse().ok().map(Value::Float)
}
