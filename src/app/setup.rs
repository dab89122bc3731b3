//! Derives from the configuration what the parts need: the metrics, which begin at zero, and the names of the topics.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::app::start;
use crate::kafka::matching::WaitingNames;
use crate::metrics::{Metrics, Setup};
use crate::operate::readiness::Embedded;
use crate::settings::Config;
use crate::settle::context::Topics;

/// The metrics, with every series of every configured account, tier and topic.
pub(super) fn metrics(config: &Config) -> Arc<Metrics> {
    let tiers: Vec<String> = config.retry.tiers.iter().map(|t| t.name.clone()).collect();
    let inputs: Vec<String> = config.kafka.input.iter().filter(|i| !i.starts_with('^')).cloned().collect();
    let waiting = WaitingNames::new(&config.kafka.retry_prefix, &config.kafka.parked_prefix);
    let read = |name: &String| waiting.is_tier(name) || waiting.is_parking(name);
    let owned = start::topics_of(config).into_iter().map(|t| t.name).filter(read);
    let metrics = Metrics::new(Setup {
        accounts: config.accounts.values().map(|a| (a.platform, a.name.clone())).collect(),
        tiers: &tiers,
        topics: inputs.iter().cloned().chain(owned).collect(),
    });
    metrics.storms.show(inputs.iter().map(String::as_str), &BTreeSet::new());
    for (index, account) in config.accounts.values().enumerate() {
        let counters = metrics.account(index);
        counters.concurrency_limit.set(account.limits.concurrency as i64);
        counters.max_parked.set(account.retry.max_parked.as_secs_f64());
        counters.set_secret_windows(account.credentials.iter().map(|c| (c.not_before_ms, c.not_after_ms)).collect());
    }
    metrics
}

/// Every topic that has to exist, and its number of partitions. The embedded broker is created with them.
pub(super) fn all_topics(config: &Config) -> Vec<(String, i32)> {
    let inputs = config.kafka.input.iter().map(|name| (name.clone(), config.kafka.partitions));
    inputs.chain(start::topics_of(config).into_iter().map(|topic| (topic.name, topic.partitions))).collect()
}

/// What the status shows about embedded parts.
pub(super) fn embedded(config: &Config) -> Option<Embedded> {
    let addresses = || Embedded { kafka: config.kafka.brokers.clone(), redis: config.redis.url.expose().to_owned() };
    config.is_embedded().then(addresses)
}

/// The names of the worker's own topics.
pub(super) fn topics_of(config: &Config) -> Topics {
    Topics {
        retry_prefix: config.kafka.retry_prefix.clone(),
        parked_prefix: config.kafka.parked_prefix.clone(),
        dead_letter: config.kafka.dead_letter.clone(),
        receipts: config.kafka.receipts.clone(),
    }
}
