//! An account that the fakes know.

use std::fmt;

use serde_json::{Map, Value};

/// One account of a fake platform, as the worker's configuration has it.
#[derive(Clone)]
pub struct SandboxAccount {
    /// Its name in ledger and faults.
    pub name: String,
    /// Its platform's name in the worker's configuration.
    pub platform: String,
    /// What its platform has agreed with it: the keys of `[accounts.NAME]` as configured. A fake ignores keys that it
    /// does not know.
    pub settings: Map<String, Value>,
    /// Its credentials, public half and secret; several may be valid at once while rotating.
    pub credentials: Vec<(String, String)>,
}

// By hand, so that no secret is ever printed.
impl fmt::Debug for SandboxAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxAccount")
            .field("name", &self.name)
            .field("platform", &self.platform)
            .field("settings", &self.settings)
            .field("credentials", &self.credentials.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .finish()
    }
}

impl SandboxAccount {
    /// An account whose settings are this JSON object; anything else counts as no settings.
    pub fn new(name: &str, platform: &str, settings: Value, credentials: &[(&str, &str)]) -> SandboxAccount {
        SandboxAccount {
            name: name.to_owned(),
            platform: platform.to_owned(),
            settings: settings.as_object().cloned().unwrap_or_default(),
            credentials: credentials.iter().map(|(key, secret)| ((*key).to_owned(), (*secret).to_owned())).collect(),
        }
    }

    /// The settings as a fake's own struct; the problem names the account.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, String> {
        T::deserialize(Value::Object(self.settings.clone())).map_err(|error| format!("account {}: {error}", self.name))
    }
}
