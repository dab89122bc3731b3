//! The keys of accounts as a file declares them, and what it says of native events.

use crate::platforms::declared::definition::{Definition, Key, KeyKind, Native, Ordered};
use crate::platforms::declared::engine::Compiler;

/// The keys that every account has.
const COMMON: [&str; 18] = [
    "platform",
    "base_url",
    "base_urls",
    "allow_http",
    "allow_private",
    "secrets",
    "limits",
    "call_limits",
    "retry",
    "rollout",
    "when_unavailable",
    "on_ambiguous",
    "map",
    "enabled",
    "proxy",
    "path",
    "reply",
    "validate",
];

/// Whether every account has this key, or the table that it is a member of.
fn is_common(name: &str) -> bool {
    name.split('.').next().is_some_and(|first| COMMON.contains(&first))
}

/// Whether it is a member of `validate` that a platform may have beside those of every account.
fn is_own_rule(name: &str) -> bool {
    name.strip_prefix("validate.").is_some_and(|rule| !matches!(rule, "max_event_age" | "max_future"))
}

impl Compiler<'_> {
    pub(super) fn keys(&self, definition: &Definition) {
        for (name, key) in definition.account.keys.iter() {
            let at = format!("account.keys.{name}");
            self.path(&at, name);
            if is_common(name) && !is_own_rule(name) {
                self.problem(&at, "is a key that every account has");
            }
            if name.strip_prefix("token.").is_some_and(|member| matches!(member, "access" | "refresh" | "auth_code")) {
                self.problem(&at, "is there already where the file has [token]");
            }
            let kind = key.kind();
            // A whole number is a number as well, and the text of a path is that of a URL.
            let kind_of = |value: &Native| match (kind, value.kind()) {
                (KeyKind::Number, KeyKind::Integer) => KeyKind::Number,
                (KeyKind::Url, KeyKind::Text) => KeyKind::Url,
                (_, own) => own,
            };
            if key.secret && kind != KeyKind::Text {
                self.problem(&at, "is secret, so that it has to be a text: only a text is masked wherever it stands");
            }
            if key.default.iter().chain(&key.values).any(|value| kind_of(value) != kind) {
                self.problem(&at, "has values or a default of different kinds");
            }
            if let Some(default) = &key.default {
                if !key.values.is_empty() && !key.values.contains(default) {
                    self.problem(&at, "has a default that is none of its values");
                }
                if key.required || key.secret {
                    self.problem(&at, "has a default, so that it is neither required nor secret");
                }
            }
        }
    }

    /// The keys that cover what nobody could confirm.
    pub(super) fn switches(&self, definition: &Definition) {
        for (at, row) in definition.unconfirmed.iter().enumerate() {
            let switch = row.switch.as_str();
            if !(switch.is_empty() || is_common(switch) || self.is_key(switch)) {
                let reason = "is no key of an account; leave it empty where none covers it";
                self.problem(&format!("unconfirmed.{at}.switch"), reason);
            }
        }
    }

    /// What only conversions obey stands without effect in a file that takes none.
    pub(super) fn only_calls(&self, definition: &Definition) {
        let stated = [
            ("events", !definition.events.0.is_empty()),
            ("require", !definition.require.0.is_empty()),
            ("check", !definition.check.0.is_empty()),
        ];
        for (key, _) in stated.iter().filter(|(_, is_stated)| *is_stated && definition.request.is_empty()) {
            let reason = "is about conversions, and there is no [[request]]; the rules of a call stand in [calls.NAME]";
            self.problem(key, reason);
        }
    }

    /// The native events of a file, or of one of its forms.
    pub(super) fn natives(&self, key: &str, events: &Ordered<Native>) {
        for (event, native) in events.iter() {
            let fine = match native {
                Native::Text(text) => !text.is_empty() && !text.chars().any(char::is_control),
                Native::Integer(_) => true,
                Native::Flag(_) | Native::Decimal(_) => false,
            };
            if !fine {
                self.problem(&format!("{key}.{event}"), "has to be a whole number, or a text that says something");
            }
        }
        let is_text = |native: &Native| matches!(native, Native::Text(_));
        if events.iter().any(|(_, native)| is_text(native)) && events.iter().any(|(_, native)| !is_text(native)) {
            let reason = "has numbers and texts, and `native` can only be one of both: write all of them in quotes";
            self.problem(key, reason);
        }
    }
}

impl Key {
    /// What it holds.
    pub(in crate::platforms::declared) fn kind(&self) -> KeyKind {
        let written = self.default.as_ref().or(self.values.first()).map(Native::kind);
        self.kind.or(written).unwrap_or(KeyKind::Text)
    }
}

impl Native {
    fn kind(&self) -> KeyKind {
        match self {
            Self::Text(_) => KeyKind::Text,
            Self::Integer(_) => KeyKind::Integer,
            Self::Decimal(_) => KeyKind::Number,
            Self::Flag(_) => KeyKind::Flag,
        }
    }
}
