//! A value while an expression is evaluated directly. Texts stay where they stand, and nothing is counted.

use std::borrow::Cow;
use std::fmt::Write;

use minijinja::Value;

/// A value.
#[derive(Clone)]
pub(super) enum Operand<'s> {
    Text(Cow<'s, str>),
    Int(i64),
    Other(Value),
}

impl Operand<'_> {
    pub const UNDEFINED: Operand<'static> = Operand::Other(Value::UNDEFINED);

    pub fn flag(flag: bool) -> Self {
        Self::Other(Value::from(flag))
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Other(value) if value.is_undefined())
    }

    /// Whether it is undefined or none.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Other(value) if value.is_undefined() || value.is_none())
    }

    pub fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Int(number) => *number != 0,
            Self::Other(value) => value.is_true(),
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Int(_) => None,
            Self::Other(value) => value.as_str(),
        }
    }

    pub fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (a, b) => a.into_value() == b.into_value(),
        }
    }

    /// As minijinja has it.
    pub fn into_value(self) -> Value {
        match self {
            Self::Text(Cow::Borrowed(text)) => Value::from(text),
            Self::Text(Cow::Owned(text)) => Value::from(text),
            Self::Int(number) => Value::from(number),
            Self::Other(value) => value,
        }
    }
}

impl From<Value> for Operand<'_> {
    fn from(value: Value) -> Self {
        Self::Other(value)
    }
}

impl From<String> for Operand<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'s> From<&'s str> for Operand<'s> {
    fn from(text: &'s str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// Appends a whole number.
pub(super) fn number(number: i64, out: &mut String) {
    // Writing into a text cannot fail.
    let _ = write!(out, "{number}");
}
