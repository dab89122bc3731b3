//! Remembers which partitions of retry tiers and parking topics had a committed offset. Such a partition is read from
//! its beginning if it has no offset. That is right for a new partition, but it repeats settled records if the group
//! lost the offset. The brokers do not tell these two cases apart; the entries kept here do.

use std::collections::HashSet;
use std::sync::Arc;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::clock::now_ms;
use crate::delivery::progress::{ConsumerView, PartitionView};
use crate::kafka::consumer::OwnPosition;
use crate::operate::coordinator::memory::Positions;
use crate::operate::coordinator::parts::Coordinator;

impl Coordinator {
    /// Reports the partitions that lost their offset, then remembers those that have one. It writes only new entries.
    pub(super) async fn keep_positions(
        &self,
        c: &mut MultiplexedConnection,
        memory: &mut Positions,
    ) -> RedisResult<()> {
        let snapshots: Vec<_> =
            self.consumers.iter().map(|consumer| (&consumer.view, consumer.view.snapshot())).collect();
        let all = snapshots.iter().flat_map(|(view, snapshot)| snapshot.partitions.iter().map(move |p| (*view, p)));
        let own: Vec<(&Arc<ConsumerView>, &PartitionView, &OwnPosition)> =
            all.filter_map(|(view, p)| Some((view, p, p.own.as_ref()?))).collect();
        let assignment = |p: &PartitionView| (place(p), p.generation);
        let began = || own.iter().filter(|(_, _, own)| own.anew.is_some());
        let began_now: HashSet<_> = began().map(|(_, p, _)| assignment(p)).collect();
        // An entry that another replica wrote counts too.
        let noted = match memory.noted.take() {
            Some(noted) if began_now.is_subset(&memory.judged) => noted,
            _ => crate::redis::hash(c, &self.keys.positions()).await?.into_iter().collect(),
        };
        for (view, p, own) in began() {
            if !memory.judged.contains(&assignment(p)) && is_lost(p, own, noted.get(&place(p))) {
                view.lost_position(&p.topic, p.partition, now_ms());
            }
        }
        memory.judged = began_now;
        let noted = memory.noted.insert(noted);
        let mut pipe = ::redis::pipe();
        let mut new = Vec::new();
        for (_, p, own) in own.into_iter().filter(|(_, p, _)| p.committed.is_some()) {
            let place = place(p);
            if noted.get(&place) != Some(&own.topic_id) {
                pipe.cmd("HSET").arg(self.keys.positions()).arg(&place).arg(&own.topic_id).ignore();
                new.push((place, own.topic_id.clone()));
            }
        }
        if !new.is_empty() {
            let () = pipe.query_async(c).await?;
            noted.extend(new);
        }
        Ok(())
    }
}

fn place(p: &PartitionView) -> String {
    format!("{}/{}", p.topic, p.partition)
}

/// Whether the group lost the offset of this partition. A topic with another id was deleted and created again, so it
/// had no offset. If the brokers have no ids, the two cases cannot be told apart, and the partition counts as lost.
fn is_lost(p: &PartitionView, own: &OwnPosition, noted: Option<&String>) -> bool {
    let (Some((low, high)), Some(id)) = (own.anew, noted) else { return false };
    let lost = *id == own.topic_id || id.is_empty() || own.topic_id.is_empty();
    if lost {
        tracing::error!(
            kafka.topic = %p.topic, kafka.partition = p.partition, kafka.offset = low, high, records = high - low,
            "the group lost its committed offset of this partition: it is read again from its beginning, with records that \
             were already settled; they end as duplicates while their claims last, and are sent again after that; look \
             whether the group `<group>.wait` was deleted or its offsets expired (`offsets.retention.minutes`)"
        );
    }
    lost
}

#[cfg(test)]
mod tests;
