//! What people want to know of a platform before they configure an account of it.

use serde::Serialize;

use super::Platform;

/// A platform in words and numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Description {
    /// `conversion`, `call`.
    pub kinds: Vec<&'static str>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unconfirmed {
    pub what: String,
    /// The key of an account that covers it; empty: none does.
    pub switch: String,
}

impl Description {
    /// What can be said of any platform.
    pub fn of(platform: &(impl Platform + ?Sized)) -> Self {
        let key = |name| KeyDescription { name, ..KeyDescription::default() };
        Self { keys: platform.keys().into_iter().map(key).collect(), batch_items: 1, ..Self::default() }
    }

    /// With what is not confirmed, and the keys that cover it.
    pub fn with_unconfirmed(mut self, rows: &[(&str, &str)]) -> Self {
        let row = |(what, switch): &(&str, &str)| Unconfirmed { what: (*what).into(), switch: (*switch).into() };
        self.unconfirmed = rows.iter().map(row).collect();
        self
    }
}

/// An account of the platform as a configuration states it; secrets come from the environment.
pub fn example(platform: &dyn Platform) -> String {
    let name = platform.name();
    let upper = name.to_uppercase();
    let mut text = format!("[accounts.my-{}]\nplatform = \"{name}\"\n", name.replace('_', "-"));
    if platform.base_url().is_empty() {
        text.push_str("base_url = \"https://receiver.example\"\n");
    }
    if let Some(shape) = platform.credential() {
        let variable = |half: &str| format!("${{{upper}_{}}}", half.to_uppercase());
        let (public, secret) = (shape.public, shape.secret);
        text.push_str(&format!(
            "secrets = [{{ id = \"a\", {public} = \"{}\", {secret} = \"{}\" }}]\n",
            variable(public),
            variable(secret)
        ));
    }
    for key in platform.describe().keys {
        let last = key.name.rsplit(['_', '.']).next().unwrap_or_default().to_uppercase();
        let value = match (&key.default, key.values.first()) {
            _ if key.secret => format!("\"${{{upper}_{last}}}\""),
            (Some(default), _) => default.clone(),
            (None, Some(first)) => first.clone(),
            (None, None) => "\"…\"".to_owned(),
        };
        let mark = if key.required || key.secret { "" } else { "# " };
        let note = match &key.values[..] {
            [] => String::new(),
            values => format!("  # {}", values.join(" | ")),
        };
        text.push_str(&format!("{mark}{} = {value}{note}\n", key.name));
    }
    text
}
