//! The keys that only one platform's accounts have, as one plain serde struct.

use serde::Serialize;
use serde_json::{Map, Value};

/// The dotted names of all keys of the struct, also of those that have no default.
pub fn names<C: Default + Serialize>() -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in &agreed(&C::default()) {
        collect(key, value, &mut names);
    }
    names
}

fn collect(path: &str, value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| collect(&format!("{path}.{key}"), value, names));
        }
        _ => names.push(path.to_owned()),
    }
}

/// The keys as configured, with their defaults. The platform's fake in the sandbox reads them.
pub fn agreed<C: Serialize>(config: &C) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}
