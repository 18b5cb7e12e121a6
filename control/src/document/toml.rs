//! TOML text to nodes.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::node::{Entry, Node, Table, Text, Value};
use crate::diagnostic::{Diagnostic, Source};

/// Bytes of a large text that are read at a time: what the parser makes of a text is forty times as large.
const PIECE_LEN: usize = 256 << 10;

/// Reads `source` as TOML.
///
/// # Errors
/// Everything that is not TOML: the first finding of each line.
pub(crate) fn read(source: &Arc<Source>) -> Result<Table, Vec<Diagnostic>> {
    if let Some(root) = in_pieces(source.text(), PIECE_LEN) {
        return Ok(root);
    }
    let (root, errors) = DeTable::parse_recoverable(source.text());
    let root = root.into_inner();
    if errors.is_empty() {
        return Ok(table(root, Piece { text: source.text(), start: 0 }));
    }
    let mut errors: Vec<(Range<usize>, &str)> =
        errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    // What follows an error on its line, or says the same of the next one, is most often its echo.
    errors.dedup_by_key(|(span, _)| source.place(span.clone()).line());
    errors.dedup_by_key(|(_, message)| *message);
    Err(errors.into_iter().map(|(span, message)| syntax(source, &root, span, message)).collect())
}

/// A part of a text.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    /// Where it begins in the whole.
    start: usize,
}

impl Piece<'_> {
    fn place(self, span: &Range<usize>) -> Range<usize> {
        self.start + span.start..self.start + span.end
    }
}

/// Reads a text that is larger than a piece, cut before headers of arrays of tables; none where that is not known to be
/// the same as reading it whole, be it that it is wrong.
fn in_pieces(text: &str, piece_len: usize) -> Option<Table> {
    if text.len() <= piece_len {
        return None;
    }
    // What stands before all headers is a piece of its own: keys of it cannot come again.
    let first_len = header(text, 0).unwrap_or(text.len());
    let mut root = piece(text, 0..first_len)?;
    let first_count = root.entries.len();
    let mut start = first_len;
    while start < text.len() {
        let end = header(text, start + piece_len.max(1)).unwrap_or(text.len());
        for Entry { key, key_span, node } in piece(text, start..end)?.entries {
            let known = root.entries.iter_mut().enumerate().find(|(_, known)| known.key == key);
            match (known, node.value) {
                (None, value) => {
                    let node = Node { span: node.span, value };
                    root.entries.push(Entry { key, key_span, node });
                }
                // Behind the first header every array has headers.
                (
                    Some((index, Entry { node: Node { value: Value::Array(items), .. }, .. })),
                    Value::Array(more),
                ) if index >= first_count => items.extend(more),
                (Some(_), _) => return None,
            }
        }
        start = end;
    }
    Some(root)
}

fn piece(text: &str, range: Range<usize>) -> Option<Table> {
    let piece = Piece { start: range.start, text: text.get(range)? };
    let (root, errors) = DeTable::parse_recoverable(piece.text);
    errors.is_empty().then(|| table(root.into_inner(), piece))
}

/// Where the next line that is the header of an array of tables of the root begins. Within a string it would leave a
/// piece that is not TOML.
fn header(text: &str, from: usize) -> Option<usize> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_header = |line: &str| {
        let name = line.strip_prefix("[[").and_then(|rest| rest.split_once("]]"));
        name.is_some_and(|(name, _)| !name.is_empty() && name.chars().all(is_bare))
    };
    if from == 0 && is_header(text) {
        return Some(0);
    }
    let from = text.as_bytes().get(from..)?.iter().position(|byte| *byte == b'\n')? + from;
    let mut lines = text.get(from..)?.match_indices("\n[[").map(|(at, _)| from + at + 1);
    lines.find(|at| text.get(*at..).is_some_and(is_header))
}

fn syntax(
    source: &Arc<Source>,
    root: &DeTable<'_>,
    span: Range<usize>,
    message: &str,
) -> Diagnostic {
    let key = source.text().get(span.clone()).unwrap_or_default();
    if message != "duplicate key" {
        return Diagnostic::error("toml.syntax", format!("not TOML: {message}"))
            .at(source.place(span), "here")
            .help(syntax_help(message, key));
    }
    let finding = Diagnostic::error("toml.duplicate-key", format!("`{key}` is set twice"))
        .at(source.place(span.clone()), "set again here")
        .help("keep one of the two");
    match first_of(root, key, span.start) {
        Some(first) => finding.related(source.place(first), "first set here"),
        None => finding,
    }
}

/// The parser says what it expected; this says what to type.
fn syntax_help(message: &str, text: &str) -> String {
    if message.contains("must be quoted") {
        format!("put it in quotes: `\"{text}\"`")
    } else if message.contains("between array elements") {
        "add a comma, or the `]` that closes the array: it may be missing in a line above"
            .to_owned()
    } else if message.contains("unquoted key") {
        "write `key = value`; a key with other characters stands in quotes".to_owned()
    } else if message.contains("quote") {
        "close the string with the quote that opens it".to_owned()
    } else {
        "correct the line; nothing of this file is read until it is TOML".to_owned()
    }
}

/// The nearest key before `limit` that is written like `key`: the parser names only the second one.
fn first_of(table: &DeTable<'_>, key: &str, limit: usize) -> Option<Range<usize>> {
    let bare = key.trim_matches(['"', '\'']);
    let own = table
        .iter()
        .filter(|(name, _)| name.get_ref().as_ref() == bare && name.span().start < limit)
        .map(|(name, _)| name.span());
    let deeper = table.iter().filter_map(|(_, value)| first_within(value.get_ref(), key, limit));
    own.chain(deeper).max_by_key(|span| span.start)
}

fn first_within(value: &DeValue<'_>, key: &str, limit: usize) -> Option<Range<usize>> {
    if let Some(table) = value.as_table() {
        return first_of(table, key, limit);
    }
    let found = value.as_array()?.iter().filter_map(|v| first_within(v.get_ref(), key, limit));
    found.max_by_key(|span| span.start)
}

fn table(table: DeTable<'_>, piece: Piece<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_span: piece.place(&key.span()),
            key: key.into_inner().into_owned(),
            node: node(value, piece),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    Table { entries }
}

fn node(value: Spanned<DeValue<'_>>, piece: Piece<'_>) -> Node {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::Array(items) => Value::Array(items.into_iter().map(|v| node(v, piece)).collect()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Float(value) => {
            value.as_str().parse().map_or(Value::Other("an unreadable number"), Value::Float)
        }
        DeValue::Integer(value) => integer(&value),
        DeValue::String(value) => Value::Text(string(value.into_owned(), &span, piece)),
        DeValue::Table(value) => Value::Table(table(value, piece)),
    };
    Node { span: piece.place(&span), value }
}

fn integer(value: &DeInteger<'_>) -> Value {
    i64::from_str_radix(value.as_str(), value.radix())
        .map_or(Value::Other("an integer beyond 64 bits"), Value::Integer)
}

/// Finds the string's letters between its quotes; an escape in it means that they are not there as they are.
fn string(value: String, span: &Range<usize>, piece: Piece<'_>) -> Text {
    let raw = piece.text.get(span.clone()).unwrap_or_default();
    let quotes = if raw.starts_with("\"\"\"") || raw.starts_with("'''") { 3 } else { 1 };
    let inner = raw.get(quotes..raw.len().saturating_sub(quotes)).unwrap_or_default();
    // A newline right after three quotes is not part of the value.
    let trimmed =
        if quotes == 3 { inner.trim_start_matches('\r').trim_start_matches('\n') } else { inner };
    let skipped = inner.len() - trimmed.len();
    let verbatim_at = (trimmed == value).then_some(piece.start + span.start + quotes + skipped);
    Text { value, verbatim_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Table, Vec<Diagnostic>> {
        read(&Source::new("t.toml", text))
    }

    fn text_of(table: &Table, key: &str) -> Text {
        let node = &table.entry(key).unwrap().node;
        let Value::Text(text) = &node.value else { panic!("not a string: {node:?}") };
        text.clone()
    }

    #[test]
    fn strings_know_where_their_letters_stand_unless_escaped() {
        let source = "a = 'x y'\nb = \"x y\"\nc = \"\"\"\nx y\"\"\"\nd = \"x\\u0020y\"\n";
        let table = read_text(source).unwrap();
        for key in ["a", "b", "c"] {
            let span = text_of(&table, key).span_of(2..3).unwrap();
            assert_eq!(&source[span], "y", "in {key}");
        }
        assert_eq!(text_of(&table, "d").value, "x y");
        assert_eq!(text_of(&table, "d").span_of(2..3), None);
    }

    #[test]
    fn a_text_in_pieces_is_the_same_as_the_whole() {
        let text = "# é\nx = 1\n[[a]]\nb = 'é'\n[a.sub]\nc = [\n[[1]]\n]\n[[b]]\n[t]\ny = 'z'\n[[a]] # again\nd = \"\\n\"\n";
        let whole = |text: &str| {
            let (root, errors) = DeTable::parse_recoverable(text);
            assert!(errors.is_empty(), "{errors:?}");
            table(root.into_inner(), Piece { text, start: 0 })
        };
        let expected = format!("{:?}", whole(text));
        let read = (0..text.len()).filter_map(|length| in_pieces(text, length));
        let read: Vec<String> = read.map(|root| format!("{root:?}")).collect();
        assert!(read.len() > 20 && read.iter().all(|root| *root == expected), "{read:?}");
        let large = "[[sets]]\nname = 'a'\n".repeat(PIECE_LEN / 5);
        let root = read_text(&large).unwrap();
        assert!(
            matches!(&root.entries[0].node.value, Value::Array(items) if items.len() == PIECE_LEN / 5)
        );
        assert_eq!(format!("{root:?}"), format!("{:?}", whole(&large)));
    }

    #[test]
    fn what_pieces_alone_would_not_notice_is_noticed() {
        let sets = "[[sets]]\nname = 'a'\n";
        for wrong in [
            format!("sets = []\n{sets}"),
            format!("{sets}[t]\n{sets}[t]\n"),
            format!("{sets}[[sets.sub]]\n{sets}[sets.sub]\n{sets}[sets]\n"),
            format!("{sets}a = \"\"\"\n{sets}"),
            format!("{sets}[[other]]\n[sets.sub]\nx = 1\n[[third]]\nname = 'a'\nname = 'b'\n"),
            format!("sets = 1\n{sets}"),
        ] {
            for length in 0..wrong.len() {
                assert!(in_pieces(&wrong, length).is_none(), "{wrong} in pieces of {length}");
            }
            assert!(read_text(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tables_keep_the_order_of_the_text() {
        let table = read_text("z = 1\na = 2\n[m]\n").unwrap();
        let keys: Vec<&str> = table.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["z", "a", "m"]);
    }

    #[test]
    fn every_line_that_is_not_toml_is_found() {
        let findings = read_text("a = = 1\nb = 2\nc = [1 2]\n").unwrap_err();
        let lines: Vec<usize> =
            findings.iter().map(|finding| finding.place.as_ref().unwrap().line()).collect();
        assert_eq!(lines, [1, 3]);
    }

    #[test]
    fn duplicate_key_points_at_both() {
        let findings = read_text("[[t]]\nname = 'a'\norder = 1\nname = 'b'\n").unwrap_err();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place.as_ref().unwrap().line(), 4);
        assert_eq!(findings[0].related[0].0.line(), 2);
    }
}
