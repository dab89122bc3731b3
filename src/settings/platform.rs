//! What a platform makes of an account's own keys: each is read alone first, so that one wrong key does not hide the
//! next; then its sender judges them together.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::section::{Section, unknown};
use crate::config::tree::{Node, Table, Value};
use crate::platforms::{Configured, Platform};

/// Reads the keys that are left, and builds who speaks for the account. `validate`: the platform's part of that table.
pub(super) fn build(
    section: &Section<'_>,
    platform: &dyn Platform,
    validate: Table,
    map: BTreeMap<String, String>,
) -> Option<Configured> {
    let mut keys: Table = section.rest().map(|(key, node)| (key.clone(), node.clone())).collect();
    if !validate.is_empty() {
        let place = section.place("validate");
        keys.insert("validate".to_owned(), Node { value: Value::Table(validate), place, indirect: false });
    }
    let keys = Keys { section, platform, known: platform.keys(), keys };
    match platform.configure(keys.read(), map) {
        Ok(configured) => {
            for (key, reason) in &configured.warnings {
                section.report.warn(&keys.place(key), &section.key(key), keys.safe(key, reason.clone()));
            }
            Some(configured)
        }
        Err(problems) => {
            for (key, reason) in problems {
                keys.problem(&key, reason);
            }
            None
        }
    }
}

/// The keys of an account that are its platform's.
struct Keys<'a> {
    section: &'a Section<'a>,
    platform: &'a dyn Platform,
    /// Every key that the platform has, dotted.
    known: Vec<String>,
    keys: Table,
}

impl Keys<'_> {
    /// The keys that the platform accepts; a key that is wrong is reported and counts as not written.
    fn read(&self) -> toml::Table {
        let mut accepted = toml::Table::new();
        for (key, node) in &self.keys {
            self.leaf(key, node, &mut accepted);
        }
        accepted
    }

    fn leaf(&self, path: &str, node: &Node, accepted: &mut toml::Table) {
        let below = format!("{path}.");
        if self.known.iter().any(|known| known == path) {
            if node.is_broken() {
                return;
            }
            match self.alone(path, node) {
                Ok(value) => put(accepted, path, value),
                Err(reason) => self.problem(path, reason),
            }
        } else if self.known.iter().any(|known| known.starts_with(&below)) {
            match node.table() {
                Some(table) => {
                    for (key, node) in table.iter() {
                        self.leaf(&format!("{below}{key}"), node, accepted);
                    }
                }
                None if node.is_broken() => {}
                None => self.problem(path, "has to be a table".to_owned()),
            }
        } else {
            let (parent, key) = path.rsplit_once('.').map_or(("", path), |(parent, key)| (parent, key));
            let mut siblings = BTreeSet::new();
            for known in &self.known {
                let known = known.as_str();
                let below = || known.strip_prefix(parent).and_then(|rest| rest.strip_prefix('.'));
                let rest = if parent.is_empty() { Some(known) } else { below() };
                siblings.extend(rest.and_then(|rest| rest.split('.').next()));
            }
            match parent {
                "" => siblings.extend(self.section.known()),
                "validate" => siblings.extend(["max_event_age", "max_future"]),
                _ => {}
            }
            let siblings: Vec<_> = siblings.into_iter().collect();
            self.section.report.problem(&node.place, &self.section.key(path), unknown(key, &siblings));
        }
    }

    /// Reads one key as if it were the only one: as text first; text from outside is tried as TOML after that.
    fn alone(&self, path: &str, node: &Node) -> Result<toml::Value, String> {
        let attempt = |typed| {
            let value = node.to_toml(typed);
            let mut table = toml::Table::new();
            put(&mut table, path, value.clone());
            self.platform.accept(table).map(|()| value)
        };
        match attempt(false) {
            Err(reason) if node.holds_indirect() => attempt(true).map_err(|_| reason),
            result => result,
        }
    }

    fn problem(&self, key: &str, reason: String) {
        // Its own reader has spoken already.
        if !self.section.report.blames(&self.section.key(key)) {
            self.section.report.problem(&self.place(key), &self.section.key(key), self.safe(key, reason));
        }
    }

    /// The setting that a dotted key names, or the nearest one above it.
    fn find(&self, key: &str) -> Option<&Node> {
        let mut steps = key.split('.');
        let top = steps.next()?;
        let mut node = self.keys.get(top).or_else(|| self.section.peek(top))?;
        for step in steps {
            match &node.value {
                Value::Table(table) if table.contains_key(step) => node = &table[step],
                _ => break,
            }
        }
        Some(node)
    }

    fn place(&self, key: &str) -> crate::config::problem::Place {
        let top = key.split('.').next().unwrap_or(key);
        self.find(key).map_or_else(
            || if self.section.has(top) { self.section.place(top) } else { self.section.place("platform") },
            |node| node.place.clone(),
        )
    }

    /// The reason, unless it repeats what came from outside the file.
    fn safe(&self, key: &str, reason: String) -> String {
        let mut outside = Vec::new();
        if let Some(node) = self.find(key) {
            texts_from_outside(node, &mut outside);
        }
        let repeats = |text: &String| {
            let quoted = format!("{text:?}");
            !text.is_empty() && (reason.contains(text) || reason.contains(&quoted))
        };
        if outside.iter().any(repeats) {
            return "has a value that is not accepted; it comes from outside the file and is not shown".to_owned();
        }
        reason
    }
}

fn put(table: &mut toml::Table, path: &str, value: toml::Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((top, rest)) => {
            let inner = table.entry(top).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn texts_from_outside(node: &Node, found: &mut Vec<String>) {
    match &node.value {
        Value::Text(text) if node.indirect => {
            found.push(text.clone());
            if let Some(value) = node.read() {
                texts_from_outside(&Node { value, place: node.place.clone(), indirect: false }, found);
            }
        }
        Value::List(list) => list.iter().for_each(|n| texts_from_outside(n, found)),
        Value::Table(table) => table.values().for_each(|n| texts_from_outside(n, found)),
        _ => {}
    }
}
