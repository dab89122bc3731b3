//! Keeps an outage from flooding the log: it lets the first lines of a minute through, then counts the lines that are
//! left out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Reason;

const MINUTE: Duration = Duration::from_secs(60);

/// A bound on the log lines of one lane. State changes are always logged; they do not pass through it.
#[derive(Debug)]
pub struct Quiet {
    per_minute: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    allowed: u32,
    suppressed: u64,
}

impl Default for Quiet {
    /// One line a minute, so that an hour of outage writes fewer than 100 lines.
    fn default() -> Self {
        Self::new(1)
    }
}

impl Quiet {
    /// Allows at most `per_minute` lines in a minute.
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, window: Mutex::default() }
    }

    /// Whether a line may be written now. If so, returns how many lines were left out since the last one that was
    /// written.
    pub fn allow(&self, now: Instant) -> Option<u64> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).allow(self.per_minute, now)
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        self.began.is_none_or(|began| now.saturating_duration_since(began) >= MINUTE)
    }

    fn allow(&mut self, per_minute: u32, now: Instant) -> Option<u64> {
        if self.is_over(now) {
            self.began = Some(now);
            self.allowed = 0;
        }
        if self.allowed < per_minute {
            self.allowed += 1;
            Some(std::mem::take(&mut self.suppressed))
        } else {
            self.suppressed += 1;
            None
        }
    }
}

/// A bound on log lines of several kinds. Each kind has its own minute, and the count of lines left out is reported
/// even if no further line follows.
#[derive(Debug)]
pub struct QuietKinds<K> {
    kinds: Mutex<HashMap<K, Window>>,
}

impl<K> Default for QuietKinds<K> {
    fn default() -> Self {
        Self { kinds: Mutex::default() }
    }
}

impl<K: Eq + Hash + Clone> QuietKinds<K> {
    /// Whether a line of this kind may be written now. If so, returns how many lines of this kind were left out since
    /// the last one that was written.
    pub fn allow(&self, kind: K, now: Instant) -> Option<u64> {
        self.lock().entry(kind).or_default().allow(1, now)
    }

    /// The lines that were left out in minutes that are over. The caller asks about once a second.
    pub fn left_out(&self, now: Instant) -> Vec<(K, u64)> {
        let mut kinds = self.lock();
        let mut told = Vec::new();
        // A kind whose minute is over starts again with its next line.
        kinds.retain(|kind, window| {
            if !window.is_over(now) {
                return true;
            }
            if window.suppressed > 0 {
                told.push((kind.clone(), window.suppressed));
            }
            false
        });
        told
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Window>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines that are written to the log once a minute at most, with a count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Repeated {
    /// Dead letters of one account and reason.
    DeadLetter {
        /// The index of the account in the metrics.
        account: usize,
        reason: Reason,
    },
    /// Copies that this topic refuses because of their size.
    TooLarge(Box<str>),
    /// Records of one account whose claim's key holds what no worker wrote. The index of the account in the metrics.
    ForeignClaim(usize),
}

/// Warnings that were logged already. A loop that checks every second logs each of them once.
#[derive(Debug, Default)]
pub struct Told(Vec<String>);

impl Told {
    /// Logs the warnings that were not there at the last check.
    pub fn warn(&mut self, warnings: Vec<String>) {
        for warning in self.news(warnings) {
            tracing::warn!("{warning}");
        }
    }

    /// The warnings that were not there at the last check. A warning that disappeared is logged again when it returns.
    fn news(&mut self, warnings: Vec<String>) -> Vec<String> {
        let known = std::mem::replace(&mut self.0, warnings);
        self.0.iter().filter(|warning| !known.contains(warning)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_failures_is_less_than_a_hundred_lines_and_none_goes_uncounted() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        let (mut lines, mut suppressed) = (0, 0);
        for tick in 0..36_000 {
            if let Some(left_out) = quiet.allow(start + Duration::from_millis(tick * 100)) {
                lines += 1;
                suppressed += left_out;
            }
        }
        assert_eq!(lines, 60);
        assert_eq!(quiet.allow(start + Duration::from_secs(3_600)), Some(36_000 - lines - suppressed));
    }

    #[test]
    fn the_first_lines_of_a_minute_pass_and_the_next_minute_tells_what_was_left_out() {
        let (quiet, start) = (Quiet::new(2), Instant::now());
        let answers: Vec<_> = (0..5).map(|s| quiet.allow(start + Duration::from_secs(s))).collect();
        assert_eq!(answers, [Some(0), Some(0), None, None, None]);
        assert_eq!(quiet.allow(start + MINUTE), Some(3));
    }

    #[test]
    fn each_kind_has_its_own_minute_and_what_was_left_out_is_told_when_it_is_over() {
        let (quiet, start) = (QuietKinds::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            [quiet.allow("a", at(0)), quiet.allow("a", at(1)), quiet.allow("b", at(2))],
            [Some(0), None, Some(0)]
        );
        assert_eq!(quiet.allow("a", at(3)), None);
        assert_eq!(quiet.left_out(at(59)), []);
        assert_eq!(quiet.left_out(at(60)), [("a", 2)]);
        assert_eq!(quiet.left_out(at(61)), [], "told once");
        assert_eq!(quiet.allow("a", at(62)), Some(0));
        assert!(
            quiet.allow("a", at(63)).is_none() && quiet.allow("a", at(123)) == Some(1),
            "the next line tells it too"
        );
    }

    #[test]
    fn a_warning_is_told_once_for_as_long_as_it_stands() {
        let mut told = Told::default();
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(told.news(texts(&["a"])), texts(&["a"]));
        assert_eq!(told.news(texts(&["a", "b"])), texts(&["b"]));
        assert_eq!(told.news(texts(&["a", "b"])), texts(&[]));
        assert_eq!(told.news(texts(&["b"])), texts(&[]));
        assert_eq!(told.news(texts(&["a", "b"])), texts(&["a"]), "it came back");
    }
}
