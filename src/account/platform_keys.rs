//! The keys of an account that only its platform has, as they were configured.

use serde_json::{Map, Value};

/// See the module. They are kept as text, because they are read seldom and their tree takes two KiB of each account.
/// They may hold secrets, so they print nothing.
#[derive(Clone, Default)]
pub struct PlatformKeys(Box<str>);

impl PlatformKeys {
    pub fn new(keys: &Map<String, Value>) -> Self {
        // A tree of JSON can always be written.
        Self(serde_json::to_string(keys).unwrap_or_default().into())
    }

    pub fn read(&self) -> Map<String, Value> {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_as_they_were_written() {
        let keys = serde_json::json!({"b": 1.5, "a": {"x": [null, "é"], "n": -1}});
        let keys = keys.as_object().unwrap();
        assert_eq!(&PlatformKeys::new(keys).read(), keys);
        assert!(PlatformKeys::default().read().is_empty());
    }
}
