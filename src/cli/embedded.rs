//! What a run without a file has inside its process, where commands in other terminals find it, and what is said of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;

use super::source::Api;
use super::{Exit, sandbox};
use crate::config::{Config, DEMO_URL};
use crate::sandbox::Sandbox;
use crate::senders::SecretString;

/// Plays the platforms of the demo's accounts, on a free loopback port, and points the accounts there. Accounts that the
/// environment leads elsewhere stay as they are; `None` where none is left.
///
/// # Errors
/// 1 where it cannot be started.
pub async fn platforms(config: &mut Config) -> Result<Option<Sandbox>, Exit> {
    let played = |urls: &[String]| urls.iter().all(|url| url == DEMO_URL);
    let mut accounts = sandbox::accounts(config);
    accounts.retain(|a| config.accounts.get(a.name.as_str()).is_some_and(|own| played(&own.base_urls)));
    if accounts.is_empty() {
        return Ok(None);
    }
    let sandbox = Sandbox::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), accounts)
        .await
        .map_err(|error| Exit::failed(format!("the sandbox does not start: {error}")))?;
    for account in config.accounts.values_mut() {
        // Nobody else holds an account before the worker is built.
        if let Some(account) = Arc::get_mut(account).filter(|a| played(&a.base_urls)) {
            account.base_urls = vec![sandbox.base_url()];
        }
    }
    Ok(Some(sandbox))
}

/// Where everything inside the process is, as people are told.
#[derive(Clone, Debug)]
pub struct Places {
    broker: String,
    store: String,
    sandbox: Option<String>,
}

impl Places {
    /// To be asked once the parts run ([`crate::app::embed`]).
    pub fn of(config: &Config, sandbox: Option<&Sandbox>) -> Places {
        Places {
            broker: config.kafka.brokers.clone(),
            store: config.redis.url.expose().to_owned(),
            sandbox: sandbox.map(Sandbox::base_url),
        }
    }

    /// What is told before the first event: that nothing lasts, and the addresses.
    pub fn banner(&self, admin: SocketAddr) -> String {
        let mut text = String::from(
            "NOTHING HERE IS DURABLE: broker and store are inside this process, and what they hold ends with it.\n",
        );
        text.push_str(&format!("  broker   {}\n  store    {}\n", self.broker, self.store));
        if let Some(url) = &self.sandbox {
            text.push_str(&format!("  sandbox  {url}   ledger {url}/_ledger   faults {url}/_faults\n"));
        }
        text.push_str(&format!("  API      http://{admin}/api/v1/status   metrics http://{admin}/metrics\n"));
        text.push_str("In another terminal, without options: postback send EVENTS.json, postback accounts list\n");
        text
    }
}

/// Where the embedded parts of a running worker listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// `host:port` of the broker.
    pub kafka: String,
    /// `redis://host:port` of the store.
    pub redis: String,
}

/// Asks the worker at `base`, a URL, where its embedded parts are.
///
/// # Errors
/// Nobody answers, or who does has none.
pub async fn find(base: &str) -> anyhow::Result<Addresses> {
    let status = Api::new(base, None)?.get("status").await.context(
        "Kafka and Redis are embedded in a running worker, and none answers: start `postback demo`, or name one with \
         --admin, or a configuration with real ones with --config",
    )?;
    let text = |name: &str| status["embedded"][name].as_str().map(str::to_owned);
    match (text("kafka"), text("redis")) {
        (Some(kafka), Some(redis)) => Ok(Addresses { kafka, redis }),
        _ => anyhow::bail!(
            "the worker at {base} has no embedded Kafka and Redis: name its configuration with --config, or start \
             `postback demo`"
        ),
    }
}

/// Enters the addresses of a running worker's embedded parts, where the configuration says `embedded`: the worker at
/// `admin`, or at `admin.listen`.
///
/// # Errors
/// 1, as [`find`].
pub async fn reach(config: &mut Config, admin: Option<&str>) -> Result<(), Exit> {
    if !config.is_embedded() {
        return Ok(());
    }
    let base = admin.map_or_else(|| format!("http://{}", config.admin.listen), str::to_owned);
    let found = find(&base).await.map_err(|error| Exit::failed(format!("{error:#}")))?;
    config.kafka.brokers = found.kafka;
    config.redis.url = SecretString::new(found.redis);
    Ok(())
}
