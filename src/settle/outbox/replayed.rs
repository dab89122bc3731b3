//! What comes of a replayed record is counted before its offset is finished. So a kill can make it count once more, and
//! never makes it missing.

use std::time::Duration;

use tokio::time::sleep;

use crate::account::WhenUnavailable;
use crate::delivery::Delivery;
use crate::delivery::progress::Stage;
use crate::error::Outcome;
use crate::redis::batcher::StoreError;
use crate::settle::outbox::Outbox;
use crate::settle::outcomes::{Counted, Died};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Outbox {
    /// Counts the end of a replayed record, and repeats that until it works. An account that delivers without Redis
    /// does not wait for it: the count waits in memory.
    pub(super) async fn count_replayed(&self, delivery: &Delivery, outcome: Outcome, died: Option<Died<'_>>) {
        let Some(counted) = Counted::of(delivery, outcome, died) else { return };
        let mut waits = delivery.when_unavailable() == WhenUnavailable::Hold;
        // The next reader of a record that was given back counts its end. Only a delivery counts here as well, because
        // it is a fact, and that reader finds a duplicate.
        let is_gone = || delivery.ack.assignment().is_gone();
        let (mut again, mut pause) = (is_gone() || delivery.is_read_again, FIRST_PAUSE);
        loop {
            if is_gone() && outcome != Outcome::Delivered {
                return;
            }
            let is_away = !waits && self.context.health.store_trouble().is_some();
            let written =
                if is_away { Ok(false) } else { self.outcomes.write(&counted, 1, again).await.map(|()| true) };
            match written {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    again |= error.may_have_run();
                    // It may last for ever, and a count is not worth that records are not finished.
                    waits &= error != StoreError::Foreign;
                }
            }
            if !waits && self.outcomes.keep(&counted, again) {
                break;
            }
            delivery.ack.open().set_stage(Stage::Holding);
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if !is_gone() {
            self.context.metrics.replays.ended(outcome);
        }
    }
}
