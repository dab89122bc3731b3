//! What a request needs before it may go out: a connection that is there, then a slot of the rate.
//!
//! In this order, so that connections that take long never make requests bunch above the rate: whoever has a slot can use
//! it at once. A connection that its other end closes during the wait is made anew, and a slot whose time has passed by
//! then is given up.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::DeliveryError;
use crate::send::rate::{Limiter, Slot};
use crate::send::{Dispatcher, Line};

/// After a shorter wait a connection is not looked at again: the request finds out whether it is open.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// All that one attempt needs.
pub struct Ready<'a> {
    /// The connection, or why there is none. That costs a slot too: a platform that cannot be reached is not tried more
    /// often than the rate allows.
    pub line: Result<Line<'a>, DeliveryError>,
    /// To be used now.
    pub slot: Slot,
    /// How long it took to connect.
    pub connecting: Duration,
    /// How long the slot was waited for.
    pub waited: Duration,
}

/// Waits for a connection, at most for `limit`, and a slot. `unused`: a slot from before, which is taken if there is still
/// time. `due`: goes before what has no time of its own. Cancel-safe: the connection is kept, and a slot that nobody uses is
/// lost.
pub async fn ready<'a>(
    dispatcher: &'a Dispatcher,
    limiter: &Limiter,
    due: bool,
    limit: Duration,
    unused: Option<Slot>,
) -> Ready<'a> {
    let began = Instant::now();
    let _near = limiter.near(due).await;
    let mut connecting = Duration::ZERO;
    let line = match dispatcher.kept().await {
        Some(line) => Ok(line),
        None => connect(dispatcher, limit, &mut connecting).await,
    };
    let slot = match unused.filter(|slot| limiter.is_in_time(*slot)) {
        Some(slot) => slot,
        None => limiter.slot(due).await,
    };
    let waited = began.elapsed().saturating_sub(connecting);
    let ready = Ready { line, slot, connecting, waited };
    if waited < LONG_WAIT { ready } else { Box::pin(renewed(ready, dispatcher, limiter, limit)).await }
}

/// Boxed: seldom needed, and several times the size of all else that waits for a slot.
async fn connect<'a>(
    dispatcher: &'a Dispatcher,
    limit: Duration,
    connecting: &mut Duration,
) -> Result<Line<'a>, DeliveryError> {
    let began = Instant::now();
    let line = Box::pin(dispatcher.connect(limit)).await;
    *connecting += began.elapsed();
    line
}

/// The same with a connection that is open and a slot that is in time.
async fn renewed<'a>(
    mut ready: Ready<'a>,
    dispatcher: &'a Dispatcher,
    limiter: &Limiter,
    limit: Duration,
) -> Ready<'a> {
    while let Ok(line) = &mut ready.line {
        if !line.is_open().await {
            ready.line = connect(dispatcher, limit, &mut ready.connecting).await;
        } else if limiter.is_in_time(ready.slot) {
            break;
        } else {
            // Watched this time: where slots are rarer than the other end is patient, it would be closed again.
            let began = Instant::now();
            tokio::select! {
                biased;
                slot = limiter.slot(true) => ready.slot = slot,
                () = line.spent() => {}
            }
            ready.waited += began.elapsed();
        }
    }
    ready
}
