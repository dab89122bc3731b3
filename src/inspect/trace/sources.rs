//! Reads everything an event can have left: claims from Redis, then copies, dead letters and receipts from Kafka.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use regex::bytes::Regex;

use super::claims::{candidates, read_claims};
use super::search::{Hints, LookedAt, Search, TopicSearch};
use super::waiting::{ClosedLanes, Rules};
use super::{Gatherer, Trace, Wanted};
use crate::account::{Account, Accounts};
use crate::clock::now_ms;
use crate::kafka::Config;
use crate::kafka::lookup::Seen;
use crate::kafka::partitioner::partition_of;
use crate::kafka::record::Record;
use crate::kafka::scan::{Progress, Span};
use crate::kafka::settings::waiting_group;
use crate::kafka::topics::{AdminError, Cluster, Offsets, PartitionName, TopicInfo};
use crate::redis::error::describe;

/// How long a quick search takes at most. What surrounds it takes less than half a second.
const QUICK: Duration = Duration::from_millis(1_400);

/// Where an event can leave something.
#[derive(Clone)]
pub struct Sources {
    pub kafka: Config,
    /// `redis.prefix`.
    pub prefix: String,
    /// `dedupe.window`.
    pub window: Duration,
    /// `dedupe.lease`.
    pub lease: Duration,
    pub accounts: Accounts,
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What can be read in less than two seconds. [`Trace::looked_at`] says how much that is.
    Quick,
    /// Every record.
    All,
}

/// Who did not answer, and why.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("redis.url: {0}")]
    Redis(String),
    #[error("kafka.brokers: {0}")]
    Kafka(AdminError),
}

impl Sources {
    /// Finds what is known of one event. `closed` has the lanes that do not flow.
    ///
    /// # Errors
    /// Redis or Kafka does not answer.
    pub async fn trace(
        &self,
        redis: &mut MultiplexedConnection,
        wanted: Wanted,
        closed: ClosedLanes,
        depth: Depth,
        progress: Arc<Progress>,
    ) -> Result<Trace, TraceError> {
        let until = (depth == Depth::Quick).then(|| Instant::now() + QUICK);
        let asked = candidates(&wanted, &self.accounts);
        let claims = read_claims(redis, &asked, &self.prefix, (self.window, self.lease)).await;
        let claims = claims.map_err(|e| TraceError::Redis(describe(&e)))?;
        let now = now_ms();
        let hints: Vec<i64> = claims.iter().filter_map(|claim| Some(now - claim.age_ms?)).collect();
        let of = self.clone();
        let search = move || of.search(wanted, closed, &hints, until, &progress);
        let (gatherer, looked_at) = tokio::task::spawn_blocking(search)
            .await
            .map_err(|e| TraceError::Kafka(AdminError::NoAnswer(format!("the search broke off: {e}"))))?
            .map_err(TraceError::Kafka)?;
        Ok(Trace { looked_at, ..gatherer.finish(claims) })
    }

    fn search(
        &self,
        wanted: Wanted,
        closed: ClosedLanes,
        hints: &[i64],
        until: Option<Instant>,
        progress: &Progress,
    ) -> Result<(Gatherer, Vec<LookedAt>), AdminError> {
        let rules = Rules::new(&self.kafka, &self.accounts, closed);
        let cluster = Cluster::new(&self.kafka).map_err(|e| AdminError::Refused(e.to_string()))?;
        let (topics, offsets) = (cluster.topics()?, cluster.offsets()?);
        let id = wanted.trans_id.clone().into_bytes();
        // The positions of the copies are read before the ends of all topics, so that a copy that moves on meanwhile is
        // found where it goes.
        let waiting = partitions(&topics, |topic| rules.holds_waiting(topic));
        let committed = match &*waiting {
            [] => Default::default(),
            _ => cluster.committed(&waiting_group(&self.kafka), &waiting)?,
        };
        let waiting = spans(&offsets, waiting, |name| committed.get(name).copied())?;
        let letters = partitions(&topics, |topic| topic == self.kafka.dead_letter);
        let likely = self.likely(&wanted, letters.len());
        let letters = spans(&offsets, letters, |_| None)?;
        let mut receipts = partitions(&topics, |topic| !topic.is_empty() && topic == self.kafka.receipts);
        if until.is_some() {
            let count = i32::try_from(receipts.len()).unwrap_or(i32::MAX);
            // Their key is the trans_id. Where partitions were added later, older receipts lie in other ones.
            receipts.retain(|(_, partition)| *partition == partition_of(&id, count));
        }
        let receipts = spans(&offsets, receipts, |_| None)?;
        let all = [&waiting, &letters, &receipts].into_iter().flatten();
        progress.total.fetch_add(all.map(Span::len).sum(), std::sync::atomic::Ordering::Relaxed);

        let (gatherer, now) = (Mutex::new(Gatherer::new(wanted, rules)), now_ms());
        let (of_letters, of_receipts) = (Hints::default(), Hints::default());
        hints.iter().for_each(|at| [&of_letters, &of_receipts].into_iter().for_each(|hints| hints.add(*at)));
        // A dead letter is written just before its receipt. So each says where the other one lies.
        let take = |record: Record| {
            let is_new = gatherer.lock().unwrap_or_else(PoisonError::into_inner).add(&record, now);
            let Some(at_ms) = record.timestamp_ms.filter(|_| is_new) else { return };
            match &*record.topic {
                topic if topic == self.kafka.dead_letter => of_receipts.add(at_ms),
                topic if topic == self.kafka.receipts => of_letters.add(at_ms),
                _ => {}
            }
        };
        let text = mention(&id)?;
        let in_value = |seen: &Seen<'_>| seen.value().is_some_and(|value| text.is_match(value));
        let by_header = |seen: &Seen<'_>| seen.header(c"pb-trans-id") == Some(&*id);
        let by_key = |seen: &Seen<'_>| seen.key() == Some(&*id);
        let none = Hints::default();
        let hunts = [
            TopicSearch { what: "waiting", spans: waiting, likely: BTreeSet::new(), wanted: &in_value, hints: &none },
            TopicSearch { what: "dead_letters", spans: letters, likely, wanted: &by_header, hints: &of_letters },
            TopicSearch {
                what: "receipts",
                spans: receipts,
                likely: BTreeSet::new(),
                wanted: &by_key,
                hints: &of_receipts,
            },
        ];
        let search = Search { config: &self.kafka, offsets: &offsets, until, progress, take: &take };
        let looked_at = std::thread::scope(|scope| {
            let running = hunts.map(|hunt| scope.spawn(|| hunt.run(&search)));
            let broken = || Err(AdminError::NoAnswer("the reading broke off".into()));
            running.into_iter().map(|hunt| hunt.join().unwrap_or_else(|_| broken())).collect::<Result<Vec<_>, _>>()
        })?;
        Ok((gatherer.into_inner().unwrap_or_else(PoisonError::into_inner), looked_at))
    }
}

impl Sources {
    /// The partitions of the dead letters if the event has no order: then its key is `platform:account:trans_id`. With
    /// an order the key cannot be told from the trans_id.
    fn likely(&self, wanted: &Wanted, partitions: usize) -> BTreeSet<i32> {
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        let accounts = self.accounts.values().filter(|account| wanted.may_be_of(account));
        let key = |account: &Arc<Account>| format!("{}:{}:{}", account.platform, account.name, wanted.trans_id);
        accounts.map(|account| partition_of(key(account).as_bytes(), partitions)).collect()
    }
}

/// The partitions of the topics with these names.
fn partitions(topics: &[TopicInfo], is_wanted: impl Fn(&str) -> bool) -> Vec<PartitionName> {
    let wanted = topics.iter().filter(|topic| is_wanted(&topic.name));
    wanted.flat_map(|topic| (0..topic.partitions).map(|partition| (topic.name.clone(), partition))).collect()
}

/// Everything that these partitions hold, from the position of each where it has one.
fn spans(
    offsets: &Offsets,
    partitions: Vec<PartitionName>,
    position: impl Fn(&PartitionName) -> Option<i64>,
) -> Result<Vec<Span>, AdminError> {
    let (first, ends) = (offsets.first(&partitions)?, offsets.ends(&partitions)?);
    let spans = partitions.into_iter().filter_map(|name| {
        let (first, end) = (*first.get(&name)?, *ends.get(&name)?);
        let from = position(&name).map_or(first, |at| at.max(first));
        (from < end).then_some(Span { topic: name.0, partition: name.1, from, end })
    });
    Ok(spans.collect())
}

/// Matches a value that can contain this text: as it is, or with escapes, which are rare.
fn mention(text: &[u8]) -> Result<Regex, AdminError> {
    let text = regex::escape(&String::from_utf8_lossy(text));
    Regex::new(&format!(r"\\|{text}"))
        .map_err(|e| AdminError::Refused(format!("the trans_id cannot be looked for: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_may_name_the_event_is_looked_into() {
        let text = mention(b"a.b-1").unwrap();
        for (value, wanted) in [
            (r#"{"trans_id":"a.b-1"}"#, true),
            (r#"{"trans_id":"axb-1"}"#, false),
            (r#"{"trans_id":"\u0061.b-1"}"#, true),
        ] {
            assert_eq!(text.is_match(value.as_bytes()), wanted, "{value}");
        }
    }
}
