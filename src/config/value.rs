//! Kinds of values of an account: numbers, choices, texts. Each reader says what it expected; it shows what it met
//! only where that stood in the file in plain sight.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::tree::{Node, Value};

/// `, not "soon"`, unless the value may be a secret.
fn met(node: &Node) -> String {
    match &node.value {
        _ if node.indirect => String::new(),
        Value::Text(text) => format!(", not {text:?}"),
        Value::Integer(n) => format!(", not {n}"),
        Value::Float(n) => format!(", not {n}"),
        Value::Flag(flag) => format!(", not {flag}"),
        Value::Datetime(_) => ", not a date".to_owned(),
        Value::List(_) => ", not a list".to_owned(),
        Value::Table(_) => ", not a table".to_owned(),
        Value::Broken => String::new(),
    }
}

/// Any text.
pub(crate) fn text(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        // Not shown: a secret written without quotes is a number all the same.
        _ => Err("has to be a string in quotes".to_owned()),
    }
}

/// Text that says something.
pub(crate) fn words(node: &Node) -> Result<String, String> {
    let text = text(node)?;
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

/// `true` or `false`.
pub(crate) fn flag(node: &Node) -> Result<bool, String> {
    match node.read().as_ref().unwrap_or(&node.value) {
        Value::Flag(flag) => Ok(*flag),
        _ => Err(format!("has to be true or false{}", met(node))),
    }
}

/// A whole number within a range.
pub(crate) fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&Node) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |node| {
        let n = match node.read().as_ref().unwrap_or(&node.value) {
            Value::Integer(n) => Some(*n),
            _ => None,
        };
        n.and_then(|n| T::try_from(n).ok())
            .filter(|n| range.contains(n))
            .ok_or_else(|| format!("has to be a whole number from {} to {}{}", range.start(), range.end(), met(node)))
    }
}

/// One word of a closed list.
pub(crate) fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Node) -> Result<T, String> {
    move |node| {
        let found = match &node.value {
            Value::Text(text) => words.iter().find(|(word, _)| word == text),
            _ => None,
        };
        found.map(|(_, value)| *value).ok_or_else(|| {
            let list: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            format!("has to be {}{}", list.join(" or "), met(node))
        })
    }
}
