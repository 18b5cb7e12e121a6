//! One tree for every format: values with their places in the text, tables in the order they were written.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Source};

/// Deepest nesting of arrays and tables.
pub(crate) const DEPTH_MAX: usize = 100;

/// A value and where it stands. A table that has a header of its own stands at that header.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) value: Value,
}

/// What stands there.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Array(Vec<Node>),
    Bool(bool),
    Float(f64),
    Integer(i64),
    /// Nothing, written down: the same as leaving the field out.
    Null,
    /// Something that no field takes, in words with its article: "a date".
    Other(&'static str),
    Table(Table),
    Text(Text),
}

impl Node {
    /// What it is, in words with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Array(_) => "an array",
            Value::Bool(_) => "a boolean",
            Value::Float(_) => "a float",
            Value::Integer(_) => "an integer",
            Value::Null => "nothing",
            Value::Other(kind) => kind,
            Value::Table(_) => "a table",
            Value::Text(_) => "a string",
        }
    }
}

/// A string: its value, and where that value stands letter by letter if it stands so in the text at all.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) value: String,
    pub(crate) verbatim_at: Option<usize>,
}

impl Text {
    /// Where the bytes `part` of the value stand, if the text shows them as they are.
    pub(crate) fn span_of(&self, part: Range<usize>) -> Option<Range<usize>> {
        let start = self.verbatim_at?;
        let end = part.end.min(self.value.len());
        let begin = part.start.min(end);
        Some(start + begin..start + end)
    }
}

/// Keys and values in the order of the text; each key once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

impl Table {
    /// The entry of `key`.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// One key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
}

/// Says that a key stands twice in one table.
pub(crate) fn duplicate_key(
    source: &Arc<Source>,
    key: &str,
    second: &Range<usize>,
    first: &Range<usize>,
) -> Diagnostic {
    Diagnostic::error("document.duplicate-key", format!("`{key}` is set twice"))
        .at(source.place(second.clone()), "set again here")
        .help("keep one of the two")
        .related(source.place(first.clone()), "first set here")
}

/// Says that arrays and tables are nested too deep.
pub(crate) fn too_deep(source: &Arc<Source>, span: Range<usize>) -> Diagnostic {
    Diagnostic::error("document.depth", format!("nested deeper than {DEPTH_MAX} levels"))
        .at(source.place(span), "too deep")
        .help("no resource is nested so deep; is this a policy document?")
}
