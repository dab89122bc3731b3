//! The embedded parts of a run without a configuration file: their addresses, and what commands say about them.

use std::net::SocketAddr;

use anyhow::Context as _;

use crate::admin::client::Api;
use crate::exit::Exit;
use crate::sandbox::Sandbox;
use crate::secret::SecretString;
use crate::settings::Config;

/// Says why a worker without a file may not run with this configuration: the environment names a real Kafka, and the
/// accounts would be those of the demo.
pub fn refusal(config: &Config) -> Option<String> {
    (!config.is_embedded()).then(|| {
        "kafka.brokers and redis.url name real ones (POSTBACK__KAFKA__BROKERS, POSTBACK__REDIS__URL), but there is no \
         file, and without one the accounts are those of the demo: name the worker's own with --config FILE, or unset \
         both"
            .to_owned()
    })
}

/// The addresses inside the process, as the banner shows them.
#[derive(Clone, Debug)]
pub struct Places {
    broker: String,
    store: String,
    sandbox: Option<String>,
}

impl Places {
    /// Collects the addresses. Call it when the parts run ([`crate::app::embed`]).
    pub fn of(config: &Config, sandbox: Option<&Sandbox>) -> Places {
        Places {
            broker: config.kafka.brokers.clone(),
            store: config.redis.url.expose().to_owned(),
            sandbox: sandbox.map(Sandbox::base_url),
        }
    }

    /// The text before the first event: nothing is durable, and the addresses.
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

/// The addresses of the embedded parts of a running worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// `host:port` of the broker.
    pub kafka: String,
    /// `redis://host:port` of the store.
    pub redis: String,
}

/// Asks the worker at the URL `base` for the addresses of its embedded parts.
///
/// # Errors
/// Nobody answers, or the worker has no embedded parts.
pub async fn find(base: &str) -> anyhow::Result<Addresses> {
    let status = Api::new(base, None)?.get("status").await.context(
        "Kafka and Redis are asked of a running worker, unless --config names them; start `postback demo` to have one",
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

/// Replaces `embedded` in the configuration by the addresses of a running worker: the one at `admin`, or else at
/// `admin.listen`.
///
/// # Errors
/// 1, as [`find`]; 2 where `admin` is given although no part is embedded.
pub async fn reach(config: &mut Config, admin: Option<&str>) -> Result<(), Exit> {
    if !config.is_embedded() {
        let refuse = |_| Err(Exit::usage("--admin has no use here: kafka.brokers names a real Kafka"));
        return admin.map_or(Ok(()), refuse);
    }
    let base = admin.map_or_else(|| format!("http://{}", config.admin.listen), str::to_owned);
    let found = find(&base).await?;
    config.kafka.brokers = found.kafka;
    config.redis.url = SecretString::new(found.redis);
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(None, env).unwrap_or_else(|found| panic!("{found}")).config
    }

    /// Serves an API whose status is this text.
    fn worker(status: &'static str) -> crate::admin::Server {
        let router = axum::Router::new().route("/api/v1/status", get(move || async move { status }));
        crate::admin::Server::start("127.0.0.1:0".parse().unwrap(), router).unwrap()
    }

    #[tokio::test]
    async fn the_addresses_are_those_of_the_worker_that_is_asked() {
        let one = worker(r#"{"embedded": {"kafka": "127.0.0.1:2", "redis": "redis://127.0.0.1:3"}}"#);
        let listen = one.address().to_string();
        let mut by_default = config(&[("POSTBACK__ADMIN__LISTEN", &listen)]);
        reach(&mut by_default, None).await.unwrap();
        let mut by_option = config(&[("POSTBACK__ADMIN__LISTEN", "127.0.0.1:1")]);
        reach(&mut by_option, Some(&format!("http://{listen}/"))).await.unwrap();
        for found in [by_default, by_option] {
            assert_eq!((&*found.kafka.brokers, found.redis.url.expose()), ("127.0.0.1:2", "redis://127.0.0.1:3"));
        }
    }

    #[tokio::test]
    async fn nobody_there_and_a_worker_without_embedded_parts_are_told_apart() {
        let error = reach(&mut config(&[]), Some("http://127.0.0.1:1")).await.unwrap_err();
        assert!(error.code == 1 && error.text.contains("start `postback demo`"), "{error:?}");
        let real = worker(r#"{"embedded": null}"#);
        let error = reach(&mut config(&[]), Some(&format!("http://{}", real.address()))).await.unwrap_err();
        assert!(error.code == 1 && error.text.contains("has no embedded Kafka and Redis"), "{error:?}");
    }

    #[tokio::test]
    async fn beside_a_real_kafka_a_worker_that_is_named_is_refused() {
        let real = [("POSTBACK__KAFKA__BROKERS", "127.0.0.1:1"), ("POSTBACK__REDIS__URL", "redis://127.0.0.1:1")];
        let error = reach(&mut config(&real), Some("http://127.0.0.1:1")).await.unwrap_err();
        assert!(error.code == 2 && error.text.contains("--admin has no use here"), "{error:?}");
        assert!(reach(&mut config(&real), None).await.is_ok());
        let error = reach(&mut config(&[]), Some("ftp://127.0.0.1:1")).await.unwrap_err();
        assert!(error.code == 2 && error.text.contains("--admin must be a URL"), "{error:?}");
    }

    #[test]
    fn the_demos_accounts_do_not_run_beside_a_real_kafka() {
        assert_eq!(refusal(&config(&[])), None);
        let real = [("POSTBACK__KAFKA__BROKERS", "127.0.0.1:1"), ("POSTBACK__REDIS__URL", "redis://127.0.0.1:1")];
        assert!(refusal(&config(&real)).unwrap().contains("--config FILE"));
    }

    #[test]
    fn the_banner_says_that_nothing_lasts_and_where_everything_is() {
        let places = Places { broker: "b:1".into(), store: "redis://s:2".into(), sandbox: Some("http://p:3".into()) };
        let banner = places.banner("127.0.0.1:9464".parse().unwrap());
        for part in
            ["NOTHING HERE IS DURABLE", "b:1", "redis://s:2", "http://p:3/_faults", "http://127.0.0.1:9464/metrics"]
        {
            assert!(banner.contains(part), "{part}: {banner}");
        }
    }
}
