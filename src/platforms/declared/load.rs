//! Reads the file of a declared platform, and reports everything that is wrong with it at once.

use std::sync::Arc;

use super::definition::Definition;
use crate::config::problem::{Place, Problems, Report};
use crate::config::read::read;
use crate::config::tree::{self, Node, Table, Value};

/// A file that can be read, and where each of its keys stands.
pub(super) struct Source {
    pub definition: Definition,
    root: Node,
}

impl Source {
    /// The line of a dotted key, or of the nearest one above it.
    pub fn place(&self, key: &str) -> Place {
        place(&self.root, key).clone()
    }
}

/// A name in a table may have dots itself, so the longest one that fits is followed.
fn place<'n>(node: &'n Node, key: &str) -> &'n Place {
    let rest_of = |name: &str| key.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('.'));
    let next = match &node.value {
        Value::Table(table) => {
            let fitting = table.iter().filter_map(|(name, node)| Some((name.len(), node, rest_of(name)?)));
            fitting.max_by_key(|(length, ..)| *length).map(|(_, node, rest)| (node, rest))
        }
        Value::List(list) => {
            let number = key.split('.').next().unwrap_or_default();
            let found = number.parse::<usize>().ok().and_then(|at| list.get(at));
            found.map(|node| (node, key.get(number.len()..).unwrap_or_default()))
        }
        _ => None,
    };
    match next {
        Some((node, rest)) => place(node, rest.strip_prefix('.').unwrap_or_default()),
        None => &node.place,
    }
}

/// The file as it is written, with no expression compiled.
///
/// # Errors
/// Every problem with its line and key.
pub fn definition(file: &str, text: &str) -> Result<Definition, Problems> {
    let file: Arc<str> = file.into();
    let report = Report::new(Some(file.clone()));
    let source = source(&file, text, &report);
    let found = report.finish();
    match source {
        Some(source) if found.problems.is_empty() => Ok(source.definition),
        _ => Err(found),
    }
}

/// Reads the structs, and reports what TOML and they refuse.
pub(super) fn source(file: &Arc<str>, text: &str, report: &Report) -> Option<Source> {
    let table = match tree::parse(file, text) {
        Ok(table) => table,
        Err(problem) => {
            report.problem(&problem.place, &problem.key, problem.reason);
            return None;
        }
    };
    let root = Node { value: Value::Table(table), place: Place::File(file.clone(), 0), indirect: false };
    let definition = read::<Definition>(&mut root.clone(), &Table::new(), "", report)?;
    let source = Source { definition, root };
    envelope(&source, report);
    Some(source)
}

/// What every platform must state.
fn envelope(source: &Source, report: &Report) {
    let Definition { name, title, base_url, request, calls, .. } = &source.definition;
    let problem = |key: &str, reason: &str| {
        if !report.blames(key) {
            report.problem(&source.place(key), key, reason);
        }
    };
    if name.is_empty() {
        problem("name", "is missing");
    } else if !is_name(name) {
        problem("name", "is no platform name: a lower-case letter, then a-z, 0-9 and `_`, at most 63");
    }
    if title.is_empty() {
        problem("title", "is missing: what people call the platform");
    }
    let host = base_url.strip_prefix("https://").unwrap_or_default();
    if !base_url.is_empty() && (host.is_empty() || base_url.ends_with('/') || url::Url::parse(base_url).is_err()) {
        problem("base_url", "has to be an address that begins with https:// and does not end with /");
    }
    if request.is_empty() && calls.0.is_empty() {
        problem("request", "is missing: write at least one [[request]], or one [calls.NAME]");
    }
}

/// Whether it fits into topics, keys and labels.
fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
