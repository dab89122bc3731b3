//! What a platform with access tokens states: how to ask for a token, and what the answer means. It keeps none: cache,
//! sharing between replicas and refreshing ahead are `send::token`.

use std::time::Duration;

use crate::error::{DeliveryError, Fault};
use crate::platforms::context::Context;
use crate::platforms::request::Request;
use crate::secret::SecretString;

/// A token is refreshed so long before it ends, unless a fifth of its life is less.
const AHEAD: Duration = Duration::from_secs(600);

/// A platform's way to tokens. Like a sender it has no network, no clock and no state.
pub trait TokenSource: Send + Sync {
    /// The request that asks for new tokens.
    ///
    /// # Errors
    /// A fault where no credential is in force.
    fn token_request(&self, grant: Grant<'_>, context: &Context<'_>) -> Result<Request, Fault>;

    /// What the answer brings. `now_ms` is the time of the answer, as for a verdict.
    ///
    /// # Errors
    /// `Halt`, `Permanent` and `Refresh` say that the grant is refused for good: somebody has to authorise the account anew.
    /// Every other class says that it may be asked again.
    fn token_from(
        &self,
        status: u16,
        retry_after: Option<&str>,
        body: &[u8],
        now_ms: i64,
    ) -> Result<Issued, DeliveryError>;

    /// When to refresh, epoch ms; `None`: not before the token is refused.
    fn refresh_at_ms(&self, life: &Life) -> Option<i64> {
        life.usual_refresh_ms()
    }
}

/// What new tokens are asked for with.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    /// The refresh token; most platforms accept each one only once.
    Refresh(&'a SecretString),
    /// The authorisation code, which is valid once and for minutes.
    Code(&'a SecretString),
}

/// What a platform issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The new access token.
    pub access: SecretString,
    /// The new refresh token; `None`: the old one stays valid.
    pub refresh: Option<SecretString>,
    /// End of the access token, epoch ms, where the platform states it.
    pub access_ends_ms: Option<i64>,
    /// End of the refresh token, epoch ms, where the platform states it.
    pub refresh_ends_ms: Option<i64>,
}

/// The token values that configuration states: where an account begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    /// An access token. Alone it is permanent: there is nothing to refresh it with.
    pub access: Option<SecretString>,
    /// A refresh token.
    pub refresh: Option<SecretString>,
    /// An authorisation code.
    pub code: Option<SecretString>,
}

impl Seed {
    /// Whether new tokens come of it, which have to be kept.
    pub fn rotates(&self) -> bool {
        self.refresh.is_some() || self.code.is_some()
    }
}

/// From when until when tokens are valid, epoch ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// When they were issued; 0: unknown, as that of a seed.
    pub issued_ms: i64,
    /// End of the access token; `None`: unknown.
    pub access_ends_ms: Option<i64>,
    /// End of the refresh token; `None`: unknown.
    pub refresh_ends_ms: Option<i64>,
}

impl Life {
    /// The first end of the two: past it the account has to be authorised anew, or sends nothing.
    pub fn first_end_ms(&self) -> Option<i64> {
        [self.access_ends_ms, self.refresh_ends_ms].into_iter().flatten().min()
    }

    fn usual_refresh_ms(&self) -> Option<i64> {
        let end = self.first_end_ms()?;
        let ahead = i64::try_from(AHEAD.as_millis()).unwrap_or(i64::MAX);
        Some(end - ahead.min((end - self.issued_ms) / 5))
    }
}
