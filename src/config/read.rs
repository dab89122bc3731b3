//! Reads settings in a loop. A setting that serde cannot read is reported with its place and set back to its default,
//! and everything is read again. So one run reports all problems.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::problem::{Place, Report};
use super::suggest::unknown;
use super::tree::{self, Node, Table, Value};

/// Reads the table `node`, which stands at the dotted `path` and was laid over `defaults`.
///
/// `None`: a wrong setting has no default. Every problem is reported.
pub(crate) fn read<T: DeserializeOwned>(node: &mut Node, defaults: &Table, path: &str, report: &Report) -> Option<T> {
    run(node, defaults, path, report, &mut |_, _, _| false)
}

/// Reads the members of a table that `T` knows. The unknown members of the table itself and of its `parts` are left for
/// another struct.
pub(crate) fn split<'a, T: DeserializeOwned + Default>(
    table: Table,
    path: &'a str,
    parts: &[&str],
    report: &'a Report,
) -> (T, Rest<'a>) {
    let mut node = Node { value: Value::Table(table), place: Place::Default, indirect: false };
    let mut rest = Rest { table: Table::new(), path, report, known: BTreeMap::new() };
    let mut move_over = |node: &mut Node, steps: &[String], known: &'static [&'static str]| {
        let (key, part) = match steps {
            [key] => (key, None),
            [part, key] if parts.contains(&part.as_str()) => (key, Some(part)),
            _ => return false,
        };
        let member = find(node, steps).clone();
        let place = find(node, &steps[..steps.len() - 1]).place.clone();
        let table = match part {
            None => Some(&mut rest.table),
            Some(part) => {
                let empty = || Node { value: Value::Table(Table::new()), place, indirect: false };
                match &mut rest.table.entry(part.clone()).or_insert_with(empty).value {
                    Value::Table(table) => Some(table),
                    _ => None,
                }
            }
        };
        table.and_then(|table| table.insert(key.clone(), member));
        rest.known.insert(part.cloned().unwrap_or_default(), known);
        set_back(node, None, steps)
    };
    let value = run(&mut node, &Table::new(), path, report, &mut move_over).unwrap_or_default();
    (value, rest)
}

/// The members of a table that one struct left for another one.
pub struct Rest<'a> {
    table: Table,
    path: &'a str,
    report: &'a Report,
    /// The members that the first struct knows, by the name of the part; an empty name is the table itself.
    known: BTreeMap<String, &'static [&'static str]>,
}

impl Rest<'_> {
    /// Reads all of these members. A wrong one is reported and counts as not written.
    pub fn read<T: DeserializeOwned + Default>(&mut self) -> T {
        let mut node =
            Node { value: Value::Table(std::mem::take(&mut self.table)), place: Place::Default, indirect: false };
        let mut report_unknown = |node: &mut Node, steps: &[String], fields: &'static [&'static str]| {
            let Some((key, above)) = steps.split_last() else { return false };
            let here = steps.join(".");
            let found = find(node, steps);
            match (self.known.get(&here), found.members()) {
                // The first struct has this part and this one does not, so the unknown keys are its members, not the part.
                (Some(known), Some(members)) => {
                    for (key, member) in members {
                        self.report.problem(&member.place, &format!("{}.{here}.{key}", self.path), unknown(key, known));
                    }
                }
                _ => {
                    let mut known = fields.to_vec();
                    known.extend(self.known.get(&above.join(".")).copied().unwrap_or_default());
                    self.report.problem(&found.place, &format!("{}.{here}", self.path), unknown(key, &known));
                }
            }
            set_back(node, None, steps)
        };
        run(&mut node, &Table::new(), self.path, self.report, &mut report_unknown).unwrap_or_default()
    }
}

impl<'a> Rest<'a> {
    /// All members of a table that no other struct has read.
    pub(crate) fn new(table: Table, path: &'a str, report: &'a Report) -> Self {
        Self { table, path, report, known: BTreeMap::new() }
    }
}

impl Rest<'_> {
    /// Reads the members whose dotted names and types are known only at run time. One that is not among `names` is
    /// reported, and so is one that `read` refuses.
    pub(crate) fn read_named(&mut self, names: &[String], mut read: impl FnMut(&str, &Node) -> Result<(), String>) {
        let table = std::mem::take(&mut self.table);
        self.named("", &table, names, &mut read);
    }

    fn named(
        &self,
        above: &str,
        table: &Table,
        names: &[String],
        read: &mut dyn FnMut(&str, &Node) -> Result<(), String>,
    ) {
        let below = |above: &str, key: &str| if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") };
        for (key, node) in table {
            let here = below(above, key);
            let report = |reason: String| self.report.problem(&node.place, &format!("{}.{here}", self.path), reason);
            if names.contains(&here) {
                if let Err(reason) = read(&here, node) {
                    report(reason);
                }
                continue;
            }
            let is_table = names.iter().any(|name| name.strip_prefix(&here).is_some_and(|rest| rest.starts_with('.')));
            match node.table() {
                Some(members) if is_table || self.known.contains_key(&here) => {
                    self.named(&here, &members, names, read);
                }
                _ if is_table => report("has to be a table".to_owned()),
                _ => {
                    let siblings = names.iter().filter_map(|name| {
                        let rest = if above.is_empty() { name } else { name.strip_prefix(above)?.strip_prefix('.')? };
                        rest.split('.').next()
                    });
                    let mut known: Vec<&str> = siblings.collect();
                    known.extend(self.known.get(above).copied().unwrap_or_default());
                    report(unknown(key, &known));
                }
            }
        }
    }
}

/// Decides about an unknown member, by its steps and the known members of its table; `false`: it is a problem.
type OnUnknown<'f> = &'f mut dyn FnMut(&mut Node, &[String], &'static [&'static str]) -> bool;

fn run<T: DeserializeOwned>(
    node: &mut Node,
    defaults: &Table,
    path: &str,
    report: &Report,
    on_unknown: OnUnknown<'_>,
) -> Option<T> {
    if let Value::Table(table) = &mut node.value {
        prepare(table, defaults);
    }
    loop {
        let error = match serde_path_to_error::deserialize(&*node) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let stopped_at: Vec<Segment> = error.path().iter().cloned().collect();
        let error = error.into_inner();
        let steps = steps(node, &stopped_at, error.member.as_deref());
        if let Some(known) = error.known
            && on_unknown(node, &steps, known)
        {
            continue;
        }
        let found = find(node, &steps);
        let key = if path.is_empty() { steps.join(".") } else { format!("{path}.{}", steps.join(".")) };
        let key = key.trim_end_matches('.');
        // If a part of the key is reported already, this problem only follows from that.
        if !report.blames(key) {
            report.problem(&found.place, key, error.shown(found));
        }
        let mut steps = &steps[..];
        while !set_back(node, Some(defaults), steps) {
            steps = steps.split_last()?.1;
        }
    }
}

/// Removes broken members. A text from outside the file that stands for a table is laid over the defaults of that
/// table.
fn prepare(table: &mut Table, defaults: &Table) {
    let is_broken = |node: &Node| matches!(node.value, Value::Broken);
    let broken: Vec<_> = table.iter().filter(|(_, node)| is_broken(node)).map(|(key, _)| key.clone()).collect();
    for key in broken {
        match defaults.get(&key) {
            Some(default) => table.insert(key, default.clone()),
            None => table.shift_remove(&key),
        };
    }
    let none = Table::new();
    for (key, node) in table {
        let defaults = defaults.get(key).and_then(Node::members).unwrap_or(&none);
        if !defaults.is_empty()
            && matches!(node.value, Value::Text(_))
            && let Some(over) = node.table()
        {
            let mut whole = defaults.clone();
            tree::merge(&mut whole, over.into_owned());
            node.value = Value::Table(whole);
        }
        match &mut node.value {
            Value::Table(table) => prepare(table, defaults),
            Value::List(list) => {
                for member in list {
                    if let Value::Table(table) = &mut member.value {
                        prepare(table, &none);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The steps to the setting at which serde stopped, and on to the wrong member. A text from outside on this path becomes
/// the value that it stands for.
fn steps(node: &mut Node, path: &[Segment], member: Option<&str>) -> Vec<String> {
    let Some((segment, path)) = path.split_first() else {
        node.open(false);
        return member.iter().map(|member| (*member).to_owned()).collect();
    };
    node.open(matches!(segment, Segment::Seq { .. }));
    let next = match (segment, &mut node.value) {
        (Segment::Map { key }, Value::Table(table)) => table.get_mut(key).map(|node| (key.clone(), node)),
        (Segment::Seq { index }, Value::List(list)) => {
            let whole = list.iter_mut().enumerate().filter(|(_, node)| !matches!(node.value, Value::Broken));
            whole.map(|(at, node)| (at.to_string(), node)).nth(*index)
        }
        _ => None,
    };
    let Some((step, next)) = next else { return Vec::new() };
    [vec![step], steps(next, path, member)].concat()
}

/// The setting at these steps, or the nearest one above it.
pub(crate) fn find<'n>(mut node: &'n Node, steps: &[impl AsRef<str>]) -> &'n Node {
    for step in steps {
        let next = match &node.value {
            Value::Table(table) => table.get(step.as_ref()),
            Value::List(list) => step.as_ref().parse::<usize>().ok().and_then(|at| list.get(at)),
            _ => None,
        };
        let Some(next) = next else { break };
        node = next;
    }
    node
}

/// Whether no layer but the defaults wrote any part of it.
fn is_default(node: &Node) -> bool {
    let below = match &node.value {
        Value::Table(table) => table.values().all(is_default),
        Value::List(list) => list.iter().all(is_default),
        _ => true,
    };
    below && node.place == Place::Default
}

/// Replaces the setting by its default, or removes it. `false`: it is the default already, or does not exist.
fn set_back(node: &mut Node, defaults: Option<&Table>, steps: &[String]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return false };
    let default = defaults.and_then(|defaults| defaults.get(step));
    match &mut node.value {
        Value::Table(table) if rest.is_empty() => match (table.get(step), default) {
            (Some(node), Some(_)) if is_default(node) => false,
            (_, Some(default)) => {
                table.insert(step.clone(), default.clone());
                true
            }
            (_, None) => table.shift_remove(step).is_some(),
        },
        Value::Table(table) => {
            table.get_mut(step).is_some_and(|node| set_back(node, default.and_then(Node::members), rest))
        }
        Value::List(list) => {
            let Some(member) = step.parse::<usize>().ok().and_then(|at| list.get_mut(at)) else { return false };
            if rest.is_empty() {
                member.value = Value::Broken;
                return true;
            }
            set_back(member, None, rest)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
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
}
