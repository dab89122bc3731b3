//! The rules of an event, compiled.

use crate::platforms::declared::engine::Condition;

/// Field, and when it must be there; `None`: always.
pub(in crate::platforms::declared) type Requirement = (&'static str, Option<Condition>);

/// A rule of `[check]`.
#[derive(Debug)]
pub(in crate::platforms::declared) struct CheckRule {
    pub field: &'static str,
    pub when: Condition,
    pub says: Box<str>,
}
