//! A condition on an event. It knows its file, line and key, so that a message about its failure can name them.

use minijinja::{Error, ErrorKind};

use super::{Expr, Scope, Uses};
use crate::config::problem::Problem;

/// See the module.
#[derive(Debug)]
pub(in crate::platforms::declared) struct Condition {
    expr: Expr,
    /// Its file, line and key, without a reason.
    place: Problem,
}

impl Condition {
    pub(super) fn new(expr: Expr, place: Problem) -> Self {
        Self { expr, place }
    }

    pub fn uses(&self) -> &Uses {
        &self.expr.uses
    }

    /// Whether it holds. It does not if it names a value that is not there.
    ///
    /// # Errors
    /// It fails for another reason, so that nobody knows whether it holds.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, Error> {
        match self.expr.operand(scope) {
            Ok(value) => Ok(value.is_true()),
            Err(error) if is_of_absence(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where it stands, and why it fails. The text repeats no value of the event.
    pub fn told(&self, error: &Error) -> String {
        // A number in the text may be a value of the event.
        let detail = error.detail().filter(|detail| !detail.bytes().any(|b| b.is_ascii_digit()));
        let why = detail.map_or_else(|| error.kind().to_string(), str::to_owned);
        let at = error.range().map_or_else(String::new, |range| format!("{}: ", position(range.start)));
        Problem { reason: format!("{at}cannot be judged: {why}"), ..self.place.clone() }.to_string()
    }
}

/// The number of a character in a text.
pub(super) fn position(at: usize) -> String {
    format!("at character {}", at + 1)
}

/// Whether an expression fails because a value that it names is not there. Arithmetic has no error of its own for that.
fn is_of_absence(error: &Error) -> bool {
    error.kind() == ErrorKind::UndefinedError || error.detail().is_some_and(|detail| detail.contains("undefined"))
}
