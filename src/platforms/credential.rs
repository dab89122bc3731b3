//! Who an account is to its platform: the shape that the platform states, and the credentials that configuration holds.

use crate::secret::SecretString;

/// What a credential of a platform consists of: the members of `secrets = [{ id, …, not_before, not_after }]`.
#[derive(Clone, Copy, Debug)]
pub struct CredentialShape {
    /// The member that holds the public half.
    pub public: &'static str,
    /// The member that holds the secret half.
    pub secret: &'static str,
    /// What the platform calls the public half.
    pub title: &'static str,
    /// Why a public half cannot be sent as it is, e.g. because it travels in a header.
    pub check: fn(&str) -> Result<(), &'static str>,
    /// The platform advises against more accounts with one public half.
    pub advised_accounts: Option<usize>,
}

/// One credential of an account; two may overlap while rotating.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its name in logs.
    pub id: String,
    /// The public half.
    pub key: String,
    /// The secret half.
    pub secret: SecretString,
    /// Holds from, epoch ms; `None`: always did.
    pub not_before_ms: Option<i64>,
    /// Holds until, exclusive, epoch ms; `None`: for ever.
    pub not_after_ms: Option<i64>,
}

impl Credential {
    /// The last listed one that holds at `now_ms` (SPEC section 12, 14).
    pub fn in_force(all: &[Credential], now_ms: i64) -> Option<&Credential> {
        all.iter().rev().find(|c| {
            c.not_before_ms.is_none_or(|from| from <= now_ms) && c.not_after_ms.is_none_or(|until| now_ms < until)
        })
    }
}
