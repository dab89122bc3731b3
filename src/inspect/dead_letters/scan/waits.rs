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

/// Makes a call until it works. While it fails, the trouble is its own. Then the earlier trouble stands again, because
/// an answer of Kafka does not mend what Redis refuses.
pub(super) fn again<T>(shared: &Shared, mut call: impl FnMut() -> Result<T, AdminError>) -> Result<T, Ended> {
    let before = shared.progress.borrow().trouble.clone();
    let mut failed = false;
    loop {
        match call() {
            Ok(done) => {
                if failed {
                    shared.progress.send_modify(|progress| progress.trouble = before);
                }
                return Ok(done);
            }
            Err(error) => {
                failed = true;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dead_letters::scan::shared::{Progress, Source};
    use crate::settings::Config;

    /// While Redis refuses a key, Kafka answers several times a second: whoever asks in between is to be told of Redis.
    #[test]
    fn a_call_that_works_takes_back_only_its_own_trouble() {
        let config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        let shared = Shared::new(Source { kafka: config.kafka, redis: config.redis }, 1);
        shared.ask();
        let trouble = || shared.progress.borrow().trouble.clone().map(|trouble| trouble.text);
        let works_at = |at| {
            let mut calls = 0;
            let work = again(&shared, || {
                calls += 1;
                if calls < at { Err(AdminError::NoAnswer("kafka is away".to_owned())) } else { Ok(()) }
            });
            assert!(work.is_ok());
        };
        works_at(2);
        assert_eq!(trouble(), None);
        let redis = Trouble { text: "redis refuses".to_owned(), refused: false };
        shared.progress.send_replace(Progress { trouble: Some(redis), ..Progress::default() });
        works_at(1);
        assert_eq!(trouble().as_deref(), Some("redis refuses"));
        works_at(2);
        assert_eq!(trouble().as_deref(), Some("redis refuses"));
    }
}
