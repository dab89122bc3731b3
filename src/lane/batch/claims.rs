//! What one record of a batch needs before it can be sent: its claim, and a token where its account sends with one.

use crate::claim::ClaimGuard;
use crate::delivery::Delivery;
use crate::error::DeliveryError;
use crate::lane::claiming::{claim_to_send, give_up};
use crate::lane::state::Lane;
use crate::lane::tokens::{Refused, wait_for_token};
use crate::send::token::Turn;
use crate::settle::Progress;

/// The end of a claim. `None`: the record is to be sent.
pub(super) type Claimed = Result<Option<Progress>, DeliveryError>;

/// What a record needs before it can be sent.
pub(super) enum To {
    /// A claim, and a token if its account sends with one.
    Claim,
    /// A token, to replace the one that was refused or has ended.
    GetToken(Option<Refused>),
}

pub(super) async fn be_ready(
    delivery: &mut Delivery,
    lane: &Lane,
    guard: &mut Option<ClaimGuard>,
    turn: &mut Turn,
    to: To,
) -> Claimed {
    let (mut claims, mut refused) = match to {
        To::Claim => (true, None),
        To::GetToken(refused) => (false, refused),
    };
    loop {
        if claims {
            if guard.is_some() {
                give_up(delivery, lane, guard).await;
            }
            if let Some(done) = claim_to_send(delivery, lane, guard).await? {
                return Ok(Some(done));
            }
        }
        let has_token = refused.is_none() && lane.token().is_ok();
        // Boxed, because most accounts send without a token.
        if has_token || Box::pin(wait_for_token(delivery, lane, guard, turn, refused.take())).await? {
            return Ok(None);
        }
        claims = true;
    }
}
