//! Judges one dead letter: whether it may be published again, what would come of it, and the record to publish (pure).
//!
//! The plan and the run judge by the same function, the run right before it publishes.

use std::time::Duration;

use crate::claim::rules::{Key, Value};
use crate::envelope::{Copy, Envelope, Replay, Source, own_headers};
use crate::error::Reason;
use crate::inspect::dead_letters::DeadLetter;
use crate::inspect::preview::{Preview, Previewer};
use crate::kafka::record::{Header, Record};
use crate::replay::cause::{Failure, Skip};

/// A dead letter that was replayed so often is refused without `--force`.
const MOST_REPLAYS: u32 = 3;

/// The rules of one plan, and the time at which it judges.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub force: bool,
    /// How long a delivery is remembered.
    pub window: Duration,
    /// Claims from before this time are lost, epoch ms.
    pub forgotten_ms: Option<i64>,
    /// The present by the clock of Redis, epoch ms. With a clock that is behind, a forgotten delivery would count as
    /// remembered.
    pub now_ms: i64,
}

/// What an event would come to if it were published now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forecast {
    Sent,
    Suppressed,
    Halted,
    Refused { reason: &'static str, field: String },
}

/// One dead letter, judged.
#[derive(Clone, Debug)]
pub struct Judged {
    pub letter: DeadLetter,
    /// Why it is not to be published, before its claim was looked up.
    pub skip: Option<Skip>,
    /// Why it cannot be published.
    pub failure: Option<Failure>,
    /// `None`: its event is lost.
    pub forecast: Option<Forecast>,
    /// The claim that the event would make, with its fingerprint.
    pub claim: Option<(Key, u64)>,
    envelope: Envelope,
    /// How many of its headers are the producer's.
    producer: usize,
}

impl Rules {
    /// Judges a record of the dead-letter topic. `is_input` says whether its origin is read at present.
    pub fn judge(&self, previewer: &Previewer, is_input: &dyn Fn(&str) -> bool, record: &Record) -> Judged {
        let letter = DeadLetter::read(record);
        let (mut envelope, producer) = Envelope::read(record, Source::Owned, self.now_ms);
        // What is read of a record from an input topic: its attempts start again.
        (envelope.attempts, envelope.pass, envelope.page, envelope.alternate) = (0, 0, 0, 0);
        (envelope.due_ms, envelope.retry_since_ms, envelope.parked_at_ms) = (None, None, None);
        let failure = if own_headers(record).is_empty() {
            Some(Failure::NoOrigin)
        } else {
            (!is_input(&envelope.origin.topic)).then_some(Failure::NoInput)
        };
        let mut judged = Judged { letter, skip: None, failure, forecast: None, claim: None, envelope, producer };
        judged.skip = judged.lost();
        if judged.skip.is_none() {
            self.foresee(previewer, record, &mut judged);
        }
        judged
    }

    fn foresee(&self, previewer: &Previewer, record: &Record, judged: &mut Judged) {
        let mut foreseen = previewer.foresee(record, &judged.envelope, self.now_ms);
        let day_is_over = foreseen.day_is_over;
        if day_is_over && self.force {
            judged.envelope.first_attempt_ms = None;
            foreseen = previewer.foresee(record, &judged.envelope, self.now_ms);
        }
        let forecast = match foreseen.preview {
            Preview::Accepted(_) => Forecast::Sent,
            Preview::Halted(_) => Forecast::Halted,
            Preview::Refused(refused) if Reason::ALL.iter().any(|reason| reason.as_str() == refused.reason) => {
                Forecast::Refused { reason: refused.reason, field: refused.field }
            }
            Preview::Refused(_) => Forecast::Suppressed,
        };
        let replays = judged.envelope.replay.as_ref().map_or(0, |replay| replay.replays);
        let seen_ms = judged.letter.number("first-seen").unwrap_or(0);
        let remembered_ms = self.now_ms - i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        let is_forgotten = seen_ms < remembered_ms || self.forgotten_ms.is_some_and(|at| seen_ms < at);
        let causes = [
            (replays >= MOST_REPLAYS, Skip::ThreeReplays),
            (is_forgotten, Skip::PastWindow),
            (judged.letter.reason() == Some(Reason::UnknownOutcome), Skip::UnknownOutcome),
            (day_is_over, Skip::NaturalDay),
            (matches!(forecast, Forecast::Refused { .. }), Skip::Predicted),
        ];
        judged.skip = causes.iter().find(|(holds, _)| *holds && !self.force).map(|(_, cause)| *cause);
        (judged.forecast, judged.claim) = (Some(forecast), foreseen.claim);
    }
}

impl Judged {
    /// Why nothing can be built from it any more.
    fn lost(&self) -> Option<Skip> {
        match self.letter.reason() {
            _ if self.letter.text("truncated").is_some() => Some(Skip::Truncated),
            Some(Reason::Conflict) => Some(Skip::Conflict),
            Some(Reason::Malformed) => Some(Skip::Malformed),
            _ => None,
        }
    }

    /// Why it is not to be published according to what Redis holds under the key of its claim.
    pub fn settled(&self, found: Option<&[u8]>) -> Option<Skip> {
        let (_, fingerprint) = self.claim?;
        match Value::parse(found?) {
            Value::Done(done) if done.fingerprint() == fingerprint => Some(Skip::Confirmed),
            Value::Done(_) => Some(Skip::Conflict),
            _ => None,
        }
    }

    /// Whether what Redis holds under that key is the delivery of this record, not of another one of its event.
    pub fn is_itself(&self, found: Option<&[u8]>) -> bool {
        let origin = &self.envelope.origin;
        let origin = format!("{}:{}:{}", origin.topic, origin.partition, origin.offset);
        matches!(found.map(Value::parse), Some(Value::Done(done)) if done.is_of_origin(&origin))
    }

    /// The topic that it came from.
    pub fn origin_topic(&self) -> &str {
        &self.envelope.origin.topic
    }

    /// The headers to publish it with: the producer's as they are, then the block of a replayed record.
    pub fn headers(&self, record: &Record, id: &str, force: bool) -> Vec<Header> {
        let replays = self.envelope.replay.as_ref().map_or(0, |replay| replay.replays);
        let mut envelope = self.envelope.clone();
        envelope.replay = Some(Replay { id: id.to_owned(), replays: replays.saturating_add(1), force });
        let mut headers = record.headers[..self.producer].to_vec();
        headers.extend(envelope.write(Copy::Replayed));
        headers
    }
}

#[cfg(test)]
mod tests;
