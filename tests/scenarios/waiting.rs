//! Rows that are about a gateway with addresses and routes of its own: they wait until it has some. Linux is tried on them.

/// Why they wait, by row.
pub(crate) const WAITING: [(&str, &str); 5] = [
    ("A10", "the gateway has no address of its own that a source could pretend to be"),
    ("A11", "the gateway has no address of its own that a source could pretend to be"),
    ("A43", "a bridge does not count hops: a time to live of 1 is for the router behind it"),
    ("V38", "the gateway has no address of its own that a source could pretend to be"),
    ("V47", "a bridge does not count hops: a hop limit of 1 is for the router behind it"),
];

/// Rows that ask which networks are behind which port. The data plane knows what to make of them, but the gateway's settings
/// cannot say them yet: they are tried in memory only, and with the setting this list goes.
pub(crate) const UNSETTABLE: [&str; 4] = ["A04", "A05", "A12", "V39"];

/// Whether the row waits everywhere.
pub(crate) fn waits(id: &str) -> bool {
    WAITING.iter().any(|(waiting, _)| *waiting == id)
}

/// Whether the row waits where the gateway is real.
pub(crate) fn waits_on_the_wire(id: &str) -> bool {
    waits(id) || UNSETTABLE.contains(&id)
}
