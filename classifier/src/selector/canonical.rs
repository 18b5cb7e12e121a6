//! The one spelling of a selector, and the id that is made of it (Calico `ast.go`, `lib/hash`).

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha224};

use super::Expr;

/// Writes `expr` as Calico's `String()` does: sets sorted, every `&&` and `||` group in parentheses.
pub(super) fn write(expr: &Expr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match expr {
        Expr::All => f.write_str("all()"),
        Expr::Global => f.write_str("global()"),
        Expr::Has(name) => write!(f, "has({name})"),
        Expr::Equal(name, value) => comparison(f, name, "==", value),
        Expr::NotEqual(name, value) => comparison(f, name, "!=", value),
        Expr::Contains(name, value) => comparison(f, name, "contains", value),
        Expr::StartsWith(name, value) => comparison(f, name, "starts with", value),
        Expr::EndsWith(name, value) => comparison(f, name, "ends with", value),
        Expr::In(name, values) => membership(f, name, "in", values),
        Expr::NotIn(name, values) => membership(f, name, "not in", values),
        Expr::Not(operand) => {
            f.write_str("!")?;
            write(operand, f)
        }
        Expr::And(operands) => group(f, operands, " && "),
        Expr::Or(operands) => group(f, operands, " || "),
    }
}

/// `s:` and the hash of the canonical form, as Calico names IP sets.
pub(super) fn unique_id(canonical: &str) -> String {
    let hash = Sha224::new().chain_update("s:").chain_update(canonical).finalize();
    format!("s:{}", URL_SAFE_NO_PAD.encode(hash))
}

fn comparison(f: &mut fmt::Formatter<'_>, name: &str, word: &str, value: &str) -> fmt::Result {
    write!(f, "{name} {word} ")?;
    quoted(f, value)
}

fn membership(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    word: &str,
    values: &BTreeSet<String>,
) -> fmt::Result {
    write!(f, "{name} {word} {{")?;
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        quoted(f, value)?;
    }
    f.write_str("}")
}

fn group(f: &mut fmt::Formatter<'_>, operands: &[Expr], between: &str) -> fmt::Result {
    f.write_str("(")?;
    for (position, operand) in operands.iter().enumerate() {
        if position > 0 {
            f.write_str(between)?;
        }
        write(operand, f)?;
    }
    f.write_str(")")
}

/// The grammar has no escapes: a value with both quotes cannot be written, so none exists.
fn quoted(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    let quote = if value.contains('"') { '\'' } else { '"' };
    write!(f, "{quote}{value}{quote}")
}
