//! Finds the state of a running worker: in Redis, or behind `--admin URL`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use anyhow::{Context as _, bail};

use super::audit::publish_waiting;
use super::embedded::find;
use crate::admin::client::Api;
use crate::exit::Exit;
use crate::kafka;
use crate::operate::foreign::{self, describe_with_keys};
use crate::operate::{Keys, unknown_account};
use crate::redact::mask_text;
use crate::redis::foreign::ForeignKeys;
use crate::redis::{Config, tls};
use crate::secret::SecretString;
use crate::similar::nearest;

const PATIENCE: Duration = Duration::from_secs(5);

/// Options of every command that asks a running worker.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Access {
    /// The worker's configuration file; without one, a running `postback demo` is asked
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Ask the worker at this address instead of Redis, e.g. http://127.0.0.1:9464 (the default where Redis is
    /// embedded)
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// The worker's admin.token, where it has one
    #[arg(long, value_name = "TOKEN", env = "POSTBACK_ADMIN_TOKEN", hide_env_values = true, value_parser = secret)]
    pub token: Option<SecretString>,
}

impl Access {
    /// Makes the API that `--admin` names; `None`: the option is missing.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn api(&self) -> anyhow::Result<Option<Api>> {
        self.admin.as_deref().map(|url| Api::new(url, self.token.clone())).transpose()
    }
}

fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::new(text))
}

/// The parts of the configuration that these commands need.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The section `[redis]`.
    pub redis: &'a Config,
    /// The section `[kafka]`, for the audit of changes.
    pub kafka: Option<&'a kafka::Config>,
    /// Platform and name of every configured account.
    pub accounts: &'a [(&'static str, Arc<str>)],
    /// The URL of a worker's API. It is asked for the address of an embedded store.
    pub admin: &'a str,
}

impl Known<'_> {
    /// Refuses an account that is not configured.
    ///
    /// # Errors
    /// The account is not configured. The text suggests a similar name.
    pub fn account(&self, account: &str) -> anyhow::Result<()> {
        if self.accounts.iter().any(|(_, name)| &**name == account) {
            return Ok(());
        }
        let close = nearest(account, self.accounts.iter().map(|(_, name)| &**name));
        bail!(Exit::usage(unknown_account(account, close)))
    }

    /// The keys under the configured prefix.
    pub fn keys(&self) -> Keys {
        Keys::new(&self.redis.prefix)
    }

    /// Finds the shared keys that hold what no worker wrote, and warns of them. What the other keys tell is shown.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn foreign(&self, connection: &mut MultiplexedConnection) -> anyhow::Result<ForeignKeys> {
        let foreign = ForeignKeys::default();
        foreign::name(connection, &self.keys(), &foreign).await.context("Redis does not answer")?;
        let names = foreign.names();
        if !names.is_empty() {
            eprintln!("warning: {}", crate::redis::foreign::text(&names));
        }
        Ok(foreign)
    }

    /// Publishes the audit entry of the change that was just made.
    pub async fn publish_audit(&self, connection: &mut MultiplexedConnection) {
        let Some(kafka) = self.kafka else { return };
        let mut kafka = kafka.clone();
        if self.redis.url.expose() == "embedded" {
            // The change went to the store of a running worker, which publishes the entry itself.
            let Ok(found) = find(self.admin).await else { return };
            kafka.brokers = found.kafka;
        }
        publish_waiting(connection, &self.keys(), &kafka).await;
    }

    /// Connects to Redis. If Redis is embedded, it connects to the store of a running worker.
    ///
    /// # Errors
    /// Nobody answers. The text says what was tried, without credentials.
    pub async fn connect(&self) -> anyhow::Result<MultiplexedConnection> {
        // If a TLS provider is installed already, this call fails and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (url, cure) = match self.redis.url.expose() {
            "embedded" => (SecretString::new(find(self.admin).await?.redis), "ask again"),
            _ => (self.redis.url.clone(), "start it, or correct redis.url"),
        };
        let shown = mask_text(url.expose()).into_owned();
        let client = Config { url, ..self.redis.clone() }.client().map_err(anyhow::Error::msg)?;
        crate::redis::connect_within(&client, PATIENCE, PATIENCE).await.map_err(|error| {
            let why = tls::trouble(&error).unwrap_or_else(|| format!("{}; {cure}", mask_text(&error.to_string())));
            anyhow::anyhow!("Redis at {shown} does not answer: {why}")
        })
    }
}

/// Redis has not confirmed a change.
pub async fn not_confirmed(c: &mut MultiplexedConnection, keys: &Keys, error: &::redis::RedisError) -> anyhow::Error {
    let why = describe_with_keys(c, keys, error).await;
    anyhow::anyhow!("Redis did not confirm the change; it is safe to repeat it: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known<'a>(redis: &'a Config, accounts: &'a [(&'static str, Arc<str>)]) -> Known<'a> {
        Known { redis, kafka: None, accounts, admin: "http://127.0.0.1:1" }
    }

    #[test]
    fn an_unknown_account_is_refused_with_the_name_that_was_meant() {
        let redis = Config {
            url: SecretString::new("redis://x"),
            prefix: "pb".into(),
            ca_file: String::new(),
            token_key: SecretString::default(),
        };
        let accounts = [("qihoo360", "acme-ps".into())];
        let known = known(&redis, &accounts);
        assert!(known.account("acme-ps").is_ok());
        let exit = Exit::from(known.account("acme-sp").unwrap_err());
        assert_eq!(exit.text, "no account `acme-sp` is configured; did you mean `acme-ps`?");
        assert_eq!(exit.code, 2);
    }

    #[tokio::test]
    async fn an_embedded_store_that_nobody_runs_names_the_demo() {
        let redis = Config {
            url: SecretString::new("embedded"),
            prefix: "pb".into(),
            ca_file: String::new(),
            token_key: SecretString::default(),
        };
        let error = format!("{:#}", known(&redis, &[]).connect().await.err().unwrap());
        assert!(error.contains("postback demo"), "{error}");
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_named_without_its_password() {
        let redis = Config {
            url: SecretString::new("redis://user:pa5sw0rd@127.0.0.1:1/0"),
            prefix: "pb".into(),
            ca_file: String::new(),
            token_key: SecretString::default(),
        };
        let error = format!("{:#}", known(&redis, &[]).connect().await.err().unwrap());
        assert!(error.contains("127.0.0.1:1") && !error.contains("pa5sw0rd"), "{error}");
        let redis = Config {
            url: SecretString::new("radish://user:pa5sw0rd@x"),
            prefix: "pb".into(),
            ca_file: String::new(),
            token_key: SecretString::default(),
        };
        let error = format!("{:#}", known(&redis, &[]).connect().await.err().unwrap());
        assert!(error.contains("redis.url") && !error.contains("pa5sw0rd"), "{error}");
    }

    #[tokio::test]
    async fn a_worker_is_asked_with_its_token_and_its_refusal_is_shown() {
        use axum::http::{HeaderMap, StatusCode};
        use axum::routing::get;
        let answer = |headers: HeaderMap| async move {
            match headers.get("authorization").and_then(|v| v.to_str().ok()) {
                Some("Bearer t0ken") => (StatusCode::OK, r#"[{"account":"acme-ps"}]"#),
                _ => (StatusCode::UNAUTHORIZED, r#"{"error":{"message":"send the token"}}"#),
            }
        };
        let unknown = || async { (StatusCode::NOT_FOUND, r#"{"error":{"message":"no account"}}"#) };
        let router = axum::Router::new()
            .route("/api/v1/accounts", get(answer))
            .route("/api/v1/x", get(|| async { "hi" }))
            .route("/api/v1/none", get(unknown));
        let server = crate::admin::Server::start("127.0.0.1:0".parse().unwrap(), router).unwrap();
        let url = format!("http://{}/", server.address());
        let access = |token: &str| Access {
            admin: Some(url.clone()),
            token: Some(SecretString::new(token)),
            ..Access::default()
        };
        let api = access("t0ken").api().unwrap().unwrap();
        assert_eq!(api.get("accounts").await.unwrap()[0]["account"], "acme-ps");
        assert_eq!(api.get("x").await.unwrap(), serde_json::Value::Null);
        assert!(api.get("y").await.unwrap_err().to_string().contains("is that a postback worker?"));
        let error = access("").api().unwrap().unwrap().get("accounts").await.unwrap_err().to_string();
        assert!(error.contains("send the token") && error.contains("POSTBACK_ADMIN_TOKEN"), "{error}");
        let bare = Access { admin: Some(server.address().to_string()), ..access("t0ken") };
        assert_eq!(bare.api().unwrap().unwrap().get("accounts").await.unwrap()[0]["account"], "acme-ps");
        for wrong in ["", "ftp://127.0.0.1:1", "http://", "127.0.0.1:port"] {
            let exit = Exit::from(Api::new(wrong, None).err().unwrap_or_else(|| panic!("{wrong} is taken")));
            assert!(exit.code == 2 && exit.text.contains("http://127.0.0.1:9464"), "{wrong}: {exit:?}");
        }
        let exit = Exit::from(api.get("none").await.unwrap_err());
        assert!(exit.code == 2 && exit.text.contains("no account"), "{exit:?}");
    }
}
