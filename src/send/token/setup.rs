//! What an account's tokens are made of: what configuration and its platform state, and the way to the platform.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::error::DeliveryError;
use crate::platforms::tokens::{Seed, TokenSource};
use crate::platforms::{Credential, Request};

/// The answer of a token endpoint.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After` as it came.
    pub retry_after: Option<String>,
    /// The whole body.
    pub body: Bytes,
}

/// Sends a request to the platform and brings the answer.
///
/// # Errors
/// The class of a request without an answer.
pub type Exchange = Box<dyn Fn(Request) -> LocalBoxFuture<'static, Result<Reply, DeliveryError>>>;

/// What the tokens of an account are made of.
pub struct Setup {
    /// The account's name.
    pub account: Arc<str>,
    /// Its credentials: some token requests are signed.
    pub credentials: Vec<Credential>,
    pub source: Arc<dyn TokenSource>,
    /// What configuration states.
    pub seed: Seed,
    /// The way to the platform.
    pub exchange: Exchange,
    /// How long one token request may take.
    pub timeout: Duration,
    /// The time of day, epoch ms.
    pub now_ms: fn() -> i64,
}
