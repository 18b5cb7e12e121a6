//! One tree for every format: values with their places in the text, tables in the order they were written.

use std::ops::Range;

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
