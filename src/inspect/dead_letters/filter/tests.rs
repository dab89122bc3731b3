use super::moment::moment_at;
use super::words::reason;
use super::*;
use crate::inspect::dead_letters::tests::letter;

#[test]
fn a_moment_is_written_in_three_ways() {
    assert_eq!(moment_at("1736899200123", 0), Ok(1_736_899_200_123));
    assert_eq!(moment_at("2h", 10_000_000), Ok(2_800_000));
    assert_eq!(moment_at("2025-01-15T08:00:00+08:00", 0), Ok(1_736_899_200_000));
    for wrong in ["", "yesterday", "2025-01-15", "-5", "2 h", "1e3"] {
        assert!(moment_at(wrong, 0).is_err(), "{wrong}");
    }
}

#[test]
fn each_filter_selects_by_its_own_header() {
    let one = letter(
        0,
        1,
        &[("platform", "baizhu"), ("account", "acme-bz"), ("reason", "rejected"), ("field", "order"), ("replays", "2")],
    );
    let two = letter(0, 2, &[("trans-id", "t-2"), ("last-code", "3"), ("failed-at", "5000"), ("reason", "invalid")]);
    let selected = |filter: Filter| [&one, &two].map(|letter| filter.selects(letter));
    assert_eq!(selected(Filter::default()), [true, true]);
    let text = |text: &str| Some(text.to_owned());
    for (filter, wanted) in [
        (Filter { platform: text("baizhu"), ..Filter::default() }, [true, false]),
        (Filter { account: text("acme-bz"), ..Filter::default() }, [true, false]),
        (Filter { reason: Some(Reason::Invalid), ..Filter::default() }, [false, true]),
        (Filter { code: text("3"), ..Filter::default() }, [false, true]),
        (Filter { field: text("order"), ..Filter::default() }, [true, false]),
        (Filter { code: text("-"), ..Filter::default() }, [true, false]),
        (Filter { field: text("-"), account: text("-"), ..Filter::default() }, [false, true]),
        (Filter { trans_id: text("t-2"), ..Filter::default() }, [false, true]),
        (Filter { since: Some(5000), ..Filter::default() }, [false, true]),
        (Filter { until: Some(5000), ..Filter::default() }, [true, false]),
        (Filter { since: Some(5001), ..Filter::default() }, [false, false]),
        (Filter { replays: Some(2), ..Filter::default() }, [true, false]),
        (Filter { replays: Some(0), ..Filter::default() }, [false, true]),
    ] {
        assert_eq!(selected(filter.clone()), wanted, "{filter:?}");
        assert!(filter.has_condition(), "{filter:?}");
    }
}

#[test]
fn a_wrong_reason_names_the_right_ones() {
    assert_eq!(reason("attempts_exhausted"), Ok(Reason::AttemptsExhausted));
    let error = reason("reject").unwrap_err();
    assert!(error.starts_with("no such reason; did you mean rejected?; one of: malformed, "), "{error}");
    assert!(reason("zzzzzzzzzz").unwrap_err().starts_with("no such reason; one of: malformed, "));
}

#[test]
fn a_change_needs_a_condition_or_everything_and_takes_open_ones() {
    let limited = Filter { limit: Some(10), state: Some(State::Replayed), ..Filter::default() };
    let refused = limited.clone().acting().unwrap_err();
    assert!(refused.field == "filter" && refused.message.contains("`everything`"), "{refused}");
    assert_eq!(Filter { everything: true, ..limited }.acting().unwrap().state, Some(State::Replayed));
    let one = Filter { code: Some("3".to_owned()), ..Filter::default() };
    assert_eq!(one.acting().unwrap().state, Some(State::Open));
}

#[test]
fn json_and_a_query_say_the_same_and_a_fault_names_its_part() {
    let json = r#"{"reason":"rejected","since":"2025-01-15T00:00:00Z","until":1736956740000,"limit":5,"state":"open",
                   "replays":0,"everything":true}"#;
    let read: Filter = serde_json::from_str(json).unwrap();
    let pairs = [
        ("reason", "rejected"),
        ("since", "1736899200000"),
        ("until", "2025-01-15T15:59:00Z"),
        ("limit", "5"),
        ("state", "open"),
        ("replays", "0"),
        ("everything", "true"),
        ("account", ""),
    ];
    assert_eq!(Filter::from_pairs(pairs), Ok(read.clone()));
    assert_eq!(serde_json::from_str::<Filter>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
    assert_eq!(serde_json::to_string(&Filter::default()).unwrap(), "{}");
    for (name, text, says) in [
        ("resaon", "rejected", "did you mean reason?"),
        ("state", "shut", "open, replayed, discarded"),
        ("since", "yesterday", "RFC 3339"),
        ("limit", "-1", "no whole number"),
    ] {
        let error = Filter::from_pairs([(name, text)]).unwrap_err();
        assert!(error.field == name && error.message.contains(says), "{error}");
    }
    assert!(serde_json::from_str::<Filter>(r#"{"acount":"a"}"#).is_err(), "a misspelt filter must not select more");
}

#[test]
fn the_names_in_json_are_those_of_a_query() {
    let full = Filter {
        platform: Some("a".to_owned()),
        account: Some("a".to_owned()),
        reason: Some(Reason::Invalid),
        code: Some("a".to_owned()),
        field: Some("a".to_owned()),
        trans_id: Some("a".to_owned()),
        since: Some(1),
        until: Some(1),
        limit: Some(1),
        state: Some(State::Open),
        replays: Some(1),
        everything: true,
    };
    let json = serde_json::to_value(&full).unwrap();
    let texts: Vec<(String, String)> = json
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    assert_eq!(Filter::from_pairs(texts.iter().map(|(n, t)| (n.as_str(), t.as_str()))), Ok(full));
}
