//! The names of the keys in Redis. The table in [`crate::operate`] says what each key holds.

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

/// How many offsets of the dead-letter topic share one bitmap. A bitmap has at most 8 KiB then, however large the
/// offsets are.
pub const OFFSETS_PER_KEY: i64 = 65_536;

/// Builds the names of the keys under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
    /// Stands in the names of the marks of dead letters: empty, or the id of their topic.
    marked: String,
}

impl Keys {
    /// Names that begin with `prefix` and a colon.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), marked: String::new() }
    }
    /// The same names, but the marks are those of dead letters in this topic.
    pub fn of(&self, topic: &LetterTopic) -> Self {
        Self { prefix: self.prefix.clone(), marked: topic.mark().map_or_else(String::new, |id| format!("{id}:")) }
    }
    /// The key of the lane switches.
    pub fn lanes(&self) -> String {
        format!("{}:lanes", self.prefix)
    }
    /// The key that exists while no replica, or only one, may try a parked event of a halted account.
    pub fn halt_probe(&self, account: &str) -> String {
        format!("{}:halt_probe:{account}", self.prefix)
    }
    /// The key of the audit entries that are not published yet.
    pub fn audit_out(&self) -> String {
        format!("{}:audit:out", self.prefix)
    }
    /// The key of whose turn it is to publish them.
    pub fn audit_turn(&self) -> String {
        format!("{}:audit:turn", self.prefix)
    }
    /// The key of the ids of replicas that wrote a snapshot.
    pub fn replicas(&self) -> String {
        format!("{}:replicas", self.prefix)
    }
    /// The key of one replica's snapshot.
    pub fn replica(&self, id: &str) -> String {
        format!("{}:replica:{id}", self.prefix)
    }
    /// The key of the orders to parked partitions.
    pub fn orders(&self) -> String {
        format!("{}:orders", self.prefix)
    }
    /// The key of the topics that the storm brake stopped.
    pub fn storms(&self) -> String {
        format!("{}:storms", self.prefix)
    }
    /// The key of the partitions that are parked because they have no offset, as `<topic>/<partition>`.
    pub fn unplaced(&self) -> String {
        format!("{}:unplaced", self.prefix)
    }
    /// A key that exists while an account received records from a topic lately.
    pub fn arrived(&self, topic: &str, account: &str) -> String {
        format!("{}:arrived:{topic}:{account}", self.prefix)
    }
    /// The key of the topics that have been part of the input before.
    pub fn topics(&self) -> String {
        format!("{}:topics", self.prefix)
    }
    /// The key of the partitions of tiers and parking topics that had a committed offset.
    pub fn positions(&self) -> String {
        format!("{}:positions", self.prefix)
    }
    /// The key of the ids of all replays.
    pub fn replays(&self) -> String {
        format!("{}:replays", self.prefix)
    }
    /// The key of one replay: its plan, its state and its counts.
    pub fn replay(&self, id: &str) -> String {
        format!("{}:replay:{id}", self.prefix)
    }
    /// The key of the places that a replay publishes, per account.
    pub fn replay_places(&self, id: &str) -> String {
        format!("{}:replay:{id}:places", self.prefix)
    }
    /// The key of the bitmap of the dead letters that a replay has ended. A bit is an offset modulo
    /// [`OFFSETS_PER_KEY`].
    pub fn replay_done(&self, id: &str, partition: i32, offset: i64) -> String {
        self.replay_done_chunk(id, partition, offset / OFFSETS_PER_KEY)
    }
    /// The same by the number of the bitmap.
    pub fn replay_done_chunk(&self, id: &str, partition: i32, chunk: i64) -> String {
        format!("{}:replay:{id}:done:{partition}:{chunk}", self.prefix)
    }
    /// The key of what came of the records that a replay published.
    pub fn replay_outcomes(&self, id: &str) -> String {
        format!("{}:replay:{id}:outcomes", self.prefix)
    }
    /// The key of the id of the replay that runs.
    pub fn replay_running(&self) -> String {
        format!("{}:replay:running", self.prefix)
    }
    /// The key of the lock of the replica that publishes for the replay that runs.
    pub fn replay_lock(&self) -> String {
        format!("{}:replay:lock", self.prefix)
    }
    /// The key of the bitmap of the dead letters that any replay has published. A bit is an offset modulo
    /// [`OFFSETS_PER_KEY`].
    pub fn replayed(&self, partition: i32, offset: i64) -> String {
        format!("{}:replayed:{}{partition}:{}", self.prefix, self.marked, offset / OFFSETS_PER_KEY)
    }
    /// The key of the id of the topic whose marks have no id in their names.
    pub fn letter_topic(&self) -> String {
        format!("{}:letter_topic", self.prefix)
    }
    /// The key of the epoch. It exists as long as the store has not lost its data.
    pub fn epoch(&self) -> String {
        format!("{}:epoch", self.prefix)
    }
}

/// The dead-letter topic, as it is told from an earlier one. A mark of a dead letter names its partition and offset,
/// and in a topic that was deleted and made again the offsets begin anew: the marks of the earlier topic must hide
/// nothing there. Marks that state no topic are those of the first topic that was noted, because earlier versions wrote
/// these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterTopic {
    /// `None`: the brokers have no ids.
    id: Option<String>,
    /// The topic that was noted first has another id.
    is_later: bool,
}

impl LetterTopic {
    /// The topic with this id. The first id is noted.
    ///
    /// # Errors
    /// Fails if Redis does not answer.
    pub async fn note(c: &mut MultiplexedConnection, keys: &Keys, id: Option<String>) -> RedisResult<Self> {
        let Some(id) = id else { return Ok(Self::default()) };
        let mut pipe = ::redis::pipe();
        pipe.cmd("SET").arg(keys.letter_topic()).arg(&id).arg("NX").ignore().cmd("GET").arg(keys.letter_topic());
        let (first,): (Option<String>,) = pipe.query_async(c).await?;
        Ok(Self { is_later: first.is_some_and(|first| first != id), id: Some(id) })
    }

    /// The first topic, or a later one.
    #[cfg(test)]
    pub(crate) fn stub(id: &str, is_later: bool) -> Self {
        Self { id: Some(id.to_owned()), is_later }
    }

    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The id that stands in the names of its marks.
    fn mark(&self) -> Option<&str> {
        self.id().filter(|_| self.is_later)
    }

    /// Whether something that states this topic is about this one.
    pub fn is(&self, stated: Option<&str>) -> bool {
        match (self.id(), stated) {
            (Some(id), Some(stated)) => id == stated,
            (_, None) => !self.is_later,
            (None, Some(_)) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::store::Store;

    #[test]
    fn every_key_begins_with_the_prefix() {
        let keys = Keys::new("pb");
        let all = [
            keys.lanes(),
            keys.audit_out(),
            keys.audit_turn(),
            keys.replicas(),
            keys.replica("a1"),
            keys.orders(),
            keys.epoch(),
        ];
        assert_eq!(
            all,
            ["pb:lanes", "pb:audit:out", "pb:audit:turn", "pb:replicas", "pb:replica:a1", "pb:orders", "pb:epoch"]
        );
        assert_eq!(keys.replay_done("r", 2, 131_071), "pb:replay:r:done:2:1");
        assert_eq!([keys.replayed(2, 65_535), keys.replayed(2, 65_536)], ["pb:replayed:2:0", "pb:replayed:2:1"]);
        assert_eq!(keys.of(&LetterTopic::default()), keys);
        assert_eq!([keys.unplaced(), keys.topics(), keys.positions()], ["pb:unplaced", "pb:topics", "pb:positions"]);
        assert_eq!(keys.storms(), "pb:storms");
    }

    #[tokio::test]
    async fn only_the_topic_that_was_noted_first_has_the_marks_without_an_id() {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let (mut c, keys) = (crate::redis::connect(&client).await.unwrap(), Keys::new("pb"));
        let mut topic = async |id: Option<&str>| {
            let id = id.map(str::to_owned);
            LetterTopic::note(&mut c, &keys, id).await.unwrap()
        };
        let (first, later) = (topic(Some("A")).await, topic(Some("B")).await);
        assert_eq!(topic(Some("A")).await, first);
        let none = topic(None).await;
        let key = |topic: &LetterTopic| keys.of(topic).replayed(2, 65_536);
        assert_eq!([key(&first), key(&none), key(&later)], ["pb:replayed:2:1", "pb:replayed:2:1", "pb:replayed:B:2:1"]);
        let is = |topic: &LetterTopic| [None, Some("A"), Some("B")].map(|stated| topic.is(stated));
        assert_eq!((is(&first), is(&later), is(&none)), ([true, true, false], [false, false, true], [true; 3]));
    }
}
