//! How long the topics that the worker reads keep their records, and since when they keep those that it cannot read.
//! The retention is read again every minute, because an operator may change it at any time.

mod unread;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use self::unread::Unread;
use super::{AdminError, Cluster, TopicSettings};
use crate::clock::now_ms;

/// The time between two looks at the retention.
const EVERY: Duration = Duration::from_secs(60);
/// The time between two looks at what is asked for, and while Kafka does not answer.
const SOON: Duration = Duration::from_secs(5);

/// How long topics keep their records.
#[derive(Debug, Default)]
pub struct Retention {
    /// In ms, by topic. Topics that keep their records for ever, or whose settings cannot be read, are not in it.
    limits: Mutex<HashMap<String, i64>>,
    unread: Mutex<Unread>,
}

impl Retention {
    /// How long this topic keeps its records, in ms. `None`: for ever, or it is not known.
    pub fn of(&self, topic: &str) -> Option<i64> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied()
    }

    /// The timestamp of the first record at this offset or after it, epoch ms, by what the broker says of times: it may
    /// be older than the record by a thousandth of the retention. `None`: it is asked for, and is known a few seconds
    /// later.
    pub fn stored_ms(&self, topic: &str, partition: i32, offset: i64) -> Option<i64> {
        self.unread().stored_ms(topic, partition, offset)
    }

    /// Replaces everything that is known of the retention.
    pub(crate) fn set(&self, all: HashMap<String, i64>) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the broker for the times that are wanted.
    fn ask(&self, cluster: &Cluster) -> Result<(), AdminError> {
        let wanted = self.unread().wanted(|topic| self.of(topic));
        if wanted.is_empty() {
            return Ok(());
        }
        let offsets = cluster.offsets()?;
        let found = unread::search(wanted, now_ms(), |times| offsets.since_each(times))?;
        self.unread().found(found);
        Ok(())
    }
}

/// Starts to read the retention of every input, retry tier and parking topic, and what is asked for. It ends when
/// nobody else holds `retention`.
///
/// # Errors
/// Fails if no thread can be started.
pub fn watch_retention(cluster: Arc<Cluster>, retention: &Arc<Retention>) -> io::Result<()> {
    let known = Arc::downgrade(retention);
    let work = move || watch(&cluster, &known);
    std::thread::Builder::new().name("kafka-retention".into()).spawn(work).map(|_| ())
}

fn watch(cluster: &Cluster, known: &Weak<Retention>) {
    let mut next = Instant::now();
    loop {
        let Some(known) = known.upgrade() else { return };
        if Instant::now() >= next {
            match read(cluster) {
                Ok(all) => {
                    known.set(all);
                    next = Instant::now() + EVERY;
                }
                Err(error) => tracing::debug!(%error, "the retention of topics cannot be read"),
            }
        }
        if let Err(error) = known.ask(cluster) {
            tracing::debug!(%error, "the times of records that were not read cannot be read");
        }
        drop(known);
        std::thread::sleep(SOON);
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
