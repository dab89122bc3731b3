//! The words of a filter, and what is said about a wrong one.

use std::fmt;

use crate::error::Reason;
use crate::inspect::dead_letters::state::State;
use crate::similar::nearest;

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The name of the faulty part.
    pub field: String,
    /// Safe text.
    pub message: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for FilterError {}

pub(super) fn reason(text: &str) -> Result<Reason, String> {
    Reason::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        let close = nearest(text, names.iter().copied());
        let hint = close.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        format!("no such reason{hint}; one of: {}", names.join(", "))
    })
}

pub(super) fn state(text: &str) -> Result<State, String> {
    let found = State::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| "no such state; one of: open, replayed, discarded".to_owned())
}
