//! The connection to Redis: its settings, the one key prefix, what it must be to be relied on.

pub mod batcher;
pub mod facts;
pub mod health;
pub mod scripts;

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, RedisError};

use crate::senders::SecretString;

/// `[redis]`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `redis://`, `rediss://`; `embedded` until the embedded store's address is known. May carry a password.
    pub url: SecretString,
    /// Before every key.
    pub prefix: String,
}

/// How long an answer may take before the command counts as lost. The lease rule leaves 5 s for it.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);

impl Config {
    /// A client of this address; opens nothing yet.
    ///
    /// # Errors
    /// An address that is none; the text never contains it, since it may carry a password.
    pub fn client(&self) -> Result<Client, String> {
        Client::open(self.url.expose()).map_err(|error| {
            let why = error.detail().map(str::to_owned).unwrap_or_else(|| error.category().to_owned());
            format!("redis.url is not a Redis address ({why}): expected redis://[user:password@]host:port[/db] or rediss://…")
        })
    }

    /// A key of ours.
    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }
}

/// Opens a connection.
///
/// # Errors
/// What Redis or the network said.
pub async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECTION_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    client.get_multiplexed_async_connection_with_config(&config).await
}
