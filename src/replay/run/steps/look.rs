//! What a run looks at now and then: the dead-letter topic, the lanes and the discards.

use std::time::Duration;

use ::redis::RedisResult;
use tokio::time::Instant;

use super::Run;
use crate::operate::lanes::read_lanes;
use crate::operate::letter_topic::LetterTopic;
use crate::operate::snapshot::read_snapshots;
use crate::replay::run::allowance::{Lanes, waiting};
use crate::replay::store;
use crate::replay::view::Stopped;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What was found.
pub(super) enum Looked {
    Fine,
    /// Kafka does not answer, with the reason.
    KafkaIsAway(String),
    /// The places of the plan are those of a topic that is gone, in the words of the end of the run.
    AnotherTopic(Stopped),
}

impl Run<'_> {
    /// Looks again, if it is time.
    pub(super) async fn look_around(&mut self) -> RedisResult<Looked> {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return Ok(Looked::Fine);
        }
        let topic = match self.reading.topic_id(&self.setup).await {
            Ok(id) => LetterTopic::note(&mut self.c, &self.setup.keys, id).await?,
            Err(why) => return Ok(Looked::KafkaIsAway(format!("kafka: {why}"))),
        };
        if !topic.is(self.stored.plan.topic_id.as_deref()) {
            let reason = "the dead-letter topic was made anew since the plan was made, so that its places hold other \
                          dead letters: make a new plan";
            return Ok(Looked::AnotherTopic(Stopped { reason: reason.to_owned(), sample: None }));
        }
        store::keep(&mut self.c, &self.setup.keys, &self.stored.id).await?;
        self.keys = self.setup.keys.of(&topic);
        self.discards.set_topic(topic);
        let switches = read_lanes(&mut self.c, &self.setup.keys).await?;
        let snapshots = read_snapshots(&mut self.c, &self.setup.keys).await?;
        self.lanes = Lanes { switches, snapshots };
        let accounts = self.turns.accounts();
        self.waiting = waiting(&self.lanes, accounts.iter().map(|name| &**name));
        if let Err(error) = self.discards.refresh(&mut self.c, &self.setup).await {
            return Ok(Looked::KafkaIsAway(error.to_string()));
        }
        self.rules.forgotten_ms = self.rules.forgotten_ms.max(self.discards.claims_lost_ms());
        self.looked = Some(Instant::now());
        Ok(Looked::Fine)
    }
}
