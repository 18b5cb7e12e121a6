//! Selectors in documents: the caret stands at the character that is wrong.

use classifier::selector::Selector;

use super::node::{Node, Text, Value};
use super::reader::Reader;
use crate::diagnostic::Diagnostic;

/// Calico's own limit on the length of a selector; longer is taken, but would not load there.
const CALICO_SELECTOR_LEN_MAX: usize = 1024;

/// Where `global()` may stand in a selector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Global {
    /// As the whole selector.
    Alone,
    Refused,
    /// Anywhere: it means the same as `all()`.
    Taken,
}

/// Reads the text of a selector that is good by itself; what is wrong with it is reported. A blank one is empty.
pub(super) fn text<'a>(
    field: &str,
    node: &'a Node,
    global: Global,
    reader: &mut Reader,
) -> Option<&'a str> {
    reader.text(field, node)?;
    let Value::Text(text) = &node.value else { return None };
    if text.value.chars().count() > CALICO_SELECTOR_LEN_MAX {
        let finding = Diagnostic::warning("size.calico", format!("`{field}` is very long"))
            .at(reader.place(&node.span), "longer than Calico takes")
            .help(format!(
                "Calico refuses more than {CALICO_SELECTOR_LEN_MAX} characters; shorten it to use it there"
            ));
        reader.report(finding);
    }
    if let Err(error) = Selector::parse(&text.value) {
        let part = error.offset..error.offset + error.length;
        // Escapes in the string move its letters: then the whole string is marked.
        let (span, label) = match text.span_of(part) {
            Some(span) => (span, "here".to_owned()),
            None => (node.span.clone(), format!("after {} characters", shown(text, error.offset))),
        };
        let message = format!("`{field}` cannot be read: {}", error.message);
        let finding =
            Diagnostic::error("selector.syntax", message).at(reader.place(&span), label).help(
                "a selector looks like `role == 'db' && has(zone)` or `zone in {'noc', 'office'}`",
            );
        reader.report(finding);
        return None;
    }
    check_global(field, node, text, global, reader);
    Some(if text.value.trim().is_empty() { "" } else { &text.value })
}

/// Calico looks for these letters anywhere in the text, also within quotes.
fn check_global(field: &str, node: &Node, text: &Text, global: Global, reader: &mut Reader) {
    let Some(offset) = text.value.find("global(") else { return };
    let help = match global {
        Global::Taken => return,
        Global::Alone if text.value.trim() == "global()" => return,
        Global::Alone => "write `global()` alone, and what else is meant in `selector`",
        Global::Refused => {
            "`global()` belongs to `namespaceSelector` of a rule; write `all()` or a label"
        }
    };
    let span = text.span_of(offset..offset + "global()".len());
    let message = match global {
        Global::Alone => format!("`{field}` cannot use `global()` with anything else"),
        Global::Refused | Global::Taken => format!("`{field}` cannot use `global()`"),
    };
    let finding = Diagnostic::error("selector.global", message)
        .at(reader.place(&span.unwrap_or_else(|| node.span.clone())), "not allowed here")
        .help(help);
    reader.report(finding);
}

/// How many characters of the value stand before the byte `offset`.
fn shown(text: &Text, offset: usize) -> usize {
    text.value.get(..offset).map_or(0, |before| before.chars().count())
}
