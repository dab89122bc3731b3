//! Brings the stopped topics of this process in line with Redis, and shows them.

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::clock::now_ms;
use crate::operate::audit::Via;
use crate::operate::coordinator::parts::Coordinator;
use crate::operate::{By, storms};

impl Coordinator {
    /// Tells Redis of the topics that were stopped here, then obeys what it holds.
    pub(super) async fn exchange_storms(&self, c: &mut MultiplexedConnection) -> RedisResult<()> {
        for (storm, seen) in self.storms.unsaved() {
            let by = By::new(Via::Worker, &format!("worker {}", self.id), &storm.summary()).at(&self.id);
            storms::stop(c, &self.keys, &storm, &by, seen.as_deref(), now_ms()).await?;
            self.storms.saved(&storm.topic);
        }
        let found = storms::read_storms(c, &self.keys).await?;
        let left = found.2.clone();
        let changed = self.storms.obey(found, self.health.has_forgotten());
        for storm in changed.stopped {
            tracing::warn!(
                kafka.topic = storm.topic,
                replica = storm.replica,
                reason = storm.reason,
                sample = storm.sample,
                "the storm brake has stopped a topic, {}; nothing more of it is read until `{}`",
                storm.summary(),
                storm.unblock
            );
        }
        for topic in changed.released {
            let pass = left.get(&topic).copied().unwrap_or(0);
            tracing::info!(kafka.topic = topic, pass, "a topic that the storm brake had stopped is read on");
        }
        // After what Redis holds is known, so that no share is taken for an order that has ended.
        for (topic, wanted) in self.storms.wanted() {
            let (share, left) = storms::take_share(c, &self.keys, &topic, wanted).await?;
            self.storms.give(&topic, share, left);
        }
        Ok(())
    }

    /// Writes the stops that are known here into a store that lost them.
    pub(super) async fn restore_storms(&self, c: &mut MultiplexedConnection) -> RedisResult<()> {
        storms::restore(c, &self.keys, &self.storms.all(), &self.storms.releases()).await
    }

    /// Updates the gauge of every input topic that is read here, and of every topic that is stopped.
    pub(super) fn show_storms(&self) {
        let stopped = self.storms.topics();
        let read = self.consumers.first().map(|intake| intake.view.snapshot());
        let read = read.iter().flat_map(|snapshot| &snapshot.partitions).map(|partition| &*partition.topic);
        self.metrics.storms.show(read, &stopped);
    }
}
