//! What changes from attempt to attempt.

use crate::platforms::credential::Credential;
use crate::secret::SecretString;

/// What a request is made with, beside its items.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The present, epoch ms.
    pub now_ms: i64,
    /// The credential in force, where the platform has one.
    pub credential: Option<&'a Credential>,
    /// The access token in force, where the account sends with one.
    pub token: Option<&'a SecretString>,
}
