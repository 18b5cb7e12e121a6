//! Which of many selectors match an object, without asking each of them.
//!
//! Most selectors can only match an object that has a certain label, or a label with one of a few values. They are asked
//! only of objects that do; the rest is asked of every object.

use std::sync::Arc;

use hashbrown::HashMap;

use super::position;
use crate::label::Labels;
use crate::selector::{Expr, Selector};

/// Selectors by what an object must have for them to match.
#[derive(Debug, Default)]
pub(super) struct SelectorIndex {
    selectors: Vec<Arc<Selector>>,
    /// By label and value.
    by_value: HashMap<String, HashMap<String, Vec<u32>>>,
    by_label: HashMap<String, Vec<u32>>,
    always: Vec<u32>,
}

impl SelectorIndex {
    /// Adds a selector; they are numbered as they come.
    pub(super) fn add(&mut self, selector: &Arc<Selector>) {
        let number = position(self.selectors.len());
        self.selectors.push(Arc::clone(selector));
        match needs(selector.expr()) {
            Need::Nothing => self.always.push(number),
            Need::Label(label) => self.by_label.entry(label.to_owned()).or_default().push(number),
            Need::OneOf(label, values) => {
                let of_label = self.by_value.entry(label.to_owned()).or_default();
                for value in values {
                    of_label.entry(value.to_owned()).or_default().push(number);
                }
            }
        }
    }

    /// Numbers of the selectors that match, ascending.
    pub(super) fn matching(&self, labels: &Labels) -> Vec<u32> {
        let mut matching = Vec::new();
        let mut ask = |numbers: &[u32]| {
            let matches = |number: &&u32| {
                self.selectors.get(**number as usize).is_some_and(|s| s.matches(labels))
            };
            matching.extend(numbers.iter().filter(matches));
        };
        ask(&self.always);
        for (label, value) in labels {
            if let Some(numbers) = self.by_value.get(label).and_then(|values| values.get(value)) {
                ask(numbers);
            }
            if let Some(numbers) = self.by_label.get(label) {
                ask(numbers);
            }
        }
        matching.sort_unstable();
        matching
    }
}

/// What an object must have for an expression to be true of it.
enum Need<'a> {
    Nothing,
    Label(&'a str),
    OneOf(&'a str, Vec<&'a str>),
}

fn needs(expr: &Expr) -> Need<'_> {
    match expr {
        Expr::Equal(label, value) => Need::OneOf(label, vec![value]),
        Expr::In(label, values) => Need::OneOf(label, values.iter().map(String::as_str).collect()),
        Expr::Has(label)
        | Expr::Contains(label, _)
        | Expr::StartsWith(label, _)
        | Expr::EndsWith(label, _) => Need::Label(label),
        Expr::And(operands) => {
            operands.iter().map(needs).min_by_key(breadth).unwrap_or(Need::Nothing)
        }
        Expr::All
        | Expr::Global
        | Expr::NotEqual(..)
        | Expr::NotIn(..)
        | Expr::Not(_)
        | Expr::Or(_) => Need::Nothing,
    }
}

/// Fewer is asked less often.
fn breadth(need: &Need<'_>) -> usize {
    match need {
        Need::OneOf(_, values) => values.len(),
        Need::Label(_) => usize::MAX - 1,
        Need::Nothing => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_finds_what_asking_each_selector_finds() {
        let texts = [
            "all()",
            "a == 'x'",
            "a != 'x'",
            "a in {'x', 'y'}",
            "a in {}",
            "has(b)",
            "a == 'x' && has(b)",
            "has(b) && b not in {'z'}",
            "a == 'x' || b == 'z'",
            "b starts with 'z' && a in {'y'}",
            "!has(b)",
        ];
        let selectors = texts.map(|text| Arc::new(Selector::parse(text).unwrap()));
        let mut index = SelectorIndex::default();
        for selector in &selectors {
            index.add(selector);
        }
        for a in [None, Some("x"), Some("y"), Some("q")] {
            for b in [None, Some("z"), Some("zz")] {
                let labels: Labels = [("a", a), ("b", b)]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value?)))
                    .collect();
                let expected: Vec<u32> = (0..)
                    .zip(&selectors)
                    .filter(|(_, selector)| selector.matches(&labels))
                    .map(|(number, _)| number)
                    .collect();
                assert_eq!(index.matching(&labels), expected, "{labels:?}");
            }
        }
    }
}
