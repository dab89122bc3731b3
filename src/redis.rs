//! The connection to Redis, its settings, the one key prefix.

use crate::senders::SecretString;

/// `[redis]`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `redis://`, `rediss://`, or `embedded`. May carry a password.
    pub url: SecretString,
    /// Before every key.
    pub prefix: String,
}
