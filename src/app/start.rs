//! The steps before a consumer joins its group: the start waits for Redis and Kafka and checks them. Only an answer of
//! theirs can refuse the start, not their silence.

mod first;
pub(super) mod inputs;
mod known;
mod switches;
pub mod topics;
mod wait;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use ::redis::Client;
use tokio::time::sleep;

pub use self::first::first;
pub use self::inputs::Fit;
pub use self::known::known_topics;
pub use self::switches::restore_switches;
pub use self::topics::{Waits, judge_topics, topics_of, waits};
pub use self::wait::Say;
use self::wait::{PAUSE, blocking};
use crate::app::names::Names;
use crate::clock::Shared;
use crate::kafka::topics::{AdminError, Cluster};
use crate::quiet::Told;
use crate::redis::error::describe;
use crate::redis::facts::Facts;
use crate::redis::health::Health;
use crate::settings::Config;

/// Waits for Redis and checks it.
///
/// # Errors
/// Returns the reasons that refuse the start, one per line.
pub async fn redis(client: &Client, health: &Health, say: &Say) -> Result<(), String> {
    let mut told = Told::default();
    loop {
        match facts(client).await {
            Ok(facts) => {
                let refusals = facts.refusals();
                if !refusals.is_empty() {
                    return Err(refusals.join("\n"));
                }
                told.warn(facts.warnings());
                let Some(why) = facts.hold() else {
                    health.set_primary(&facts.replication_id);
                    if !facts.is_embedded() {
                        compare_clocks(client, health).await;
                    }
                    health.answered();
                    return Ok(());
                };
                say(&format!("waiting: {why}"));
            }
            Err(error) => {
                let why = describe(&error);
                health.failed(&why);
                say(&format!("waiting for redis.url: {why}"));
            }
        }
        sleep(PAUSE).await;
    }
}

/// Compares the clocks before the first event is judged. If Redis does not answer now, the coordinator asks again
/// later.
async fn compare_clocks(client: &Client, health: &Health) {
    let _ = see_clock(client, &health.clock).await;
}

/// Reads Redis's clock into `clock`.
///
/// # Errors
/// Returns what Redis or the network said.
pub async fn see_clock(client: &Client, clock: &Shared) -> ::redis::RedisResult<()> {
    let mut connection = crate::redis::connect(client).await?;
    let asked = Instant::now();
    clock.saw(::redis::cmd("TIME").query_async(&mut connection).await?, asked);
    Ok(())
}

/// Reads what Redis says about itself.
///
/// # Errors
/// Returns what Redis or the network said.
pub async fn facts(client: &Client) -> ::redis::RedisResult<Facts> {
    let mut connection = crate::redis::connect(client).await?;
    let info: String = ::redis::cmd("INFO").query_async(&mut connection).await?;
    Ok(Facts::read(&info))
}

/// Waits for Kafka, creates the worker's own topics or names the missing ones, and checks everything that depends on
/// the broker.
///
/// # Errors
/// Returns the reasons that refuse the start, one per line.
pub async fn kafka(config: &Arc<Config>, cluster: &Arc<Cluster>, say: &Say) -> Result<Fit, String> {
    let mut told = Told::default();
    loop {
        let (config, cluster) = (config.clone(), cluster.clone());
        let looked = blocking(move || look_at_topics(&config, &cluster)).await.map(|(looked, warnings)| {
            told.warn(warnings);
            looked
        });
        match looked {
            Ok(Looked::Fit(fit)) => return Ok(fit),
            Ok(Looked::Waiting(waits)) => say(&format!("waiting for an input topic: {waits}")),
            Ok(Looked::Refused(why)) => return Err(why),
            Err(AdminError::NoAnswer(why)) => say(&format!("waiting for kafka.brokers: {why}")),
            Err(error) => return Err(format!("kafka: {error}")),
        }
        sleep(PAUSE).await;
    }
}

/// What a look at the topics found.
pub(super) enum Looked {
    Fit(Fit),
    Waiting(Waits),
    Refused(String),
}

/// Checks the topics, and returns the result and the warnings.
pub(super) fn look_at_topics(config: &Config, cluster: &Cluster) -> Result<(Looked, Vec<String>), AdminError> {
    if config.is_embedded() {
        // The embedded broker is created with its topics. It is one broker without settings, and it keeps nothing
        // durably, so there is no retention to check.
        let inputs = cluster.inputs()?;
        return Ok((Looked::Fit(Fit::of(&inputs, 0)), Vec::new()));
    }
    // The sizes that the worker's own topics have to accept are known only once the inputs exist and their settings can
    // be read.
    let sources = cluster.sources()?;
    if let Some(waits) = waits(config, &sources) {
        return Ok((Looked::Waiting(waits), Vec::new()));
    }
    let ensured = cluster.ensure(&topics_of(config), &sources)?;
    if !ensured.created.is_empty() {
        tracing::info!(topics = ensured.created.join(", "), "topics created");
    }
    let found = judge_topics(config, &sources, &ensured);
    let looked = match found.refusals.is_empty() {
        true => Looked::Fit(Fit::of(&sources.topics, sources.largest())),
        false => Looked::Refused(found.refusals.join("\n")),
    };
    Ok((looked, found.warnings))
}

/// Waits for the names of the topics to read: these inputs, which were checked before, and every retry tier and parking
/// topic.
pub async fn names(
    config: &Config,
    cluster: &Arc<Cluster>,
    inputs: BTreeSet<String>,
    say: &Say,
) -> Result<Names, String> {
    let waiting = topics_of(config).into_iter().map(|topic| topic.name).filter(|t| cluster.matching().is_waiting(t));
    let waiting: Vec<String> = waiting.collect();
    loop {
        let cluster = cluster.clone();
        match blocking(move || Names::read(&cluster)).await {
            Ok(mut names) => {
                names.waiting.extend(waiting);
                // Topics that were created since are left out here. Discovery checks them like all new topics.
                return Ok(Names { inputs, ..names });
            }
            Err(AdminError::NoAnswer(why)) => say(&format!("waiting for kafka.brokers: {why}")),
            Err(error) => return Err(format!("kafka: {error}")),
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn a_redis_that_does_not_answer_is_waited_for_and_named() {
        let client = crate::redis::Config::stub("redis://:secret@127.0.0.1:1").client().unwrap();
        let health = Health::default();
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        let say: Say = Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_owned()));
        let waits = tokio::time::timeout(Duration::from_millis(400), redis(&client, &health, &say)).await;
        assert!(waits.is_err(), "only an answer refuses a start");
        assert_eq!(*said.lock().unwrap(), ["waiting for redis.url: not reachable"]);
        assert_eq!(health.trouble().as_deref(), Some("not reachable"));
    }

    #[tokio::test]
    async fn a_redis_that_is_fit_ends_the_wait_and_its_primary_is_known() {
        let store = crate::embedded::store::Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let health = Health::default();
        let say: Say = Arc::new(|text: &str| panic!("waits: {text}"));
        redis(&client, &health, &say).await.unwrap();
        assert_eq!(health.trouble(), None);
        assert_eq!(*health.primary(), *facts(&client).await.unwrap().replication_id);
    }
}
