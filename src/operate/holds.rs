//! Why this worker sends nothing now, for the metrics.

use std::time::Duration;

use crate::metrics::Hold;
use crate::operate::status::WorkerStatus;

/// How long Kafka may be away before the worker counts as not ready.
const KAFKA_GRACE: Duration = Duration::from_secs(5);

impl WorkerStatus {
    /// Whether Kafka answers, or has been silent for a moment only.
    pub(super) fn is_kafka_up(&self) -> bool {
        self.kafka.is_up() || self.kafka.since().elapsed() < KAFKA_GRACE
    }

    /// Copies what holds the worker, and what waits for an operator, into the gauges.
    pub(super) fn show_holds(&self) {
        let snapshots: Vec<_> = self
            .running
            .get()
            .map_or(&[][..], |running| &running.consumers)
            .iter()
            .map(|c| c.view.snapshot())
            .collect();
        let unconfirmed = snapshots.iter().any(|snapshot| snapshot.counts.unconfirmed_for.is_some());
        let causes = [
            (self.health.is_away(), Hold::Redis),
            (self.health.has_forgotten(), Hold::Dedupe),
            (!self.is_kafka_up() || unconfirmed, Hold::Kafka),
            (self.health.clock.trouble().is_some(), Hold::Clock),
        ];
        let holds: Vec<Hold> = causes.into_iter().filter(|(holds, _)| *holds).map(|(_, cause)| cause).collect();
        self.metrics.set_holds(&holds);
        self.metrics.set_clock_offset_ms(self.health.clock.largest_offset_ms());
        let unplaced = snapshots.iter().flat_map(|snapshot| &snapshot.partitions).filter(|p| p.parked.is_some());
        self.metrics.unplaced.set(unplaced.count() as i64);
        let refused = self.running.get().map_or(0, |running| running.refusals.all().len());
        self.metrics.refused_topics.set(refused as i64);
    }
}
