//! What an account and its declared platform agreed on.

use serde_json::Value;

use super::file::set;

/// One account of a declared platform.
#[derive(Debug)]
pub(super) struct Terms {
    /// Its index among all accounts of the sandbox.
    pub(super) index: usize,
    /// Its keys, with the file's defaults.
    pub(super) keys: Value,
    /// The path that it has instead of the file's.
    pub(super) path: Option<String>,
}

/// Lays a key over the defaults. What is null stays as it was.
pub(super) fn merge(keys: &mut Value, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            members.iter().for_each(|(member, value)| merge(keys, &format!("{name}.{member}"), value));
        }
        other => set(keys, name, other.clone()),
    }
}
