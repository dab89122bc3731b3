//! Whether the worker takes and delivers events, and what is wrong although it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use crate::delivery::progress::PartitionView;
use crate::kafka::refusals::TopicRefusal;
use crate::operate::readiness::{Dependency, Readiness};
use crate::operate::status::WorkerStatus;

impl WorkerStatus {
    /// Whether the worker takes and delivers events, and what is wrong.
    pub(super) fn readiness(&self) -> Readiness {
        let mut why = Vec::new();
        let (redis, clock) = (self.health.store_trouble(), self.health.clock.trouble());
        let kafka_up = self.is_kafka_up();
        let (mut parked, mut remade, mut lost) = (Vec::new(), BTreeSet::new(), Vec::new());
        let storms = self.storms.all();
        let mut ready = kafka_up && redis.is_none() && clock.is_none();
        why.extend(clock);
        match self.running.get() {
            None => {
                ready = false;
                why.push(self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone());
            }
            Some(running) => {
                for (n, consumer) in running.consumers.iter().enumerate() {
                    let snapshot = consumer.view.snapshot();
                    if !snapshot.counts.joined {
                        ready = false;
                        why.push("waiting for the first assignment".into());
                    }
                    if let Some(time) = snapshot.counts.unconfirmed_for {
                        ready = false;
                        why.push(format!(
                            "kafka: the {} consumer has had no commit confirmed for {} s: nothing is sent, since another member \
                             may have its partitions",
                            consumer.name,
                            time.as_secs()
                        ));
                    }
                    let unplaced = snapshot.partitions.iter().filter(|p| p.parked.is_some());
                    let names: Vec<_> = unplaced.map(|p| format!("{}/{}", p.topic, p.partition)).collect();
                    let stops = |topic: &str| storms.iter().any(|storm| storm.topic == topic);
                    let flows = |p: &PartitionView| p.parked.is_none() && !stops(&p.topic);
                    // No input partition flows, so the worker takes no records.
                    if n == 0 && !snapshot.partitions.is_empty() && !snapshot.partitions.iter().any(flows) {
                        ready = false;
                    }
                    parked.extend(names);
                    let again = snapshot.partitions.iter().filter(|p| p.remade_ms.is_some());
                    remade.extend(again.map(|p| p.topic.to_string()));
                    let anew = snapshot.partitions.iter().filter(|p| p.position_lost_ms.is_some());
                    lost.extend(anew.map(|p| format!("{}/{}", p.topic, p.partition)));
                }
                if !parked.is_empty() {
                    why.push(format!(
                        "{} partition(s) wait for `postback unblock offsets`: their position was lost or is out of range",
                        parked.len()
                    ));
                }
            }
        }
        why.extend(storms.iter().map(|storm| {
            format!(
                "the storm brake stopped the topic {}: {}; go on with `{}`",
                storm.topic,
                storm.summary(),
                storm.unblock
            )
        }));
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        why.extend(refused.iter().map(|(topic, reason)| format!("the input topic {topic} is not read: {reason}")));
        if !lost.is_empty() {
            why.push(format!(
                "the group lost its committed offset of these within the last day, and they are read again from their \
                 beginning: {}",
                lost.join(", ")
            ));
        }
        if !remade.is_empty() {
            let names = remade.into_iter().collect::<Vec<_>>().join(", ");
            why.push(format!("deleted and made again within the last day, and read from the beginning: {names}"));
        }
        let refusals = self.refusals();
        for TopicRefusal { topic, why: refused, records, .. } in &refusals {
            why.push(format!("topic {topic} takes no records ({records} are held for it): {refused}"));
        }
        let dependency = |up: bool, detail: String| Dependency { up, detail };
        if let Some(redis) = &redis {
            why.push(format!("redis: {redis}"));
        }
        if !kafka_up {
            why.push("kafka: no broker answers".into());
        }
        let silent = || self.kafka.why().map_or("no broker answers".into(), |why| format!("no broker answers: {why}"));
        let kafka_detail = if self.kafka.is_up() { String::new() } else { silent() };
        Readiness {
            ready,
            why: why.join("; "),
            dependencies: BTreeMap::from([
                ("kafka", dependency(self.kafka.is_up(), kafka_detail)),
                ("redis", dependency(redis.is_none(), redis.unwrap_or_default())),
            ]),
            parked_partitions: parked,
            refused_topics: refusals.into_iter().map(|refusal| refusal.topic).collect(),
            stopped_topics: storms.into_iter().map(|storm| storm.topic).collect(),
        }
    }
}
