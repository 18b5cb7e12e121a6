//! Protocols and ports as users write them.

use std::num::IntErrorKind;

use classifier::packet::protocol;
use classifier::resource::PortRange;

use super::node::{Entry, Node, Value};
use super::reader::{Reader, quoted_list, suggestion};
use crate::diagnostic::Diagnostic;

const PROTOCOLS: &[(&str, u8)] = &[
    ("TCP", protocol::TCP),
    ("UDP", protocol::UDP),
    ("ICMP", protocol::ICMP),
    ("ICMPv6", protocol::ICMPV6),
    ("SCTP", protocol::SCTP),
    ("UDPLite", protocol::UDPLITE),
];

/// How messages name a protocol.
pub(crate) fn protocol_name(number: u8) -> String {
    let known = PROTOCOLS.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// A protocol: a name, or a number from 1 to 255, also in quotes.
pub(crate) fn protocol_number(entry: &Entry, reader: &mut Reader) -> Option<u8> {
    let field = &entry.key;
    if let Value::Integer(_) = entry.node.value {
        let number = reader.integer(field, &entry.node, 1..=255)?;
        return u8::try_from(number).ok();
    }
    let text = reader.text(field, &entry.node)?;
    if let Some((_, number)) = PROTOCOLS.iter().find(|(name, _)| *name == text.value) {
        return Some(*number);
    }
    if let Ok(number) = text.value.parse::<u8>()
        && number > 0
    {
        return Some(number);
    }
    let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
    let help = match suggestion(&text.value, &names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("write one of {}, or its number from 1 to 255", quoted_list(&names)),
    };
    let finding = Diagnostic::error("rule.protocol", format!("`{}` is not a protocol", text.value))
        .at(reader.place(&entry.node.span), "expected a protocol")
        .help(help);
    reader.report(finding);
    None
}

/// A port as a rule names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Port {
    /// By the name that endpoints give it.
    Named(String),
    Range(PortRange),
}

/// A port: a number from 1 to 65535, a range `"first:last"`, or a name.
pub(crate) fn port(field: &str, node: &Node, reader: &mut Reader) -> Option<Port> {
    if let Value::Integer(_) = node.value {
        let number = u16::try_from(reader.integer(field, node, 1..=65535)?).ok()?;
        return Some(Port::Range(PortRange { first: number, last: number }));
    }
    let Value::Text(text) = &node.value else {
        let help = "write a port such as 22, or a range such as `\"8000:8100\"`".to_owned();
        reader.mistyped(field, node, "an integer or a string", help);
        return None;
    };
    match parse_port(&text.value) {
        Ok(port) => Some(port),
        Err(error) => {
            let finding = Diagnostic::error("rule.port", error.message(&text.value))
                .at(reader.place(&node.span), error.label())
                .help(error.help(&text.value));
            reader.report(finding);
            None
        }
    }
}

/// Why a text is not a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PortError {
    /// First above last.
    Backwards,
    /// 0, or above 65535.
    OutOfRange,
    /// Anything else.
    Syntax,
}

impl PortError {
    fn message(self, text: &str) -> String {
        match self {
            Self::Backwards => format!("the range `{text}` ends before it begins"),
            Self::OutOfRange => format!("`{text}` is not within 1 to 65535"),
            Self::Syntax => format!("`{text}` is not a port"),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Backwards => "expected the lower port first",
            Self::OutOfRange => "out of range",
            Self::Syntax => "expected a port, a range or the name of a port",
        }
    }

    fn help(self, text: &str) -> String {
        let swapped = text.split_once(':').map(|(first, last)| format!("{last}:{first}"));
        let colon = text.replace('-', ":");
        match self {
            Self::Backwards => format!("did you mean `\"{}\"`?", swapped.unwrap_or_default()),
            Self::OutOfRange => "write ports from 1 to 65535".to_owned(),
            Self::Syntax if parse_port(&colon).is_ok() => {
                format!("a range has a colon: `\"{colon}\"`")
            }
            Self::Syntax if is_port_name(&text.to_lowercase()) => {
                format!("the name of a port has lower-case letters: `{}`", text.to_lowercase())
            }
            Self::Syntax => {
                "write a port such as 22, a range such as `\"8000:8100\"`, or the name of a port"
                    .to_owned()
            }
        }
    }
}

fn parse_port(text: &str) -> Result<Port, PortError> {
    if let Some((first, last)) = text.split_once(':') {
        let range = PortRange { first: parse_number(first)?, last: parse_number(last)? };
        return if range.first <= range.last {
            Ok(Port::Range(range))
        } else {
            Err(PortError::Backwards)
        };
    }
    match parse_number(text) {
        Ok(number) => Ok(Port::Range(PortRange { first: number, last: number })),
        Err(PortError::Syntax) if is_port_name(text) => Ok(Port::Named(text.to_owned())),
        Err(error) => Err(error),
    }
}

fn parse_number(text: &str) -> Result<u16, PortError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PortError::Syntax);
    }
    match text.parse::<u16>() {
        Ok(0) => Err(PortError::OutOfRange),
        Ok(number) => Ok(number),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err(PortError::OutOfRange),
        Err(_) => Err(PortError::Syntax),
    }
}

/// Reports what cannot be the name of a port.
pub(crate) fn check_port_name(name: &str, node: &Node, reader: &mut Reader) {
    if is_port_name(name) {
        return;
    }
    let finding =
        Diagnostic::error("rule.port-name", format!("`{name}` cannot be the name of a port"))
            .at(reader.place(&node.span), "not the name of a port")
            .help("write at most 15 lower-case letters and digits, with a letter among them and at most single `-` between them");
    reader.report(finding);
}

/// Kubernetes' port names: at most 15 lower-case letters, digits and `-`, with a letter among them, no `-` at an
/// end or beside another (`IsValidPortName`).
pub(crate) fn is_port_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= 15
        && text.bytes().all(inner)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_ranges_and_names() {
        let range = |first, last| Ok(Port::Range(PortRange { first, last }));
        let cases = [
            ("22", range(22, 22)),
            ("8000:8100", range(8000, 8100)),
            ("1:65535", range(1, 65535)),
            ("8100:8000", Err(PortError::Backwards)),
            ("0", Err(PortError::OutOfRange)),
            ("0:100", Err(PortError::OutOfRange)),
            ("65536", Err(PortError::OutOfRange)),
            ("ssh", Ok(Port::Named("ssh".to_owned()))),
            ("a--b", Err(PortError::Syntax)),
            ("-a", Err(PortError::Syntax)),
            ("HTTP", Err(PortError::Syntax)),
            ("name-of-16-chars", Err(PortError::Syntax)),
            ("8000-8100", Err(PortError::Syntax)),
            ("22:", Err(PortError::Syntax)),
            ("", Err(PortError::Syntax)),
            ("+22", Err(PortError::Syntax)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_port(text), expected, "{text}");
        }
        assert!(PortError::Syntax.help("8000-8100").contains("8000:8100"));
    }
}
