//! One table of settings while it is read: remembers which keys were asked for, so that what is left over is unknown.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use super::deserialize::Error;
use super::problem::{Place, Report};
pub(crate) use super::suggest::unknown;
use super::tree::{Node, Table, Value};

/// A table and its dotted path.
pub(crate) struct Section<'a> {
    /// Where problems go.
    pub report: &'a Report,
    path: String,
    table: Cow<'a, Table>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    /// A table that stands somewhere, e.g. as a member of a list; reports what is no table.
    pub fn open(node: &'a Node, path: String, report: &'a Report) -> Option<Self> {
        if matches!(node.value, Value::Broken) {
            return None;
        }
        let Some(table) = node.table() else {
            report.problem(&node.place, &path, "has to be a table");
            return None;
        };
        Some(Self { report, path, table, asked: RefCell::default() })
    }

    /// The dotted path of a key.
    pub fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The dotted path of this table.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where a key was written; the place of nothing where it was not.
    pub fn place(&self, key: &str) -> Place {
        self.table.get(key).map(|n| n.place.clone()).unwrap_or_default()
    }

    /// The setting as it was written.
    pub fn node(&self, key: &'static str) -> Option<&Node> {
        self.asked.borrow_mut().insert(key);
        self.table.get(key)
    }

    /// The same without taking note that it was asked for.
    pub fn peek(&self, key: &str) -> Option<&Node> {
        self.table.get(key)
    }

    /// Whether the key was written.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Reports a problem of a key.
    pub fn problem(&self, key: &str, reason: impl Into<String>) {
        self.report.problem(&self.place(key), &self.key(key), reason);
    }

    /// Reads a key that may be absent.
    pub fn read<T>(&self, key: &'static str, parse: impl Fn(&Node) -> Result<T, String>) -> Option<T> {
        let node = self.node(key)?;
        if node.is_broken() {
            return None;
        }
        match parse(node) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.problem(key, reason);
                None
            }
        }
    }

    /// A table below this one; absent or no table: `None`.
    pub fn section(&self, key: &'static str) -> Option<Section<'_>> {
        let node = self.node(key)?;
        Section::open(node, self.key(key), self.report)
    }

    /// Takes note of keys that are read elsewhere.
    pub fn also(&self, keys: &[&'static str]) {
        self.asked.borrow_mut().extend(keys);
    }

    /// The members that nobody asked for.
    pub fn rest(&self) -> impl Iterator<Item = (&String, &Node)> {
        let asked = self.asked.borrow().clone();
        self.table.iter().filter(move |(key, _)| !asked.contains(key.as_str()))
    }

    /// The keys that were asked for.
    pub fn known(&self) -> Vec<&'static str> {
        self.asked.borrow().iter().copied().collect()
    }

    /// Reports every key that nobody asked for.
    pub fn finish(&self) {
        let known = self.known();
        for (key, node) in self.rest() {
            self.report.problem(&node.place, &self.key(key), unknown(key, &known));
        }
    }
}

/// A reader of serde's as [`Section::read`] takes one.
pub(crate) fn serde<T>(read: impl Fn(&Node) -> Result<T, Error>) -> impl Fn(&Node) -> Result<T, String> {
    move |node| read(node).map_err(|error| error.shown(node))
}
