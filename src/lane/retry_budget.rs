//! The budget of a lane for inline retries: while a platform fails, quick tries must not double or triple its load.
//!
//! In any ten seconds at most a fifth as many inline retries begin as first tries were made, but always [`FLOOR`], so
//! that an account with few events still gets its quick tries. A record that finds the budget used up goes to its tier
//! at once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The time over which first tries and retries are compared.
const WINDOW: Duration = Duration::from_secs(10);
/// The window moves on in steps of this length.
const STEP: Duration = Duration::from_secs(1);
/// One retry for so many first tries.
const FIRST_TRIES: u64 = 5;
/// So many retries may begin in each window, however few first tries there are.
const FLOOR: u64 = 10;

/// The first tries and the inline retries of a lane in the last ten seconds.
#[derive(Default)]
pub(crate) struct RetryBudget(RefCell<VecDeque<Step>>);

struct Step {
    began: Instant,
    first_tries: u64,
    retries: u64,
}

impl RetryBudget {
    /// Counts the first try of a record's visit.
    pub(crate) fn tried(&self, now: Instant) {
        self.count(now, |step| step.first_tries += 1);
    }

    /// Takes one inline retry from the budget. `false`: it is used up.
    pub(crate) fn take(&self, now: Instant) -> bool {
        self.count(now, |_| {});
        let (tries, retries) = self
            .0
            .borrow()
            .iter()
            .fold((0, 0), |(tries, retries), step| (tries + step.first_tries, retries + step.retries));
        let is_left = retries < (tries / FIRST_TRIES).max(FLOOR);
        if is_left {
            self.count(now, |step| step.retries += 1);
        }
        is_left
    }

    fn count(&self, now: Instant, change: impl FnOnce(&mut Step)) {
        let mut steps = self.0.borrow_mut();
        while steps.front().is_some_and(|step| now.duration_since(step.began) >= WINDOW) {
            steps.pop_front();
        }
        if steps.back().is_none_or(|step| now.duration_since(step.began) >= STEP) {
            steps.push_back(Step { began: now, first_tries: 0, retries: 0 });
        }
        if let Some(step) = steps.back_mut() {
            change(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many retries the budget gives of so many.
    fn given(budget: &RetryBudget, asked: usize, now: Instant) -> usize {
        (0..asked).filter(|_| budget.take(now)).count()
    }

    #[test]
    fn an_account_with_few_events_gets_its_quick_tries() {
        let (budget, begin) = (RetryBudget::default(), Instant::now());
        assert_eq!(given(&budget, 100, begin), 10);
        assert_eq!(given(&budget, 100, begin + WINDOW - Duration::from_millis(1)), 0, "of the same ten seconds");
        assert_eq!(given(&budget, 100, begin + WINDOW), 10);
    }

    #[test]
    fn at_most_a_fifth_of_the_first_tries_of_ten_seconds_is_tried_again_at_once() {
        let (budget, begin) = (RetryBudget::default(), Instant::now());
        (0..500).for_each(|_| budget.tried(begin));
        assert_eq!(given(&budget, 1_000, begin), 100);
        // From now on 50 events a second come, and all of them fail.
        let mut by_second = Vec::new();
        for second in 1..=60 {
            let now = begin + STEP * second;
            (0..50).for_each(|_| budget.tried(now));
            by_second.push(given(&budget, 50, now));
        }
        for ten in by_second[10..].windows(10) {
            assert!(ten.iter().sum::<usize>() <= 100, "{ten:?}");
        }
        assert!(by_second[10..].iter().sum::<usize>() >= 400, "{by_second:?}");
        assert_eq!(given(&budget, 1_000, begin + STEP * 60 + WINDOW), 10, "what is long past gives nothing");
    }
}
