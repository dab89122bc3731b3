//! What a request needs before it may go out: first an open connection, then a slot of the rate.
//!
//! In this order a slot can be used at once, so that slow connections never make requests bunch above the rate. If the
//! other end closes the connection during the wait, a new one is made, and the slot is given up if its time has passed
//! by then.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::DeliveryError;
use crate::send::line::Line;
use crate::send::rate::{Limiter, Priority, Slot};
use crate::send::{Destination, Dispatcher};

/// After a shorter wait the connection is not checked again: the request finds out whether it is open.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// What one attempt needs.
pub struct Ready<'a> {
    /// The connection, or why there is none. A failed connection uses up its slot as well, so that an unreachable
    /// platform is not tried more often than the rate allows.
    pub line: Result<Line<'a>, DeliveryError>,
    /// The slot, to be used now.
    pub slot: Slot,
    /// How long it took to connect.
    pub connecting: Duration,
    /// How long it waited for the slot.
    pub waited: Duration,
}

/// Waits for a connection to the destination, at most for `limit`, and for a slot. `unused` is an earlier slot, which
/// is used if that is still in time. Cancel-safe: the connection is kept, and the slot is lost.
pub async fn ready<'a>(
    (dispatcher, to): (&'a Dispatcher, Destination),
    limiter: &Limiter,
    priority: Priority,
    limit: Duration,
    unused: Option<Slot>,
) -> Ready<'a> {
    let began = Instant::now();
    let _near = limiter.near(priority).await;
    let mut connecting = Duration::ZERO;
    let line = match dispatcher.kept(to) {
        Some(line) => Ok(line),
        None => connect(dispatcher, to, limit, &mut connecting).await,
    };
    let slot = match unused.filter(|slot| limiter.is_in_time(*slot)) {
        Some(slot) => slot,
        None => limiter.slot(priority).await,
    };
    let waited = began.elapsed().saturating_sub(connecting);
    let ready = Ready { line, slot, connecting, waited };
    if waited < LONG_WAIT { ready } else { Box::pin(renewed(ready, (dispatcher, to), limiter, priority, limit)).await }
}

/// Boxed, because it is seldom needed and several times as large as the rest of this wait.
async fn connect<'a>(
    dispatcher: &'a Dispatcher,
    to: Destination,
    limit: Duration,
    connecting: &mut Duration,
) -> Result<Line<'a>, DeliveryError> {
    let began = Instant::now();
    let line = Box::pin(dispatcher.connect(to, limit)).await;
    *connecting += began.elapsed();
    line
}

/// Returns a connection that is open and a slot that is in time.
async fn renewed<'a>(
    mut ready: Ready<'a>,
    (dispatcher, to): (&'a Dispatcher, Destination),
    limiter: &Limiter,
    priority: Priority,
    limit: Duration,
) -> Ready<'a> {
    // It has waited for long, so it comes first among its own.
    let priority = if priority == Priority::Replayed { priority } else { Priority::Due };
    while let Ok(line) = &mut ready.line {
        if !line.is_open() {
            ready.line = connect(dispatcher, to, limit, &mut ready.connecting).await;
        } else if limiter.is_in_time(ready.slot) {
            break;
        } else {
            // This time the connection is watched: if slots come more slowly than the other end keeps connections open,
            // it would be closed again.
            let began = Instant::now();
            tokio::select! {
                biased;
                slot = limiter.slot(priority) => ready.slot = slot,
                () = line.spent() => {}
            }
            ready.waited += began.elapsed();
        }
    }
    ready
}
