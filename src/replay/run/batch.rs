//! One batch of a run: read and judged, sorted into what is published and what is not, published.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;
use futures_util::future::join_all;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::now_ms;
use crate::kafka::producer::{Producer, PublishError};
use crate::kafka::reader::{Fetch, Reader};
use crate::kafka::record::Record;
use crate::kafka::topics::AdminError;
use crate::metrics::{Metrics, ReplayResult};
use crate::operate::keys::Keys;
use crate::quiet::QuietKinds;
use crate::replay::cause::{Failure, Skip};
use crate::replay::discards::Discards;
use crate::replay::judge::{Judged, Rules};
use crate::replay::lookup;
use crate::replay::places::Place;
use crate::replay::setup::Setup;
use crate::replay::store::Stored;
use crate::replay::store::progress::{Did, Done, Step, advance};

/// How often the lock is renewed while a batch is being published.
const RENEW: Duration = Duration::from_secs(4);

/// A dead letter of a batch. Without a record: retention has deleted it.
pub struct BatchItem {
    pub account: Arc<str>,
    pub place: Place,
    found: Option<(Record, Judged)>,
}

/// The client that reads dead letters. It is made when it is first needed.
#[derive(Clone, Default)]
pub struct Reading(Arc<Mutex<Option<Reader>>>);

impl Reading {
    /// Reads and judges these dead letters.
    ///
    /// # Errors
    /// Kafka does not answer, or refuses.
    pub async fn judge(
        &self,
        setup: &Arc<Setup>,
        rules: Rules,
        taken: &[(Arc<str>, Place)],
    ) -> Result<Vec<BatchItem>, String> {
        let (of, taken) = (setup.clone(), taken.to_vec());
        self.read(setup, move |reader| {
            let setup = of;
            let places: Vec<Place> = taken.iter().map(|(_, place)| *place).collect();
            let records = reader.fetch(&places)?;
            let mut found: BTreeMap<Place, Record> =
                records.into_iter().map(|record| ((record.partition, record.offset), record)).collect();
            let letter = |(account, place): (Arc<str>, Place)| {
                let found = found.remove(&place).map(|record| {
                    let judged = rules.judge(&setup.previewer, &|topic| setup.is_input(topic), &record);
                    (record, judged)
                });
                BatchItem { account, place, found }
            };
            Ok(taken.into_iter().map(letter).collect())
        })
        .await
    }

    /// The id of the dead-letter topic as it is now.
    ///
    /// # Errors
    /// Kafka does not answer, or refuses.
    pub async fn topic_id(&self, setup: &Arc<Setup>) -> Result<Option<String>, String> {
        self.read(setup, Reader::topic_id).await
    }

    async fn read<T: Send + 'static>(
        &self,
        setup: &Arc<Setup>,
        read: impl FnOnce(&Reader) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, String> {
        let (reading, setup) = (self.clone(), setup.clone());
        let ended = spawn_blocking(move || {
            let mut reader = reading.0.lock().unwrap_or_else(PoisonError::into_inner);
            let made = match reader.take() {
                Some(reader) => reader,
                None => Reader::new(&setup.kafka, &setup.kafka.dead_letter, Fetch::Records)?,
            };
            let done = read(&made)?;
            *reader = Some(made);
            Ok(done)
        });
        let ended = ended.await.map_err(|_| "the reading broke off".to_owned())?;
        ended.map_err(|error: AdminError| error.to_string())
    }
}

/// Sorts a batch into what is done without being published, and what is to be published.
///
/// What a runner that was killed had published and not counted may be delivered already: it counts as republished, so
/// that it is no open dead letter for ever.
///
/// # Errors
/// Redis does not answer.
pub async fn sort(
    c: &mut MultiplexedConnection,
    (keys, prefix): (&Keys, &str),
    (stored, discards): (&Stored, &Discards),
    letters: Vec<BatchItem>,
) -> RedisResult<(Vec<Done>, Vec<BatchItem>)> {
    let judged: Vec<(Place, Judged)> =
        letters.iter().filter_map(|l| Some((l.place, l.found.as_ref()?.1.clone()))).collect();
    let again = stored.plan.again;
    let skips = lookup::skips(c, (keys, prefix), &judged, again, discards).await?;
    let mut skips = skips.into_iter();
    let (mut done, mut to_publish) = (Vec::new(), Vec::new());
    for letter in letters {
        let did = match &letter.found {
            None => Some(Did::Failed(Failure::Gone.as_str())),
            Some((_, judged)) => {
                let (skip, is_itself) = skips.next().unwrap_or_default();
                let skipped = skip.map(|skip: Skip| match is_itself && stored.was_killed() && !again {
                    true => Did::Republished,
                    false => Did::Skipped(skip.as_str()),
                });
                skipped.or(judged.failure.map(|failure| Did::Failed(failure.as_str())))
            }
        };
        match did {
            Some(did) => done.push(ended(&letter, did)),
            None => to_publish.push(letter),
        }
    }
    Ok((done, to_publish))
}

/// What became of the letters that were to be published.
#[derive(Default)]
pub struct Published {
    pub done: Vec<Done>,
    /// Those that no broker took, to be tried again.
    pub back: Vec<(Arc<str>, Place)>,
    /// Why no broker took them.
    pub trouble: Option<String>,
}

/// Publishes letters to their origin topic, evenly over the time until `until`, and waits for every delivery report.
/// All at once they would take the next slots of their lane together, and live events would wait behind them.
pub async fn publish(
    (producer, quiet): (&Producer, &QuietKinds<&'static str>),
    (id, force): (&str, bool),
    letters: Vec<BatchItem>,
    until: Instant,
) -> Published {
    let began = Instant::now();
    let apart = until.saturating_duration_since(began) / u32::try_from(letters.len()).unwrap_or(u32::MAX).max(1);
    let publish = async |(n, letter): (u32, &BatchItem)| {
        let (record, judged) = letter.found.as_ref()?;
        if !apart.is_zero() {
            sleep_until(began + apart * n).await;
        }
        let headers = judged.headers(record, id, force);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        Some(producer.publish(judged.origin_topic(), key, value, &headers).await)
    };
    let reports = join_all((0..).zip(&letters).map(publish)).await;
    let mut published = Published::default();
    for (letter, report) in letters.into_iter().zip(reports) {
        let did = match report {
            Some(Ok(_)) => Did::Republished,
            Some(Err(PublishError::TooLarge)) => Did::Failed(Failure::TooLarge.as_str()),
            Some(Err(PublishError::Refused(why))) => {
                // A topic that refuses one record mostly refuses all. Each of them is counted in the run.
                if let Some(not_logged) = quiet.allow("refused", Instant::now().into_std()) {
                    let (partition, offset) = letter.place;
                    tracing::warn!(replay = id, partition, offset, why, not_logged, "kafka refuses a replayed record");
                }
                Did::Failed(Failure::Refused.as_str())
            }
            Some(Err(error @ PublishError::Unavailable(_))) => {
                published.trouble = Some(error.to_string());
                published.back.push((letter.account, letter.place));
                continue;
            }
            None => Did::Failed(Failure::Gone.as_str()),
        };
        published.done.push(ended(&letter, did));
    }
    published
}

/// Waits for a batch that is being published, and renews the lock meanwhile: it has to outlast a broker that is slow.
pub async fn under_lock(
    c: &mut MultiplexedConnection,
    keys: &Keys,
    owner: (&str, &str),
    publishing: impl Future<Output = Published>,
) -> Published {
    tokio::pin!(publishing);
    loop {
        tokio::select! {
            published = &mut publishing => return published,
            () = sleep(RENEW) => {
                let step = Step { now_ms: now_ms(), ..Step::default() };
                let _ = advance(c, keys, owner, &step).await;
            }
        }
    }
}

fn ended(letter: &BatchItem, did: Did) -> Done {
    Done { partition: letter.place.0, offset: letter.place.1, account: letter.account.to_string(), did }
}

/// Counts what was done in the metrics of this replica.
pub fn count(metrics: &Metrics, done: &[Done]) {
    for done in done {
        let result = match done.did {
            Did::Republished => ReplayResult::Republished,
            Did::Skipped(_) => ReplayResult::Skipped,
            Did::Failed(_) => ReplayResult::Failed,
        };
        metrics.replays.dealt_with(result, 1);
    }
}
