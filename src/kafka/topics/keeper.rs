//! Looks after the worker's own topics while it runs: one that has vanished is made again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::owned::OwnedTopic;
use super::{AdminError, Cluster};
use crate::kafka::refusals::Refusals;

/// Between two looks while every topic takes records.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between two looks while one does not.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// Starts to look after these topics, for as long as somebody else has `refusals`. `largest`: bytes of the largest record
/// that an input takes.
///
/// # Errors
/// Where no thread can be started.
pub fn keep(cluster: Arc<Cluster>, owned: Vec<OwnedTopic>, largest: u64, refusals: &Arc<Refusals>) -> io::Result<()> {
    let refusals = Arc::downgrade(refusals);
    let work = move || watch(&cluster, &owned, largest, &refusals);
    std::thread::Builder::new().name("kafka-topics".into()).spawn(work).map(|_| ())
}

fn watch(cluster: &Cluster, owned: &[OwnedTopic], largest: u64, refusals: &Weak<Refusals>) {
    while let Some(refusals) = refusals.upgrade() {
        refusals.wait(if refusals.all().is_empty() { LOOK_EVERY } else { LOOK_SOON });
        match cluster.restore(owned, largest) {
            Ok(restored) => {
                for topic in &restored.made {
                    tracing::error!(
                        topic,
                        "a topic of the worker had vanished and was made again: what lay in it is lost"
                    );
                }
                refusals.missing(&restored.missing);
            }
            // Said by others: nobody answers anybody.
            Err(error) => tracing::debug!(%error, "the worker's own topics cannot be looked at"),
        }
        drop(refusals);
        std::thread::sleep(LOOK_SOON);
    }
}

/// What a look at the worker's own topics came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Those that had vanished and were made again.
    pub made: Vec<String>,
    /// Those that are not there, and why they could not be made.
    pub missing: BTreeMap<String, String>,
}

impl Cluster {
    /// Makes again what has vanished of the worker's own topics, where `kafka.create_topics` allows it.
    ///
    /// # Errors
    /// Where the cluster does not answer.
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
                // It was there and could not be seen, or another replica was quicker.
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
