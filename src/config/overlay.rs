//! Lays the environment over the file: first the variables `POSTBACK__SECTION__KEY`, then `${NAME}` and `${file:PATH}`
//! inside any string.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::problem::{Place, Report};
use super::secret;
use super::tree::{self, Node, Table, Value};
use crate::byte_order_mark;
use crate::unreadable;

const PREFIX: &str = "POSTBACK__";
/// This is more than any credential or certificate chain. The limit keeps the start from reading a device file for
/// ever.
const FILE_MAX: u64 = 1 << 20;

/// Lays every `POSTBACK__…` variable over `root`.
pub(crate) fn lay(root: &mut Table, env: &BTreeMap<String, String>, report: &Report) {
    for (name, text) in env {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let place = Place::Environment(name.as_str().into());
        let path = path(rest);
        if path.iter().any(String::is_empty) {
            report.problem(&place, "", "names no setting; the form is POSTBACK__SECTION__KEY");
            continue;
        }
        let node = Node { value: Value::Text(text.clone()), place: place.clone(), indirect: true };
        if !insert(root, &path, node) {
            report.problem(&place, &path.join("."), "leads through a setting that has no members");
        }
    }
}

/// The dotted path that a variable sets. The name of an account has hyphens and no underscore, and the keys of
/// librdkafka have dots, so both can be told from names with underscores.
fn path(rest: &str) -> Vec<String> {
    let mut path: Vec<String> = rest.to_ascii_lowercase().split("__").map(str::to_owned).collect();
    if path.first().is_some_and(|s| s == "accounts")
        && let Some(name) = path.get_mut(1)
    {
        *name = name.replace('_', "-");
    }
    if path.len() > 2 && path[0] == "kafka" && path[1] == "properties" {
        let key = path.split_off(2).join(".").replace('_', ".");
        path.push(key);
    }
    path
}

fn insert(table: &mut Table, path: &[String], node: Node) -> bool {
    let Some((key, rest)) = path.split_first() else { return false };
    if rest.is_empty() {
        match table.get_mut(key) {
            Some(old) => replace(old, node),
            None => {
                table.insert(key.clone(), node);
            }
        }
        return true;
    }
    let place = node.place.clone();
    let next =
        table.entry(key.clone()).or_insert_with(|| Node { value: Value::Table(Table::new()), place, indirect: false });
    descend(next, rest, node)
}

fn descend(at: &mut Node, path: &[String], node: Node) -> bool {
    match &mut at.value {
        Value::Table(table) => insert(table, path, node),
        Value::List(list) => {
            let Some((index, rest)) = path.split_first() else { return false };
            let Some(member) = index.parse::<usize>().ok().and_then(|i| list.get_mut(i)) else { return false };
            if rest.is_empty() {
                replace(member, node);
                return true;
            }
            descend(member, rest, node)
        }
        _ => false,
    }
}

/// A table in a variable adds its members to the table in the file. Any other value replaces the old one.
fn replace(old: &mut Node, new: Node) {
    if let Value::Table(members) = &mut old.value
        && let Some(over) = new.table()
    {
        tree::merge(members, over.into_owned());
        return;
    }
    *old = new;
}

/// The sources of the values of placeholders.
pub(crate) struct Sources<'a> {
    pub env: &'a BTreeMap<String, String>,
    /// The folder where relative paths begin.
    pub folder: &'a Path,
}

/// Fills the placeholders of every string below `table`. A placeholder that cannot be filled is reported, and its
/// string is marked as broken.
pub(crate) fn fill(table: &mut Table, path: &str, sources: &Sources<'_>, report: &Report) {
    for (key, node) in table {
        let key = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        fill_node(node, &key, sources, report);
    }
}

fn fill_node(node: &mut Node, key: &str, sources: &Sources<'_>, report: &Report) {
    match &mut node.value {
        Value::Table(table) => fill(table, key, sources, report),
        Value::List(list) => {
            for (i, member) in list.iter_mut().enumerate() {
                fill_node(member, &format!("{key}.{i}"), sources, report);
            }
        }
        Value::Text(text) if text.contains("${") => {
            node.indirect = true;
            match filled(text, key, sources) {
                Ok(full) => *text = full,
                Err(reasons) => {
                    for reason in reasons {
                        report.problem(&node.place, key, reason);
                    }
                    node.value = Value::Broken;
                }
            }
        }
        _ => {}
    }
}

fn filled(text: &str, key: &str, sources: &Sources<'_>) -> Result<String, Vec<String>> {
    let (mut full, mut rest, mut reasons) = (String::new(), text, Vec::new());
    while let Some(start) = rest.find("${") {
        full.push_str(&rest[..start]);
        let Some(length) = rest[start + 2..].find('}') else {
            reasons.push("holds ${ without a closing }".to_owned());
            break;
        };
        let name = &rest[start + 2..start + 2 + length];
        rest = &rest[start + 3 + length..];
        match lookup(name, key, sources) {
            Ok(value) => full.push_str(&value),
            Err(reason) => reasons.push(reason),
        }
    }
    full.push_str(rest);
    if reasons.is_empty() { Ok(full) } else { Err(reasons) }
}

fn lookup(name: &str, key: &str, sources: &Sources<'_>) -> Result<String, String> {
    if let Some(path) = name.strip_prefix("file:") {
        let text =
            read(&sources.folder.join(path)).map_err(|error| format!("the file {path} {}", unreadable::why(&error)))?;
        // A secret is never changed: the rule for secrets refuses a byte order mark.
        return Ok(if secret::is_named(key) { text } else { byte_order_mark::skip_text(&text).to_owned() });
    }
    if name.is_empty() {
        return Err("holds ${} without a name".to_owned());
    }
    sources.env.get(name).cloned().ok_or_else(|| format!("the environment variable {name} is not set"))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// The environment of the process, without variables that are not text.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
