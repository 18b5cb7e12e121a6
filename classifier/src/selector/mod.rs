//! The selector language: a predicate over labels, exactly Calico's.
//!
//! Grammar and meaning are those of Calico's `libcalico-go/lib/selector` (tokenizer, parser, AST), so that a selector
//! that works there works here, selects the same objects and has the same canonical form and unique id.

mod canonical;
mod implies;
mod parse;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;

use crate::label::Labels;

/// How deep `(` may be nested, and how deep `&&` and `||` may alternate. Calico has no such limit; selectors that
/// people and controllers write stay below five.
pub const NESTING_MAX: usize = 64;

/// How many characters a label name may have (Calico `tokenizer.go: MaxLabelLength`).
pub const LABEL_CHARS_MAX: usize = 512;

/// A checked selector.
///
/// `Display` is Calico's canonical form: one spelling for one tree.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Selector {
    expr: Expr,
}

/// The meaning of a selector.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Expr {
    /// `all()`: always true.
    All,
    /// `global()`: always true when evaluated.
    Global,
    /// `has(label)`
    Has(String),
    /// `label == "value"`
    Equal(String, String),
    /// `label != "value"`: also true without the label.
    NotEqual(String, String),
    /// `label contains "value"`
    Contains(String, String),
    /// `label starts with "value"`
    StartsWith(String, String),
    /// `label ends with "value"`
    EndsWith(String, String),
    /// `label in {"a", "b"}`
    In(String, BTreeSet<String>),
    /// `label not in {"a", "b"}`: also true without the label.
    NotIn(String, BTreeSet<String>),
    /// `!expr`
    Not(Box<Expr>),
    /// `(a && b)`: two or more operands.
    And(Vec<Expr>),
    /// `(a || b)`: two or more operands.
    Or(Vec<Expr>),
}

/// Why a text is not a selector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SelectorError {
    /// Where in the text, in bytes, the trouble starts.
    pub offset: usize,
    /// How many bytes are wrong; 0 at the end of the text.
    pub length: usize,
    /// What stands there, in words: "expected an operator after the label `a`".
    pub message: String,
}

impl Selector {
    /// Reads a selector. An empty or blank text means `all()`.
    ///
    /// # Errors
    /// When the text is not in the grammar, or nested deeper than [`NESTING_MAX`]; the first mistake is reported.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::selector(text).map(|expr| Self { expr })
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.expr.matches(labels)
    }

    /// The predicate itself, for whoever walks it. No deeper than three levels per [`NESTING_MAX`], so recursion is fine.
    #[must_use]
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The same selector over other label names: every name gets `prefix` in front, as Calico does with `pcns.` for
    /// namespace selectors. The names are not checked again.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> Self {
        Self { expr: self.expr.with_prefix(prefix) }
    }

    /// The name that Calico gives to the set of addresses this selector stands for: `s:` and a hash of the canonical
    /// form.
    #[must_use]
    pub fn unique_id(&self) -> String {
        canonical::unique_id(&self.to_string())
    }
}

impl Default for Selector {
    /// `all()`
    fn default() -> Self {
        Self { expr: Expr::All }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        canonical::write(&self.expr, f)
    }
}

impl Error for SelectorError {}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Expr {
    fn matches(&self, labels: &Labels) -> bool {
        match self {
            Self::All | Self::Global => true,
            Self::Has(name) => labels.get(name).is_some(),
            Self::Equal(name, value) => labels.get(name) == Some(value),
            Self::NotEqual(name, value) => labels.get(name) != Some(value),
            Self::Contains(name, part) => labels.get(name).is_some_and(|v| v.contains(part)),
            Self::StartsWith(name, part) => labels.get(name).is_some_and(|v| v.starts_with(part)),
            Self::EndsWith(name, part) => labels.get(name).is_some_and(|v| v.ends_with(part)),
            Self::In(name, set) => labels.get(name).is_some_and(|v| set.contains(v)),
            Self::NotIn(name, set) => !labels.get(name).is_some_and(|v| set.contains(v)),
            Self::Not(operand) => !operand.matches(labels),
            Self::And(operands) => operands.iter().all(|operand| operand.matches(labels)),
            Self::Or(operands) => operands.iter().any(|operand| operand.matches(labels)),
        }
    }

    fn with_prefix(&self, prefix: &str) -> Self {
        let name = |name: &String| format!("{prefix}{name}");
        let each = |operands: &[Self]| operands.iter().map(|o| o.with_prefix(prefix)).collect();
        match self {
            Self::All => Self::All,
            Self::Global => Self::Global,
            Self::Has(label) => Self::Has(name(label)),
            Self::Equal(label, value) => Self::Equal(name(label), value.clone()),
            Self::NotEqual(label, value) => Self::NotEqual(name(label), value.clone()),
            Self::Contains(label, value) => Self::Contains(name(label), value.clone()),
            Self::StartsWith(label, value) => Self::StartsWith(name(label), value.clone()),
            Self::EndsWith(label, value) => Self::EndsWith(name(label), value.clone()),
            Self::In(label, set) => Self::In(name(label), set.clone()),
            Self::NotIn(label, set) => Self::NotIn(name(label), set.clone()),
            Self::Not(operand) => Self::Not(Box::new(operand.with_prefix(prefix))),
            Self::And(operands) => Self::And(each(operands)),
            Self::Or(operands) => Self::Or(each(operands)),
        }
    }
}

#[cfg(test)]
mod tests;
