//! What can go wrong in the laboratory, in the words a person needs.

use std::fmt;

/// Something that the laboratory tried and that did not work.
#[derive(Debug)]
pub struct Failure {
    doing: String,
    because: String,
}

impl Failure {
    /// `doing` is what was tried, `because` what came of it.
    #[must_use]
    pub fn new(doing: impl Into<String>, because: impl fmt::Display) -> Self {
        Self { doing: doing.into(), because: because.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, because } = self;
        write!(f, "{doing}: {because}")
    }
}

impl std::error::Error for Failure {}

/// Puts what was tried before an error.
pub trait During<T> {
    /// The value, or the failure of `doing`.
    ///
    /// # Errors
    /// The error of `self`, with `doing` before it.
    fn during(self, doing: &str) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> During<T> for Result<T, E> {
    fn during(self, doing: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(doing, error))
    }
}
