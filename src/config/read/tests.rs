use std::time::Duration;

use serde::Deserialize;

use super::*;
use crate::config::fields::{HOUR, duration, whole};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Colour {
    Red,
    Green,
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(deserialize_with = "whole::<_, _, 1, 9>")]
    n: u8,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct All {
    #[serde(deserialize_with = "duration::<_, 1, HOUR>")]
    wait: Duration,
    colour: Colour,
    on: bool,
    names: Vec<String>,
    inner: Part,
    parts: Vec<Part>,
    small: i8,
}

const DEFAULTS: &str =
    "wait = '5s'\ncolour = 'red'\non = true\nnames = ['a']\ninner = { n = 5 }\nparts = []\nsmall = 1";

/// Reads `text` over the defaults. A value written as `@…` counts as text from outside the file.
fn loaded(text: &str) -> (All, Vec<String>) {
    fn mark(node: &mut Node) {
        match &mut node.value {
            Value::Text(text) if text.starts_with('@') => {
                text.remove(0);
                node.indirect = true;
            }
            Value::List(list) => list.iter_mut().for_each(mark),
            Value::Table(table) => table.values_mut().for_each(mark),
            _ => {}
        }
    }
    let parse = |text: &str| tree::parse(&"f".into(), text).unwrap();
    let mut defaults = parse(DEFAULTS);
    tree::forget_places(&mut defaults);
    let (mut root, mut over) = (defaults.clone(), parse(text));
    over.values_mut().for_each(mark);
    tree::merge(&mut root, over);
    let mut node = Node { value: Value::Table(root), place: Place::Default, indirect: false };
    let report = Report::default();
    let all = read(&mut node, &defaults, "", &report).unwrap();
    (all, report.finish().problems.iter().map(ToString::to_string).collect())
}

#[test]
fn every_problem_is_told_with_its_place_and_its_default_is_read() {
    let text = "wait = 'soon'\ncolour = 'blue'\non = 1\nnames = 'a'\ninner = { n = 0, nmae = 'x' }\n\
                parts = [\n  { n = 1 },\n  7,\n  { n = 77, name = 5 },\n]\ncoluor = 'red'\nsmall = 200";
    let (all, problems) = loaded(text);
    let expected = [
        "f:1: wait: is no duration: write a whole number and ms, s, m, h or d, e.g. \"5s\", not \"soon\"",
        "f:2: colour: has to be \"red\" or \"green\", not \"blue\"",
        "f:3: on: has to be true or false, not 1",
        "f:4: names: has to be a list, e.g. [\"a\", \"b\"], not \"a\"",
        "f:5: inner.nmae: is no key of this table; did you mean `name`?",
        "f:5: inner.n: has to be a whole number from 1 to 9, not 0",
        "f:8: parts.1: has to be a table",
        "f:9: parts.2.n: has to be a whole number from 1 to 9, not 77",
        "f:9: parts.2.name: has to be a string in quotes",
        "f:11: coluor: is no key of this table; did you mean `colour`?",
        "f:12: small: has to be a whole number from -128 to 127, not 200",
    ];
    let mut told = problems.clone();
    told.sort();
    let mut wanted = expected.to_vec();
    wanted.sort_unstable();
    assert_eq!(told, wanted);
    assert_eq!((all.wait, all.colour, all.on, all.inner.n), (Duration::from_secs(5), Colour::Red, true, 5));
    assert_eq!((all.names.as_slice(), all.parts.len(), all.small), (&["a".to_owned()][..], 1, 1));
}

#[test]
fn text_from_outside_is_what_is_asked_for() {
    let (all, problems) = loaded(
        "wait = '@7s'\ncolour = '@green'\non = '@false'\nnames = '@5'\ninner = '@{ name = \"7\" }'\n\
         parts = '@[{ n = 3 }]'",
    );
    assert_eq!(problems, [""; 0]);
    assert_eq!((all.wait, all.colour, all.on), (Duration::from_secs(7), Colour::Green, false));
    assert_eq!((all.names.as_slice(), all.parts[0].n), (&["5".to_owned()][..], 3));
    // A table from outside is laid over its defaults like any other table.
    assert_eq!((all.inner.n, all.inner.name.as_deref()), (5, Some("7")));
}

#[test]
fn what_came_from_outside_is_not_shown_wherever_it_is_wrong() {
    let (_, problems) = loaded(
        "wait = '@MARKER'\ncolour = '@MARKER'\non = '@MARKER'\nnames = '@[1234]'\n\
         inner = '@{ n = 1234, name = 1234 }'\nparts = '@MARKER'",
    );
    assert_eq!(problems.len(), 7, "{problems:?}");
    assert!(problems.iter().all(|text| !text.contains("MARKER") && !text.contains("1234")), "{problems:?}");
}

#[test]
fn an_unknown_key_of_a_table_from_outside_hides_nothing_beside_it() {
    let (all, problems) = loaded("inner = '@{ n = 77, nmae = 3, name = \"x\" }'");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("inner.nmae: is no key") && problems[1].contains("inner.n: has"), "{problems:?}");
    assert_eq!((all.inner.n, all.inner.name.as_deref()), (5, Some("x")));
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct First {
    on: bool,
    both: Option<Part>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Second {
    colour: Option<Colour>,
    both: Other,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Other {
    there: bool,
}

#[test]
fn what_one_struct_does_not_know_is_left_for_the_next_one() {
    let two = |text: &str| {
        let report = Report::default();
        let table = tree::parse(&"f".into(), text).unwrap();
        let (first, mut rest) = split::<First>(table, "a", &["both"], &report);
        let second: Second = rest.read();
        let told: Vec<_> = report.finish().problems.iter().map(ToString::to_string).collect();
        (first, second, told)
    };
    let (first, second, told) = two("on = true\ncolour = 'green'\nboth = { n = 3, there = true }");
    assert_eq!(told, [""; 0]);
    assert!(first.on && first.both.is_some_and(|part| part.n == 3) && second.both.there);
    assert_eq!(second.colour, Some(Colour::Green));
    let (_, _, told) = two("onn = true\nboth = { n = 3, ther = true, nam = 'x' }\ncolour = 'blue'");
    let wanted = [
        "f:1: a.onn: is no key of this table; did you mean `on`?",
        "f:2: a.both.ther: is no key of this table; did you mean `there`?",
        "f:2: a.both.nam: is no key of this table; did you mean `name`?",
        "f:3: a.colour: has to be \"red\" or \"green\", not \"blue\"",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_required_key_is_missed_by_its_name() {
    let (all, problems) = loaded("parts = [{ n = 1 }, { name = 'x' }]");
    assert_eq!((all.parts.len(), problems), (1, vec!["f:1: parts.1.n: is missing".to_owned()]));
}
