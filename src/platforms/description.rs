//! What people want to know of a platform before they configure an account of it.

use schemars::JsonSchema;
use serde::Serialize;

/// A platform in words and numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Description {
    /// `conversion`, `call`.
    pub kinds: Vec<&'static str>,
    /// The names of its calls.
    pub calls: Vec<&'static str>,
    pub keys: Vec<KeyDescription>,
    /// What it suppresses repeats by. Empty: nothing is known.
    pub dedupes_by: String,
    /// For how long it does so.
    pub window: String,
    /// What happens if a conversion is sent twice.
    pub repeats: String,
    /// The most events of one request; 1: one by one.
    pub batch_items: usize,
    /// The most bytes of their items; `None`: it does not say.
    pub batch_bytes: Option<usize>,
    /// How much it takes per second, minute or day.
    pub limits: String,
    pub unconfirmed: Vec<Unconfirmed>,
    /// Where its rules were read.
    pub docs: String,
}

/// A key that only its accounts have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyDescription {
    /// Dotted.
    pub name: String,
    /// As TOML writes it.
    pub default: Option<String>,
    pub required: bool,
    pub secret: bool,
    /// What it may be; empty: anything.
    pub values: Vec<String>,
}

/// A rule that nobody could confirm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unconfirmed {
    pub what: String,
    /// The key of an account that covers it; empty: none does.
    pub switch: String,
}

impl Description {
    /// What can be said of any platform: the keys of its accounts.
    pub fn of(keys: Vec<String>) -> Self {
        let key = |name| KeyDescription { name, ..KeyDescription::default() };
        Self { keys: keys.into_iter().map(key).collect(), batch_items: 1, ..Self::default() }
    }

    /// With what is not confirmed, and the keys that cover it.
    pub fn with_unconfirmed(mut self, rows: &[(&str, &str)]) -> Self {
        let row = |(what, switch): &(&str, &str)| Unconfirmed { what: (*what).into(), switch: (*switch).into() };
        self.unconfirmed = rows.iter().map(row).collect();
        self
    }
}
