//! One account of a fake platform.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// An account with the settings of the worker's configuration.
#[derive(Clone)]
pub struct SandboxAccount {
    /// The name of the account in ledger and faults.
    pub name: String,
    /// The name of its platform in the worker's configuration.
    pub platform: String,
    /// The terms that the account and its platform agreed on: the keys of `[accounts.NAME]` as configured. A fake
    /// ignores keys that it does not know.
    pub settings: Map<String, Value>,
    /// The TOML file of its platform, where the worker was given one that is not among those it ships.
    pub platform_file: Option<Arc<str>>,
    /// The credentials, each a public half and a secret. Several may be valid at once during a rotation.
    pub credentials: Vec<(String, String)>,
}

// Written by hand, so that it never prints a secret.
impl fmt::Debug for SandboxAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxAccount")
            .field("name", &self.name)
            .field("platform", &self.platform)
            // Their values may be tokens.
            .field("settings", &self.settings.keys().collect::<Vec<_>>())
            .field("credentials", &self.credentials.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .finish()
    }
}

impl SandboxAccount {
    /// Makes an account whose settings are this JSON object. Any other value means no settings.
    pub fn new(name: &str, platform: &str, settings: Value, credentials: &[(&str, &str)]) -> SandboxAccount {
        SandboxAccount {
            name: name.to_owned(),
            platform: platform.to_owned(),
            settings: settings.as_object().cloned().unwrap_or_default(),
            platform_file: None,
            credentials: credentials.iter().map(|(key, secret)| ((*key).to_owned(), (*secret).to_owned())).collect(),
        }
    }

    /// Reads the settings into a fake's own struct. A problem names the account.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, String> {
        T::deserialize(Value::Object(self.settings.clone())).map_err(|error| format!("account {}: {error}", self.name))
    }
}
