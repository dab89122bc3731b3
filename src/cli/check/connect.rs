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
use crate::redis::batcher::describe;
use crate::redis::facts::Facts;
use crate::redis::tls;
use crate::send::Dispatcher;
use crate::settings::Config;

/// The number of hosts that are asked at once.
const AT_ONCE: usize = 16;

/// The findings.
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
        self.notes.push(format!("{name:<10} {text}"));
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
mod tests {
    use super::*;

    fn loaded(over: &[(&str, &str)]) -> Config {
        let env = over.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(None, env).unwrap_or_else(|found| panic!("{found}")).config
    }

    #[tokio::test]
    async fn a_host_that_answers_is_noted_and_one_that_does_not_is_a_warning_with_its_mend() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = loaded(&[
            ("POSTBACK__ACCOUNTS__DEMO_BAIZHU__BASE_URL", &*url),
            ("POSTBACK__ACCOUNTS__DEMO_360_PS__BASE_URL", "http://127.0.0.1:1"),
        ]);
        let mut found = Findings::default();
        hosts(&config, true, &mut found).await;
        assert!(found.notes.iter().any(|note| note.contains(&url)), "{:?}", found.notes);
        let warning = found.warnings.iter().find(|w| w.contains("demo-360-ps")).unwrap();
        assert!(warning.contains("no connection") && warning.contains("curl -v http://127.0.0.1:1"), "{warning}");
        assert_eq!(found.warnings.len(), 1, "the demo's own platforms are not there yet: {found:?}");
        let played = found.notes.iter().find(|note| note.starts_with("played")).unwrap();
        assert!(played.contains("demo-360-zs, ") && !played.contains("demo-360-ps"), "{played}");
        assert_eq!(found.errors, Vec::<String>::new());
    }

    #[tokio::test]
    async fn parts_that_do_not_answer_are_warnings_since_the_start_waits_for_them() {
        let mut config = loaded(&[]);
        config.redis.url = crate::secret::SecretString::new("redis://:pa5sw0rd@127.0.0.1:1");
        let mut found = Findings::default();
        redis(&config, &mut found).await;
        assert_eq!(found.errors, Vec::<String>::new());
        assert!(found.warnings[0].contains("redis.url") && !found.warnings[0].contains("pa5sw0rd"), "{found:?}");
    }

    /// A certificate for `localhost` that nobody trusts, and its key; both were made for this test.
    const CERTIFICATE: &str = concat!(
        "MIIBlDCCATugAwIBAgIUR+upVgJZgpZckx7iFTBvzBPkmogwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDEx",
        "NDAwNFoYDzIxMjYxMDMxMTE0MDA0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ8MOf3kGTCm0LL",
        "utcJ6YwNonXV5z6fi47suy0Z/qln5k52woFwd7b8felT8WeVjoc5Mtfmw3LLPMajQS745Czvo2kwZzAdBgNVHQ4EFgQUnV4BytgROlP60KN0",
        "CWFsR9Eu8xMwHwYDVR0jBBgwFoAUnV4BytgROlP60KN0CWFsR9Eu8xMwDwYDVR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3Qw",
        "CgYIKoZIzj0EAwIDRwAwRAIgdlzR3TcDNgqg/9Apk6dhm2g8s6fX+J7Chcv2zKmw9YECIF/sa4MVK0wSpU/YhzVESzAYv4cs1SOgo3XWhUbB",
        "EKN0",
    );
    const KEY: &str = concat!(
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXsPSsWPt+F+J+VbWIEB4yCBFHIc9X8vfk6i7sGhkDtOhRANCAAQ8MOf3kGTC",
        "m0LLutcJ6YwNonXV5z6fi47suy0Z/qln5k52woFwd7b8felT8WeVjoc5Mtfmw3LLPMajQS745Czv",
    );

    /// Serves TLS with that certificate to every client; returns the port.
    fn serve_tls() -> u16 {
        use base64::Engine as _;
        use std::io::Read as _;
        let der = |text| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(der(KEY).into());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![der(CERTIFICATE).into()], key)
            .unwrap();
        let (config, listener) = (Arc::new(config), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut server = rustls::ServerConnection::new(config.clone()).unwrap();
                // The client breaks off during the handshake.
                let _ = rustls::Stream::new(&mut server, &mut stream).read(&mut [0; 64]);
            }
        });
        port
    }

    /// A configuration with one account at this URL.
    fn leading_to(url: String, allow_private: bool) -> Config {
        let mut config = loaded(&[]);
        let (name, mut account) = config.accounts.pop_first().unwrap();
        let own = Arc::get_mut(&mut account).unwrap();
        (own.base_urls, own.allow_private) = (vec![url], allow_private);
        config.accounts = [(name, account)].into();
        config
    }

    #[tokio::test]
    async fn a_certificate_that_nobody_trusts_would_halt_the_account() {
        let mut found = Findings::default();
        hosts(&leading_to(format!("https://localhost:{}", serve_tls()), true), false, &mut found).await;
        assert_eq!(found.errors.len(), 1, "{found:?}");
        let error = &found.errors[0];
        assert!(error.contains("certificate") && error.contains("base_url") && error.contains("would halt"), "{error}");
    }

    #[tokio::test]
    async fn a_proxys_certificate_that_nobody_trusts_would_halt_the_account() {
        let mut config = leading_to("https://platform.invalid".to_owned(), false);
        let account = config.accounts.values_mut().next().and_then(Arc::get_mut).unwrap();
        let (protocol, host) = (crate::account::proxy::ProxyProtocol::Https, "localhost".to_owned());
        account.proxy = Some(crate::account::proxy::Proxy { protocol, host, port: serve_tls(), login: None });
        let mut found = Findings::default();
        hosts(&config, false, &mut found).await;
        assert_eq!(found.errors.len(), 1, "{found:?}");
        let error = &found.errors[0];
        assert!(error.contains(".proxy is not valid") && error.contains("would halt; correct proxy or"), "{error}");
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_would_halt_the_account() {
        for scheme in ["http", "https"] {
            let mut found = Findings::default();
            hosts(&leading_to(format!("{scheme}://localhost:1"), false), false, &mut found).await;
            assert!(found.errors.len() == 1 && found.errors[0].contains("allow_private"), "{found:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_tried_again_and_so_a_warning() {
        let mut found = Findings::default();
        hosts(&leading_to("https://no-such-host.invalid".to_owned(), true), false, &mut found).await;
        assert!(found.errors.is_empty() && found.warnings[0].contains("does not resolve"), "{found:?}");
    }

    #[tokio::test]
    async fn a_clock_that_is_not_that_of_redis_is_a_warning_and_where_the_worker_would_hold_an_error() {
        let store = crate::embedded::store::Store::start().unwrap();
        let client = ::redis::Client::open(store.url()).unwrap();
        for (set_by_min, warnings, errors) in [(0, 0, 0), (-2, 1, 0), (2, 1, 0), (-10, 0, 1), (10, 0, 1)] {
            let mut found = Findings::default();
            crate::clock::set_by(set_by_min * 60_000);
            clock(&client, &mut found).await;
            crate::clock::set_by(0);
            assert_eq!((found.warnings.len(), found.errors.len()), (warnings, errors), "{set_by_min} min: {found:?}");
            let mut said = found.warnings.iter().chain(&found.errors);
            let apart = format!("{} min", set_by_min.unsigned_abs());
            assert!(said.all(|text| text.contains(&apart) && text.contains("set it (NTP)")), "{found:?}");
        }
    }

    #[test]
    fn what_redis_is_stands_in_one_line() {
        let info =
            "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\nmaxmemory:4194304\r\nused_memory:1048576\r\n";
        assert_eq!(told(&Facts::read(info)), "7.0.15, noeviction, 1 of 4 MiB used, 0 replicas");
        assert_eq!(told(&Facts::default()), "version hidden, policy hidden, no limit of memory, 0 replicas");
    }

    #[test]
    fn the_summary_counts_the_warnings() {
        let mut found = Findings::default();
        found.note("kafka", "3 brokers");
        assert_eq!(found.summary(), "connected: everything that was looked at is fit\n  kafka      3 brokers\n");
        found.warnings.push("x".to_owned());
        assert!(found.summary().starts_with("connected: 1 warning\n"));
    }
}
