//! List files: one network or address a line, `#` and `;` begin comments.

use std::path::Path;

use ipnet::IpNet;

use crate::diagnostic::{Diagnostic, Source};
use crate::document::Written;
use crate::files::{FileError, read_bounded};

/// Largest list file, bytes: some ten million networks.
const LIST_BYTES_MAX: u64 = 256 << 20;
/// Most bad lines that are named one by one.
const BAD_LINES_SHOWN_MAX: usize = 20;
/// Most bytes of a bad line that are shown.
const LINE_SHOWN_MAX: usize = 120;

/// A list as it was read.
#[derive(Debug)]
pub(crate) struct List {
    bytes: Vec<u8>,
    pub(crate) nets: Vec<IpNet>,
}

/// Why a list was not taken.
#[derive(Debug)]
pub(crate) enum ListError {
    /// The file was not read.
    File(FileError),
    /// It was read, and these lines are wrong.
    Lines(Vec<Diagnostic>),
}

/// Reads the list file at `path`. Host bits are masked, as in the `nets` of a set.
/// Where `known` has the same bytes, the list is taken from there.
pub(crate) fn load(path: &Path, known: Option<List>) -> Result<List, ListError> {
    let bytes = read_bounded(path, LIST_BYTES_MAX).map_err(ListError::File)?;
    if let Some(known) = known.filter(|known| known.bytes == bytes) {
        return Ok(known);
    }
    let nets = parse(path, &bytes).map_err(ListError::Lines)?;
    Ok(List { bytes, nets })
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<IpNet>, Vec<Diagnostic>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut nets = Vec::new();
    let mut findings = Vec::new();
    let mut unnamed_count = 0_usize;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match parse_line(line) {
            Ok(Some(net)) => nets.push(net),
            Ok(None) => {}
            Err(_) if findings.len() >= BAD_LINES_SHOWN_MAX => unnamed_count += 1,
            Err(bad) => findings.push(bad.diagnostic(path, index, line)),
        }
    }
    if unnamed_count > 0 {
        let message = format!("{unnamed_count} more lines of `{}` are wrong", path.display());
        let help = "is this a list of networks, one a line?";
        findings.push(Diagnostic::error("list.line", message).help(help));
    }
    if findings.is_empty() { Ok(nets) } else { Err(findings) }
}

/// What is wrong with a line.
struct BadLine {
    what: String,
    help: String,
}

impl BadLine {
    fn diagnostic(self, path: &Path, index: usize, line: &[u8]) -> Diagnostic {
        let shown = line.get(..LINE_SHOWN_MAX).unwrap_or(line);
        let shown = String::from_utf8_lossy(shown).trim_end().to_owned();
        let entry = entry_of(&shown);
        let start = shown.len() - shown.trim_start().len();
        let span = start..start + entry.len();
        let message = format!("line {} of the list: {}", index + 1, self.what);
        let source = Source::excerpt(path, shown.clone(), index);
        Diagnostic::error("list.line", message)
            .at(source.place(span), "expected a network or an address")
            .help(self.help)
    }
}

fn parse_line(line: &[u8]) -> Result<Option<IpNet>, BadLine> {
    let Ok(line) = std::str::from_utf8(line) else {
        return Err(BadLine {
            what: "it is not UTF-8 text".to_owned(),
            help: "save the list as plain text".to_owned(),
        });
    };
    let entry = entry_of(line);
    if entry.is_empty() {
        return Ok(None);
    }
    match Written::parse(entry) {
        Ok(written) => Ok(Some(written.network())),
        Err(_) if entry.contains(|c: char| c.is_whitespace() || c == ',') => Err(BadLine {
            what: format!("`{}` is more than one entry", shortened(entry)),
            help: "write one network a line; what follows a `#` or `;` is a comment".to_owned(),
        }),
        Err(error) => Err(BadLine {
            what: format!("`{}` {error}", shortened(entry)),
            help: error.help(entry),
        }),
    }
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LINE_SHOWN_MAX)).unwrap_or(text)
}

/// A line without its comment and the blanks around it.
fn entry_of(line: &str) -> &str {
    line.split(['#', ';']).next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<Vec<String>, Vec<String>> {
        let shown = |nets: Vec<IpNet>| nets.iter().map(ToString::to_string).collect();
        let told = |findings: Vec<Diagnostic>| findings.iter().map(ToString::to_string).collect();
        parse(Path::new("l.cidr"), text.as_bytes()).map(shown).map_err(told)
    }

    #[test]
    fn comments_blank_lines_and_host_bits_are_taken() {
        let text = "\u{feff}# head\n\n198.18.1.9/24 ; office\r\n 198.18.2.1\t# one\n2001:2::1/48";
        let expected = ["198.18.1.0/24", "198.18.2.1/32", "2001:2::/48"].map(str::to_owned);
        assert_eq!(parse_text(text), Ok(expected.to_vec()));
        assert_eq!(parse_text(""), Ok(Vec::new()));
    }

    #[test]
    fn every_bad_line_is_named_with_its_number() {
        let text = "198.18.1.0/24\n  198.18.1.0/99\nexample.org\n198.18.1.0 198.18.2.0\n";
        let expected = [
            "l.cidr:2:3: error: line 2 of the list: `198.18.1.0/99` has a bad prefix length",
            "l.cidr:3:1: error: line 3 of the list: `example.org` is not an IP address",
            "l.cidr:4:1: error: line 4 of the list: `198.18.1.0 198.18.2.0` is more than one entry",
        ];
        let told = parse_text(text).unwrap_err();
        assert_eq!(told.len(), expected.len());
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn a_file_of_garbage_gives_a_bounded_answer() {
        let told = parse_text(&"garbage\n".repeat(1000)).unwrap_err();
        assert_eq!(told.len(), BAD_LINES_SHOWN_MAX + 1);
        assert!(told[BAD_LINES_SHOWN_MAX].contains("980 more lines"), "{told:?}");
    }

    #[test]
    fn bytes_that_are_no_text_are_a_bad_line() {
        let findings = parse(Path::new("l"), b"198.18.0.0/24\n\xff\xfe\n").unwrap_err();
        assert_eq!(findings[0].place.as_ref().unwrap().line(), 2);
    }
}
