//! The tries of one visit of a record or a call: what follows a request that was not answered well.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::account::Inline;
use crate::claim::ClaimGuard;
use crate::delivery::progress::Stage;
use crate::delivery::{Delivery, TopicKind};
use crate::error::{Answer, DeliveryError};
use crate::lane::sending::Stop;
use crate::lane::state::Lane;
use crate::lane::tokens::{Refused, wait_for_token};
use crate::send::client::Unanswered;
use crate::send::rate::Slot;
use crate::send::token::{Token, Turn};
use crate::settle::policy::InlineDelays;

/// What a visit has done so far to be answered.
#[derive(Default)]
pub(super) struct Tries {
    /// The delays between its inline tries. `None`: none was needed yet.
    pub(super) delays: Option<InlineDelays>,
    /// What it has done to get a token.
    pub(super) turn: Turn,
    /// The failure of the last try where no other try has followed it and the result does not tell it. Boxed, because
    /// few visits have one and every attempt has room for it.
    pub(super) failed: Option<Box<DeliveryError>>,
}

/// How a visit goes on.
pub(super) enum Next {
    /// Another request is made under the same claim. A slot that was not used is used for it if that is still in time.
    Send(Option<Slot>),
    /// The claim is released and made again with a new token.
    Claim,
}

impl Tries {
    /// Judges the end of a request that took this slot and was sent with this token, and waits until another one may
    /// follow.
    ///
    /// # Errors
    /// The result of the visit.
    pub(super) async fn after(
        &mut self,
        unanswered: Unanswered<DeliveryError, Stop>,
        delivery: &mut Delivery,
        lane: &Lane,
        guard: &Option<ClaimGuard>,
        (slot, token): (Slot, Option<Token>),
    ) -> Result<Next, DeliveryError> {
        let failure = match unanswered {
            Unanswered::Failed(failure) => failure,
            // Another connection takes the request, in the same slot.
            Unanswered::Closed => return Ok(Next::Send(Some(slot))),
            Unanswered::Stopped(Stop::SlotMissed) => return Ok(Next::Send(None)),
            Unanswered::Stopped(Stop::ClaimAgain) => return Ok(Next::Claim),
            Unanswered::Stopped(Stop::Closed(why)) => return Err(why),
            Unanswered::Stopped(Stop::Late(late)) => return Err(self.failed.take().map_or(late, |failed| *failed)),
        };
        if let DeliveryError::Refresh(answer) = &failure {
            if answer.sign_again {
                self.turn.sign_again(answer)?;
                return Ok(Next::Send(None));
            }
            if let Some(token) = token {
                let refused = Some(Refused { token, answer: answer.clone() });
                let is_renewed = wait_for_token(delivery, lane, guard, &mut self.turn, refused).await?;
                return Ok(if is_renewed { Next::Send(None) } else { Next::Claim });
            }
        }
        self.turn.answered();
        self.failed = None;
        let Some(delay) = inline_delay(delivery, lane, &mut self.delays, &failure) else { return Err(failure) };
        tokio::select! {
            () = sleep(delay) => {}
            // If the lane closes during an inline delay, the record goes to its tier.
            _ = lane.interrupted(delivery) => return Err(failure),
        }
        self.failed = Some(Box::new(failure));
        Ok(Next::Send(None))
    }

    /// Counts the answer to the last try among the lane's answers. If another try follows at once it does not count;
    /// this one does not follow, or only after the event is claimed again.
    pub(super) fn count_failed(&mut self, delivery: &Delivery, lane: &Lane) {
        if let Some(failed) = self.failed.take() {
            lane.note(delivery.is_replayed(), &Err(*failed));
        }
    }
}

/// How long to wait before the next inline try, which counts as used from now on. `None`: there is no further one, or
/// the lane's budget for them is used up.
pub(super) fn inline_delay(
    delivery: &mut Delivery,
    lane: &Lane,
    delays: &mut Option<InlineDelays>,
    failure: &DeliveryError,
) -> Option<Duration> {
    let DeliveryError::Retry(Answer { retry_after: None, .. }) = failure else { return None };
    let inline = &lane.account.retry.inline;
    let left = inline.max_retries.saturating_sub(delivery.inline_used);
    let is_first_visit = delivery.topic_kind == TopicKind::Input;
    let delays =
        delays.get_or_insert_with(|| InlineDelays::new(Inline { max_retries: left, ..*inline }, is_first_visit));
    let delay = delays.next().filter(|_| delivery.envelope.attempts < lane.account.retry.max_attempts)?;
    if !lane.retry_budget.take(Instant::now()) {
        return None;
    }
    delivery.inline_used += 1;
    delivery.ack.open().set_stage(Stage::Waiting);
    Some(delay)
}
