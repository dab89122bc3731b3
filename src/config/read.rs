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
                // The first struct has this part and this one does not, so the unknown keys are its members, not the
                // part.
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
                _ if is_table => report(node.no_table().to_owned()),
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

/// The steps to the setting at which serde stopped, and on to the wrong member. A text from outside on this path
/// becomes the value that it stands for.
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
mod tests;
