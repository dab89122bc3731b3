//! Whether the worker takes and delivers events, and what is wrong although it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use crate::delivery::progress::{PartitionView, Snapshot};
use crate::kafka::refusals::TopicRefusal;
use crate::operate::readiness::{Dependency, Readiness};
use crate::operate::status::WorkerStatus;
use crate::storm::Storm;

/// What the consumers show.
#[derive(Default)]
struct Shown {
    /// Whether one of them takes no records, or may send nothing.
    waits: bool,
    why: Vec<String>,
    /// Partitions that wait for an operator's order.
    parked: Vec<String>,
    /// Topics that were deleted and made again lately.
    remade: BTreeSet<String>,
    /// Partitions whose committed offset was lost lately.
    lost: Vec<String>,
}

impl Shown {
    /// Adds what the consumer of this name shows.
    fn add(&mut self, consumer: &str, snapshot: &Snapshot) {
        if !snapshot.counts.joined {
            self.waits = true;
            self.why.push("waiting for the first assignment".into());
        }
        if let Some(time) = snapshot.counts.unconfirmed_for {
            self.waits = true;
            self.why.push(format!(
                "kafka: the {consumer} consumer has had no commit confirmed for {} s: nothing is sent, since another member \
                 may have its partitions",
                time.as_secs()
            ));
        }
        for p in &snapshot.partitions {
            if p.parked.is_some() {
                self.parked.push(format!("{}/{}", p.topic, p.partition));
            }
            if p.remade_ms.is_some() {
                self.remade.insert(p.topic.to_string());
            }
            if p.position_lost_ms.is_some() {
                self.lost.push(format!("{}/{}", p.topic, p.partition));
            }
        }
    }

    /// Notes whether the consumer of the input topics takes no records because none of its partitions flows.
    fn judge_inputs(&mut self, inputs: &Snapshot, storms: &[Storm]) {
        let stops = |topic: &str| storms.iter().any(|storm| storm.topic == topic);
        let flows = |p: &PartitionView| p.parked.is_none() && !stops(&p.topic);
        self.waits |= !inputs.partitions.is_empty() && !inputs.partitions.iter().any(flows);
    }
}

impl WorkerStatus {
    /// Whether the worker takes and delivers events, and what is wrong.
    pub(super) fn readiness(&self) -> Readiness {
        let (redis, clock) = (self.health.store_trouble(), self.health.clock.trouble());
        let kafka_up = self.is_kafka_up();
        let (storms, refusals) = (self.storms.all(), self.refusals());
        let shown = self.shown(&storms);
        let ready = kafka_up && redis.is_none() && clock.is_none() && !shown.waits;

        let mut why: Vec<String> = clock.into_iter().chain(shown.why).collect();
        why.extend(storms.iter().map(stopped));
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        why.extend(refused.iter().map(|(topic, reason)| format!("the input topic {topic} is not read: {reason}")));
        if !shown.lost.is_empty() {
            why.push(format!(
                "the group lost its committed offset of these within the last day, and they are read again from their \
                 beginning: {}",
                shown.lost.join(", ")
            ));
        }
        if !shown.remade.is_empty() {
            let names = shown.remade.into_iter().collect::<Vec<_>>().join(", ");
            why.push(format!("deleted and made again within the last day, and read from the beginning: {names}"));
        }
        for TopicRefusal { topic, why: refused, records, .. } in &refusals {
            why.push(format!("topic {topic} takes no records ({records} are held for it): {refused}"));
        }
        let foreign = self.health.foreign.names();
        if !foreign.is_empty() {
            why.push(crate::redis::foreign::text(&foreign));
        }
        why.extend(redis.iter().map(|redis| format!("redis: {redis}")));
        if !kafka_up {
            why.push("kafka: no broker answers".into());
        }
        Readiness {
            ready,
            why: why.join("; "),
            dependencies: BTreeMap::from([
                ("kafka", self.kafka_dependency()),
                ("redis", Dependency { up: redis.is_none(), detail: redis.unwrap_or_default() }),
            ]),
            parked_partitions: shown.parked,
            refused_topics: refusals.into_iter().map(|refusal| refusal.topic).collect(),
            stopped_topics: storms.into_iter().map(|storm| storm.topic).collect(),
        }
    }

    /// What the consumers show, or that there are none yet.
    fn shown(&self, storms: &[Storm]) -> Shown {
        let mut shown = Shown::default();
        let Some(running) = self.running.get() else {
            shown.waits = true;
            shown.why.push(self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone());
            return shown;
        };
        for (n, consumer) in running.consumers.iter().enumerate() {
            let snapshot = consumer.view.snapshot();
            shown.add(consumer.name, &snapshot);
            if n == 0 {
                shown.judge_inputs(&snapshot, storms);
            }
        }
        if !shown.parked.is_empty() {
            shown.why.push(format!(
                "{} partition(s) wait for `postback unblock offsets`: their position was lost or is out of range",
                shown.parked.len()
            ));
        }
        shown
    }

    fn kafka_dependency(&self) -> Dependency {
        let up = self.kafka.is_up();
        let silent = || self.kafka.why().map_or("no broker answers".into(), |why| format!("no broker answers: {why}"));
        Dependency { up, detail: if up { String::new() } else { silent() } }
    }
}

fn stopped(storm: &Storm) -> String {
    format!("the storm brake stopped the topic {}: {}; go on with `{}`", storm.topic, storm.summary(), storm.unblock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::consumer::{Counts, Parked};

    fn snapshot(partitions: Vec<PartitionView>) -> Snapshot {
        Snapshot { partitions, counts: Counts { joined: true, ..Counts::default() }, ..Snapshot::default() }
    }

    #[test]
    fn a_topic_made_again_a_lost_position_and_a_parked_partition_are_named() {
        let parked = Parked { why: "lost", committed: None, low: 0, high: 9 };
        let mut shown = Shown::default();
        shown.add(
            "intake",
            &snapshot(vec![
                PartitionView::stub("fine"),
                PartitionView { remade_ms: Some(5), ..PartitionView::stub("again") },
                PartitionView { remade_ms: Some(5), partition: 4, ..PartitionView::stub("again") },
                PartitionView { position_lost_ms: Some(5), ..PartitionView::stub("lost") },
                PartitionView { parked: Some(parked), ..PartitionView::stub("parked") },
            ]),
        );
        assert_eq!(shown.remade.into_iter().collect::<Vec<_>>(), ["again"]);
        assert_eq!((shown.lost, shown.parked), (vec!["lost/3".to_owned()], vec!["parked/3".to_owned()]));
        assert!(!shown.waits);
    }

    #[test]
    fn a_worker_is_ready_while_one_of_its_inputs_flows_and_its_commits_are_confirmed() {
        let parked = || {
            let parked = Parked { why: "lost", committed: None, low: 0, high: 9 };
            PartitionView { parked: Some(parked), ..PartitionView::stub("parked") }
        };
        let storm = Storm { topic: "storm".into(), ..Storm::default() };
        let waits = |partitions| {
            let mut shown = Shown::default();
            shown.judge_inputs(&snapshot(partitions), std::slice::from_ref(&storm));
            shown.waits
        };
        assert!(!waits(vec![]) && !waits(vec![parked(), PartitionView::stub("storm"), PartitionView::stub("fine")]));
        assert!(waits(vec![parked(), PartitionView::stub("storm")]));
        let mut shown = Shown::default();
        let unconfirmed_for = Some(std::time::Duration::from_secs(23));
        let counts = Counts { joined: true, unconfirmed_for, ..Counts::default() };
        shown.add("waiting", &Snapshot { counts, ..Snapshot::default() });
        assert!(shown.waits && shown.why[0].contains("no commit confirmed for 23 s"), "{:?}", shown.why);
    }
}
