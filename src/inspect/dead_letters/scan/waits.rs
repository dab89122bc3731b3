//! How the thread of the search waits: for Kafka, for time to pass, and for somebody to ask. Each wait ends early when
//! the process ends or nobody is interested any more.

use std::time::{Duration, Instant};

use super::shared::{IDLE, Shared, Trouble};
use crate::kafka::topics::AdminError;

/// A failed call is made again after this time.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// Why the search of one index ends.
pub(super) enum Ended {
    /// Nobody has asked for a long time.
    Idle,
    /// The topic has been made anew, or more has arrived than an index may hold.
    Changed,
    /// The process ends.
    Over,
}

/// Makes a call until it works.
pub(super) fn again<T>(shared: &Shared, mut call: impl FnMut() -> Result<T, AdminError>) -> Result<T, Ended> {
    loop {
        match call() {
            Ok(done) => {
                if shared.progress.borrow().trouble.is_some() {
                    shared.progress.send_modify(|progress| progress.trouble = None);
                }
                return Ok(done);
            }
            Err(error) => {
                let refused = matches!(error, AdminError::Refused(_));
                let trouble = Trouble { text: error.to_string(), refused };
                shared.progress.send_modify(|progress| progress.trouble = Some(trouble));
                pause(shared, AGAIN)?;
            }
        }
    }
}

/// Waits so long.
pub(super) fn pause(shared: &Shared, time: Duration) -> Result<(), Ended> {
    let until = Instant::now() + time;
    let asked = shared.asked();
    let left = until.saturating_duration_since(Instant::now());
    let waited = shared.wake.wait_timeout_while(asked, left, |asked| !asked.over);
    match waited {
        Ok((asked, _)) if asked.over => Err(Ended::Over),
        Ok((asked, _)) if asked.quiet() >= IDLE => Err(Ended::Idle),
        _ => Ok(()),
    }
}

/// Waits until somebody asks.
pub(super) fn pause_until_asked(shared: &Shared) -> Result<(), Ended> {
    let (since, quiet) = {
        let asked = shared.asked();
        (asked.at, asked.quiet())
    };
    let left = IDLE.saturating_sub(quiet);
    let waited = shared.wake.wait_timeout_while(shared.asked(), left, |asked| !asked.over && asked.at == since);
    match waited {
        Ok((asked, _)) if asked.over => Err(Ended::Over),
        Ok((asked, _)) if asked.quiet() >= IDLE => Err(Ended::Idle),
        _ => Ok(()),
    }
}
