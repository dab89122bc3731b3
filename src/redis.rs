//! The connection to Redis: its settings, the prefix of all keys, and what a server must fulfil to be relied on.

pub mod batcher;
pub mod error;
pub mod facts;
pub mod foreign;
pub mod health;
pub mod scripts;
pub mod tls;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, RedisResult};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::config::fields;
use crate::secret::SecretString;

/// The `[redis]` section.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// `redis://` or `rediss://`. It is `embedded` until the address of the embedded store is known. It may contain a
    /// password.
    #[serde(deserialize_with = "url")]
    pub url: SecretString,
    /// The prefix of every key.
    #[serde(deserialize_with = "prefix")]
    pub prefix: String,
    /// A PEM file of issuers that are trusted in addition to those of the machine. Empty: no further issuers.
    pub ca_file: String,
    /// The key that encrypts stored tokens. Empty: no account has rotating tokens, or the store is the embedded one.
    #[serde(deserialize_with = "fields::optional_secret")]
    pub token_key: SecretString,
}

/// The value of `url` that selects the store inside the process.
pub const EMBEDDED: &str = "embedded";

fn url<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    let url = fields::secret(from)?;
    let text = url.expose();
    // A URL contains no whitespace. A parser leaves it out or encodes it, and the password would become another one.
    if text.contains(char::is_whitespace) {
        return Err(D::Error::custom("holds a blank; inside a password write %20"));
    }
    let is_url =
        || (text.starts_with("redis://") || text.starts_with("rediss://")) && text.into_connection_info().is_ok();
    match text {
        EMBEDDED => Ok(url),
        _ if is_url() => Ok(url),
        _ => Err(D::Error::custom("has to be redis://[user:password@]host:port[/db], or rediss:// with TLS")),
    }
}

fn prefix<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let prefix = fields::words(from)?;
    if prefix.len() <= 64 && prefix.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(prefix);
    }
    Err(D::Error::custom("has to be 1 to 64 visible ASCII characters"))
}

/// How long an answer may take before the command counts as lost. The lease leaves 5 s for it. In unit tests the store
/// is a thread of the same process: if it is slow, the machine is busy.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 2 });
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 1 });

impl Config {
    /// A store at this URL, with the defaults of tests.
    #[cfg(test)]
    pub(crate) fn stub(url: impl Into<String>) -> Self {
        let (prefix, token_key) = ("pb".into(), SecretString::default());
        Self { url: SecretString::new(url), prefix, ca_file: String::new(), token_key }
    }

    /// Builds a client for this address. It opens no connection yet.
    ///
    /// # Errors
    /// Fails if the address is invalid, or if `ca_file` holds no certificates. The text never contains the address,
    /// because the address may contain a password.
    pub fn client(&self) -> Result<Client, String> {
        let client = Client::open(self.url.expose()).map_err(|error| {
            let why = error.detail().map(str::to_owned).unwrap_or_else(|| error.category().to_owned());
            format!("redis.url is not a Redis address ({why}): expected redis://[user:password@]host:port[/db] or rediss://…")
        })?;
        match self.ca_file.as_str() {
            "" => Ok(client),
            ca_file => tls::client(client.get_connection_info().clone(), Path::new(ca_file)),
        }
    }
}

/// Opens a connection.
///
/// # Errors
/// What Redis or the network said.
pub async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    connect_within(client, CONNECTION_TIMEOUT, RESPONSE_TIMEOUT).await
}

/// The clock that all processes share, epoch ms.
///
/// # Errors
/// What Redis or the network said.
pub async fn now_ms(c: &mut MultiplexedConnection) -> RedisResult<i64> {
    let (seconds, micros): (i64, i64) = ::redis::cmd("TIME").query_async(c).await?;
    Ok(seconds.saturating_mul(1000).saturating_add(micros / 1000))
}

/// Reads a hash. What is no UTF-8 in it is replaced: an entry that no worker wrote hides none of the others.
///
/// # Errors
/// What Redis or the network said.
pub async fn hash(c: &mut MultiplexedConnection, key: &str) -> RedisResult<BTreeMap<String, String>> {
    let found: BTreeMap<Vec<u8>, Vec<u8>> = ::redis::cmd("HGETALL").arg(key).query_async(c).await?;
    Ok(found.into_iter().map(|(field, value)| (text(&field), text(&value))).collect())
}

/// Reads a set in the same way.
///
/// # Errors
/// What Redis or the network said.
pub async fn members(c: &mut MultiplexedConnection, key: &str) -> RedisResult<Vec<String>> {
    let found: Vec<Vec<u8>> = ::redis::cmd("SMEMBERS").arg(key).query_async(c).await?;
    Ok(found.iter().map(|member| text(member)).collect())
}

/// The text of a value, with a sign in place of what is no UTF-8.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// Opens a connection, with other bounds.
///
/// # Errors
/// What Redis or the network said.
pub async fn connect_within(
    client: &Client,
    connecting: Duration,
    answer: Duration,
) -> Result<MultiplexedConnection, RedisError> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(connecting)).set_response_timeout(Some(answer));
    match client.get_multiplexed_async_connection_with_config(&config).await {
        Err(error) => Err(tls::explained(client, error).await),
        connected => connected,
    }
}
