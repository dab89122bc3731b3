//! Credentials of accounts: the members that a platform states, and the values that the configuration holds.

use crate::secret::SecretString;

/// The members of a platform's credentials in `secrets = [{ id, …, not_before, not_after }]`.
#[derive(Clone, Copy, Debug)]
pub struct CredentialShape {
    /// The name of the member that holds the public half.
    pub public: &'static str,
    /// The name of the member that holds the secret half.
    pub secret: &'static str,
    /// What the platform calls the public half.
    pub title: &'static str,
    /// Says why a public half cannot be sent as it is, for example because it travels in a header.
    pub check: fn(&str) -> Result<(), &'static str>,
    /// The most accounts with one public half that the platform advises.
    pub advised_accounts: Option<usize>,
}

/// One credential of an account. Two credentials may overlap while an operator rotates them.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The name that logs show.
    pub id: String,
    pub key: String,
    pub secret: SecretString,
    /// Valid from this time on, epoch ms. `None`: no beginning.
    pub not_before_ms: Option<i64>,
    /// Valid until before this time, epoch ms. `None`: no end.
    pub not_after_ms: Option<i64>,
}

impl Credential {
    /// The last credential of the list that is valid at `now_ms` (SPEC section 12, 14).
    pub fn in_force(all: &[Credential], now_ms: i64) -> Option<&Credential> {
        all.iter().rev().find(|c| {
            c.not_before_ms.is_none_or(|from| from <= now_ms) && c.not_after_ms.is_none_or(|until| now_ms < until)
        })
    }
}
