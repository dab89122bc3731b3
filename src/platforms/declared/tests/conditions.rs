//! Rules of an event that fail while the event is judged.

use serde_json::{Value, json};

use super::account::{sender, sent};

const RULES: &str = r#"
name = "rules"
title = "Rules"
base_url = "https://r.example.com"
[events]
pay = "pay"
[require]
"params.code" = "event.params.kind | length > 3"
[check]
"params.name" = { when = "event.params.name | length > 5", says = "longer than 5" }
"params.age" = { when = "event.params.limit and event.params.age + 1 > event.params.limit", says = "too old" }
"order.amount" = { when = "event.order.amount | fen > 100", says = "more than a yuan" }
[[request]]
when = "event.params.way | length == 3"
url = "/a"
[[request]]
url = "/b"
[answer]
delivered = "status == 200"
"#;

fn of(params: Value) -> Result<String, (String, String)> {
    let order = params["order"].clone();
    sent(&*sender(RULES, ""), json!({"params": params, "order": order})).map(|request| request.path.into_owned())
}

#[test]
fn a_rule_that_fails_refuses_the_event_and_says_where_it_stands_and_why() {
    let length = "cannot be judged: cannot calculate length of value of type";
    let rows = [
        (json!({"kind": 3}), "params.code", "p.toml:8: require.params.code: at character ", format!("{length} number")),
        (
            json!({"name": 7}),
            "params.name",
            "p.toml:10: check.params.name.when: at character ",
            format!("{length} number"),
        ),
        (json!({"way": true}), "params.way", "p.toml:14: request.0.when: at character ", format!("{length} bool")),
        (
            json!({"age": "x", "limit": 5}),
            "params.age",
            "p.toml:11: check.params.age.when: at character ",
            "cannot be judged: tried to use + operator on unsupported types string and number".to_owned(),
        ),
    ];
    for (params, field, begins, ends) in rows {
        let (at, told) = of(params.clone()).unwrap_err();
        assert_eq!(at, field, "{params}");
        assert!(told.starts_with(begins) && told.ends_with(&ends), "{params}: {told}");
    }
}

#[test]
fn a_filter_that_refuses_a_value_refuses_it_in_a_rule_as_well() {
    let order = |currency: &str| json!({"order": {"amount": {"minor": 5, "currency": currency}}});
    assert_eq!(of(order("CNY")).as_deref(), Ok("/b"));
    assert_eq!(of(order("USD")), Err(("order.amount.currency".into(), "only CNY is taken".into())));
}

#[test]
fn a_rule_of_what_is_not_there_does_not_hold() {
    for params in [json!({}), json!({"limit": 5}), json!({"name": null, "kind": ""})] {
        assert_eq!(of(params.clone()).as_deref(), Ok("/b"), "{params}");
    }
    assert_eq!(of(json!({"way": "abc"})).as_deref(), Ok("/a"));
    assert_eq!(of(json!({"name": "abcdef"})), Err(("params.name".into(), "longer than 5".into())));
    assert_eq!(of(json!({"age": 5, "limit": 5})), Err(("params.age".into(), "too old".into())));
    assert_eq!(of(json!({"kind": "long"})), Err(("params.code".into(), "missing or empty".into())));
}

#[test]
fn a_macro_that_nobody_filled_in_is_told_before_another_rule_and_control_characters_after_it() {
    let platform = RULES.replace("url = \"/b\"", "url = \"/b\"\nquery = { x = \"{{ event.click.x | default('') }}\" }");
    let field = |x: &str, name: &str| {
        let over = json!({"click": {"x": x}, "params": {"name": name}});
        sent(&*sender(&platform, ""), over).map(drop).map_err(|(field, _)| field)
    };
    assert_eq!(field("x", "short"), Ok(()));
    assert_eq!(field("__X__", "short"), Err("click.x".into()));
    assert_eq!(field("__X__", "longer than five"), Err("click.x".into()));
    assert_eq!(field("a\nb", "longer than five"), Err("params.name".into()));
    assert_eq!(field("a\nb", "short"), Err("click.x".into()));
}
