//! What a platform with access tokens states: how to ask for a token, and what the answer means. It keeps no token:
//! `send::token` keeps them, shares them between replicas and refreshes them ahead.

use std::time::Duration;

use crate::error::{DeliveryError, Fault};
use crate::platforms::context::Context;
use crate::platforms::reading::HttpAnswer;
use crate::platforms::request::Request;
use crate::secret::SecretString;

/// A token is refreshed this long before it ends, or a fifth of its life before, if that is shorter.
const AHEAD: Duration = Duration::from_secs(600);

/// How a platform issues tokens. Like a sender it has no network, no clock and no state.
pub trait TokenSource: Send + Sync {
    /// Makes the request that asks for new tokens.
    ///
    /// # Errors
    /// A fault if no credential is in force.
    fn token_request(&self, grant: Grant<'_>, context: &Context<'_>) -> Result<Request, Fault>;

    /// Reads the tokens in the answer.
    ///
    /// # Errors
    /// `Halt`, `Permanent` and `Refresh` say that the grant is refused for good: an operator has to authorise the
    /// account again. Every other class says that the request may be repeated.
    fn token_from(&self, answer: &HttpAnswer<'_>) -> Result<Issued, DeliveryError>;

    /// When to refresh, epoch ms. `None`: only after the platform has refused the token.
    fn refresh_at_ms(&self, life: &Life) -> Option<i64> {
        life.usual_refresh_ms()
    }
}

/// What a request for new tokens presents.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    /// The refresh token. Most platforms accept each refresh token only once.
    Refresh(&'a SecretString),
    /// The authorisation code. It is valid once, and for a few minutes.
    Code(&'a SecretString),
}

/// The tokens that a platform issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub access: SecretString,
    /// The new refresh token. `None`: the old one stays valid.
    pub refresh: Option<SecretString>,
    /// When the access token ends, epoch ms, if the platform states it.
    pub access_ends_ms: Option<i64>,
    /// When the refresh token ends, epoch ms, if the platform states it.
    pub refresh_ends_ms: Option<i64>,
}

/// The tokens that the configuration states. An account begins with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// An access token. Without a refresh token or a code it is permanent: nothing can refresh it.
    pub access: Option<SecretString>,
    pub refresh: Option<SecretString>,
    pub code: Option<SecretString>,
}

impl Seed {
    /// Whether the account gets new tokens, which then have to be kept.
    pub fn rotates(&self) -> bool {
        self.refresh.is_some() || self.code.is_some()
    }
}

/// When tokens were issued and when they end, epoch ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// When they were issued; 0 if that is unknown, as for a seed.
    pub issued_ms: i64,
    /// When the access token ends; `None` if that is unknown.
    pub access_ends_ms: Option<i64>,
    /// When the refresh token ends; `None` if that is unknown.
    pub refresh_ends_ms: Option<i64>,
}

impl Life {
    /// The earlier end of the two. After it the account sends nothing, or an operator has to authorise it again.
    pub fn first_end_ms(&self) -> Option<i64> {
        [self.access_ends_ms, self.refresh_ends_ms].into_iter().flatten().min()
    }

    /// When to refresh a token of which nothing else is known.
    pub fn usual_refresh_ms(&self) -> Option<i64> {
        let end = self.first_end_ms()?;
        let ahead = i64::try_from(AHEAD.as_millis()).unwrap_or(i64::MAX);
        Some(end - ahead.min((end - self.issued_ms) / 5))
    }

    /// When this share of the time until the earlier end is over.
    pub fn after(&self, share: f64) -> Option<i64> {
        let life = self.first_end_ms()?.saturating_sub(self.issued_ms);
        let part = (life as f64 * share) as i64;
        Some(self.issued_ms.saturating_add(part))
    }
}
