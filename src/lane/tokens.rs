//! The access token of an account that sends with one. A record waits for a token before its connection and slot, and a
//! token that the platform refused is renewed. Claim and permit are kept meanwhile, as long as the lease has enough
//! left for a send.

use std::time::Duration;

use tokio::time::sleep;

use crate::claim::ClaimGuard;
use crate::delivery::Delivery;
use crate::delivery::progress::Stage;
use crate::error::{Answer, DeliveryError};
use crate::lane::claiming::{LONGEST_WAIT, spare_lease};
use crate::lane::state::Lane;
use crate::send::token::{Token, Turn};

/// The pause between two tries while Redis neither returns nor stores a token.
const PAUSE: Duration = Duration::from_millis(200);

/// A token that the platform refused, and the answer.
pub(super) struct Refused {
    pub(super) token: Token,
    pub(super) answer: Answer,
}

/// The account sends with a token, and none is in force.
pub(super) struct NoToken;

impl Lane {
    /// The token to send with now. `None`: this account sends without one.
    ///
    /// # Errors
    /// The account sends with a token, and none is in force.
    pub(super) fn token(&self) -> Result<Option<Token>, NoToken> {
        match &self.tokens {
            None => Ok(None),
            Some(tokens) => tokens.in_force().map(Some).ok_or(NoToken),
        }
    }
}

/// Waits until a token is in force that is newer than the `refused` one. `false`: the lease has become too short, and
/// the claim has to be made again. While Redis neither returns nor stores a token, the record is held in place.
///
/// # Errors
/// The record must not go on; or nothing can be sent before the account is authorised again; or the token endpoint has
/// failed, and nothing was sent for the record.
pub(super) async fn wait_for_token(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &Option<ClaimGuard>,
    turn: &mut Turn,
    mut refused: Option<Refused>,
) -> Result<bool, DeliveryError> {
    let Some(tokens) = &lane.tokens else { return Ok(true) };
    delivery.ack.open().set_stage(Stage::Waiting);
    loop {
        // The refusal is reported before the lease is checked, so that a claim that is made again waits for a newer
        // token too.
        let told = refused.take();
        // The report that a fresh token was refused as well is always completed, whatever the lease: nothing is sent
        // after it.
        let spare = if told.is_some() && turn.is_refused() {
            LONGEST_WAIT
        } else {
            spare_lease(lane, guard).unwrap_or_default()
        };
        let wait = async {
            match &told {
                Some(Refused { token, answer }) => tokens.refused(turn, token, answer).await,
                None => tokens.token().await.map(drop),
            }
        };
        let waited = tokio::select! {
            biased;
            waited = wait => waited,
            why = lane.interrupted(delivery) => return Err(why),
            () = sleep(spare.min(LONGEST_WAIT)) => return Ok(false),
        };
        match waited {
            Ok(()) => return Ok(true),
            Err(DeliveryError::Unavailable(_)) => {}
            Err(why) => {
                // Without a token nothing can be sent, so a token endpoint that fails counts as the platform does.
                lane.report_answer(delivery, Err(&why));
                return Err(why);
            }
        }
        delivery.ack.open().set_stage(Stage::Holding);
        let spare = spare_lease(lane, guard).unwrap_or_default();
        tokio::select! {
            () = sleep(PAUSE.min(spare)) => {}
            why = lane.interrupted(delivery) => return Err(why),
        }
        if spare.is_zero() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests;
