//! Asks for the bounds of many partitions at once, and for the offset at which a time begins.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::{AdminError, Cluster, PartitionName, TIMEOUT};

/// A client that asks for offsets. Each question is one request per broker, however many partitions it names.
pub struct Offsets {
    client: BaseConsumer,
}

/// One offset for each partition.
pub type OffsetByPartition = BTreeMap<PartitionName, i64>;

impl Cluster {
    /// Makes a client that asks for offsets.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn offsets(&self) -> Result<Offsets, AdminError> {
        Ok(Offsets { client: self.outsider(&self.config.group)? })
    }
}

impl Offsets {
    /// The oldest offset of each partition.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn first(&self, partitions: &[PartitionName]) -> Result<OffsetByPartition, AdminError> {
        Ok(known(self.ask(partitions, Offset::Beginning)?))
    }

    /// The end of each partition: the offset that its next record gets.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn ends(&self, partitions: &[PartitionName]) -> Result<OffsetByPartition, AdminError> {
        Ok(known(self.ask(partitions, Offset::End)?))
    }

    /// The first offset of each partition whose record is not older than `at_ms`. A partition without such a record is
    /// left out. `None`: the broker finds no offsets by time. The embedded one does not.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn since(&self, partitions: &[PartitionName], at_ms: i64) -> Result<Option<OffsetByPartition>, AdminError> {
        let found = known(self.ask(partitions, Offset::Offset(at_ms.max(0)))?);
        if !found.is_empty() || at_ms <= 0 {
            return Ok(Some(found));
        }
        // Every record is newer than the year 1970, so a broker that names none here knows no times, or has no records.
        let any = known(self.ask(partitions, Offset::Offset(0))?);
        Ok((!any.is_empty()).then_some(found))
    }

    /// The same for each partition at a time of its own. `None`: it has no such record. A partition without an answer
    /// is left out.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn since_each(
        &self,
        times: &[(PartitionName, i64)],
    ) -> Result<BTreeMap<PartitionName, Option<i64>>, AdminError> {
        let mut list = TopicPartitionList::with_capacity(times.len());
        for ((topic, partition), at_ms) in times {
            list.add_partition_offset(topic, *partition, Offset::Offset(*at_ms))?;
        }
        let answer = self.client.offsets_for_times(list, TIMEOUT)?;
        let elements = answer.elements();
        let answered = elements.iter().filter(|element| element.error().is_ok()).map(|element| {
            let offset = if let Offset::Offset(at) = element.offset() { Some(at) } else { None };
            ((element.topic().to_owned(), element.partition()), offset)
        });
        Ok(answered.collect())
    }

    fn ask(&self, partitions: &[PartitionName], what: Offset) -> Result<TopicPartitionList, AdminError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        if partitions.is_empty() {
            return Ok(list);
        }
        for (topic, partition) in partitions {
            list.add_partition_offset(topic, *partition, what)?;
        }
        let answer = self.client.offsets_for_times(list, TIMEOUT)?;
        answer.elements().iter().try_for_each(|element| element.error())?;
        Ok(answer)
    }
}

fn known(list: TopicPartitionList) -> OffsetByPartition {
    let elements = list.elements();
    let offsets = elements.iter().filter_map(|element| match element.offset() {
        Offset::Offset(at) => Some(((element.topic().to_owned(), element.partition()), at)),
        _ => None,
    });
    offsets.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;
    use crate::kafka::Config;

    #[test]
    fn bounds_of_all_partitions_come_with_one_question_and_a_broker_without_times_is_noticed() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", 2, 1).unwrap();
        let config = Config::stub(&mock.bootstrap_servers(), &[]);
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap();
        for _ in 0..3 {
            producer.send(BaseRecord::<(), str>::to("t").partition(1).payload("x")).ok().unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
        let offsets = Cluster::new(&config).unwrap().offsets().unwrap();
        let both = [("t".to_owned(), 0), ("t".to_owned(), 1)];
        let list = |found: OffsetByPartition| found.into_values().collect::<Vec<_>>();
        assert_eq!(list(offsets.first(&both).unwrap()), [0, 0]);
        assert_eq!(list(offsets.ends(&both).unwrap()), [0, 3]);
        assert_eq!(offsets.since(&both, 1).unwrap(), None, "the mock finds nothing by time");
        assert_eq!(list(offsets.ends(&[]).unwrap()), Vec::<i64>::new());
    }
}
