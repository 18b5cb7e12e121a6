//! What is wrong, where, and what to do about it: one shape for every finding that a person reads.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};
use serde_json::{Value, json};

/// Text wider than this is wrapped when rendered for people.
const RENDER_WIDTH: usize = 100;

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
        Arc::new(Self { file: file.into(), text: text.into(), lines_before })
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

    /// A place in this text; `span` counts bytes.
    #[must_use]
    pub fn place(self: &Arc<Self>, span: Range<usize>) -> Place {
        Place { source: Arc::clone(self), span }
    }
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
        self.source.lines_before + self.text_before().matches('\n').count() + 1
    }

    /// Column of its first character, in characters from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        let before = self.text_before();
        let line = before.rsplit('\n').next().unwrap_or(before);
        line.chars().count() + 1
    }

    fn text_before(&self) -> &str {
        self.source.text.get(..self.span.start).unwrap_or(&self.source.text)
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

/// The findings as a person reads them: message, the marked text, what to do.
///
/// `color` adds terminal colours; the caller asks whether there is a terminal and heeds `NO_COLOR`.
#[must_use]
pub fn render_human(findings: &[Diagnostic], color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(RENDER_WIDTH)
        .with_break_words(false)
        .with_context_lines(1)
        .without_syntax_highlighting();
    let mut out = String::new();
    for finding in findings {
        for report in Shown::reports(finding) {
            // Writing into a string cannot fail.
            let _ = handler.render_report(&mut out, &report);
        }
        out.push('\n');
    }
    out
}

/// The findings as JSON: an array of `{severity, code, message, place: {file, line, column, span: {start, end}} | null,
/// label, help, related: [{place, label}]}`. Lines and columns count from 1, spans are bytes from 0.
#[must_use]
pub fn to_json(findings: &[Diagnostic]) -> Value {
    findings.iter().map(Diagnostic::to_json).collect()
}

/// What miette renders as one report: a message, and places marked in one text.
#[derive(Debug)]
struct Shown<'a> {
    severity: miette::Severity,
    code: Option<&'static str>,
    message: &'a str,
    help: Option<&'a str>,
    source: Option<&'a Source>,
    labels: Vec<LabeledSpan>,
}

impl<'a> Shown<'a> {
    /// The finding itself, then a report for each place that it names in another text.
    fn reports(finding: &'a Diagnostic) -> Vec<Self> {
        let source = finding.place.as_ref().map(|place| &*place.source);
        let main = finding.place.as_ref().map(|place| {
            LabeledSpan::new_primary_with_span(finding.label.clone(), place.span.clone())
        });
        let mut labels: Vec<LabeledSpan> = main.into_iter().collect();
        let mut elsewhere = Vec::new();
        for (place, label) in &finding.related {
            if source == Some(&*place.source) {
                labels.push(LabeledSpan::new_with_span(Some(label.clone()), place.span.clone()));
            } else {
                elsewhere.push(Self::elsewhere(place, label));
            }
        }
        let severity = match finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        };
        let first = Self {
            severity,
            code: Some(finding.code),
            message: &finding.message,
            help: finding.help.as_deref(),
            source,
            labels,
        };
        std::iter::once(first).chain(elsewhere).collect()
    }

    fn elsewhere(place: &'a Place, label: &'a str) -> Self {
        Self {
            severity: miette::Severity::Advice,
            code: None,
            message: label,
            help: None,
            source: Some(&place.source),
            labels: vec![LabeledSpan::new_primary_with_span(None, place.span.clone())],
        }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        let severity = match self.severity {
            miette::Severity::Error => "error",
            miette::Severity::Warning => "warning",
            miette::Severity::Advice => "note",
        };
        self.code.map(|code| Box::new(format!("{severity}: {code}")) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.help.map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty())
            .then(|| Box::new(self.labels.iter().cloned()) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

/// Lines around a span, under the file's name, with the file's own line numbers and columns in characters.
impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let part = self.text.read_span(span, context_lines_before, context_lines_after)?;
        let start = part.span().offset();
        let line_start = start.saturating_sub(part.column());
        let column = self.text.get(line_start..start).map_or(0, |before| before.chars().count());
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.display().to_string(),
            part.data(),
            *part.span(),
            part.line() + self.lines_before,
            column,
            part.line_count(),
        )))
    }
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
