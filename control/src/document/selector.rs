//! Selectors in documents: the caret stands at the character that is wrong.

use classifier::selector::Selector;

use super::node::{Node, Text};
use super::reader::Reader;
use crate::diagnostic::Diagnostic;

/// Calico's own limit on the length of a selector; longer is taken, but would not load there.
const CALICO_SELECTOR_LEN_MAX: usize = 1024;

/// Reads a selector; what is wrong with it is reported.
pub(crate) fn read(field: &str, node: &Node, reader: &mut Reader) -> Option<Selector> {
    let text = reader.text(field, node)?;
    if text.value.chars().count() > CALICO_SELECTOR_LEN_MAX {
        let finding = Diagnostic::warning("size.calico", format!("`{field}` is very long"))
            .at(reader.place(&node.span), "longer than Calico takes")
            .help(format!(
                "Calico refuses more than {CALICO_SELECTOR_LEN_MAX} characters; shorten it to use it there"
            ));
        reader.report(finding);
    }
    let selector = match Selector::parse(&text.value) {
        Ok(selector) => selector,
        Err(error) => {
            let part = error.offset..error.offset + error.length;
            // Escapes in the string move its letters: then the whole string is marked.
            let (span, label) = match text.span_of(part) {
                Some(span) => (span, "here".to_owned()),
                None => {
                    (node.span.clone(), format!("after {} characters", shown(text, error.offset)))
                }
            };
            let message = format!("`{field}` cannot be read: {}", error.message);
            let finding = Diagnostic::error("selector.syntax", message)
                .at(reader.place(&span), label)
                .help("a selector looks like `role == 'db' && has(zone)` or `zone in {'noc', 'office'}`");
            reader.report(finding);
            return None;
        }
    };
    // Calico looks for these letters anywhere in the text, also within quotes.
    if let Some(offset) = text.value.find("global(") {
        let span = text.span_of(offset..offset + "global()".len());
        let finding =
            Diagnostic::error("selector.global", format!("`{field}` cannot use `global()`"))
                .at(reader.place(&span.unwrap_or_else(|| node.span.clone())), "not allowed here")
                .help("`global()` belongs to `namespaceSelector` alone; write `all()` or a label");
        reader.report(finding);
    }
    Some(selector)
}

/// How many characters of the value stand before the byte `offset`.
fn shown(text: &Text, offset: usize) -> usize {
    text.value.get(..offset).map_or(0, |before| before.chars().count())
}
