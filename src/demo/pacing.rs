//! Decides when the generator publishes and when it waits (pure).
//!
//! The embedded broker silently drops records beyond 5 MiB per partition. So the generator keeps the backlog small, in
//! the input topic and for each account in its tiers and parking topic.

use std::time::Duration;

/// Events per second while the scenario plays.
pub const SCENARIO_RATE: f64 = 700.0;
/// Events per second after the scenario, where the demo runs on: enough to see, few enough to leave a core idle.
pub const CALM_RATE: f64 = 60.0;
/// The generator waits while more records than this lie between the committed positions and the ends of the input
/// topic.
pub const MOST_LAG: u64 = 5_000;
/// The generator waits while one account has this many events that have not ended. They take about 3 MiB in the only
/// partition of its parking topic.
pub const MOST_WAITING: u64 = 3_000;
/// The generator does not trust figures of the worker that are older than this.
pub const STALE: Duration = Duration::from_secs(5);

/// The figures that decide whether the generator waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog<'a> {
    /// Records between committed positions and ends of the input topic.
    pub lag: u64,
    /// The age of `lag`.
    pub age: Duration,
    /// The account with the most events that have not ended, and how many.
    pub fullest: Option<(&'a str, u64)>,
    /// A fault is still on although it should have ended by now.
    pub fault: bool,
}

/// Why the generator waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The worker lags behind.
    Lag(u64),
    /// An account has too many events that have not ended.
    Account(String, u64),
    /// The worker has not answered lately.
    Silence,
    /// A fault has to be lifted first.
    Fault,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wait::Lag(lag) => write!(f, "the generator waits: the worker is {lag} events behind"),
            Wait::Account(name, n) => write!(f, "the generator waits: {name} has {n} events waiting or parked"),
            Wait::Fault => f.write_str("the generator waits: the last fault is being lifted"),
            Wait::Silence => f.write_str("the generator waits: the worker does not answer"),
        }
    }
}

/// Says whether the generator has to wait, and why.
pub fn wait(backlog: &Backlog<'_>) -> Option<Wait> {
    match backlog.fullest {
        _ if backlog.fault => Some(Wait::Fault),
        _ if backlog.age >= STALE => Some(Wait::Silence),
        Some((name, waiting)) if waiting >= MOST_WAITING => Some(Wait::Account(name.to_owned(), waiting)),
        _ if backlog.lag > MOST_LAG => Some(Wait::Lag(backlog.lag)),
        _ => None,
    }
}

/// Keeps a steady rate. After a wait it does not publish a burst to catch up.
#[derive(Debug, Default)]
pub struct Pace {
    due: f64,
}

impl Pace {
    /// Returns how many events are due after `passed` more time at `rate`.
    pub fn due(&mut self, passed: Duration, rate: f64) -> usize {
        // It counts a quarter of a second at most, because the thread may have slept.
        self.due = (self.due + passed.as_secs_f64() * rate).min(1.0 + rate / 4.0);
        let whole = self.due.floor();
        self.due -= whole;
        whole as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_waits_past_each_bound_and_not_before() {
        let backlog = |lag, waiting, secs| {
            wait(&Backlog {
                lag,
                age: Duration::from_secs(secs),
                fullest: Some(("demo-360-ps", waiting)),
                fault: false,
            })
        };
        assert_eq!(backlog(5_000, 2_999, 4), None);
        assert_eq!(backlog(5_001, 0, 0), Some(Wait::Lag(5_001)));
        assert_eq!(backlog(0, 3_000, 0), Some(Wait::Account("demo-360-ps".into(), 3_000)));
        assert_eq!(backlog(0, 0, 5), Some(Wait::Silence));
        assert_eq!(wait(&Backlog::default()), None);
        assert_eq!(wait(&Backlog { fault: true, ..Backlog::default() }), Some(Wait::Fault));
    }

    #[test]
    fn the_pace_holds_over_uneven_steps_and_a_pause_is_not_made_up_for() {
        let mut pace = Pace::default();
        let sum: usize = (0..1_000).map(|n| pace.due(Duration::from_millis(5 + n % 7), 700.0)).sum();
        let expected = (0..1_000).map(|n| 5 + n % 7).sum::<u64>() as f64 * 0.7;
        assert!((sum as f64 - expected).abs() < 2.0, "{sum} of {expected}");
        assert!(pace.due(Duration::from_secs(60), 700.0) <= 176);
    }
}
