//! Watches whether the broker still confirms stored positions.
//!
//! A member that cannot reach its coordinator continues to fetch, and learns late that its partitions belong to another
//! member by now. Then both members send the same records. So this member stops sending if its frontier moved and no
//! commit was confirmed for half the session timeout.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;

use super::partition::Partition;
use crate::kafka::offsets::NextOffset;
use crate::quiet::Quiet;

/// What is known of a consumer's commits.
pub(super) struct Commits {
    /// Half the session timeout.
    patience: Duration,
    confirmed_at: Instant,
    pub(super) stalled: bool,
    /// Limits the log lines about refused commits, which are tried each second.
    pub(super) refusals: Quiet,
    /// Limits the log lines about offsets that arrived twice.
    pub(super) repeats: Quiet,
}

impl Commits {
    pub(super) fn new(client: &ClientConfig, now: Instant) -> Self {
        let timeout = client.get("session.timeout.ms").and_then(|ms| ms.parse().ok()).unwrap_or(45_000);
        Self {
            patience: Duration::from_millis(timeout) / 2,
            confirmed_at: now,
            stalled: false,
            refusals: Quiet::default(),
            repeats: Quiet::default(),
        }
    }

    /// Whether nothing may be sent. This also applies to partitions that are assigned meanwhile.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Handles a confirmation of any position by the broker.
    pub(super) fn confirmed(&mut self, now: Instant) {
        self.confirmed_at = now;
    }

    /// Handles the broker's answer to a survey that shows a new position of `owned`. Another member's commit looks the
    /// same, unless it lies beyond what we stored. So the answer does not end a stall. Only a confirmation shows that a
    /// commit of ours arrived, or a position that equals all that we stored.
    pub(super) fn seen<W>(&mut self, owned: &mut Partition<W>, next: i64, now: Instant) {
        let stored = owned.stored.map(NextOffset::get);
        if stored.is_some_and(|stored| next > stored) {
            owned.committed = Some(next);
        } else if !self.stalled {
            owned.confirmed(next);
            self.confirmed(now);
        } else if stored.is_none_or(|stored| next == stored) {
            owned.confirmed(next);
        } else {
            owned.committed = Some(next);
        }
    }

    /// For how long nothing was confirmed, if that is too long. `waiting_since` is the time of the oldest stored
    /// position that no commit has covered; without one there was nothing to confirm.
    pub(super) fn unconfirmed(&self, waiting_since: Option<Instant>, now: Instant) -> Option<Duration> {
        let since = waiting_since?.max(self.confirmed_at);
        Some(now.saturating_duration_since(since)).filter(|time| *time >= self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::progress::Open;
    use crate::kafka::consumer::assignment::Assignment;
    use crate::kafka::consumer::partition::State;

    #[test]
    fn half_a_session_without_a_confirmed_commit_is_too_long_where_there_was_something_to_commit() {
        let begin = Instant::now();
        let mut client = ClientConfig::new();
        client.set("session.timeout.ms", "10000");
        let mut commits = Commits::new(&client, begin);
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        assert_eq!(commits.unconfirmed(None, at(60)), None, "nothing to confirm");
        assert_eq!(commits.unconfirmed(Some(at(100)), at(104)), None);
        assert_eq!(commits.unconfirmed(Some(at(100)), at(105)), Some(Duration::from_secs(5)));
        commits.confirmed(at(103));
        assert_eq!(commits.unconfirmed(Some(at(100)), at(107)), None, "another partition's commit was confirmed");
        assert_eq!(commits.unconfirmed(Some(at(100)), at(108)), Some(Duration::from_secs(5)));
    }

    /// A member that reaches no coordinator, and the positions that the broker has when it is asked.
    #[test]
    fn what_another_member_commits_does_not_end_the_stop_of_our_sends() {
        let begin = Instant::now();
        let mut client = ClientConfig::new();
        client.set("session.timeout.ms", "10000");
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        // Offset 10 is stored. The columns: what the broker has; whether sending was stopped; whether the answer ends
        // the stop, or the wait for a commit.
        let rows = [
            (4, false, true),
            (10, false, true),
            (11, false, false),
            (4, true, false),
            (10, true, true),
            (11, true, false),
        ];
        for (found, stalled, ends) in rows {
            let mut commits = Commits { stalled, ..Commits::new(&client, begin) };
            let mut owned = Partition::<Open>::new(Assignment::new("t".into(), 0, 1), State::Reading);
            owned.stored = Some(NextOffset::after(9));
            owned.unacked_since = Some(at(0));
            commits.seen(&mut owned, found, at(20));
            let unconfirmed = commits.unconfirmed(owned.unacked_since, at(20));
            assert_eq!(unconfirmed.is_none(), ends, "{found}, stalled {stalled}");
            assert_eq!(owned.committed, Some(found));
            assert_eq!(
                commits.confirmed_at,
                if ends && !stalled { at(20) } else { begin },
                "{found}, stalled {stalled}"
            );
        }
    }
}
