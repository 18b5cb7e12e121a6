//! What is wrong, where, and what to do about it: one shape for every finding that a person reads.

mod human;
mod sarif;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

pub use self::human::render_human;
pub use self::sarif::to_sarif;

/// Most bytes that are marked.
const MARKED_LEN_MAX: usize = 200;

/// Bytes of a block whose characters are counted once.
const BLOCK_LEN: usize = 4096;

/// Whether a finding stops the document set from being taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The set is refused whole.
    Error,
    /// The set is taken; a person should know.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A text that findings point into: a document, or the one line of a list file that is wrong.
#[derive(Debug, Eq, PartialEq)]
pub struct Source {
    file: PathBuf,
    text: String,
    lines_before: usize,
    /// Where each line begins, found when first asked for.
    line_starts: OnceLock<Vec<usize>>,
    /// How many characters stand before each block of bytes, counted when first asked for.
    block_chars: OnceLock<Vec<usize>>,
}

impl Source {
    /// A whole file.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Self::excerpt(file, text, 0)
    }

    /// A part of a file that begins after `lines_before` other lines.
    #[must_use]
    pub fn excerpt(
        file: impl Into<PathBuf>,
        text: impl Into<String>,
        lines_before: usize,
    ) -> Arc<Self> {
        let (line_starts, block_chars) = (OnceLock::new(), OnceLock::new());
        let (file, text) = (file.into(), text.into());
        Arc::new(Self { file, text, lines_before, line_starts, block_chars })
    }

    /// The file's path, as the user named it or relative to what they named.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Index of the line, within the text, that holds the byte `at`.
    fn line_index(&self, at: usize) -> usize {
        let starts = self.line_starts();
        starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// Where the line with this index begins; the end of the text behind the last one.
    fn line_start(&self, index: usize) -> usize {
        self.line_starts().get(index).copied().unwrap_or(self.text.len())
    }

    /// Index of the character at the byte `at` within its line.
    fn column_index(&self, at: usize) -> usize {
        self.chars_before(at) - self.chars_before(self.line_start(self.line_index(at)))
    }

    fn chars_before(&self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        let blocks = self.block_chars.get_or_init(|| {
            let mut sum = 0;
            let before = bytes.chunks(BLOCK_LEN).map(|block| {
                let before = sum;
                sum += chars_begun(block);
                before
            });
            before.collect()
        });
        let Some(before) = blocks.get(at / BLOCK_LEN) else {
            return blocks.last().map_or(0, |before| {
                let start = (blocks.len() - 1) * BLOCK_LEN;
                before + chars_begun(bytes.get(start..).unwrap_or_default())
            });
        };
        before + chars_begun(bytes.get(at / BLOCK_LEN * BLOCK_LEN..at).unwrap_or_default())
    }

    fn line_starts(&self) -> &[usize] {
        self.line_starts.get_or_init(|| {
            let after_newlines = self.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(after_newlines).collect()
        })
    }

    /// A place in this text; `span` counts bytes.
    #[must_use]
    pub fn place(self: &Arc<Self>, span: Range<usize>) -> Place {
        Place { source: Arc::clone(self), span }
    }
}

/// How many characters begin in these bytes of a text.
fn chars_begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// A stretch of a source text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    source: Arc<Source>,
    span: Range<usize>,
}

impl Place {
    /// The file it lies in.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.source.file
    }

    /// Bytes of the source text; empty where something is missing.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Line of its first character, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.source.lines_before + self.source.line_index(self.span.start) + 1
    }

    /// Column of its first character, in characters from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.source.column_index(self.span.start) + 1
    }

    /// Line and column of the first character behind it, both from 1.
    fn end(&self) -> (usize, usize) {
        let line = self.source.lines_before + self.source.line_index(self.span.end) + 1;
        (line, self.source.column_index(self.span.end) + 1)
    }

    /// The place, cut to what can be shown.
    fn shown(&self) -> Range<usize> {
        let end = self.span.end.min(self.span.start + MARKED_LEN_MAX);
        self.span.start..self.source.text.floor_char_boundary(end).max(self.span.start)
    }

    fn to_json(&self) -> Value {
        json!({
            "file": self.file().to_string_lossy(),
            "line": self.line(),
            "column": self.column(),
            "span": { "start": self.span.start, "end": self.span.end },
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file().display(), self.line(), self.column())
    }
}

/// One finding. Its `Display` is the one-line form for logs: `file:line:column: severity: message; help`.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Whether it stops the set.
    pub severity: Severity,
    /// A stable name for the kind of finding: `rule.port`.
    pub code: &'static str,
    /// What is wrong: lowercase, user text in backticks, no full stop.
    pub message: String,
    /// Where, if it is somewhere in a text.
    pub place: Option<Place>,
    /// What to say under the marked text.
    pub label: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// Other places that take part, each with what to say there.
    pub related: Vec<(Place, String)>,
}

impl Diagnostic {
    /// A finding that refuses the document set.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A finding that a person should know.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            place: None,
            label: None,
            help: None,
            related: Vec::new(),
        }
    }

    /// Says where it is, and what to say under the marked text.
    #[must_use]
    pub fn at(mut self, place: Place, label: impl Into<String>) -> Self {
        self.place = Some(place);
        self.label = Some(label.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that takes part.
    #[must_use]
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }

    /// Whether it refuses the document set.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    fn to_json(&self) -> Value {
        let place = self.place.as_ref().map_or(Value::Null, Place::to_json);
        let related: Vec<Value> = self
            .related
            .iter()
            .map(|(place, label)| json!({ "place": place.to_json(), "label": label }))
            .collect();
        json!({
            "severity": self.severity.to_string(),
            "code": self.code,
            "message": self.message,
            "place": place,
            "label": self.label,
            "help": self.help,
            "related": related,
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: {}", self.severity, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

/// Whether any finding refuses the document set.
#[must_use]
pub fn any_error(findings: &[Diagnostic]) -> bool {
    findings.iter().any(Diagnostic::is_error)
}

/// By file and place; what has no place comes first.
pub(crate) fn in_order(mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    findings.sort_by_cached_key(|finding| {
        let place = finding.place.as_ref();
        place.map(|place| (place.file().to_owned(), place.source.lines_before, place.span.start))
    });
    findings
}

/// The findings as JSON: an array of `{severity, code, message, place: {file, line, column, span: {start, end}} | null,
/// label, help, related: [{place, label}]}`. Lines and columns count from 1, spans are bytes from 0.
#[must_use]
pub fn to_json(findings: &[Diagnostic]) -> Value {
    findings.iter().map(Diagnostic::to_json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Diagnostic {
        let source = Source::new("a.toml", "x = 1\né = 'wrong'\n");
        let other = Source::excerpt("lists/b.cidr", "198.18.0.1/24", 41);
        Diagnostic::error("test.code", "`wrong` is wrong")
            .at(source.place(12..17), "this")
            .help("write something else")
            .related(source.place(0..1), "first here")
            .related(other.place(0..13), "and there")
    }

    #[test]
    fn columns_count_characters_and_lines_count_what_was_left_out() {
        let source = Source::excerpt("f", "a\nbé = 1", 10);
        let place = source.place(6..7);
        assert_eq!((place.line(), place.column()), (12, 4));
        assert_eq!(place.to_string(), "f:12:4");
    }

    #[test]
    fn one_line_form_names_the_place_first() {
        assert_eq!(
            finding().to_string(),
            "a.toml:2:6: error: `wrong` is wrong; write something else"
        );
    }

    #[test]
    fn plain_rendering_shows_both_texts_and_no_escape() {
        let text = render_human(&[finding()], false);
        assert!(!text.contains('\u{1b}'), "{text}");
        for part in ["error: test.code", "[a.toml:2:6]", "first here", "[lists/b.cidr:42:1]"] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
        assert!(render_human(&[finding()], true).contains('\u{1b}'));
    }

    #[test]
    fn json_keeps_its_shape() {
        let value = to_json(&[finding()]);
        let one = &value[0];
        assert_eq!(one["severity"], "error");
        assert_eq!(one["place"]["line"], 2);
        assert_eq!(one["place"]["span"]["start"], 12);
        assert_eq!(one["related"][1]["place"]["file"], "lists/b.cidr");
        assert_eq!(one["related"][1]["label"], "and there");
    }
}
