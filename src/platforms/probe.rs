//! What an account's platform lets find out harmlessly: `postback probe` tries one variant after the other.

use crate::error::{DeliveryError, Fault};
use crate::platforms::context::Context;
use crate::platforms::reading::HttpAnswer;
use crate::platforms::request::Request;

/// Requests that change nothing, and differ in what an account may have to configure. Pure, as a sender is.
pub trait Probe: Send + Sync {
    /// What is tried, in this order.
    fn variants(&self) -> &[Variant];

    /// What it cannot find out, in words; empty: nothing.
    fn leaves_open(&self) -> &'static str {
        ""
    }

    /// The request that tries a variant.
    ///
    /// # Errors
    /// No credential is in force.
    fn request(&self, variant: usize, context: &Context<'_>) -> Result<Request, Fault>;

    /// What the answer says of the variant.
    fn read(&self, answer: &HttpAnswer<'_>) -> ProbeReading;
}

/// One way to configure an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The keys below `[accounts.NAME]`, each with its value as TOML writes it.
    pub keys: Vec<(&'static str, String)>,
}

/// What came of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeReading {
    Accepted,
    /// Another variant may be accepted. In the platform's own words.
    Refused(String),
    /// No variant would be judged now.
    Failed(DeliveryError),
    /// Nothing that the platform's rules know: the status decides.
    Nothing,
}
