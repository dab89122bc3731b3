//! What a run looks at now and then: the dead-letter topic, the lanes and the discards.

use std::sync::Arc;
use std::time::Duration;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::allowance::Lanes;
use super::batch::Reading;
use crate::operate::keys::{Keys, LetterTopic};
use crate::operate::lanes::read_lanes;
use crate::operate::snapshot::read_snapshots;
use crate::redis::foreign::ForeignKeys;
use crate::replay::discards::Discards;
use crate::replay::setup::Setup;
use crate::replay::store::{self, Stored};
use crate::replay::view::Stopped;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What was seen last.
pub struct Around {
    pub lanes: Lanes,
    pub discards: Discards,
    /// With the marks of the topic whose dead letters are published.
    pub keys: Keys,
    looked: Option<Instant>,
}

/// What a look found.
pub enum Looked {
    /// It is not time to look again.
    NotYet,
    Fine,
    /// Kafka does not answer, with the reason.
    KafkaIsAway(String),
    /// The places of the plan are those of a topic that is gone, in the words of the end of the run.
    AnotherTopic(Stopped),
}

impl Around {
    /// Nothing was looked at yet.
    pub fn new(setup: &Setup, stored: &Stored) -> Self {
        let (keys, discards) = (setup.keys.clone(), Discards::beyond(&stored.plan));
        Self { lanes: Lanes::default(), discards, keys, looked: None }
    }

    /// Looks again, if it is time.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn look(
        &mut self,
        c: &mut MultiplexedConnection,
        (setup, reading): (&Arc<Setup>, &Reading),
        stored: &Stored,
    ) -> RedisResult<Looked> {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return Ok(Looked::NotYet);
        }
        let topic = match reading.topic_id(setup).await {
            Ok(id) => LetterTopic::note(c, &setup.keys, id).await?,
            Err(why) => return Ok(Looked::KafkaIsAway(format!("kafka: {why}"))),
        };
        if !topic.is(stored.plan.topic_id.as_deref()) {
            let reason = "the dead-letter topic was made anew since the plan was made, so that its places hold other \
                          dead letters: make a new plan";
            return Ok(Looked::AnotherTopic(Stopped { reason: reason.to_owned(), sample: None }));
        }
        store::keep(c, &setup.keys, &stored.id).await?;
        self.keys = setup.keys.of(&topic);
        let switches = read_lanes(c, &setup.keys).await?;
        let snapshots = read_snapshots(c, &setup.keys, &ForeignKeys::default()).await?;
        self.lanes = Lanes { switches, snapshots };
        self.discards.set_topic(topic);
        if let Err(error) = self.discards.refresh(c, setup).await {
            return Ok(Looked::KafkaIsAway(error.to_string()));
        }
        self.looked = Some(Instant::now());
        Ok(Looked::Fine)
    }
}
