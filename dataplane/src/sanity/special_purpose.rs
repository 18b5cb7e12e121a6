//! The table of special-purpose addresses: data, read from text, the shipped one or a file in its place.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The shipped table. Its head says what a row means.
const SHIPPED: &str = include_str!("special_purpose.txt");
/// Most rows: the table of addresses has a limit.
const ROWS_MAX: usize = 512;

/// Which addresses no packet is forwarded from or to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SpecialPurpose {
    rows: Vec<Row>,
}

/// A prefix, and where its addresses are refused unless a longer one says otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Row {
    pub(super) net: IpNet,
    pub(super) source: bool,
    pub(super) destination: bool,
}

impl SpecialPurpose {
    /// Reads a table: a row is a prefix and `source`, `destination`, `both` or `neither`; `#` begins a comment.
    ///
    /// # Errors
    /// Which line is no row, and why. A table without rows is an error too: a file that was cut off must not open the gate.
    pub fn parse(text: &str) -> Result<Self, SpecialPurposeError> {
        let mut rows: Vec<Row> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let wrong = |what| SpecialPurposeError { line: index + 1, what };
            let Some(row) = Row::parse(line).map_err(wrong)? else { continue };
            if rows.iter().any(|known| known.net == row.net) {
                return Err(wrong("the prefix has a row already"));
            }
            if rows.len() == ROWS_MAX {
                return Err(wrong("more rows than 512"));
            }
            rows.push(row);
        }
        if rows.is_empty() {
            return Err(SpecialPurposeError { line: 1, what: "expected at least one row" });
        }
        Ok(Self { rows })
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Refuses every address.
    fn closed() -> Self {
        let row = |net| Row { net, source: true, destination: true };
        let v4 = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
        let v6 = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0);
        Self { rows: vec![row(v4.into()), row(v6.into())] }
    }
}

impl Default for SpecialPurpose {
    /// The shipped table, which a test reads.
    fn default() -> Self {
        Self::parse(SHIPPED).unwrap_or_else(|_| Self::closed())
    }
}

impl Row {
    fn parse(line: &str) -> Result<Option<Self>, &'static str> {
        let content = line.split('#').next().unwrap_or_default();
        let mut words = content.split_whitespace();
        let Some(prefix) = words.next() else { return Ok(None) };
        let net: IpNet = prefix.parse().map_err(|_| "expected a prefix like `198.18.0.0/15`")?;
        if net.trunc() != net {
            return Err("the prefix has bits beyond its length");
        }
        let (source, destination) = match (words.next(), words.next()) {
            (Some("source"), None) => (true, false),
            (Some("destination"), None) => (false, true),
            (Some("both"), None) => (true, true),
            (Some("neither"), None) => (false, false),
            _ => {
                return Err(
                    "expected `source`, `destination`, `both` or `neither` behind the prefix",
                );
            }
        };
        Ok(Some(Self { net, source, destination }))
    }
}

/// What is wrong with a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpecialPurposeError {
    /// In which line, from 1.
    pub line: usize,
    /// What was expected or is not allowed.
    pub what: &'static str,
}

impl fmt::Display for SpecialPurposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for SpecialPurposeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_table_is_one() {
        assert!(SpecialPurpose::parse(SHIPPED).unwrap().rows.len() > 30);
        assert_ne!(SpecialPurpose::default(), SpecialPurpose::closed());
    }

    #[test]
    fn errors_name_their_line() {
        let wrong = [
            ("", 1),
            ("# nothing\n\n", 1),
            ("\n10.0.0.0 both", 2),
            ("10.0.0.1/8 both", 1),
            ("10.0.0.0/8", 1),
            ("10.0.0.0/8 drop", 1),
            ("10.0.0.0/8 both both", 1),
            ("10.0.0.0/8 both # private\n10.0.0.0/8 source", 2),
        ];
        for (text, line) in wrong {
            let error = SpecialPurpose::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.to_string().starts_with(&format!("line {line}: ")));
        }
        let rows = |count: u32| {
            let row = |number: u32| format!("{}/32 both\n", Ipv4Addr::from_bits(number));
            SpecialPurpose::parse(&(0..count).map(row).collect::<String>())
        };
        assert!(rows(512).is_ok());
        assert_eq!(rows(513).unwrap_err().line, 513);
    }
}
