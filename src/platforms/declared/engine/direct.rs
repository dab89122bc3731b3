//! The commonest expressions, evaluated without minijinja's machine, at a tenth of its cost: paths, texts and whole
//! numbers, filters, `~`, comparisons, `in`, `is defined`, the ends of texts, `not`, `and`, `or`, and `if`.
//!
//! It has no errors of its own. Where a value is undefined or anything else is out of the ordinary, it gives nothing,
//! and the machine evaluates the same expression and says what is wrong with it.

mod parse;
mod tokens;

use minijinja::Value;

use super::{Scope, Variable};
use crate::platforms::declared::operand::{Operand, number};
use crate::platforms::declared::write::Decimal;

pub(super) use parse::Direct;

/// The longest text that `replace` makes here.
const LONGEST: usize = 1 << 20;

impl Direct {
    /// Reads an expression; `None`: it holds what only the machine knows.
    pub fn read(text: &str, known: &[Variable]) -> Option<Self> {
        parse::read(text, known)
    }

    /// Its value; `None`: the machine has to say.
    pub fn operand<'s>(&'s self, scope: &'s Scope<'_>) -> Option<Operand<'s>> {
        match self {
            Self::Path(variable, path) => scope.operand(*variable, path),
            Self::Text(text) => Some((&**text).into()),
            Self::Int(number) => Some(Operand::Int(*number)),
            Self::None => Some(Operand::Other(Value::from(()))),
            Self::Flag(flag) => Some(Operand::flag(*flag)),
            Self::Filter(of, filter) => filter.apply(of.there(scope)?),
            Self::FilterBy(of, by, filter) => filter.apply(of.there(scope)?, by.there(scope)?),
            Self::Replace(parts) => {
                let [of, from, to] = &**parts;
                let (of, from, to) = (of.there(scope)?, from.there(scope)?, to.there(scope)?);
                let (of, from, to) = (of.as_str()?, from.as_str()?, to.as_str()?);
                // What would become long is for the machine, which has a bound.
                (of.len().saturating_mul(to.len()) <= LONGEST).then(|| of.replace(from, to).into())
            }
            Self::Default(of, by) => {
                let by = by.there(scope)?;
                Some(of.operand(scope)?).map(|value| if value.is_undefined() { by } else { value })
            }
            Self::Concat(parts) => Self::concat(parts, scope),
            Self::Compare(left, right, equal) => {
                let is_equal = left.there(scope)?.equals(right.there(scope)?);
                Some(Operand::flag(is_equal == *equal))
            }
            Self::In(of, values) => {
                let value = of.there(scope)?;
                let found = values.iter().filter_map(|one| one.operand(scope)).any(|one| one.equals(value.clone()));
                Some(Operand::flag(found))
            }
            Self::Order(left, right, order) => match (left.there(scope)?, right.there(scope)?) {
                (Operand::Int(left), Operand::Int(right)) => Some(Operand::flag(order.holds(left, right))),
                _ => None,
            },
            Self::Within(of, whole) => {
                let (of, whole) = (of.there(scope)?, whole.there(scope)?);
                Some(Operand::flag(whole.as_str()?.contains(of.as_str()?)))
            }
            Self::Edge(of, with, starts) => {
                let (of, with) = (of.there(scope)?, with.there(scope)?);
                let (of, with) = (of.as_str()?, with.as_str()?);
                Some(Operand::flag(if *starts { of.starts_with(with) } else { of.ends_with(with) }))
            }
            Self::Not(of) => Some(Operand::flag(!of.there(scope)?.is_true())),
            Self::Defined(of, defined) => Some(Operand::flag(of.operand(scope)?.is_undefined() != *defined)),
            Self::All(parts) => Self::first(parts, scope, false),
            Self::Any(parts) => Self::first(parts, scope, true),
            Self::If { then, when, otherwise } => match (when.there(scope)?.is_true(), otherwise) {
                (true, _) => then.operand(scope),
                (false, Some(otherwise)) => otherwise.operand(scope),
                (false, None) => Some(Operand::UNDEFINED),
            },
        }
    }

    fn concat<'s>(parts: &'s [Self], scope: &'s Scope<'_>) -> Option<Operand<'s>> {
        let mut text = String::with_capacity(256);
        for part in parts {
            match part.there(scope)? {
                Operand::Text(part) => text.push_str(&part),
                Operand::Int(whole) => number(whole, &mut text),
                Operand::Other(value) => match value.as_str() {
                    Some(part) => text.push_str(part),
                    None if value.is_integer() || value.downcast_object_ref::<Decimal>().is_some() => {
                        text.push_str(&value.to_string());
                    }
                    None => return None,
                },
            }
        }
        Some(text.into())
    }

    /// Whether it is an `if` that gives nothing here, which is no error.
    pub fn is_left_out(&self, scope: &Scope<'_>) -> bool {
        let Self::If { then, when, otherwise } = self else { return false };
        match (when.there(scope).map(|holds| holds.is_true()), otherwise) {
            (None, _) => false,
            (Some(true), _) => then.is_left_out(scope),
            (Some(false), Some(otherwise)) => otherwise.is_left_out(scope),
            (Some(false), None) => true,
        }
    }

    /// Its value, if it has one.
    fn there<'s>(&'s self, scope: &'s Scope<'_>) -> Option<Operand<'s>> {
        self.operand(scope).filter(|value| !value.is_absent())
    }

    /// The first of these values that is as true as this, or the last one.
    fn first<'s>(parts: &'s [Self], scope: &'s Scope<'_>, ends: bool) -> Option<Operand<'s>> {
        let (last, before) = parts.split_last()?;
        for part in before {
            let value = part.there(scope)?;
            if value.is_true() == ends {
                return Some(value);
            }
        }
        last.there(scope)
    }
}

#[cfg(test)]
mod tests;
