//! The settings as they were written, before their types are known. Each value has its place.

use std::borrow::Cow;
use std::sync::Arc;

use indexmap::IndexMap;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};
use crate::byte_order_mark;

/// A table of settings, in the order in which they were written.
pub(crate) type Table = IndexMap<String, Node>;

/// One setting.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub value: Value,
    pub place: Place,
    /// The text comes from the environment or from a placeholder. It may stand for a number, a list or a table, and is
    /// never shown.
    pub indirect: bool,
}

/// A value as it was written.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    Flag(bool),
    /// A date or time, as TOML spells it.
    Datetime(toml::value::Datetime),
    List(Vec<Node>),
    Table(Table),
    /// The problem of this value is reported already, so its reader reports nothing more.
    Broken,
}

/// Finds the line of a byte offset.
struct Lines<'a> {
    file: &'a Arc<str>,
    /// The offset at which each line ends.
    ends: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(file: &'a Arc<str>, text: &str) -> Self {
        Self { file, ends: text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        Place::File(self.file.clone(), 1 + self.ends.partition_point(|end| *end < offset))
    }
}

/// Reads TOML, and skips a byte order mark. An error contains the parser's message and the line number, but not the
/// text of the line, which may contain a secret.
pub(crate) fn parse(file: &Arc<str>, text: &str) -> Result<Table, Problem> {
    let text = byte_order_mark::skip_text(text);
    let lines = Lines::new(file, text);
    match DeTable::parse(text) {
        Ok(table) => Ok(convert_table(table.get_ref(), &|offset| lines.place(offset))),
        Err(error) => Err(Problem {
            place: lines.place(error.span().map_or(0, |s| s.start)),
            key: String::new(),
            reason: format!("is not TOML: {}", error.message().replace('\n', ", ")),
        }),
    }
}

/// Reads one TOML value that stands in the environment, e.g. `["a", "b"]`.
pub(crate) fn parse_value(text: &str, place: &Place) -> Option<Value> {
    let value = DeValue::parse(text.trim()).ok()?;
    Some(convert(value.get_ref(), &|_| place.clone()).value)
}

fn convert_table(table: &DeTable<'_>, place: &dyn Fn(usize) -> Place) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let mut node = convert(value.get_ref(), place);
            // This is the line of the key. The span of a table itself begins at its first member, or at its header.
            node.place = place(key.span().start);
            (key.get_ref().to_string(), node)
        })
        .collect()
}

fn convert(value: &DeValue<'_>, place: &dyn Fn(usize) -> Place) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(n) => {
            i64::from_str_radix(n.as_str(), n.radix()).map_or_else(|_| Value::Float(f64::INFINITY), Value::Integer)
        }
        DeValue::Float(n) => n.as_str().parse().map_or(Value::Float(f64::NAN), Value::Float),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(list) => Value::List(
            list.iter()
                .map(|member| {
                    let mut node = convert(member.get_ref(), place);
                    node.place = place(member.span().start);
                    node
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(table, place)),
    };
    Node { value, place: place(0), indirect: false }
}

/// Lays `over` onto `under`: tables member by member; any other value replaces the old one as a whole.
pub(crate) fn merge(under: &mut Table, over: Table) {
    for (key, node) in over {
        match (under.get_mut(&key), node) {
            (
                Some(Node { value: Value::Table(old), place, .. }),
                Node { value: Value::Table(new), place: at, indirect: false },
            ) => {
                *place = at;
                merge(old, new);
            }
            (_, node) => {
                under.insert(key, node);
            }
        }
    }
}

/// Sets the value of a dotted key, and makes the tables on the way.
pub(crate) fn set(table: &mut Table, key: &str, node: Node) {
    let Some((first, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), node);
        return;
    };
    let place = node.place.clone();
    let empty = || Node { value: Value::Table(Table::new()), place, indirect: false };
    if let Value::Table(members) = &mut table.entry(first.to_owned()).or_insert_with(empty).value {
        set(members, rest, node);
    }
}

impl Node {
    /// The members of a table; `None`: it is not a table.
    pub fn members(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Turns a text from outside into the table or the list that it stands for.
    pub fn open(&mut self, as_list: bool) {
        match self.read() {
            Some(value @ (Value::Table(_) | Value::List(_))) => self.value = value,
            _ if as_list && matches!(self.value, Value::Text(_)) => self.value = Value::List(vec![self.clone()]),
            _ => {}
        }
    }

    /// The table, also if it is a text that stands for one.
    pub fn table(&self) -> Option<Cow<'_, Table>> {
        match &self.value {
            Value::Table(table) => Some(Cow::Borrowed(table)),
            Value::Text(_) => match self.read()? {
                Value::Table(table) => Some(Cow::Owned(table)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Why this value, which is no table, is refused where a table belongs.
    pub fn no_table(&self) -> &'static str {
        match &self.value {
            Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Table(_))) => {
                "has to be a table, and [[…]] makes a list of tables: write single brackets, e.g. [limits] or \
                 [accounts.acme-ps]"
            }
            _ => "has to be a table",
        }
    }

    /// The list, also if it is a text that stands for one. A text from the environment that is not a list stands for a
    /// list of this one text.
    pub fn list(&self) -> Option<Cow<'_, [Node]>> {
        match &self.value {
            Value::List(list) => Some(Cow::Borrowed(list)),
            Value::Text(_) if self.indirect => match self.read() {
                Some(Value::List(list)) => Some(Cow::Owned(list)),
                _ => Some(Cow::Owned(vec![self.clone()])),
            },
            _ => None,
        }
    }

    /// A text from outside, read as a TOML value, for readers that do not want a text.
    pub fn read(&self) -> Option<Value> {
        match &self.value {
            Value::Text(text) if self.indirect => parse_value(text, &self.place).map(hide),
            _ => None,
        }
    }

    /// Whether any text in it came from outside the file.
    pub fn holds_indirect(&self) -> bool {
        match &self.value {
            Value::List(list) => list.iter().any(Node::holds_indirect),
            Value::Table(table) => table.values().any(Node::holds_indirect),
            Value::Broken => true,
            _ => self.indirect,
        }
    }

    /// Whether any part is reported already.
    pub fn is_broken(&self) -> bool {
        match &self.value {
            Value::Broken => true,
            Value::List(list) => list.iter().any(Node::is_broken),
            Value::Table(table) => table.values().any(Node::is_broken),
            _ => false,
        }
    }

    /// Whether `is_such` holds for any text in it that came from outside the file.
    pub fn any_from_outside(&self, is_such: &dyn Fn(&str) -> bool) -> bool {
        match &self.value {
            Value::Text(text) if self.indirect => {
                let inside = || self.read().map(|value| Node { value, place: self.place.clone(), indirect: false });
                is_such(text) || inside().is_some_and(|node| node.any_from_outside(is_such))
            }
            Value::List(list) => list.iter().any(|node| node.any_from_outside(is_such)),
            Value::Table(table) => table.values().any(|node| node.any_from_outside(is_such)),
            _ => false,
        }
    }
}

/// Marks the parts of a value from outside, so that they are not shown either.
fn hide(value: Value) -> Value {
    let hide_node = |mut node: Node| {
        node.value = hide(node.value);
        node.indirect = !matches!(node.value, Value::List(_) | Value::Table(_));
        node
    };
    match value {
        Value::List(list) => Value::List(list.into_iter().map(hide_node).collect()),
        Value::Table(table) => Value::Table(table.into_iter().map(|(k, n)| (k, hide_node(n))).collect()),
        other => other,
    }
}

/// Marks a table as not written by anyone.
pub(crate) fn forget_places(table: &mut Table) {
    for node in table.values_mut() {
        node.place = Place::Default;
        match &mut node.value {
            Value::Table(inner) => forget_places(inner),
            Value::List(list) => list.iter_mut().for_each(|member| member.place = Place::Default),
            _ => {}
        }
    }
}

/// Turns nested tables (`security.protocol = …` without quotes) into one table with dotted keys.
pub(crate) fn flatten(table: &mut Table) {
    let mut flat = Table::new();
    collect(std::mem::take(table), "", &mut flat);
    *table = flat;
}

fn collect(table: Table, prefix: &str, flat: &mut Table) {
    for (key, node) in table {
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match node.value {
            Value::Table(inner) => collect(inner, &key, flat),
            _ => {
                flat.insert(key, node);
            }
        }
    }
}
