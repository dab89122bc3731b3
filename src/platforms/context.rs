//! What differs from attempt to attempt.

use crate::platforms::credential::Credential;
use crate::secret::SecretString;

/// What a sender needs for a request beside the items.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The present time, epoch ms.
    pub now_ms: i64,
    /// The credential in force, if the platform has credentials.
    pub credential: Option<&'a Credential>,
    /// The access token in force, if the account sends with one.
    pub token: Option<&'a SecretString>,
}
