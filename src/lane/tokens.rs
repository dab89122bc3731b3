//! The access token of an account that sends with one: waited for before a record's connection and slot, and renewed where
//! the platform has refused it. Claim and permit are kept meanwhile, for as long as the lease has enough left to send.

use std::time::Duration;

use tokio::time::sleep;

use crate::claim::Held;
use crate::delivery::Delivery;
use crate::delivery::progress::Stage;
use crate::error::{Answer, DeliveryError};
use crate::lane::claiming::spare_lease;
use crate::lane::state::Lane;
use crate::send::token::{Token, Turn};

/// Between two tries while Redis neither gives nor takes a token.
const PAUSE: Duration = Duration::from_millis(200);
/// There is a timer in any case, even where no lease ends (Redis is away).
const LONG: Duration = Duration::from_secs(3600);

/// A token that the platform has refused, and its answer.
pub(super) struct Refused {
    pub(super) token: Token,
    pub(super) answer: Answer,
}

/// None is in force.
pub(super) struct NoToken;

impl Lane {
    /// The token to send with now; `None`: this account sends without one.
    ///
    /// # Errors
    /// It sends with one, and none is in force.
    pub(super) fn token(&self) -> Result<Option<Token>, NoToken> {
        match &self.tokens {
            None => Ok(None),
            Some(tokens) => tokens.in_force().map(Some).ok_or(NoToken),
        }
    }
}

/// Waits until a token is in force, a newer one than the one that was `refused`. `false`: the lease has become too short, so
/// that the claim has to be made again. While Redis neither gives nor takes a token, the record is held in place.
///
/// # Errors
/// The record must not go on; nothing can be sent before the account is authorised anew; the token endpoint has failed, and
/// nothing was sent for the record.
pub(super) async fn wait_for_token(
    delivery: &Delivery,
    lane: &Lane,
    held: &Option<Held>,
    turn: &mut Turn,
    mut refused: Option<Refused>,
) -> Result<bool, DeliveryError> {
    let Some(tokens) = &lane.tokens else { return Ok(true) };
    delivery.ack.open().set_stage(Stage::Waiting);
    loop {
        // Told before the lease is looked at: a claim that is made again waits for the newer one too.
        let told = refused.take();
        // That a fresh token was refused too is told to the end: nothing more is sent.
        let spare =
            if told.is_some() && turn.is_refused() { LONG } else { spare_lease(lane, held).unwrap_or_default() };
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
            () = sleep(spare.min(LONG)) => return Ok(false),
        };
        match waited {
            Ok(()) => return Ok(true),
            Err(DeliveryError::Unavailable(_)) => {}
            Err(why) => return Err(why),
        }
        delivery.ack.open().set_stage(Stage::Held);
        let spare = spare_lease(lane, held).unwrap_or_default();
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
