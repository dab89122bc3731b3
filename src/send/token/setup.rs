//! What the tokens of an account need: what the configuration and the platform state, and a way to send requests to the
//! platform.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::HeaderMap;

use crate::error::DeliveryError;
use crate::platforms::tokens::{Seed, TokenSource};
use crate::platforms::{Credential, Request};

/// The answer of a token endpoint.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// The text of its header `Retry-After`.
    pub retry_after: Option<String>,
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Sends a request to the platform and returns the answer.
///
/// # Errors
/// The class of a request without an answer.
pub type Exchange = Box<dyn Fn(Request) -> LocalBoxFuture<'static, Result<Reply, DeliveryError>>>;

/// What the tokens of an account need.
pub struct Setup {
    /// The account's name.
    pub account: Arc<str>,
    /// Its credentials, because some platforms want signed token requests.
    pub credentials: Vec<Credential>,
    pub source: Arc<dyn TokenSource>,
    /// The values of the configuration.
    pub seed: Seed,
    /// Sends requests to the platform.
    pub exchange: Exchange,
    /// How long one token request may take.
    pub timeout: Duration,
    /// Returns the time of day, epoch ms.
    pub now_ms: fn() -> i64,
}
