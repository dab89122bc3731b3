//! Watches the worker's own topics while the worker runs, and creates a topic again if it has vanished.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::owned::OwnedTopic;
use super::{AdminError, Cluster};
use crate::kafka::refusals::Refusals;

/// The time between two checks while every topic takes records.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The time between two checks while one topic takes none.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// The worker's own topics that are watched. A reload adds those of new accounts.
pub type OwnedTopics = Arc<RwLock<Vec<OwnedTopic>>>;

/// Starts to watch these topics. It ends when nobody else holds `refusals`. `largest` is the size in bytes of the
/// largest record that an input accepts.
///
/// # Errors
/// Fails if no thread can be started.
pub fn keep(cluster: Arc<Cluster>, owned: OwnedTopics, largest: u64, refusals: &Arc<Refusals>) -> io::Result<()> {
    let refusals = Arc::downgrade(refusals);
    let work = move || watch(&cluster, &owned, largest, &refusals);
    std::thread::Builder::new().name("kafka-topics".into()).spawn(work).map(|_| ())
}

fn watch(cluster: &Cluster, owned: &OwnedTopics, largest: u64, refusals: &Weak<Refusals>) {
    while let Some(refusals) = refusals.upgrade() {
        refusals.wait(if refusals.all().is_empty() { LOOK_EVERY } else { LOOK_SOON });
        let topics = owned.read().unwrap_or_else(PoisonError::into_inner).clone();
        match cluster.restore(&topics, largest) {
            Ok(restored) => {
                for topic in &restored.made {
                    tracing::error!(
                        topic,
                        "a topic of the worker had vanished and was made again: what lay in it is lost"
                    );
                }
                refusals.missing(&restored.missing);
            }
            // Others report already that no broker answers.
            Err(error) => tracing::debug!(%error, "the worker's own topics cannot be looked at"),
        }
        drop(refusals);
        std::thread::sleep(LOOK_SOON);
    }
}

/// The result of a check of the worker's own topics.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The topics that had vanished and were created again.
    pub made: Vec<String>,
    /// The topics that do not exist, and why they could not be created.
    pub missing: BTreeMap<String, String>,
}

impl Cluster {
    /// Creates those of the worker's own topics again that have vanished, if `kafka.create_topics` allows it.
    ///
    /// # Errors
    /// Fails if the cluster does not answer.
    pub fn restore(&self, owned: &[OwnedTopic], largest: u64) -> Result<Restored, AdminError> {
        let missing = self.absent(owned)?;
        let mut restored = Restored::default();
        if missing.is_empty() {
            return Ok(restored);
        }
        if !self.config.create_topics {
            let text = "it does not exist, or this user may not see it, and kafka.create_topics is false";
            restored.missing = missing.iter().map(|t| (t.name.clone(), text.to_owned())).collect();
            return Ok(restored);
        }
        let plan = self.plan(self.broker_count()?, largest)?;
        for (topic, result) in self.create(&missing, &plan)? {
            match result {
                Ok(true) => restored.made.push(topic),
                // The topic existed but was not visible, or another replica was quicker.
                Ok(false) => {}
                Err(AdminError::NoAnswer(why)) => return Err(AdminError::NoAnswer(why)),
                Err(error) => {
                    restored.missing.insert(topic, format!("it does not exist, or this user may not see it (right: Describe); it cannot be created: {error}"));
                }
            }
        }
        Ok(restored)
    }
}
