//! The `[admin]` section: the address of the endpoint for operators, and the token that protects it.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, de::Error};

use crate::config::fields;
use crate::secret::SecretString;

/// The `[admin]` section.
#[derive(Clone, Debug, Deserialize)]
pub struct Admin {
    /// The address on which the console, the API, `/metrics`, `/live` and `/ready` listen.
    #[serde(deserialize_with = "fields::address")]
    pub listen: SocketAddr,
    /// The bearer token. Empty: only a client on this machine may change anything.
    #[serde(deserialize_with = "token")]
    pub token: SecretString,
    /// What the console shows on top, with a colour made of it: the name of the environment.
    #[serde(deserialize_with = "label")]
    pub label: String,
}

impl Admin {
    /// Whether clients on other hosts can reach the endpoint although no token is set.
    pub fn is_open(&self) -> bool {
        self.token.expose().is_empty() && !self.listen.ip().to_canonical().is_loopback()
    }
}

fn token<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    let token = fields::optional_secret(from)?;
    if token.expose().chars().all(|c| c.is_ascii_graphic()) {
        return Ok(token);
    }
    Err(D::Error::custom("may hold visible ASCII characters only, because it travels in a header"))
}

fn label<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let label = String::deserialize(from)?;
    if label.chars().count() <= 40 && !label.chars().any(char::is_control) {
        return Ok(label.trim().to_owned());
    }
    Err(D::Error::custom("is the name of the environment, at most 40 characters on one line, e.g. \"production\""))
}
