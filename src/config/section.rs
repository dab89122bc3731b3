//! One table of settings while it is read: remembers which keys were asked for, so that what is left over is unknown.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use super::problem::{Place, Report};
use super::tree::{Node, Table, Value};

/// A table and its dotted path.
pub(crate) struct Section<'a> {
    /// Where problems go.
    pub report: &'a Report,
    path: String,
    table: Cow<'a, Table>,
    defaults: Option<&'a Table>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    /// The whole configuration, and the compiled-in one for whatever cannot be read.
    pub fn root(table: &'a Table, defaults: &'a Table, report: &'a Report) -> Self {
        Self {
            report,
            path: String::new(),
            table: Cow::Borrowed(table),
            defaults: Some(defaults),
            asked: RefCell::default(),
        }
    }

    /// A table that stands somewhere, e.g. as a member of a list; reports what is no table.
    pub fn open(node: &'a Node, path: String, defaults: Option<&'a Table>, report: &'a Report) -> Option<Self> {
        if matches!(node.value, Value::Broken) {
            return None;
        }
        let Some(table) = node.table() else {
            report.problem(&node.place, &path, "has to be a table");
            return None;
        };
        Some(Self { report, path, table, defaults, asked: RefCell::default() })
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

    /// Whether the key was written and is not merely the compiled-in default.
    pub fn is_stated(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|n| n.place != Place::Default)
    }

    /// Reports a problem of a key.
    pub fn problem(&self, key: &str, reason: impl Into<String>) {
        self.report.problem(&self.place(key), &self.key(key), reason);
    }

    /// Reports a doubt about a key.
    pub fn warn(&self, key: &str, reason: impl Into<String>) {
        self.report.warn(&self.place(key), &self.key(key), reason);
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

    /// Reads a key that has a compiled-in default, which also stands in for what cannot be read.
    pub fn get<T: Default>(&self, key: &'static str, parse: impl Fn(&Node) -> Result<T, String>) -> T {
        self.read(key, &parse)
            .or_else(|| self.defaults.and_then(|d| d.get(key)).and_then(|node| parse(node).ok()))
            .unwrap_or_default()
    }

    /// As [`Section::get`], where the value of a wider table stands in.
    pub fn pick<T: Default>(
        &self,
        key: &'static str,
        base: Option<T>,
        parse: impl Fn(&Node) -> Result<T, String>,
    ) -> T {
        match base {
            Some(base) => self.read(key, parse).unwrap_or(base),
            None => self.get(key, parse),
        }
    }

    /// A table below this one; absent or no table: `None`.
    pub fn section(&self, key: &'static str) -> Option<Section<'_>> {
        let node = self.node(key)?;
        Section::open(node, self.key(key), self.default_table(key), self.report)
    }

    /// A table below this one that has compiled-in defaults.
    pub fn default_section(&self, key: &'static str) -> Section<'_> {
        self.section(key).unwrap_or_else(|| Section {
            report: self.report,
            path: self.key(key),
            table: self.default_table(key).map_or_else(|| Cow::Owned(Table::new()), Cow::Borrowed),
            defaults: self.default_table(key),
            asked: RefCell::default(),
        })
    }

    fn default_table(&self, key: &str) -> Option<&'a Table> {
        match self.defaults?.get(key) {
            Some(Node { value: Value::Table(table), .. }) => Some(table),
            _ => None,
        }
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

/// The reason for a key that does not exist.
pub(crate) fn unknown(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(near) => format!("is no key of this table; did you mean `{near}`?"),
        None if known.is_empty() => "is no key of this table, which has none".to_owned(),
        None => format!("is no key of this table; it has {}", known.join(", ")),
    }
}

/// The known word that was probably meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&word, k), strsim::jaro_winkler(&word, k), *k))
        .filter(|(edits, alike, _)| *edits <= 2 || *alike > 0.88)
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, k)| k)
}
