//! How long the topics that the worker reads keep their records. It is read again every minute, because an operator may
//! change it at any time.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::{AdminError, Cluster, TopicSettings};

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(60);
/// The time between two looks while Kafka does not answer.
const SOON: Duration = Duration::from_secs(5);

/// The retention of topics, by name, in ms. Topics that keep their records for ever, or whose settings cannot be read,
/// are not in it.
#[derive(Debug, Default)]
pub struct Retention(Mutex<HashMap<String, i64>>);

impl Retention {
    /// How long this topic keeps its records, in ms. `None`: for ever, or it is not known.
    pub fn of(&self, topic: &str) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied()
    }

    /// Replaces everything that is known.
    pub(crate) fn set(&self, all: HashMap<String, i64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

/// Starts to read the retention of every input, retry tier and parking topic. It ends when nobody else holds
/// `retention`.
///
/// # Errors
/// Fails if no thread can be started.
pub fn watch_retention(cluster: Arc<Cluster>, retention: &Arc<Retention>) -> io::Result<()> {
    let known = Arc::downgrade(retention);
    let work = move || watch(&cluster, &known);
    std::thread::Builder::new().name("kafka-retention".into()).spawn(work).map(|_| ())
}

fn watch(cluster: &Cluster, known: &Weak<Retention>) {
    loop {
        let wait = match (known.upgrade(), read(cluster)) {
            (None, _) => return,
            (Some(known), Ok(all)) => {
                known.set(all);
                EVERY
            }
            (Some(_), Err(error)) => {
                tracing::debug!(%error, "the retention of topics cannot be read");
                SOON
            }
        };
        std::thread::sleep(wait);
    }
}

fn read(cluster: &Cluster) -> Result<HashMap<String, i64>, AdminError> {
    let matching = cluster.matching();
    let topics = cluster.topics()?;
    let is_read = |name: &str| matching.is_input(name) || matching.is_waiting(name);
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).filter(|name| is_read(name)).collect();
    let described = cluster.describe(&names)?;
    Ok(described.into_iter().filter_map(|(name, settings)| Some((name, limit(&settings)?))).collect())
}

/// After how many ms the topic deletes a record. `None`: never, or it is not known.
fn limit(settings: &TopicSettings) -> Option<i64> {
    let deletes = settings.cleanup_policy.is_empty() || settings.cleanup_policy.contains("delete");
    settings.retention_ms.filter(|ms| deletes && *ms >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_keeps_its_records_for_ever_has_no_limit() {
        let settings = |retention_ms, policy: &str| TopicSettings {
            retention_ms,
            cleanup_policy: policy.into(),
            ..TopicSettings::default()
        };
        let rows = [
            (Some(1000), "delete", Some(1000)),
            (Some(1000), "compact,delete", Some(1000)),
            (Some(1000), "", Some(1000)),
            (Some(1000), "compact", None),
            (Some(-1), "delete", None),
            (None, "delete", None),
        ];
        for (retention_ms, policy, expected) in rows {
            assert_eq!(limit(&settings(retention_ms, policy)), expected, "{retention_ms:?} {policy}");
        }
    }
}
