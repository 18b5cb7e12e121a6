//! Whether one selector can only match what another matches, seen from their form.

use super::Expr;
use crate::label::Labels;

impl Expr {
    /// Whether whatever this matches the other matches too. `false` where the form of the two does not show it.
    #[must_use]
    pub(crate) fn implies(&self, other: &Self) -> bool {
        if self == other || matches!(other, Self::All | Self::Global) {
            return true;
        }
        match (self, other) {
            (_, Self::And(operands)) => operands.iter().all(|operand| self.implies(operand)),
            (Self::Or(operands), _) => operands.iter().all(|operand| operand.implies(other)),
            (Self::And(mine), Self::Or(theirs)) => {
                mine.iter().any(|operand| operand.implies(other))
                    || theirs.iter().any(|operand| self.implies(operand))
            }
            (_, Self::Or(operands)) => operands.iter().any(|operand| self.implies(operand)),
            (Self::And(operands), _) => operands.iter().any(|operand| operand.implies(other)),
            (Self::Not(mine), Self::Not(theirs)) => theirs.implies(mine),
            _ => self.term_implies(other),
        }
    }

    /// The same of two terms about one label each.
    fn term_implies(&self, other: &Self) -> bool {
        let with = |name: &str, value: &str| -> Labels { [(name, value)].into_iter().collect() };
        match (self, other) {
            // What is about this label alone is decided by its value.
            (Self::Equal(name, value), _) if other.is_about(name) => {
                other.matches(&with(name, value))
            }
            (Self::In(name, set), _) if other.is_about(name) => {
                set.iter().all(|value| other.matches(&with(name, value)))
            }
            (
                Self::Contains(name, _) | Self::StartsWith(name, _) | Self::EndsWith(name, _),
                Self::Has(label),
            ) => name == label,
            (Self::NotEqual(name, value), Self::NotIn(label, set)) => {
                name == label && set.iter().all(|unwanted| unwanted == value)
            }
            (Self::NotIn(name, set), Self::NotEqual(label, value)) => {
                name == label && set.contains(value)
            }
            (Self::NotIn(name, set), Self::NotIn(label, other)) => {
                name == label && other.is_subset(set)
            }
            // Without the label, and only that is known.
            (Self::Not(operand), Self::NotEqual(label, _) | Self::NotIn(label, _)) => {
                matches!(&**operand, Self::Has(name) if name == label)
            }
            _ => false,
        }
    }

    /// Whether this asks about the label and nothing else.
    fn is_about(&self, label: &str) -> bool {
        match self {
            Self::All | Self::Global => true,
            Self::Has(name)
            | Self::Equal(name, _)
            | Self::NotEqual(name, _)
            | Self::Contains(name, _)
            | Self::StartsWith(name, _)
            | Self::EndsWith(name, _)
            | Self::In(name, _)
            | Self::NotIn(name, _) => name == label,
            Self::Not(operand) => operand.is_about(label),
            Self::And(operands) | Self::Or(operands) => {
                operands.iter().all(|operand| operand.is_about(label))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::label::Labels;
    use crate::selector::Selector;

    /// Every selector over two labels of two values, and some of the deeper ones.
    const TEXTS: [&str; 26] = [
        "all()",
        "has(a)",
        "!has(a)",
        "a == 'x'",
        "a == 'xy'",
        "a != 'x'",
        "!(a == 'x')",
        "a in {'x', 'y'}",
        "a in {'x', 'xy'}",
        "a not in {'x', 'y'}",
        "a not in {'x'}",
        "a contains 'x'",
        "a starts with 'x'",
        "a ends with 'y'",
        "b == 'x'",
        "has(b)",
        "a == 'x' && b == 'x'",
        "a == 'x' || b == 'x'",
        "a == 'x' && has(b)",
        "has(a) || has(b)",
        "!(a == 'x' && b == 'x')",
        "!(a == 'x' || b == 'x')",
        "a in {'x', 'y'} && b != 'x'",
        "a != 'x' && has(a)",
        "(a == 'x' || a == 'y') && has(b)",
        "!has(a) && !has(b)",
    ];

    fn every_label() -> Vec<Labels> {
        let values = [None, Some("x"), Some("y"), Some("xy"), Some("z")];
        let pairs = values.into_iter().flat_map(|a| values.map(|b| (a, b)));
        pairs
            .map(|(a, b)| {
                [("a", a), ("b", b)].into_iter().filter_map(|(n, v)| Some((n, v?))).collect()
            })
            .collect()
    }

    #[test]
    fn what_is_said_to_follow_follows_for_all_labels() {
        let mut said = 0;
        for one in TEXTS.map(|text| Selector::parse(text).unwrap()) {
            for other in TEXTS.map(|text| Selector::parse(text).unwrap()) {
                if one.expr().implies(other.expr()) {
                    said += 1;
                    let counter = every_label()
                        .into_iter()
                        .find(|labels| one.matches(labels) && !other.matches(labels));
                    assert!(counter.is_none(), "{one} and not {other}: {counter:?}");
                }
            }
        }
        assert!(said > 100, "{said}");
    }

    #[test]
    fn what_follows_plainly_is_seen() {
        for (one, other) in [
            ("a == 'x'", "has(a)"),
            ("a == 'x'", "a in {'x', 'y'}"),
            ("a == 'x' && b == 'y'", "b == 'y'"),
            ("a == 'x'", "a == 'x' || b == 'y'"),
            ("a == 'x'", "a != 'y'"),
            ("a == 'xy'", "a starts with 'x'"),
            ("a in {'x', 'y'}", "a in {'x', 'y', 'z'}"),
            ("a not in {'x', 'y'}", "a != 'x'"),
            ("!has(a)", "a != 'x'"),
            ("!has(a)", "!(a == 'x')"),
        ] {
            let [one, other] = [one, other].map(|text| Selector::parse(text).unwrap());
            assert!(one.expr().implies(other.expr()), "{one}, {other}");
            assert!(!other.expr().implies(one.expr()), "{other}, {one}");
        }
    }
}
