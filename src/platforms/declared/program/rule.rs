//! The rules of an event, compiled.

use crate::platforms::declared::engine::Expr;

/// Field, and when it must be there; `None`: always.
pub(in crate::platforms::declared) type Requirement = (&'static str, Option<Expr>);

/// A rule of `[check]`.
#[derive(Debug)]
pub(in crate::platforms::declared) struct CheckRule {
    pub field: &'static str,
    pub when: Expr,
    pub says: Box<str>,
}
