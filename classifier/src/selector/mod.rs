//! The selector language: a predicate over labels, exactly Calico's.

use std::collections::BTreeSet;

use crate::label::Labels;

/// A checked selector.
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
    /// When the text is not in the grammar.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let _ = text;
        Ok(Self { expr: Expr::All })
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let _ = (labels, &self.expr);
        false
    }

    /// The predicate itself, for whoever walks it.
    #[must_use]
    pub fn expr(&self) -> &Expr {
        &self.expr
    }
}
