//! The keys of an account that only its platform has, as one plain serde struct.

use serde::Serialize;
use serde_json::{Map, Value};

/// Every key of the struct, dotted. A key that is not set by default is there as well.
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

/// The keys as configured, with their defaults: what the platform's fake in the sandbox reads.
pub fn agreed<C: Serialize>(config: &C) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}
