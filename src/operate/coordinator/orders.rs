//! Carries out operators' orders to parked partitions. The owner of the partition carries an order out, and the order
//! is removed afterwards.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::delivery::progress::PartitionView;
use crate::kafka::consumer::{UnblockOrder, UnblockTo};
use crate::operate::coordinator::memory::Given;
use crate::operate::coordinator::parts::{Coordinator, Watched};
use crate::operate::{Order, Place, Target, orders};

/// If the partition is still parked this long after an order, its consumer gets the order again: the broker may have
/// been away.
const AGAIN: Duration = Duration::from_secs(15);

impl Coordinator {
    /// Remembers every partition that was parked because it had no offset. It stays parked for every member of the
    /// group, even after another partition gets an offset.
    pub(super) async fn keep_unplaced(&self, c: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut known = orders::read_unplaced(c, &self.keys).await?;
        let mut new = Vec::new();
        for consumer in &self.consumers {
            for p in consumer.view.snapshot().partitions.iter() {
                let lost = p.parked.as_ref().is_some_and(|parked| parked.committed.is_none());
                if lost && known.insert((p.topic.to_string(), p.partition)) {
                    new.push(Place { topic: p.topic.to_string(), partition: p.partition });
                }
            }
        }
        if !new.is_empty() {
            orders::add_unplaced(c, &self.keys, &new).await?;
        }
        *self.unplaced.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// An order stays in Redis until its partition flows: if a crash or a lost connection interrupts it, the next owner
    /// of the partition carries it out again.
    pub(super) async fn obey_orders(&self, c: &mut MultiplexedConnection, given: &mut Given) -> RedisResult<()> {
        let all = orders::read_orders(c, &self.keys).await?;
        given.retain(|place, _| all.contains_key(place));
        for (place, (order, text)) in all {
            // Another member owns the partition, or nobody yet.
            let Some((owner, partition)) = self.owner(&place) else {
                given.remove(&place);
                continue;
            };
            let before = given.get(&place);
            let is_given = before.is_some_and(|(before, _)| *before == text);
            if partition.parked.is_some() {
                if let Some(why) = misses(&order, &partition) {
                    tracing::error!(kafka.topic = place.topic, kafka.partition = place.partition, to = %order.to, "{why}");
                    orders::take_order(c, &self.keys, &place, &text).await?;
                } else if before.is_none_or(|(_, at)| at.elapsed() >= AGAIN) {
                    give(owner, &place, &order);
                    given.insert(place, (text, Instant::now()));
                }
            } else if partition.position.is_none() {
                // The consumer is placing the partition now.
            } else if before.is_some() && !is_given {
                // A newer order arrived while the previous one was carried out.
                give(owner, &place, &order);
                given.insert(place, (text, Instant::now()));
            } else {
                orders::placed(c, &self.keys, &place).await?;
                if orders::take_order(c, &self.keys, &place, &text).await? && !is_given {
                    // The partition flows already. If the order stayed, it would later skip or repeat records that are
                    // under way.
                    tracing::warn!(
                        kafka.topic = place.topic,
                        kafka.partition = place.partition,
                        "an order to unblock was dropped: the partition is not parked"
                    );
                }
                given.remove(&place);
            }
        }
        Ok(())
    }

    fn owner(&self, place: &Place) -> Option<(&Watched, PartitionView)> {
        self.consumers.iter().find_map(|consumer| {
            let snapshot = consumer.view.snapshot();
            let is_it = |p: &&PartitionView| *p.topic == *place.topic && p.partition == place.partition;
            Some((consumer, snapshot.partitions.iter().find(is_it)?.clone()))
        })
    }
}

/// Why the order can never be carried out: records that Kafka deleted do not come back.
fn misses(order: &Order, partition: &PartitionView) -> Option<String> {
    let (Target::Offset(at), Some(parked)) = (order.to, &partition.parked) else { return None };
    (at < parked.low).then(|| {
        format!("an order to unblock was dropped: the partition begins at {}; give another offset", parked.low)
    })
}

fn give(owner: &Watched, place: &Place, order: &Order) {
    let to = match order.to {
        Target::Earliest => UnblockTo::Earliest,
        Target::Latest => UnblockTo::Latest,
        Target::Offset(offset) => UnblockTo::At(offset),
    };
    tracing::warn!(
        kafka.topic = place.topic,
        kafka.partition = place.partition,
        to = %order.to,
        who = order.who,
        reason = order.reason,
        "partition unblocked by an operator"
    );
    owner.handle.order(UnblockOrder { topic: place.topic.clone(), partition: place.partition, to });
}

#[cfg(test)]
mod tests;
