//! Reads a selector by recursive descent; the depth of the recursion is the depth of the parentheses, and that is
//! bounded by [`NESTING_MAX`].

use std::collections::BTreeSet;

use super::{Expr, LABEL_CHARS_MAX, NESTING_MAX, SelectorError};

/// Reads a whole text.
pub(super) fn selector(text: &str) -> Result<Expr, SelectorError> {
    let mut parser = Parser { text, at: 0, open: Vec::new() };
    parser.skip_blanks();
    if parser.rest().is_empty() {
        return Ok(Expr::All);
    }
    let node = parser.expression()?;
    if parser.rest().is_empty() { Ok(node.expr) } else { Err(parser.unexpected_after_operand()) }
}

struct Parser<'a> {
    text: &'a str,
    /// Position of the next byte to read; always on a character boundary.
    at: usize,
    /// Positions of the `(` that are not closed yet.
    open: Vec<usize>,
}

/// An expression and how many `&&` and `||` groups lie within each other in it: what its canonical form will nest.
struct Node {
    expr: Expr,
    groups: usize,
}

impl From<Expr> for Node {
    fn from(expr: Expr) -> Self {
        Self { expr, groups: 0 }
    }
}

#[derive(Clone, Copy)]
enum Operator {
    Contains,
    EndsWith,
    Equal,
    In,
    NotEqual,
    NotIn,
    StartsWith,
}

/// The operators as they are written: the second word may follow with or without blanks.
const OPERATORS: [(&str, &str, Operator); 7] = [
    ("==", "", Operator::Equal),
    ("!=", "", Operator::NotEqual),
    ("contains", "", Operator::Contains),
    ("starts", "with", Operator::StartsWith),
    ("ends", "with", Operator::EndsWith),
    ("not", "in", Operator::NotIn),
    ("in", "", Operator::In),
];

const OPERATOR_NAMES: &str = "`==`, `!=`, `in`, `not in`, `contains`, `starts with` or `ends with`";

const OPERAND_NAMES: &str = "a label, `has(label)`, `all()`, `!` or `(`";

type Parsed<T> = Result<T, SelectorError>;

impl<'a> Parser<'a> {
    fn expression(&mut self) -> Parsed<Node> {
        self.chain("||", Self::conjunction, Expr::Or)
    }

    fn conjunction(&mut self) -> Parsed<Node> {
        self.chain("&&", Self::operation, Expr::And)
    }

    /// Operands with `symbol` between them; a single one stands for itself. Skips the blanks behind it.
    fn chain(
        &mut self,
        symbol: &str,
        operand: fn(&mut Self) -> Parsed<Node>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Parsed<Node> {
        let start = self.at;
        let first = operand(self)?;
        self.skip_blanks();
        if !self.rest().starts_with(symbol) {
            return Ok(first);
        }
        let mut groups = first.groups;
        let mut operands = vec![first.expr];
        while self.eat(symbol) {
            self.skip_blanks();
            let next = operand(self)?;
            groups = groups.max(next.groups);
            operands.push(next.expr);
            self.skip_blanks();
        }
        if groups == NESTING_MAX {
            return Err(error(start, self.at - start, too_deep()));
        }
        Ok(Node { expr: join(operands), groups: groups + 1 })
    }

    /// One operand with the `!` before it; each pair of them cancels.
    fn operation(&mut self) -> Parsed<Node> {
        let mut negated = false;
        while self.rest().starts_with('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            self.skip_blanks();
            negated = !negated;
        }
        let Node { expr, groups } = self.primary()?;
        let expr = if negated { Expr::Not(Box::new(expr)) } else { expr };
        Ok(Node { expr, groups })
    }

    fn primary(&mut self) -> Parsed<Node> {
        let start = self.at;
        if self.eat("(") {
            return self.parenthesised(start);
        }
        if self.eat("has(") {
            self.skip_blanks();
            let name = self.label()?;
            self.close_call("has(")?;
            return Ok(Expr::Has(name.to_owned()).into());
        }
        if self.eat("all(") {
            self.close_call("all(")?;
            return Ok(Expr::All.into());
        }
        if self.eat("global(") {
            self.close_call("global(")?;
            return Ok(Expr::Global.into());
        }
        if self.next().is_some_and(is_label_char) {
            return self.comparison().map(Node::from);
        }
        Err(self.unexpected_operand())
    }

    /// What follows a `(` that stands at `start`.
    fn parenthesised(&mut self, start: usize) -> Parsed<Node> {
        if self.open.len() == NESTING_MAX {
            return Err(error(start, 1, too_deep()));
        }
        self.open.push(start);
        self.skip_blanks();
        let node = self.expression()?;
        if !self.eat(")") {
            return Err(self.unexpected_after_operand());
        }
        self.open.pop();
        Ok(node)
    }

    fn close_call(&mut self, call: &str) -> Parsed<()> {
        self.skip_blanks();
        if self.eat(")") {
            return Ok(());
        }
        Err(self.unexpected(&format!("expected `)` to close `{call}`")))
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let start = self.at;
        let name = self.label()?;
        self.skip_blanks();
        let (operator, spelling) = self.operator(start, name)?;
        self.skip_blanks();
        let name = name.to_owned();
        Ok(match operator {
            Operator::Contains => Expr::Contains(name, self.value(spelling)?),
            Operator::EndsWith => Expr::EndsWith(name, self.value(spelling)?),
            Operator::Equal => Expr::Equal(name, self.value(spelling)?),
            Operator::In => Expr::In(name, self.values(spelling)?),
            Operator::NotEqual => Expr::NotEqual(name, self.value(spelling)?),
            Operator::NotIn => Expr::NotIn(name, self.values(spelling)?),
            Operator::StartsWith => Expr::StartsWith(name, self.value(spelling)?),
        })
    }

    fn label(&mut self) -> Parsed<&'a str> {
        let (start, rest) = (self.at, self.rest());
        let length = rest.bytes().position(|byte| !is_label_char(byte)).unwrap_or(rest.len());
        let Some(name) = rest.get(..length).filter(|name| !name.is_empty()) else {
            return Err(self.unexpected("expected a label"));
        };
        if length > LABEL_CHARS_MAX {
            let message =
                format!("this label has {length} characters, expected at most {LABEL_CHARS_MAX}");
            return Err(error(start, length, message));
        }
        self.at += length;
        Ok(name)
    }

    /// The operator behind the label `name` that starts at `start`, and its spelling.
    fn operator(&mut self, start: usize, name: &str) -> Parsed<(Operator, &'a str)> {
        let rest = self.rest();
        for (first, second, operator) in OPERATORS {
            let Some(tail) = rest.strip_prefix(first) else { continue };
            let Some(tail) = tail.trim_start_matches(BLANKS).strip_prefix(second) else { continue };
            let is_word = first.starts_with(|c: char| c.is_ascii_alphabetic());
            if is_word && tail.bytes().next().is_some_and(is_label_char) {
                continue;
            }
            let length = rest.len() - tail.len();
            self.at += length;
            return Ok((operator, rest.get(..length).unwrap_or(first).trim_end_matches(BLANKS)));
        }
        Err(self.no_operator(start, name))
    }

    /// The quoted value behind the operator `spelling`.
    fn value(&mut self, spelling: &str) -> Parsed<String> {
        self.quoted(&format!("expected a quoted value after `{spelling}`, as in `'value'`"))
    }

    /// The set of quoted values behind the operator `spelling`.
    fn values(&mut self, spelling: &str) -> Parsed<BTreeSet<String>> {
        if !self.eat("{") {
            let message = format!("expected a set after `{spelling}`, as in `{{'a', 'b'}}`");
            return Err(self.unexpected(&message));
        }
        let mut values = BTreeSet::new();
        loop {
            self.skip_blanks();
            if self.eat("}") {
                return Ok(values);
            }
            values.insert(self.quoted("expected a quoted value or `}`")?);
            self.skip_blanks();
            if !self.eat(",") && !self.rest().starts_with('}') {
                return Err(self.unexpected("expected `,` or `}` after a value of a set"));
            }
        }
    }

    /// A value in single or double quotes; `expected` is the complaint when there is none.
    fn quoted(&mut self, expected: &str) -> Parsed<String> {
        let rest = self.rest();
        let Some(quote) = rest.chars().next().filter(|&c| c == '\'' || c == '"') else {
            return Err(self.unexpected(expected));
        };
        let Some((value, _)) = rest.get(1..).and_then(|inner| inner.split_once(quote)) else {
            let message = format!("expected a closing `{quote}`, this value never ends");
            return Err(error(self.at, rest.len(), message));
        };
        self.at += value.len() + 2;
        Ok(value.to_owned())
    }
}

/// The small steps.
impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&self) -> Option<u8> {
        self.rest().bytes().next()
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(BLANKS).len();
    }
}

/// The complaints.
impl Parser<'_> {
    /// What was expected here, and what stands here instead.
    fn unexpected(&self, expected: &str) -> SelectorError {
        let found = first_word(self.rest());
        let message = match found.chars().next() {
            None => format!("{expected}, but the selector ends here"),
            Some('\n' | '\r') => "a selector is one line: expected no line break here".to_owned(),
            Some(_) => format!("{expected}, found `{}`", shortened(found)),
        };
        error(self.at, found.len(), message)
    }

    fn unexpected_operand(&self) -> SelectorError {
        let rest = self.rest();
        if rest.starts_with(['\'', '"']) {
            let message = "expected a label before this value, as in `label == 'value'`";
            return error(self.at, first_word(rest).len(), message.to_owned());
        }
        self.unexpected(&format!("expected {OPERAND_NAMES}"))
    }

    fn unexpected_after_operand(&self) -> SelectorError {
        let rest = self.rest();
        if rest.starts_with('&') {
            return error(self.at, 1, "expected `&&`, found a single `&`".to_owned());
        }
        if rest.starts_with('|') {
            return error(self.at, 1, "expected `||`, found a single `|`".to_owned());
        }
        match self.open.last() {
            Some(start) => self.unexpected(&format!(
                "expected `&&`, `||` or a `)` for the `(` at character {}",
                self.text.get(..*start).unwrap_or_default().chars().count() + 1
            )),
            None if rest.starts_with(')') => {
                error(self.at, 1, "this `)` closes nothing, expected `(` before it".to_owned())
            }
            None => self.unexpected("expected `&&`, `||` or the end of the selector"),
        }
    }

    fn no_operator(&self, start: usize, name: &str) -> SelectorError {
        let rest = self.rest();
        if rest.starts_with('(') && matches!(name, "has" | "all" | "global") {
            let message = format!("expected `{name}(` without a blank before the `(`");
            return error(start, self.at + 1 - start, message);
        }
        if rest.starts_with('=') {
            return error(self.at, 1, "expected `==`, found a single `=`".to_owned());
        }
        let name = shortened(name);
        self.unexpected(&format!("expected an operator after the label `{name}`: {OPERATOR_NAMES}"))
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

fn is_label_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-')
}

/// What a caret should underline: a run of label characters, a quoted value, a doubled symbol, or one character.
fn first_word(rest: &str) -> &str {
    let run = rest.bytes().position(|byte| !is_label_char(byte)).unwrap_or(rest.len());
    let first = rest.chars().next();
    let length = match first {
        Some(quote @ ('\'' | '"')) => {
            rest.get(1..).and_then(|inner| inner.find(quote)).map_or(rest.len(), |at| at + 2)
        }
        _ if run > 0 => run,
        Some('&') if rest.starts_with("&&") => 2,
        Some('|') if rest.starts_with("||") => 2,
        Some('=') if rest.starts_with("==") => 2,
        Some('!') if rest.starts_with("!=") => 2,
        Some(other) => other.len_utf8(),
        None => 0,
    };
    rest.get(..length).unwrap_or_default()
}

/// As much of a user's word as fits into a message of one line.
fn shortened(word: &str) -> String {
    match word.char_indices().nth(40) {
        Some((cut, _)) => format!("{}…", word.get(..cut).unwrap_or_default()),
        None => word.to_owned(),
    }
}

fn too_deep() -> String {
    format!("this is nested too deep, expected at most {NESTING_MAX} levels")
}

fn error(offset: usize, length: usize, message: String) -> SelectorError {
    SelectorError { offset, length, message }
}
