//! Names, labels and annotations: what Kubernetes calls metadata.

use classifier::label::Labels;

use super::node::{Entry, Node, Text, Value};
use super::reader::{Fields, Reader};
use crate::diagnostic::{Diagnostic, Place};

/// Longest name of a resource (DNS-1123 subdomain).
const NAME_LEN_MAX: usize = 253;
/// Longest part of a name between dots, and longest value of a label (DNS-1123 label, Kubernetes).
const PART_LEN_MAX: usize = 63;

/// How a kind's names are built.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NameRule {
    /// Parts with dots between them.
    Subdomain,
    /// At most one dot: `tier.name` or `name`.
    GlobalPolicy,
    /// As `GlobalPolicy`, or a name that Calico makes of another system's policy.
    Policy,
    /// One part.
    Label,
}

impl NameRule {
    fn takes(self, name: &str) -> bool {
        // Kubernetes' and OpenStack's policies under the names that older releases of Calico give them.
        let foreign = ["knp.default.", "ossg.default."];
        let is_foreign = foreign.iter().any(|prefix| name.starts_with(prefix));
        let parts_max = match self {
            Self::Policy if is_foreign => usize::MAX,
            Self::GlobalPolicy | Self::Policy => 2,
            Self::Label => 1,
            Self::Subdomain => usize::MAX,
        };
        let len_max = match self {
            Self::Label => PART_LEN_MAX,
            Self::GlobalPolicy | Self::Policy | Self::Subdomain => NAME_LEN_MAX,
        };
        name.len() <= len_max
            && name.split('.').count() <= parts_max
            && name.split('.').all(is_part)
    }

    fn words(self) -> &'static str {
        match self {
            Self::Label => "at most 63 lower-case letters, digits and `-`, without dots",
            Self::GlobalPolicy | Self::Policy => {
                "lower-case letters, digits and `-`, with at most one dot"
            }
            Self::Subdomain => "lower-case letters, digits, `-` and dots",
        }
    }
}

/// The required `name` of a resource, with its place.
pub(crate) fn name(
    fields: &Fields<'_>,
    rule: NameRule,
    reader: &mut Reader,
) -> Option<(String, Place)> {
    let entry = fields.required("name", "name = \"...\"", reader)?;
    let text = reader.text("name", &entry.node)?;
    let place = reader.place(&entry.node.span);
    check_name("name", text, &entry.node, rule, reader);
    Some((text.value.clone(), place))
}

/// The namespace of a resource; the one named `default` unless another is written, as Kubernetes' tools have it.
pub(crate) fn namespace(fields: &Fields<'_>, reader: &mut Reader) -> String {
    let written = fields.entry("namespace").and_then(|entry| {
        let text = reader.text("namespace", &entry.node)?;
        if text.value.is_empty() {
            return None;
        }
        check_name("namespace", text, &entry.node, NameRule::Label, reader);
        Some(text.value.clone())
    });
    written.unwrap_or_else(|| "default".to_owned())
}

/// Reports a name that breaks its rule.
pub(crate) fn check_name(
    field: &str,
    text: &Text,
    node: &Node,
    rule: NameRule,
    reader: &mut Reader,
) {
    let name = &text.value;
    if rule.takes(name) {
        return;
    }
    let lower = name.to_lowercase().replace(['_', ' '], "-");
    let lower_good = lower != *name && rule.takes(&lower);
    let help = if lower_good {
        format!("did you mean `{lower}`?")
    } else {
        format!("use {}; begin and end with a letter or digit", rule.words())
    };
    let message = if name.is_empty() {
        format!("the {field} is empty")
    } else {
        format!("`{name}` cannot be a {field}")
    };
    let finding = Diagnostic::error("name.invalid", message)
        .at(reader.place(&node.span), format!("expected {}", rule.words()))
        .help(help);
    reader.report(finding);
}

/// Letters, digits and `-`, none at an end. Kubernetes limits the whole name and not its parts.
fn is_part(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

/// The `labels` of a resource.
pub(crate) fn labels(fields: &Fields<'_>, reader: &mut Reader) -> Labels {
    labels_of("labels", fields, reader)
}

/// Labels in a field.
pub(crate) fn labels_of(field: &'static str, fields: &Fields<'_>, reader: &mut Reader) -> Labels {
    let mut labels = Labels::new();
    let Some(entry) = fields.entry(field) else { return labels };
    let Value::Table(table) = &entry.node.value else {
        let help = format!("write `{field} = {{ role = \"production-server\" }}`");
        reader.mistyped(field, &entry.node, "a table", help);
        return labels;
    };
    for label in &table.entries {
        if !is_qualified_name(&label.key) {
            report_bad_key("a label", label, reader);
        } else if label.key == "projectcalico.org/namespace" {
            let finding =
                Diagnostic::error("label.reserved", format!("`{}` is reserved", label.key))
                    .at(reader.place(&label.key_span), "set by Calico on namespaced resources only")
                    .help("use a label of your own");
            reader.report(finding);
        }
        if let Some(value) = word(label, reader) {
            check_label_value(value, &label.node, reader);
            labels.insert(label.key.clone(), value.value.clone());
        }
    }
    labels
}

fn check_label_value(value: &Text, node: &Node, reader: &mut Reader) {
    if is_label_value(&value.value) {
        return;
    }
    let message = format!("`{}` cannot be the value of a label", value.value);
    let finding = Diagnostic::error("label.value", message)
        .at(reader.place(&node.span), "not a label value")
        .help(
            "use at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit",
        );
    reader.report(finding);
}

/// Kubernetes' qualified name: an optional DNS subdomain and `/`, then a word.
pub(crate) fn is_qualified_name(name: &str) -> bool {
    let (domain, word) = match name.split_once('/') {
        Some((domain, word)) => (Some(domain), word),
        None => (None, name),
    };
    let good_domain =
        domain.is_none_or(|domain| domain.len() <= NAME_LEN_MAX && domain.split('.').all(is_part));
    good_domain && is_label_word(word)
}

/// Whether a label can have this value.
pub(crate) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_label_word(value)
}

fn is_label_word(word: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    word.len() <= PART_LEN_MAX
        && word.bytes().all(inner)
        && edge(word.bytes().next())
        && edge(word.bytes().last())
}

/// The string of a label or annotation. A name with dots and without quotes makes tables in TOML.
fn word<'a>(entry: &'a Entry, reader: &mut Reader) -> Option<&'a Text> {
    let Value::Table(inner) = &entry.node.value else {
        return reader.text(&entry.key, &entry.node);
    };
    let rest = inner.entries.first().map_or("...", |inner| inner.key.as_str());
    let help = format!("a name with dots stands in quotes: `\"{}.{rest}\" = ...`", entry.key);
    reader.mistyped(&entry.key, &entry.node, "a string", help);
    None
}

fn report_bad_key(what: &str, entry: &Entry, reader: &mut Reader) {
    let message = format!("`{}` cannot be the name of {what}", entry.key);
    let finding = Diagnostic::error("label.name", message)
        .at(reader.place(&entry.key_span), format!("not the name of {what}"))
        .help(
            "use at most 63 letters, digits, `-`, `_` and `.`, and if you like a domain and a `/` before \
             them",
        );
    reader.report(finding);
}

/// Checks that `annotations` is a table of strings; they decide nothing.
pub(crate) fn annotations(fields: &Fields<'_>, reader: &mut Reader) {
    let Some(entry) = fields.entry("annotations") else { return };
    let Value::Table(table) = &entry.node.value else {
        let help = "write `annotations = { owner = \"...\" }`".to_owned();
        reader.mistyped("annotations", &entry.node, "a table", help);
        return;
    };
    for annotation in &table.entries {
        if !is_qualified_name(&annotation.key) {
            report_bad_key("an annotation", annotation, reader);
        }
        word(annotation, reader);
    }
}
