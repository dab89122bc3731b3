//! Evaluates an expression over what a request tells. The sandbox never sees the event, so that much is unknown:
//! `None`.

use std::cmp::Ordering;

use serde_json::Value;

use super::expression::{Expr, Op};
use super::filters;
use super::value::Val;

/// What is known while a request is checked.
#[derive(Clone, Debug)]
pub(super) struct Known<'a> {
    /// The account's keys.
    account: &'a Value,
    /// Expressions whose value the request shows, e.g. `event.trans_id`.
    shown: Vec<(Expr, Val)>,
    /// Dotted names of the event, and whether the request has what is made of them.
    present: Vec<(String, bool)>,
}

impl<'a> Known<'a> {
    pub(super) fn new(account: &'a Value) -> Self {
        Self { account, shown: Vec::new(), present: Vec::new() }
    }

    /// Notes the value of an expression. The first one stays.
    pub(super) fn show(&mut self, expr: Expr, value: Val) {
        if !self.shown.iter().any(|(known, _)| *known == expr) {
            self.shown.push((expr, value));
        }
    }

    pub(super) fn show_name(&mut self, name: &str, value: Val) {
        self.show(Expr::Name(name.to_owned()), value);
    }

    /// Notes whether a name of the event stands in the request. Standing once is enough.
    pub(super) fn note(&mut self, name: &str, present: bool) {
        match self.present.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known |= present,
            None => self.present.push((name.to_owned(), present)),
        }
    }

    /// Whether the request has what is made of this name or of a member of it; `None`: it would not show.
    pub(super) fn has(&self, name: &str) -> Option<bool> {
        let below = |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let mut found = self.present.iter().filter(|(known, _)| below(known)).map(|(_, present)| *present).peekable();
        found.peek()?;
        Some(found.any(|present| present))
    }

    /// The value that the request shows for a name.
    pub(super) fn value_of(&self, name: &str) -> Option<&Val> {
        self.shown.iter().find(|(known, _)| matches!(known, Expr::Name(n) if n == name)).map(|(_, value)| value)
    }

    /// The first name of the event below `prefix` whose value the request shows.
    pub(super) fn first_below(&self, prefix: &str) -> Option<&Val> {
        self.shown.iter().find(|(known, _)| matches!(known, Expr::Name(n) if n.starts_with(prefix))).map(|(_, v)| v)
    }

    /// The value of an expression; `None`: the request does not tell.
    pub(super) fn value(&self, expr: &Expr) -> Option<Val> {
        if let Some((_, value)) = self.shown.iter().find(|(known, _)| known == expr) {
            return Some(value.clone());
        }
        match expr {
            Expr::Value(value) => Some(Val::Json(value.clone())),
            Expr::List(all) => self.values(all).map(Val::Json),
            Expr::Map(all) => {
                let member = |(name, e): &(String, Expr)| match self.value(e)? {
                    Val::Json(value) => Some((name.clone(), value)),
                    Val::Undefined | Val::Bytes(_) => None,
                };
                all.iter().map(member).collect::<Option<_>>().map(|members| Val::Json(Value::Object(members)))
            }
            Expr::Name(name) => self.name(name),
            Expr::At(of, index) => at(&self.value(of)?, &self.value(index)?),
            Expr::Slice(of, from, until) => Some(Val::text(slice(&self.value(of)?.printed()?, *from, *until))),
            Expr::Filter(name, of, rest) => {
                let rest = rest.iter().map(|e| self.value(e)).collect::<Option<Vec<_>>>()?;
                filters::apply(name, &self.value(of)?, &rest)
            }
            Expr::Test(name, of, rest) => self.test(name, of, rest).map(Val::flag),
            Expr::Not(of) => Some(Val::flag(!self.value(of)?.is_true())),
            Expr::Two(op, left, right) => self.two(*op, left, right),
            Expr::If(value, when, other) => {
                if self.value(when)?.is_true() {
                    self.value(value)
                } else {
                    other.as_ref().map_or(Some(Val::Undefined), |other| self.value(other))
                }
            }
        }
    }

    fn values(&self, all: &[Expr]) -> Option<Value> {
        all.iter().map(|e| self.value(e)?.json().cloned()).collect::<Option<Vec<_>>>().map(Value::Array)
    }

    fn name(&self, name: &str) -> Option<Val> {
        if let Some(path) = name.strip_prefix("account.") {
            return Some(below(self.account, path));
        }
        // A name whose beginning is shown as a whole, e.g. a member of the answer's body.
        let (start, rest) = name.split_once('.')?;
        let whole = self.value_of(start)?;
        Some(below(whole.json()?, rest))
    }

    fn test(&self, name: &str, of: &Expr, rest: &[Expr]) -> Option<bool> {
        if let (Expr::Name(path), "defined" | "undefined" | "none") = (of, name)
            && let Some(present) = path.strip_prefix("event.").and_then(|path| self.has(path))
        {
            return Some(present == (name == "defined"));
        }
        let value = self.value(of)?;
        let argument = || self.value(rest.first()?)?.printed();
        Some(match name {
            "defined" => value != Val::Undefined,
            "undefined" => value == Val::Undefined,
            "none" => value == Val::Json(Value::Null),
            "startingwith" => value.printed()?.starts_with(&argument()?),
            "endingwith" => value.printed()?.ends_with(&argument()?),
            _ => return None,
        })
    }

    fn two(&self, op: Op, left: &Expr, right: &Expr) -> Option<Val> {
        if matches!(op, Op::Or | Op::And) {
            // One side can decide what the other does not know.
            let decides = |value: &Val| value.is_true() == (op == Op::Or);
            let (left, right) = (self.value(left), || self.value(right));
            return match left {
                Some(value) if decides(&value) => Some(value),
                Some(_) => right(),
                None => right().filter(decides),
            };
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        let compared = |fits: fn(Ordering) -> bool| order(&left, &right).map(|order| Val::flag(fits(order)));
        match op {
            Op::Equal => Some(Val::flag(equal(&left, &right))),
            Op::Unequal => Some(Val::flag(!equal(&left, &right))),
            Op::Less => compared(Ordering::is_lt),
            Op::AtMost => compared(Ordering::is_le),
            Op::More => compared(Ordering::is_gt),
            Op::AtLeast => compared(Ordering::is_ge),
            Op::In => match right.json()? {
                Value::String(text) => Some(Val::flag(text.contains(&left.printed()?))),
                Value::Array(list) => {
                    Some(Val::flag(list.iter().any(|member| equal(&left, &Val::Json(member.clone())))))
                }
                Value::Object(members) => Some(Val::flag(members.contains_key(&left.printed()?))),
                _ => None,
            },
            Op::Join => Some(Val::text(left.printed()? + &right.printed()?)),
            Op::Plus | Op::Minus | Op::Times => {
                let (a, b) = (left.json()?.as_i64()?, right.json()?.as_i64()?);
                let number = match op {
                    Op::Plus => a.checked_add(b),
                    Op::Minus => a.checked_sub(b),
                    _ => a.checked_mul(b),
                };
                number.map(|number| Val::Json(number.into()))
            }
            Op::Or | Op::And => None,
        }
    }
}

/// A member by its dotted path.
pub(super) fn below(value: &Value, path: &str) -> Val {
    let found = path.split('.').try_fold(value, |value, name| match value {
        Value::Array(list) => name.parse().ok().and_then(|n: usize| list.get(n)),
        other => other.get(name),
    });
    found.map_or(Val::Undefined, |value| Val::Json(value.clone()))
}

fn at(of: &Val, index: &Val) -> Option<Val> {
    let (of, index) = (of.json()?, index.json()?);
    Some(match index {
        Value::String(name) => below(of, name),
        other => {
            let found = usize::try_from(other.as_i64()?).ok().and_then(|n| of.as_array()?.get(n).cloned());
            found.map_or(Val::Undefined, Val::Json)
        }
    })
}

fn slice(text: &str, from: Option<i64>, until: Option<i64>) -> String {
    let chars: Vec<char> = text.chars().collect();
    let bound = |n: i64| {
        let far = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
        if n < 0 { chars.len().saturating_sub(far) } else { far.min(chars.len()) }
    };
    let (from, until) = (from.map_or(0, bound), until.map_or(chars.len(), bound));
    chars.get(from..until).unwrap_or_default().iter().collect()
}

/// Numbers are equal by their value, everything else only to its like.
fn equal(left: &Val, right: &Val) -> bool {
    match (left.json().and_then(Value::as_f64), right.json().and_then(Value::as_f64)) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => left == right,
    }
}

fn order(left: &Val, right: &Val) -> Option<Ordering> {
    let (left, right) = (left.json()?, right.json()?);
    match (left, right) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
