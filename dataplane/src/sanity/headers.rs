//! Which IPv4 options, IPv6 extension headers and options of those pass: tables, with where each row comes from.

/// What becomes of packets with one kind of option or header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeaderRow {
    /// Its number as it stands in packets.
    pub number: u8,
    /// What it is called.
    pub name: &'static str,
    /// Whether packets with it pass.
    pub passes: bool,
    /// Where that is advised, or why it is so.
    pub source: &'static str,
}

/// IPv4 options (RFC 7126). Whatever has no row here is dropped (section 4.23).
pub const IPV4_OPTIONS: [HeaderRow; 25] = [
    pass(0, "end of options", "RFC 7126 section 4.1"),
    pass(1, "no operation", "RFC 7126 section 4.2"),
    drop(131, "loose source route", "RFC 7126 section 4.3"),
    drop(137, "strict source route", "RFC 7126 section 4.4"),
    drop(7, "record route", "RFC 7126 section 4.5"),
    drop(136, "stream identifier", "RFC 7126 section 4.6"),
    drop(68, "timestamp", "RFC 7126 section 4.7"),
    pass(148, "router alert", "RFC 7126 section 4.8"),
    drop(11, "probe MTU", "RFC 7126 section 4.9"),
    drop(12, "reply MTU", "RFC 7126 section 4.10"),
    drop(82, "traceroute", "RFC 7126 section 4.11"),
    pass(130, "basic security", "RFC 7126 section 4.12"),
    pass(133, "extended security", "RFC 7126 section 4.13"),
    pass(134, "commercial security", "RFC 7126 section 4.14"),
    drop(142, "experimental access control", "RFC 7126 section 4.15"),
    drop(145, "extended Internet protocol", "RFC 7126 section 4.16"),
    drop(147, "address extension", "RFC 7126 section 4.17"),
    drop(149, "sender directed multi-destination", "RFC 7126 section 4.18"),
    drop(151, "dynamic packet state", "RFC 7126 section 4.19"),
    drop(152, "upstream multicast packet", "RFC 7126 section 4.20"),
    drop(25, "quick-start", "RFC 7126 section 4.21"),
    drop(30, "experiment", "RFC 7126 section 4.22"),
    drop(94, "experiment", "RFC 7126 section 4.22"),
    drop(158, "experiment", "RFC 7126 section 4.22"),
    drop(222, "experiment", "RFC 7126 section 4.22"),
];

/// IPv6 extension headers (RFC 9288 section 3). Whatever has no row here is an upper layer, for rules to judge.
pub const IPV6_HEADERS: [HeaderRow; 12] = [
    pass(0, "hop-by-hop options", "RFC 9288 section 3.5; each option has its row"),
    pass(43, "routing", "RFC 9288 section 3.5; each type has its row"),
    pass(44, "fragment", "RFC 9288 section 3.5; judged when it is whole"),
    pass(50, "encapsulating security payload", "RFC 9288 section 3.5; rules judge its number"),
    pass(51, "authentication", "RFC 9288 section 3.5"),
    drop(59, "no next header", "RFC 8200 section 4.7: there is nothing that a rule could allow"),
    pass(60, "destination options", "RFC 9288 section 3.5; each option has its row"),
    pass(135, "mobility", "RFC 9288 section 3.5; rules judge its number"),
    pass(139, "host identity", "RFC 9288 section 3.5; rules judge its number"),
    pass(140, "shim6", "RFC 9288 section 3.5; rules judge its number"),
    drop(253, "experiment", "RFC 9288 section 3.5"),
    drop(254, "experiment", "RFC 9288 section 3.5"),
];

/// Types of routing headers (RFC 9288 section 3.5). Whatever has no row here passes. Any of them with segments left is a source
/// route, which is another check.
pub const ROUTING_TYPES: [HeaderRow; 5] = [
    drop(0, "source route", "RFC 5095"),
    drop(1, "Nimrod", "RFC 7045 section 2.1: deprecated"),
    pass(2, "home address", "RFC 6275 section 6.4"),
    drop(3, "RPL source route", "RFC 6554 section 4.2: never beyond its network"),
    pass(4, "segment routing", "RFC 8754"),
];

/// Options of hop-by-hop and destination options headers (RFC 9288 section 4). What has no row here passes if hosts that do not
/// know it skip it (RFC 8200 section 4.2: the two highest bits are 0), else it is dropped.
pub const IPV6_OPTIONS: [HeaderRow; 25] = [
    pass(0x00, "padding", "RFC 8200 section 4.2"),
    pass(0x01, "padding", "RFC 8200 section 4.2"),
    pass(0x04, "tunnel encapsulation limit", "RFC 2473 section 4.1.1"),
    pass(0x05, "router alert", "RFC 2711"),
    pass(0x07, "CALIPSO", "RFC 5570"),
    pass(0x08, "multicast duplicate detection", "RFC 6621"),
    pass(0x0F, "performance and diagnostics", "RFC 8250"),
    pass(0x11, "in-situ measurement", "RFC 9486"),
    pass(0x12, "alternate marking", "RFC 9343"),
    pass(0x23, "RPL", "RFC 9008"),
    pass(0x26, "quick-start", "RFC 4782"),
    pass(0x30, "minimum path MTU", "RFC 9268"),
    pass(0x31, "in-situ measurement", "RFC 9486"),
    pass(0x32, "alternate marking", "RFC 9343"),
    drop(0x4D, "deprecated", "RFC 9288 section 4"),
    drop(0x63, "RPL, old number", "RFC 9008: obsolete"),
    pass(0x6D, "multicast for lossy networks", "RFC 7731"),
    drop(0x8A, "endpoint identification", "RFC 9288 section 4: deprecated"),
    pass(0x8B, "ILNP nonce", "RFC 6744"),
    drop(0x8C, "line identification", "RFC 6788: never beyond its link"),
    drop(0xC2, "jumbo payload", "RFC 2675: no Ethernet frame is that long"),
    drop(0xC9, "home address", "RFC 6275 section 6.3: hides the source that rules are about"),
    drop(0xCA, "experiment", "RFC 4727: nobody knows what it does"),
    drop(0xEE, "depth-first forwarding", "RFC 6971: never beyond its network"),
    pass(0x1E, "experiment", "RFC 4727: skipped by who does not know it"),
];

/// One answer for each number.
type Answers = [bool; 256];

const IPV4_OPTION_PASSES: Answers = answers(&IPV4_OPTIONS, [false; 256]);
const IPV6_HEADER_PASSES: Answers = answers(&IPV6_HEADERS, [true; 256]);
const ROUTING_TYPE_PASSES: Answers = answers(&ROUTING_TYPES, [true; 256]);
const IPV6_OPTION_PASSES: Answers = answers(&IPV6_OPTIONS, skipped_by_default());

/// Whether packets with this IPv4 option pass.
#[must_use]
pub fn passes_ipv4_option(number: u8) -> bool {
    answer(&IPV4_OPTION_PASSES, number)
}

/// Whether IPv6 packets with this extension header, or this upper layer, pass.
#[must_use]
pub fn passes_ipv6_header(number: u8) -> bool {
    answer(&IPV6_HEADER_PASSES, number)
}

/// Whether packets with a routing header of this type, of which no segments are left, pass.
#[must_use]
pub fn passes_routing_type(number: u8) -> bool {
    answer(&ROUTING_TYPE_PASSES, number)
}

/// Whether packets with this option in a hop-by-hop or destination options header pass.
#[must_use]
pub fn passes_ipv6_option(number: u8) -> bool {
    answer(&IPV6_OPTION_PASSES, number)
}

fn answer(answers: &Answers, number: u8) -> bool {
    answers.get(usize::from(number)).copied().unwrap_or_default()
}

const fn pass(number: u8, name: &'static str, source: &'static str) -> HeaderRow {
    HeaderRow { number, name, passes: true, source }
}

const fn drop(number: u8, name: &'static str, source: &'static str) -> HeaderRow {
    HeaderRow { number, name, passes: false, source }
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn answers(rows: &[HeaderRow], mut answers: Answers) -> Answers {
    let mut row = 0;
    while row < rows.len() {
        answers[rows[row].number as usize] = rows[row].passes;
        row += 1;
    }
    answers
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn skipped_by_default() -> Answers {
    let mut answers = [false; 256];
    let mut number = 0;
    while number < 0x40 {
        answers[number] = true;
        number += 1;
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_has_two_rows() {
        for rows in [&IPV4_OPTIONS[..], &IPV6_HEADERS, &ROUTING_TYPES, &IPV6_OPTIONS] {
            let mut numbers: Vec<_> = rows.iter().map(|row| row.number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), rows.len());
            assert!(rows.iter().all(|row| row.source.starts_with("RFC ")));
        }
    }
}
