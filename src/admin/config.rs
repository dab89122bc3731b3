//! `[admin]`: where operators look and touch, and what lets them.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, de::Error};

use crate::config::fields;
use crate::secret::SecretString;

/// `[admin]`.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Where API, `/metrics`, `/live` and `/ready` listen; the console is not in this version.
    #[serde(deserialize_with = "fields::address")]
    pub listen: SocketAddr,
    /// The bearer token; empty: only loopback may change anything.
    #[serde(deserialize_with = "token")]
    pub token: SecretString,
}

impl Config {
    /// Whether other hosts may change something without a token.
    pub fn is_open(&self) -> bool {
        self.token.expose().is_empty() && !self.listen.ip().to_canonical().is_loopback()
    }
}

fn token<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    let token = fields::secret(from)?;
    if token.expose().chars().all(|c| c.is_ascii_graphic()) {
        return Ok(token);
    }
    Err(D::Error::custom("may hold visible ASCII characters only, because it travels in a header"))
}
