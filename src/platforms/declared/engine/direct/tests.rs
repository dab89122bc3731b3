use std::sync::Arc;

use minijinja::Value;
use proptest::prelude::*;

use super::*;
use crate::platforms::declared::engine::{AccountKeys, CONDITIONS, Content, strict};
use crate::platforms::declared::json::JsonObject;
use crate::platforms::declared::write;

const KNOWN: [Variable; 4] = [Variable::Event, Variable::Account, Variable::Native, Variable::NowMs];

fn event() -> Arc<JsonObject> {
    let event = r#"{"trans_id":"t-1","n":7,"f":1.5,"yes":true,"empty":"","order":{"amount":{"minor":2345,"currency":"CNY"}},
                    "user":{"phone":"+86 135"},"list":[1,2],"params":{"a":"Ab C"}}"#;
    JsonObject::event(event.into())
}

fn account() -> AccountKeys {
    AccountKeys::new(serde_json::json!({"secret": "S"}).as_object().unwrap())
}

fn scope<'a>(event: &'a Arc<JsonObject>, account: &'a AccountKeys) -> Scope<'a> {
    Scope::new()
        .with(Variable::Event, Content::Event(event))
        .with(Variable::Account, Content::Account(account))
        .with(Variable::Native, Content::Int(3))
        .with(Variable::NowMs, Content::Int(1_736_899_201_999))
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
    let (event, account) = (event(), account());
    let scope = scope(&event, &account);
    let Some(value) = direct.operand(&scope).map(Operand::into_value) else { return false };
    for env in [strict(), &*CONDITIONS] {
        let by_machine = env.compile_expression_owned(text.to_owned()).unwrap().eval(scope.machine());
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
        "event.order.amount is defined and event.order.amount.minor < 0",
        "event.n <= 7 and event.n >= 7 and not event.n > 7",
        "'t-' in event.trans_id and 'x' not in event.trans_id",
        "'135' in event.user.phone | digits or not event.yes",
        "not (event.trans_id is startingwith('#')) and event.trans_id is not endingwith('#')",
        "event.trans_id | length > 3",
        "'汉字é' | length",
        "event.trans_id | replace('t-', '') | upper",
        "event.nobody | default(event.trans_id) | md5",
        "event.trans_id | default('x')",
        "none if event.n == 7 else native",
        "true and not false",
        "('https://x/?a=b%20c' | url_query('a')) ~ '!'",
        "'x' | url_query('a')",
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
        "event.f > 1",
        "event.trans_id < 'x'",
        "not event.nobody",
        "event.nobody in 'x'",
        "event.n in event.trans_id",
        "'x' in event.list",
        "event.n is startingwith('7')",
        "event.trans_id is startingwith '7'",
        "event.nobody | default('x', true)",
        "event.nobody | default(event.nobody)",
        "event.list | length",
        "event.n | replace('7', '8')",
        "event.trans_id | replace('t')",
        "none == none",
        "1 < 2 < 3",
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
        let (event, account) = (event(), account());
        let direct = Direct::read(text, &KNOWN);
        assert!(direct.is_none_or(|direct| direct.operand(&scope(&event, &account)).is_none()), "{text}");
    }
}

proptest! {
    /// Whatever is made of these words in any order: the direct way never says anything else than the machine.
    #[test]
    fn it_never_differs_from_the_machine(words in prop::collection::vec(prop::sample::select(vec![
        "event.trans_id", "event.n", "event.nobody", "native", "now_ms", "account.secret", "'x'", "7", "(", ")", "|", "md5",
        "upper", "seconds", "~", "==", "!=", "in", "[3, 'x']", "is", "not", "defined", "and", "or", "if", "else", "event.f",
        "event.yes", "event.list", "event.order.amount", "fen", ".", ",", "[", "]", "<", ">=", "none", "true", "length",
        "replace", "default", "startingwith", "event.empty", "url_query", "'t'",
    ]), 1..9)) {
        let text = words.join(" ");
        let (event, account) = (event(), account());
        if Direct::read(&text, &KNOWN).is_some_and(|direct| direct.operand(&scope(&event, &account)).is_some()) {
            prop_assert!(strict().compile_expression_owned(text.clone()).is_ok(), "{}", text);
            agrees(&text);
        }
    }
}
