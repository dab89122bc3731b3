//! The parts of running replays that wait, for `blocked`.

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::operate::keys::Keys;
use crate::operate::report::WaitingReplay;
use crate::replay::store::{self, Stored};
use crate::replay::view::{ReplayView, State};

/// Reads which parts of the running replay wait, and for what.
///
/// # Errors
/// Redis does not answer.
pub async fn waiting(c: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<Vec<WaitingReplay>> {
    let all: Vec<ReplayView> = store::read_all(c, keys).await?.iter().map(Stored::view).collect();
    Ok(all.iter().flat_map(parts).collect())
}

fn parts(of: &ReplayView) -> Vec<WaitingReplay> {
    if of.state != State::Running {
        return Vec::new();
    }
    let part = |(account, why): (&str, &str)| WaitingReplay {
        id: of.id.clone(),
        account: account.to_owned(),
        why: why.to_owned(),
    };
    of.waiting.iter().map(|waiting| part((&waiting.account, &waiting.why))).collect()
}
