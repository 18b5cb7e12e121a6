//! Tables for people, and the share that each port has of the data plane's numbers.

use crate::publish::DataplaneStatus;

/// Gap between two columns.
const GAP: usize = 2;

/// One port's share of the status: the keys behind `port.N.`.
pub(super) struct Port<'a> {
    prefix: String,
    pub(super) name: &'a str,
    pub(super) values: Vec<(&'a str, &'a str)>,
}

impl Port<'_> {
    pub(super) fn owns(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
    }

    pub(super) fn value(&self, key: &str) -> String {
        let found = self.values.iter().find(|(name, _)| *name == key);
        found.map_or_else(|| "?".to_owned(), |(_, value)| (*value).to_owned())
    }
}

/// The ports that the status names, in its order.
pub(super) fn ports<'a>(status: &'a DataplaneStatus) -> Vec<Port<'a>> {
    let named = status.lines.iter().filter_map(|(key, name)| {
        let number = key.strip_prefix("port.")?.strip_suffix(".name")?;
        Some((format!("port.{number}."), name.as_str()))
    });
    let port = |(prefix, name): (String, _)| {
        let own =
            |(key, value): &'a (String, String)| Some((key.strip_prefix(&prefix)?, value.as_str()));
        let values = status.lines.iter().filter_map(own).collect();
        Port { prefix, name, values }
    };
    named.map(port).collect()
}

/// Rows under a head; nothing when there are no rows.
pub(super) fn table(
    head: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
) -> Vec<Vec<String>> {
    let mut table = vec![head];
    table.extend(rows);
    if table.len() == 1 {
        table.clear();
    }
    table
}

/// Writes the rows with columns as wide as they need to be.
pub(super) fn align(rows: &[Vec<String>], text: &mut String) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let length = |cell: &String| cell.chars().count();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(length).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut gap = 0;
        for (cell, width) in row.iter().zip(&widths) {
            text.extend(std::iter::repeat_n(' ', gap));
            text.push_str(cell);
            gap = width - length(cell) + GAP;
        }
        text.push('\n');
    }
}
