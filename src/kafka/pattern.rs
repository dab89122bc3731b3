//! Patterns of `kafka.input`. One engine reads them, for the code that checks a pattern and for the code that uses it.

use std::fmt;

use regex::Regex;

/// A pattern of `kafka.input` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(String);

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPattern {}

/// Compiles a pattern of `kafka.input`.
///
/// # Errors
/// Returns what is wrong with the pattern, on one line.
pub fn pattern(text: &str) -> Result<Regex, BadPattern> {
    Regex::new(text).map_err(|error| {
        let why = error.to_string();
        // The last line says what is wrong. The lines before it show the place.
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        BadPattern(format!("{text}: {why}"))
    })
}
