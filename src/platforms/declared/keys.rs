//! The keys of an account of a declared platform: its file says which there are, what they hold, and which are secret.

use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::KeyKind;
use super::definition::{Key, Native};
use super::program::Program;
use crate::config::deserialize::Error;
use crate::config::read::Rest;
use crate::config::secret::intact;
use crate::config::tree::Node;
use crate::platforms::Problem;

/// The members of `token` where the file has `[token]`.
const TOKEN: [&str; 3] = ["token.access", "token.refresh", "token.auth_code"];

impl Program {
    /// Every key that only its accounts have, dotted.
    pub(super) fn key_names(&self) -> Vec<String> {
        let token = if self.token.is_some() { &TOKEN[..] } else { &[] };
        let own = self.definition.account.keys.iter().map(|(name, _)| name.to_owned());
        own.chain(token.iter().map(|name| (*name).to_owned())).collect()
    }

    /// Reads the keys of an account, with their defaults; problems of single keys are reported on the way. `addresses`
    /// gets those that state a whole URL.
    ///
    /// # Errors
    /// Keys that are missing.
    pub(super) fn read_keys(
        &self,
        rest: &mut Rest<'_>,
        addresses: &mut Vec<(String, String)>,
    ) -> Result<Map<String, Value>, Vec<Problem>> {
        let names = self.key_names();
        let mut settings = Map::new();
        let mut there = Vec::new();
        rest.read_named(&names, |name, node| {
            there.push(name.to_owned());
            let token = Key { secret: true, ..Key::default() };
            let key = self.definition.account.keys.get(name).unwrap_or(&token);
            let value = match read(key, node)? {
                Native::Text(text) if key.kind() == KeyKind::Url && !text.starts_with('/') => {
                    let path = path_of(&text)?;
                    addresses.push((name.to_owned(), text));
                    path.into()
                }
                value => json(&value),
            };
            set(&mut settings, name, value);
            Ok(())
        });
        let mut problems = Vec::new();
        for (name, key) in self.definition.account.keys.iter().filter(|(name, _)| !there.iter().any(|t| t == name)) {
            match &key.default {
                Some(default) => set(&mut settings, name, json(default)),
                None if key.required => problems.push((name.to_owned(), "is missing".to_owned())),
                None => {}
            }
        }
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// The secrets of an account, as they were configured.
    pub(super) fn secrets_of(&self, settings: &Map<String, Value>) -> Vec<String> {
        let token = if self.token.is_some() { &TOKEN[..] } else { &[] };
        let names = self.secrets.iter().map(String::as_str).chain(token.iter().copied());
        let texts = names.filter_map(|name| get(settings, name)).filter_map(Value::as_str);
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }
}

/// What stands at a dotted name.
pub(super) fn get<'m>(settings: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    let mut steps = name.split('.');
    let first = settings.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(step))
}

fn set(settings: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => _ = settings.insert(name.to_owned(), value),
        Some((table, rest)) => {
            let table = settings.entry(table).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(members) = table {
                set(members, rest, value);
            }
        }
    }
}

fn json(native: &Native) -> Value {
    match native {
        Native::Text(text) => text.as_str().into(),
        Native::Integer(number) => (*number).into(),
        Native::Decimal(number) => number.parse::<f64>().unwrap_or_default().into(),
        Native::Flag(flag) => (*flag).into(),
    }
}

/// A value of the kind that its key holds. The reason never repeats a secret.
fn read(key: &Key, node: &Node) -> Result<Native, String> {
    let told = |error: Error| if key.secret { "has to be a string in quotes".to_owned() } else { error.shown(node) };
    let value = match key.kind() {
        KeyKind::Text | KeyKind::Url => Native::Text(String::deserialize(node).map_err(told)?),
        KeyKind::Number => match Native::deserialize(node) {
            Ok(number @ (Native::Integer(_) | Native::Decimal(_))) => number,
            _ => return Err("has to be a number".to_owned()),
        },
        KeyKind::Integer => Native::Integer(i64::deserialize(node).map_err(|_| "has to be a whole number".to_owned())?),
        KeyKind::Flag => Native::Flag(bool::deserialize(node).map_err(told)?),
    };
    if let Native::Text(text) = &value {
        if key.secret {
            intact(text)?;
        }
        if text.is_empty() && (key.secret || key.required) {
            return Err("is empty".to_owned());
        }
    }
    if !key.values.is_empty() && !key.values.contains(&value) {
        let values: Vec<_> = key.values.iter().map(|value| json(value).to_string()).collect();
        return Err(format!("has to be {}", values.join(" or ")));
    }
    Ok(value)
}

/// The path of a whole URL, with its query.
fn path_of(text: &str) -> Result<String, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or("has to be a path that begins with /, or a URL")?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("holds more than host, path and query".to_owned());
    }
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    Ok(format!("{}{query}", url.path()))
}
