//! The languages that documents are written in, and how findings speak of each.

use std::fmt::Write as _;
use std::path::Path;

/// What a document is written in; its file's name says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    Json,
    Toml,
    Yaml,
}

impl Dialect {
    /// The dialect of a file; TOML if its name says nothing.
    pub(crate) fn of(file: &Path) -> Self {
        Self::named(file).unwrap_or(Self::Toml)
    }

    /// The dialect that the file's name says, if it says one.
    pub(crate) fn named(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }

    /// A finding's text in the words of the dialect: findings are written in the words of TOML. What stands in
    /// backticks is the user's and stays.
    pub(crate) fn words(self, text: &str) -> String {
        self.translated(text, str::to_owned)
    }

    /// A help in the words of the dialect, the examples in its backticks included.
    pub(crate) fn help(self, text: &str) -> String {
        self.translated(text, |code| self.example(code))
    }

    fn translated(self, text: &str, code: impl Fn(&str) -> String) -> String {
        let (array, table) = match self {
            Self::Json => ("an array", "an object"),
            Self::Toml => return text.to_owned(),
            Self::Yaml => ("a list", "a mapping"),
        };
        let prose = |part: &str| part.replace("an array", array).replace("a table", table);
        let parts = text.split('`').enumerate();
        let parts: Vec<String> =
            parts.map(|(i, part)| if i % 2 == 0 { prose(part) } else { code(part) }).collect();
        parts.join("`")
    }

    /// `key = value`, as it is written here.
    fn example(self, code: &str) -> String {
        match self {
            Self::Json => {
                let mut out = String::new();
                let mut parts = code.split(" = ").peekable();
                while let Some(part) = parts.next() {
                    if parts.peek().is_none() {
                        out.push_str(part);
                        break;
                    }
                    let start = part.rfind([' ', '{', ',']).map_or(0, |at| at + 1);
                    let (before, key) = part.split_at(start);
                    // Writing into a string cannot fail.
                    let _ = write!(out, "{before}\"{}\": ", key.trim_matches('"'));
                }
                out
            }
            Self::Toml => code.to_owned(),
            Self::Yaml => code.replace(" = ", ": "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_shown_in_the_language_of_the_document() {
        let help = "write `labels = { role = \"db\" }` as a table, or `a == b`";
        assert_eq!(Dialect::Toml.help(help), help);
        let yaml = "write `labels: { role: \"db\" }` as a mapping, or `a == b`";
        assert_eq!(Dialect::Yaml.help(help), yaml);
        let json = "write `\"labels\": { \"role\": \"db\" }` as an object, or `a == b`";
        assert_eq!(Dialect::Json.help(help), json);
    }

    #[test]
    fn words_of_the_user_are_not_translated() {
        assert_eq!(Dialect::Yaml.words("`a table` is a table"), "`a table` is a mapping");
    }
}
