//! `token`: where an account begins, and when it renews.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::config::fields;
use crate::platforms::tokens::Seed;
use crate::secret::SecretString;
use crate::units::parse_duration;

/// `token`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct TokenKeys {
    pub access: Option<Token>,
    pub refresh: Option<Token>,
    /// Valid once, for minutes after somebody has authorised the account.
    pub auth_code: Option<Token>,
    /// How long before the first end of a pair it is refreshed, e.g. `10m`.
    pub refresh_before: String,
}

impl Default for TokenKeys {
    fn default() -> Self {
        Self { access: None, refresh: None, auth_code: None, refresh_before: "10m".into() }
    }
}

/// A token in configuration. It is written out for the sandbox alone, which has to know it to check it.
#[derive(Clone, Debug, Deserialize)]
pub struct Token(#[serde(deserialize_with = "fields::secret")] SecretString);

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.expose())
    }
}

impl TokenKeys {
    /// `refresh_before` in milliseconds.
    pub(super) fn check(&self, wrong: &mut impl FnMut(&str, String)) -> Option<i64> {
        let day = Duration::from_secs(86_400);
        let before = parse_duration(&self.refresh_before).filter(|before| *before <= day);
        if before.is_none() {
            let text = &self.refresh_before;
            wrong("token.refresh_before", format!("{text:?} is no duration up to a day, e.g. \"10m\""));
        }
        before.and_then(|before| i64::try_from(before.as_millis()).ok())
    }

    pub(super) fn seed(&self) -> Seed {
        let secret = |token: &Option<Token>| token.as_ref().map(|token| token.0.clone());
        Seed { access: secret(&self.access), refresh: secret(&self.refresh), code: secret(&self.auth_code) }
    }
}
