//! The commonest expressions, evaluated without minijinja's machine, at a tenth of its cost: paths, texts and whole numbers,
//! the filters of this folder, `~`, `==`, `!=`, `in [...]`, `is defined`, `and`, `or`, and `if`.
//!
//! It has no errors of its own. Where a value is undefined or anything else is out of the ordinary, it gives nothing, and
//! the machine evaluates the same expression and says what is wrong with it.

mod parse;

use std::fmt::Write;

use minijinja::Value;

use super::{Scope, Variable};
use crate::platforms::declared::write::Decimal;

pub(super) use parse::Direct;

impl Direct {
    /// Reads an expression; `None`: it holds what only the machine knows.
    pub fn read(text: &str, known: &[Variable]) -> Option<Self> {
        parse::read(text, known)
    }

    /// Its value; `None`: the machine has to say.
    pub fn value(&self, scope: &Scope) -> Option<Value> {
        match self {
            Self::Path(variable, steps) => scope.at(*variable, steps).ok(),
            Self::Literal(value) => Some(value.clone()),
            Self::Filter(of, filter) => filter(&of.there(scope)?).ok(),
            Self::FilterBy(of, by, filter) => filter(&of.there(scope)?, &by.there(scope)?).ok(),
            Self::Concat(parts) => {
                let mut text = String::new();
                for part in parts {
                    let value = part.there(scope)?;
                    match value.as_str() {
                        Some(part) => text.push_str(part),
                        None if value.is_integer() || value.downcast_object_ref::<Decimal>().is_some() => {
                            write!(text, "{value}").ok()?;
                        }
                        None => return None,
                    }
                }
                Some(Value::from(text))
            }
            Self::Compare(left, right, equal) => {
                Some(Value::from((left.there(scope)? == right.there(scope)?) == *equal))
            }
            Self::In(of, values) => {
                let value = of.there(scope)?;
                Some(Value::from(values.contains(&value)))
            }
            Self::Defined(of, defined) => Some(Value::from(of.value(scope)?.is_undefined() != *defined)),
            Self::All(parts) => Self::first(parts, scope, false),
            Self::Any(parts) => Self::first(parts, scope, true),
            Self::If { then, when, otherwise } => match (when.there(scope)?.is_true(), otherwise) {
                (true, _) => then.value(scope),
                (false, Some(otherwise)) => otherwise.value(scope),
                (false, None) => Some(Value::UNDEFINED),
            },
        }
    }

    /// Whether it is an `if` that gives nothing here, which is no error.
    pub fn is_left_out(&self, scope: &Scope) -> bool {
        let Self::If { then, when, otherwise } = self else { return false };
        match (when.there(scope).map(|holds| holds.is_true()), otherwise) {
            (None, _) => false,
            (Some(true), _) => then.is_left_out(scope),
            (Some(false), Some(otherwise)) => otherwise.is_left_out(scope),
            (Some(false), None) => true,
        }
    }

    /// Its value, if it has one.
    fn there(&self, scope: &Scope) -> Option<Value> {
        self.value(scope).filter(|value| !value.is_undefined() && !value.is_none())
    }

    /// The first of these values that is as true as this, or the last one.
    fn first(parts: &[Self], scope: &Scope, ends: bool) -> Option<Value> {
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
mod tests {
    use minijinja::Value;
    use proptest::prelude::*;

    use super::*;
    use crate::platforms::declared::engine::{CONDITIONS, strict};
    use crate::platforms::declared::json::JsonObject;
    use crate::platforms::declared::write;

    const KNOWN: [Variable; 4] = [Variable::Event, Variable::Account, Variable::Native, Variable::NowMs];

    fn scope() -> Scope {
        let event = r#"{"trans_id":"t-1","n":7,"f":1.5,"yes":true,"empty":"","order":{"amount":{"minor":2345,"currency":"CNY"}},
                        "user":{"phone":"+86 135"},"list":[1,2],"params":{"a":"Ab C"}}"#;
        Scope::new()
            .with(Variable::Event, Value::from_dyn_object(JsonObject::event(event.into())))
            .with(Variable::Account, Value::from_pairs([("secret", "S")]))
            .with(Variable::Native, 3)
            .with(Variable::NowMs, 1_736_899_201_999_i64)
    }

    fn written(value: &Value) -> String {
        let mut text = String::new();
        if value.is_undefined() || write::json(value, false, &mut text).is_err() {
            return format!("{:?}", value.kind());
        }
        text
    }

    /// What the direct way gives, where it gives anything, is what the machine gives.
    fn agrees(text: &str) -> bool {
        let Some(direct) = Direct::read(text, &KNOWN) else { return false };
        let scope = scope();
        let Some(value) = direct.value(&scope) else { return false };
        for env in [strict(), &*CONDITIONS] {
            let by_machine = env.compile_expression_owned(text.to_owned()).unwrap().eval(scope.clone().value());
            let by_machine = by_machine.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(written(&value), written(&by_machine), "{text}");
            assert_eq!((value.kind(), value.is_true()), (by_machine.kind(), by_machine.is_true()), "{text}");
        }
        true
    }

    #[test]
    fn the_expressions_of_the_shipped_files_are_direct_and_mean_the_same() {
        for text in [
            "event.trans_id",
            "now_ms | seconds",
            "event.order.amount | fen",
            "event.order.amount | yuan",
            "(event.trans_id ~ now_ms ~ '.') | md5",
            "(account.secret ~ event.trans_id) | md5 | upper",
            "event.trans_id | hmac_sha256(account.secret) | unhex | base64",
            "event.trans_id ~ event.n | string == 't-17'",
            "native == 3 and event.n == 7",
            "native in [3, 12] or event.trans_id in ['x']",
            "native != 3",
            "event.user.email if event.user.email is defined",
            "event.user.phone | digits | sha256 if event.user.phone is defined else 'x'",
            "event.user.email if event.user.email is defined else (event.user.phone | lower)",
            "event.click.x is not defined and event.order.amount is defined",
            "'a' ~ 1",
            "event.order.amount | decimal ~ ''",
            "event.f == 1.5",
            "event.yes and event.n",
            "event.empty or 'x'",
            "\"it's\" ~ event.trans_id",
            "(event.params | json) | md5",
        ] {
            let is_direct = agrees(text);
            let machine_only = text.contains("string") || text.contains("1.5");
            assert_eq!(is_direct, !machine_only, "{text}");
        }
    }

    #[test]
    fn what_is_undefined_or_out_of_the_ordinary_is_left_to_the_machine() {
        for text in [
            "event.nobody.x",
            "event.nobody ~ 'x'",
            "event.nobody == 1",
            "event.nobody and true",
            "event.yes ~ 'x'",
            "event.trans_id | fen",
            "event.trans_id | nothing",
            "event['trans_id']",
            "event.n + 1",
            "event.n > 1",
            "not event.n",
            "event.n == 7 == true",
            "'a\\nb'",
            "event.list.0",
            "event.n is integer",
            "-1",
            "event.trans_id |",
            "event.trans_id event.n",
            "(event.n",
            "x",
            "",
        ] {
            let direct = Direct::read(text, &KNOWN);
            assert!(direct.is_none_or(|direct| direct.value(&scope()).is_none()), "{text}");
        }
    }

    proptest! {
        /// Whatever is made of these words in any order: the direct way never says anything else than the machine.
        #[test]
        fn it_never_differs_from_the_machine(words in prop::collection::vec(prop::sample::select(vec![
            "event.trans_id", "event.n", "event.nobody", "native", "now_ms", "account.secret", "'x'", "7", "(", ")", "|", "md5",
            "upper", "seconds", "~", "==", "!=", "in", "[3, 'x']", "is", "not", "defined", "and", "or", "if", "else", "event.f",
            "event.yes", "event.list", "event.order.amount", "fen", ".", ",", "[", "]",
        ]), 1..9)) {
            let text = words.join(" ");
            if Direct::read(&text, &KNOWN).is_some_and(|direct| direct.value(&scope()).is_some()) {
                prop_assert!(strict().compile_expression_owned(text.clone()).is_ok(), "{}", text);
                agrees(&text);
            }
        }
    }
}
