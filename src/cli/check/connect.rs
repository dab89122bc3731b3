//! `postback check --connect`: looks at everything that the configuration names, and creates nothing.
//!
//! It judges as the start and an attempt would. A finding is an error if it would refuse a start, halt an account, or
//! hold the worker until somebody mends it. Everything else is a warning.

use std::sync::Arc;

use ::redis::{ErrorKind, ServerErrorKind};
use futures_util::{StreamExt, stream};
use tokio::task::spawn_blocking;

use crate::account::Account;
use crate::app::local_sandbox::is_played;
use crate::app::start::{self, Waits};
use crate::cli::check::{access, rights};
use crate::clock::Shared;
use crate::error::DeliveryError;
use crate::kafka::topics::{AdminError, Cluster};
use crate::redis::error::describe;
use crate::redis::facts::Facts;
use crate::redis::tls;
use crate::send::Dispatcher;
use crate::settings::Config;

/// The number of hosts that are asked at once.
const AT_ONCE: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Findings that would refuse a start, halt an account or hold the worker until somebody mends them.
    pub errors: Vec<String>,
    /// All other findings.
    pub warnings: Vec<String>,
    /// Things that are as they should be.
    notes: Vec<String>,
}

impl Findings {
    /// The lines below the summary of the configuration.
    pub fn summary(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("  {note}\n")).collect();
        match self.warnings.len() {
            0 => format!("connected: everything that was looked at is fit\n{notes}"),
            1 => format!("connected: 1 warning\n{notes}"),
            n => format!("connected: {n} warnings\n{notes}"),
        }
    }

    fn note(&mut self, name: &str, text: impl std::fmt::Display) {
        self.notes.push(format!("{name:<11} {text}"));
    }
}

/// Looks at Kafka, Redis and the hosts. `alone`: there is no file, so the worker itself plays the platforms of the
/// demo's accounts.
pub(super) fn look(config: Config, alone: bool) -> Findings {
    let config = Arc::new(config);
    let mut found = Findings::default();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            found.errors.push(format!("nothing was looked at: no runtime: {error}"));
            return found;
        }
    };
    runtime.block_on(async {
        if config.is_embedded() {
            found.note("embedded", "Kafka and Redis run inside the worker: there is nothing to connect to");
        } else {
            kafka(&config, &mut found).await;
            redis(&config, &mut found).await;
        }
        hosts(&config, alone, &mut found).await;
    });
    // A query that hangs must not keep the process alive.
    runtime.shutdown_background();
    found
}

async fn kafka(config: &Arc<Config>, found: &mut Findings) {
    let cluster = match Cluster::new(&config.kafka) {
        Ok(cluster) => Arc::new(cluster),
        Err(error) => return found.errors.push(error.to_string()),
    };
    let (own, asked) = (config.clone(), cluster.clone());
    let looked = spawn_blocking(move || {
        let sources = cluster.sources()?;
        let ensured = cluster.inspect(&start::topics_of(&own), &sources)?;
        let topics = start::judge_topics(&own, &sources, &ensured);
        Ok((start::waits(&own, &sources), ensured, topics, cluster.broker_count()?))
    })
    .await
    .unwrap_or_else(|_| Err(AdminError::NoAnswer("the look at it broke off".into())));
    let (waits, ensured, topics, brokers) = match looked {
        Ok(looked) => looked,
        Err(AdminError::NoAnswer(why)) => {
            let mend = "start it, or correct kafka.brokers and [kafka.properties]; `postback run` waits for it";
            return found.warnings.push(format!("kafka.brokers: no answer ({why}): {mend}"));
        }
        Err(error) => {
            let mend = "correct [kafka.properties], or the rights of this user";
            return found.errors.push(format!("kafka.brokers: {error}: {mend}"));
        }
    };
    found.errors.extend(topics.refusals);
    found.warnings.extend(topics.warnings);
    found.note("kafka", format!("{brokers} broker{}", if brokers == 1 { "" } else { "s" }));
    match waits {
        Some(why @ Waits::Missing(_)) => {
            found.warnings.push(format!("kafka.input: {why}, and `postback run` waits for it: {}", make_input(config)));
        }
        Some(why @ Waits::Unread(_)) => {
            // The finding is reported once.
            found.warnings.retain(|warning| *warning != format!("kafka: {why}"));
            found.warnings.push(format!("kafka.input: `postback run` waits: {why}"));
        }
        None => {}
    }
    if config.kafka.create_topics && !ensured.missing.is_empty() {
        let names: Vec<&str> = ensured.missing.iter().map(|missing| missing.topic.as_str()).collect();
        found.note("to create", format!("{} (`postback run` does)", names.join(", ")));
    }
    let topic = config.kafka.dead_letter.clone();
    let access = spawn_blocking(move || asked.access(&topic)).await;
    let access = access.unwrap_or_else(|_| Err(AdminError::NoAnswer("the look at it broke off".into())));
    let judged = access::judge(&config.kafka.dead_letter, access);
    found.warnings.extend(judged.warnings);
    if let Some(note) = judged.note {
        found.note("access", note);
    }
}

fn make_input(config: &Config) -> String {
    match config.kafka.input.iter().find(|input| !input.starts_with('^')) {
        Some(topic) => format!(
            "kafka-topics.sh --bootstrap-server {} --create --topic {topic} --partitions {}",
            config.kafka.brokers, config.kafka.partitions
        ),
        None => "correct the pattern, or make a topic that fits it".to_owned(),
    }
}

async fn redis(config: &Config, found: &mut Findings) {
    let client = match config.redis.client() {
        Ok(client) => client,
        // The offline check reports this error already.
        Err(_) => return,
    };
    let prefix = &config.redis.prefix;
    match start::facts(&client).await {
        Ok(facts) => {
            found.errors.extend(facts.refusals());
            found.warnings.extend(facts.warnings());
            found.warnings.extend(facts.hold());
            found.note("redis", told(&facts));
            if !facts.is_embedded() {
                clock(&client, found).await;
            }
            match rights::refused(&client, prefix).await {
                Ok(refused) => found.errors.extend(refused.text(prefix)),
                Err(error) => found.warnings.push(format!("redis.url: the rights of its user: {}", describe(&error))),
            }
        }
        // INFO is refused, so nothing is known of this Redis. Other rights may be missing too, so the check goes on.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
            let refused = rights::refused(&client, prefix).await.ok().and_then(|refused| refused.text(prefix));
            found.errors.push(refused.unwrap_or_else(|| format!("redis.url: {}", describe(&error))));
        }
        Err(error) => {
            let mend = if tls::trouble(&error).is_some() { "" } else { ": start it, or correct redis.url" };
            found.warnings.push(format!("redis.url: {}{mend}; `postback run` waits for it", describe(&error)));
        }
    }
}

/// Compares our clock with that of Redis. A worker on this machine would warn over 60 s and hold over 5 min.
async fn clock(client: &::redis::Client, found: &mut Findings) {
    let clock = Shared::default();
    match start::see_clock(client, &clock).await {
        Ok(()) => match clock.trouble() {
            Some(trouble) => found.errors.push(trouble),
            None => found.warnings.extend(clock.warning()),
        },
        Err(error) => found.warnings.push(format!(
            "redis.url: TIME: {}: grant this user the command TIME; without it `postback run` cannot use Redis",
            describe(&error)
        )),
    }
}

fn told(facts: &Facts) -> String {
    let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
    let memory = match facts.memory {
        Some((used, max)) => format!("{} of {} MiB used", used >> 20, max >> 20),
        None => "no limit of memory".to_owned(),
    };
    let replicas = match facts.replicas {
        1 => "1 replica".to_owned(),
        n => format!("{n} replicas"),
    };
    format!("{}, {}, {memory}, {replicas}", or(&facts.version, "version hidden"), or(&facts.policy, "policy hidden"))
}

async fn hosts(config: &Config, alone: bool, found: &mut Findings) {
    // If a TLS provider is installed already, this call fails and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let enabled = config.accounts.values().filter(|account| account.enabled).cloned();
    let (played, asked): (Vec<_>, Vec<_>) = enabled.partition(|a| alone && is_played(&a.base_urls));
    if !played.is_empty() {
        let names: Vec<&str> = played.iter().map(|account| &*account.name).collect();
        found.note("played", format!("{} (the worker plays these platforms itself)", names.join(", ")));
    }
    let asked = asked.into_iter().map(host);
    let mut answers: Vec<Host> = stream::iter(asked).buffer_unordered(AT_ONCE).concat().await;
    answers.sort_by(|a, b| (&a.account, a.base).cmp(&(&b.account, b.base)));
    for Host { account, url, callback, result, .. } in answers {
        match result {
            Ok(()) => found.note("host", format!("{url} of {account}")),
            Err(error) => {
                let detail = error.answer().map_or("cannot be used", |answer| &answer.detail).to_owned();
                let text =
                    format!("accounts.{account}.{}: {url}: {detail}", if callback { "callbacks" } else { "base_url" });
                match error {
                    DeliveryError::Halt(_) => {
                        found.errors.push(format!("{text}: the account would halt{}", mend(&detail)))
                    }
                    _ => found.warnings.push(format!(
                        "{text}: mend {}DNS or the way out, e.g. try: curl -v {url}",
                        if callback { "" } else { "base_url, " }
                    )),
                }
            }
        }
    }
}

struct Host {
    account: Arc<str>,
    base: usize,
    url: String,
    /// It is a callback host and none of the base URLs.
    callback: bool,
    result: Result<(), DeliveryError>,
}

async fn host(account: Arc<Account>) -> Vec<Host> {
    let of = |base: usize, result| Host {
        account: account.name.clone(),
        base,
        url: account.base_urls.get(base).cloned().unwrap_or_default(),
        callback: false,
        result,
    };
    let dispatcher = match Dispatcher::new(account.clone(), Arc::default()) {
        Ok(dispatcher) => dispatcher,
        Err(detail) => {
            let answer = crate::error::Answer { detail, ..Default::default() };
            return vec![of(0, Err(DeliveryError::Halt(answer)))];
        }
    };
    let mut hosts = Vec::new();
    for (host, origin) in dispatcher.origins().enumerate() {
        let result = dispatcher.probe(host).await;
        hosts.push(match host < account.base_urls.len() {
            true => of(host, result),
            false => Host { url: origin, callback: true, ..of(host, result) },
        });
    }
    hosts
}

/// Says how to mend a halt if the finding itself does not say it.
fn mend(detail: &str) -> &'static str {
    if !detail.contains("certificate") {
        ""
    } else if detail.contains("proxy") {
        "; correct proxy or the proxy's certificate, or trust its issuer on this machine (SSL_CERT_FILE)"
    } else {
        "; correct base_url or the platform's certificate, or trust its issuer on this machine (SSL_CERT_FILE)"
    }
}

#[cfg(test)]
mod tests;
