//! Rows that are about a gateway with addresses and routes of its own: they wait until it has some. Linux is tried on them.

/// Why they wait, by row.
pub(crate) const WAITING: [(&str, &str); 5] = [
    ("A10", "the gateway has no address of its own that a source could pretend to be"),
    ("A11", "the gateway has no address of its own that a source could pretend to be"),
    ("A43", "a bridge does not count hops: a time to live of 1 is for the router behind it"),
    ("V38", "the gateway has no address of its own that a source could pretend to be"),
    ("V47", "a bridge does not count hops: a hop limit of 1 is for the router behind it"),
];

/// Rows whose checks are being built: each leaves this list with the check that it is about, and with the last of them the
/// list goes.
pub(crate) const UNBUILT: [&str; 88] = [
    "A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A09", "A12", "A13", "A20", "A21",
    "A22", "A32", "A33", "A45", "A47", "C01", "C02", "C03", "C04", "C05", "C06", "C10", "C15",
    "C16", "C17", "C18", "C19", "C20", "C21", "C22", "C33", "F01", "F02", "F03", "F04", "F05",
    "F06", "F07", "F08", "F09", "F10", "F11", "F12", "F13", "F14", "F15", "F16", "I01", "I02",
    "I03", "I04", "I05", "I06", "I07", "I08", "I13", "I15", "T45", "T49", "V07", "V08", "V09",
    "V11", "V14", "V15", "V16", "V17", "V18", "V19", "V20", "V21", "V22", "V30", "V31", "V32",
    "V33", "V34", "V35", "V36", "V37", "V39", "V40", "V45", "V46", "V48",
];

/// Whether the row waits.
pub(crate) fn waits(id: &str) -> bool {
    UNBUILT.contains(&id) || WAITING.iter().any(|(waiting, _)| *waiting == id)
}
