//! Rows that are about a gateway with addresses and routes of its own: they wait until it has some. Linux is tried on them.

/// Why they wait, by row.
pub(crate) const WAITING: [(&str, &str); 5] = [
    ("A10", "the gateway has no address of its own that a source could pretend to be"),
    ("A11", "the gateway has no address of its own that a source could pretend to be"),
    ("A43", "a bridge does not count hops: a time to live of 1 is for the router behind it"),
    ("V38", "the gateway has no address of its own that a source could pretend to be"),
    ("V47", "a bridge does not count hops: a hop limit of 1 is for the router behind it"),
];

/// Whether the row waits.
pub(crate) fn waits(id: &str) -> bool {
    WAITING.iter().any(|(waiting, _)| *waiting == id)
}
