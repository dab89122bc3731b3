//! Finds Kafka and Redis for commands that read them: in the configuration, or in a running worker if its parts are
//! embedded.

use std::path::PathBuf;

use super::source::Known;
use super::{embedded, load};
use crate::exit::{self, Exit};
use crate::kafka::topics::Cluster;
use crate::settings::Config;

/// Options of commands that look into Kafka and Redis.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Reach {
    /// The worker's configuration file; without it that of `postback demo`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where Kafka and Redis are embedded: the running worker that has them [default: admin.listen]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
}

impl Reach {
    /// Loads the configuration and replaces embedded parts by the addresses of a running worker.
    ///
    /// # Errors
    /// 2 where the configuration is bad or --admin has no use, 1 where no worker with embedded parts answers.
    pub fn config(&self) -> Result<Config, Exit> {
        let mut config = load(self.config.as_deref())?;
        exit::block_on(embedded::reach(&mut config, self.admin.as_deref()))?;
        Ok(config)
    }
}

/// Makes a client of the cluster.
///
/// # Errors
/// 2 where librdkafka refuses the properties.
pub fn cluster(config: &Config) -> Result<Cluster, Exit> {
    Cluster::new(&config.kafka).map_err(|e| Exit::usage(e.to_string()))
}

/// Connects to Redis.
///
/// # Errors
/// 1: Redis does not answer.
pub async fn redis(config: &Config) -> Result<::redis::aio::MultiplexedConnection, Exit> {
    let known = Known { redis: &config.redis, kafka: None, accounts: &[], admin: "" };
    known.connect().await.map_err(|e| Exit::failed(format!("{e:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_parts_are_asked_of_a_running_worker() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let answer = r#"{"embedded":{"kafka":"127.0.0.1:9192","redis":"redis://127.0.0.1:6399"}}"#;
        let server = runtime.block_on(async {
            let router = axum::Router::new().route("/api/v1/status", axum::routing::get(move || async move { answer }));
            crate::admin::Server::start("127.0.0.1:0".parse().unwrap(), router).unwrap()
        });
        let reach = Reach { admin: Some(format!("http://{}", server.address())), ..Reach::default() };
        let config = reach.config().unwrap_or_else(|e| panic!("{}", e.text));
        assert_eq!((&*config.kafka.brokers, config.redis.url.expose()), ("127.0.0.1:9192", "redis://127.0.0.1:6399"));
    }

    #[test]
    fn without_a_running_worker_the_demo_is_named() {
        let reach = Reach { admin: Some("http://127.0.0.1:1".into()), ..Reach::default() };
        let error = reach.config().err().unwrap();
        assert_eq!(error.code, 1);
        for named in ["http://127.0.0.1:1", "postback demo", "--admin", "--config"] {
            assert!(error.text.contains(named), "{named}: {}", error.text);
        }
    }
}
