//! Findings as a person reads them: message, the marked text, what to do.

use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};

use super::{Diagnostic, Place, Severity, Source};

/// Text wider than this is wrapped when rendered for people.
const RENDER_WIDTH: usize = 100;
/// Most bytes of a text that are shown around a finding; of a longer line only a part is shown.
const EXCERPT_LEN_MAX: usize = 2000;
/// Most bytes shown before and after the marked text of a line that is too long.
const EXCERPT_MARGIN: usize = 60;

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
        let main = finding
            .place
            .as_ref()
            .map(|place| LabeledSpan::new_primary_with_span(finding.label.clone(), place.shown()));
        let mut labels: Vec<LabeledSpan> = main.into_iter().collect();
        let mut elsewhere = Vec::new();
        for (place, label) in &finding.related {
            if source == Some(&*place.source) {
                labels.push(LabeledSpan::new_with_span(Some(label.clone()), place.shown()));
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
            labels: vec![LabeledSpan::new_primary_with_span(None, place.shown())],
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
        // Only the lines around the span are looked at: a document may be large, and have many findings.
        let first = self.line_index(span.offset()).saturating_sub(context_lines_before);
        let last = self.line_index(span.offset() + span.len()) + context_lines_after;
        let base = self.line_start(first);
        let line_index = self.line_index(span.offset());
        if self.line_start(line_index + 1) - self.line_start(line_index) > EXCERPT_LEN_MAX {
            return self.part_of_line(span).map(|part| Box::new(part) as Box<_>);
        }
        let window = self.text.get(base..self.line_start(last + 1)).unwrap_or_default();
        let offset = span.offset().checked_sub(base).ok_or(MietteError::OutOfBounds)?;
        let within = SourceSpan::new(offset.into(), span.len());
        let part = window.read_span(&within, context_lines_before, context_lines_after)?;
        if part.data().len() > EXCERPT_LEN_MAX {
            return self.part_of_line(span).map(|part| Box::new(part) as Box<_>);
        }
        let start = base + part.span().offset();
        let column = self.column_index(start);
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.display().to_string(),
            part.data(),
            SourceSpan::new(start.into(), part.span().len()),
            part.line() + first + self.lines_before,
            column,
            // miette counts the lines of the text before it, too.
            part.line_count() + first,
        )))
    }
}

impl Source {
    /// The span and a little around it, of a line that is too long to be shown.
    fn part_of_line(&self, span: &SourceSpan) -> Result<MietteSpanContents<'_>, MietteError> {
        let line = self.line_index(span.offset());
        let line_start = self.line_start(line);
        let start = span.offset().saturating_sub(EXCERPT_MARGIN).max(line_start);
        let start = self.text.floor_char_boundary(start);
        let end = span.offset() + span.len();
        let line_end = self.line_start(line + 1);
        let margin_end = self.text.floor_char_boundary((end + EXCERPT_MARGIN).min(line_end));
        let text = self.text.get(start..margin_end.max(end)).ok_or(MietteError::OutOfBounds)?;
        if text.len() > EXCERPT_LEN_MAX {
            return Err(MietteError::OutOfBounds);
        }
        let column = self.column_index(start);
        Ok(MietteSpanContents::new_named(
            self.file.display().to_string(),
            text.as_bytes(),
            SourceSpan::new(start.into(), text.len()),
            line + self.lines_before,
            column,
            line + 1,
        ))
    }
}
