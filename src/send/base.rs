//! Which of an account's base URLs is in use: the next one after a connection failed, and the first one again once it
//! has answered probes for a minute.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;

/// How often the first base URL is probed while another one is in use.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// This many good probes in a row take a minute.
const GOOD_PROBES: u32 = 6;

/// The base URL in use, as its index in the account's list.
pub(super) struct BaseInUse {
    base: Cell<usize>,
    count: usize,
    /// Good probes in a row of the first base URL, since it was left.
    good: Cell<u32>,
    left_first: Notify,
}

impl BaseInUse {
    /// Starts with the first of `count` base URLs.
    pub(super) fn new(count: usize) -> Self {
        Self { base: Cell::new(0), count, good: Cell::new(0), left_first: Notify::new() }
    }

    /// Uses the same one as another list of the same base URLs.
    pub(super) fn set_like(&self, earlier: &BaseInUse) {
        self.base.set(earlier.base.get());
        if self.base.get() != 0 {
            self.left_first.notify_one();
        }
    }

    pub(super) fn get(&self) -> usize {
        self.base.get()
    }

    /// Moves on to the next base URL because `base` could not be reached. `false`: another one is in use already, or
    /// there is only one.
    pub(super) fn leave(&self, base: usize) -> bool {
        if self.base.get() != base || self.count < 2 {
            return false;
        }
        self.base.set((base + 1) % self.count);
        if base == 0 {
            self.good.set(0);
            self.left_first.notify_one();
        }
        true
    }

    /// Waits until the first base URL has been left, then until it has answered every probe for a minute, and uses it
    /// again. `sleep` is the clock's, so that tests can replace it.
    pub(super) async fn return_to_first(&self, sleep: impl AsyncFn(Duration), probe: impl AsyncFn() -> bool) {
        loop {
            if self.base.get() == 0 {
                self.left_first.notified().await;
                continue;
            }
            sleep(PROBE_EVERY).await;
            // After the last one the first one comes again.
            if self.base.get() == 0 {
                continue;
            }
            let answered = probe().await;
            self.good.set(if answered { self.good.get() + 1 } else { 0 });
            if self.good.get() >= GOOD_PROBES {
                self.base.set(0);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// How long it takes until the first base URL is used again, if `probe` gives the result of each probe by its
    /// number, from 1.
    fn back_after(base: &BaseInUse, probe: impl Fn(usize) -> bool) -> Duration {
        let (now, asked) = (Cell::new(Duration::ZERO), Cell::new(0));
        let sleep = async |time| now.set(now.get() + time);
        let probe = async || {
            asked.set(asked.get() + 1);
            probe(asked.get())
        };
        base.return_to_first(sleep, probe).now_or_never().expect("it waits for nothing else");
        assert_eq!(base.get(), 0);
        now.get()
    }

    #[test]
    fn the_first_one_is_used_again_once_it_has_answered_for_a_minute() {
        let rows: [(&[usize], Duration); 4] =
            [(&[], MINUTE), (&[1], MINUTE + PROBE_EVERY), (&[6], 2 * MINUTE), (&[1, 3], 3 * PROBE_EVERY + MINUTE)];
        for (fails, takes) in rows {
            let base = BaseInUse::new(3);
            assert!(base.leave(0) && base.get() == 1);
            assert_eq!(back_after(&base, |n| !fails.contains(&n)), takes, "{fails:?}");
        }
    }

    #[test]
    fn while_the_first_one_is_in_use_nothing_is_probed() {
        let base = BaseInUse::new(2);
        let waits = || base.return_to_first(async |_| {}, async || panic!("probed")).now_or_never().is_none();
        assert!(waits());
        assert!(base.leave(0) && base.leave(1) && base.get() == 0, "after the last one it is the first one's turn");
        assert!(waits());
    }

    #[test]
    fn a_first_one_that_is_left_again_answers_for_a_whole_minute_again() {
        let base = BaseInUse::new(2);
        assert!(base.leave(0));
        // With the fifth probe its turn comes and it is left at once. That probe is the first good one since then.
        let takes = back_after(&base, |n| n != 5 || (base.leave(1) && base.leave(0)));
        assert_eq!(takes, 10 * PROBE_EVERY);
    }

    #[test]
    fn those_that_fail_together_move_on_together_and_one_alone_stays() {
        let base = BaseInUse::new(3);
        assert!(base.leave(0) && !base.leave(0) && base.get() == 1);
        assert!(base.leave(1) && base.leave(2) && base.get() == 0);
        let alone = BaseInUse::new(1);
        assert!(!alone.leave(0) && alone.get() == 0);
    }
}
