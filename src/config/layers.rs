//! Merges the layers of a configuration into one tree: compiled defaults, one file over them, the environment over
//! both. Each setting in the tree knows its place.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::overlay;
use super::problem::{Place, Problem, Report};
use super::read::{find, read};
use super::tree::{self, Node, Table, Value, flatten};
use crate::unreadable;

/// The layers, from bottom to top.
pub(crate) struct Layers<'a> {
    /// The name and text of the compiled-in file that names every key.
    pub defaults: (&'static str, &'static str),
    /// The file that lies over the defaults.
    pub file: Option<&'a Path>,
    /// The name and text that take the place of the file if there is none.
    pub no_file: (&'static str, &'static str),
    pub env: &'a BTreeMap<String, String>,
}

/// The merged settings.
pub(crate) struct Settings<'a> {
    root: Node,
    defaults: Table,
    /// Where relative paths begin.
    pub folder: PathBuf,
    /// Collects the problems.
    pub report: &'a Report,
}

impl<'a> Settings<'a> {
    /// Merges the layers. `None`: a file cannot be read; this is reported.
    pub fn load(layers: &Layers<'_>, report: &'a Report) -> Option<Self> {
        let (name, text) = layers.defaults;
        let mut defaults = taken(parse(&name.into(), text), report)?;
        tree::forget_places(&mut defaults);
        let mut root = defaults.clone();
        let (name, text) = match layers.file {
            Some(path) => (shown(path), std::fs::read_to_string(path)),
            None => (layers.no_file.0.into(), Ok(layers.no_file.1.to_owned())),
        };
        let over = match text {
            Ok(text) => parse(&name, &text),
            Err(error) => {
                Err(Problem { place: Place::File(name, 0), key: String::new(), reason: unreadable::why(&error) })
            }
        };
        tree::merge(&mut root, taken(over, report)?);
        overlay::lay(&mut root, layers.env, report);
        let folder = layers.file.and_then(Path::parent).unwrap_or(Path::new(""));
        overlay::fill(&mut root, "", &overlay::Sources { env: layers.env, folder }, report);
        let root = Node { value: Value::Table(root), place: Place::Default, indirect: false };
        Some(Self { root, defaults, folder: folder.to_owned(), report })
    }

    /// The merged tree.
    pub fn tree(&self) -> Option<&Table> {
        self.root.members()
    }

    /// Goes on with another tree.
    pub fn set_tree(&mut self, tree: Table) {
        self.root.value = Value::Table(tree);
    }

    /// Reads everything but the table `apart`, whose members other code reads. A wrong setting is reported and replaced
    /// by its default; `None`: a wrong setting has no default.
    pub fn read<T: DeserializeOwned>(&mut self, apart: &str) -> Option<T> {
        let Value::Table(root) = &mut self.root.value else { return None };
        let kept = root.shift_remove(apart);
        let value = read(&mut self.root, &self.defaults, "", self.report);
        if let (Value::Table(root), Some(kept)) = (&mut self.root.value, kept) {
            root.insert(apart.to_owned(), kept);
        }
        value
    }

    /// A table or setting at the top level.
    pub fn top(&self, key: &str) -> Option<&Node> {
        self.root.members()?.get(key)
    }

    /// The members of a table. A value that is not a table is reported, unless a part of it is reported already.
    pub fn table(&self, node: &Node, key: &str) -> Option<Table> {
        if matches!(node.value, Value::Broken) {
            return None;
        }
        let table = node.table();
        if table.is_none() {
            self.report.problem(&node.place, key, node.no_table());
        }
        table.map(Cow::into_owned)
    }

    /// The reason of a platform against a key of an account. A reason that repeats a value from outside the file is
    /// replaced by a general one.
    pub fn safe(&self, key: &str, reason: &str) -> String {
        let steps: Vec<_> = key.split('.').collect();
        let own = steps.get(..2).map(|account| find(&self.root, account)).and_then(Node::table);
        let top = own.as_ref().zip(steps.get(2)).and_then(|(own, top)| own.get(*top));
        let repeats = |text: &str| !text.is_empty() && (reason.contains(text) || reason.contains(&format!("{text:?}")));
        match top.map(|node| find(node, &steps[3..])) {
            Some(node) if node.any_from_outside(&repeats) => {
                "has a value that is not accepted; it comes from outside the file and is not shown".to_owned()
            }
            _ => reason.to_owned(),
        }
    }

    /// The place of a dotted key, or of the nearest table above it.
    pub fn place(&self, key: &str) -> Place {
        find(&self.root, &key.split('.').collect::<Vec<_>>()).place.clone()
    }

    /// Whether a key differs from the compiled-in default, or is wrong.
    pub fn is_stated(&self, key: &str) -> bool {
        self.report.blames(key) || self.place(key) != Place::Default
    }

    /// Reports a problem of a dotted key.
    pub fn problem(&self, key: &str, reason: impl Into<String>) {
        self.report.problem(&self.place(key), key, reason);
    }

    /// Reports a warning about a dotted key.
    pub fn warn(&self, key: &str, reason: impl Into<String>) {
        self.report.warn(&self.place(key), key, reason);
    }
}

/// The name by which a file is reported.
pub(crate) fn shown(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

fn taken<T>(result: Result<T, Problem>, report: &Report) -> Option<T> {
    result.map_err(|problem| report.problem(&problem.place, &problem.key, problem.reason)).ok()
}

/// The keys of librdkafka contain dots and do not name nested tables.
fn parse(name: &Arc<str>, text: &str) -> Result<Table, Problem> {
    let mut table = tree::parse(name, text)?;
    if let Some(Node { value: Value::Table(kafka), .. }) = table.get_mut("kafka")
        && let Some(Node { value: Value::Table(properties), .. }) = kafka.get_mut("properties")
    {
        flatten(properties);
    }
    Ok(table)
}
