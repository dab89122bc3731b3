//! Stores the positions of the finished records, and watches whether the broker still confirms them.
//!
//! A member that cannot reach its coordinator continues to fetch, and learns late that its partitions belong to another
//! member by now. Then both members send the same records. So this member stops sending if its frontier moved and no
//! commit was confirmed for half the session timeout.

use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::assignment::Assignment;
use super::client::Client;
use super::command::Command;
use super::context::RefusedCommit;
use super::partition::Partition;
use super::partitions::Partitions;
use super::queries::BrokerQueries;
use super::work::Work;
use crate::kafka::native;
use crate::kafka::offsets::NextOffset;
use crate::quiet::Quiet;

const STORE_EVERY: Duration = Duration::from_millis(100);

/// What is known of a consumer's commits.
pub(super) struct Commits {
    next_store: Instant,
    /// Half the session timeout.
    patience: Duration,
    confirmed_at: Instant,
    /// Whether nothing may be sent. This also applies to partitions that are assigned meanwhile.
    pub(super) stalled: bool,
    /// For how long nothing was confirmed, if that is too long.
    pub(super) unconfirmed_for: Option<Duration>,
    /// Commits and stores that were refused.
    pub(super) errors: u64,
    /// Limits the log lines about refused commits, which are tried each second.
    refusals: Quiet,
}

impl Commits {
    pub(super) fn new(client: &ClientConfig, now: Instant) -> Self {
        let timeout = client.get("session.timeout.ms").and_then(|ms| ms.parse().ok()).unwrap_or(45_000);
        Self {
            next_store: now,
            patience: Duration::from_millis(timeout) / 2,
            confirmed_at: now,
            stalled: false,
            unconfirmed_for: None,
            errors: 0,
            refusals: Quiet::default(),
        }
    }

    /// Whether the positions are stored now. If so, they are stored next after one interval.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next_store;
        if due {
            self.next_store = now + STORE_EVERY;
        }
        due
    }

    /// Stores the frontiers that moved. It stores the next offset, uses the call for a list, and reads the error of
    /// every element. The client commits the stored positions. Returns the partitions whose position was refused,
    /// because they are no longer ours.
    pub(super) fn store<W: Work>(&mut self, partitions: &mut Partitions<W>, client: &mut Client<W>) -> Vec<u64> {
        let mut list = TopicPartitionList::new();
        let mut stored: Vec<(u64, NextOffset)> = Vec::new();
        for owned in partitions.iter() {
            let Some(next) = owned.to_store() else { continue };
            match put(&mut list, owned, next) {
                Ok(()) => stored.push((owned.assignment.generation, next)),
                Err(error) => tracing::error!(%error, "a position cannot be stored"),
            }
        }
        let mut refused = Vec::new();
        if stored.is_empty() {
            return refused;
        }
        // The result says little: it is Ok even if elements of the list were refused. The elements tell which.
        if let Err(error) = client.consumer.store_offsets(&list) {
            client.last_error = Some(error.to_string());
        }
        let now = Instant::now();
        for (generation, next) in stored {
            let Some(owned) = partitions.get_mut(generation) else { continue };
            let assignment = &owned.assignment;
            let element = list.find_partition(&assignment.topic, assignment.partition);
            match element.map_or(Ok(()), |e| e.error()) {
                Ok(()) => {
                    owned.group.stored(next, now);
                    owned.progress.forget_epochs_below(next.get());
                }
                Err(error) => {
                    tracing::warn!(
                        kafka.topic = %assignment.topic, kafka.partition = assignment.partition, %error,
                        "position refused: the partition is no longer ours"
                    );
                    self.errors += 1;
                    client.last_error = Some(error.to_string());
                    refused.push(generation);
                }
            }
        }
        refused
    }

    /// Stops sending this consumer's records, or lets it continue.
    pub(super) fn judge<W>(&mut self, partitions: &Partitions<W>, consumer: &str, now: Instant) {
        let waiting_since = partitions.iter().filter_map(|owned| owned.group.unacked_since()).min();
        self.unconfirmed_for = self.unconfirmed(waiting_since, now);
        let stalled = self.unconfirmed_for.is_some();
        if stalled || self.stalled {
            // This happens each time, because partitions come and go meanwhile.
            partitions.iter().for_each(|owned| owned.assignment.set_unconfirmed(stalled));
        }
        if stalled != self.stalled {
            self.stalled = stalled;
            match self.unconfirmed_for {
                Some(time) => tracing::error!(
                    consumer = %consumer, seconds = time.as_secs(),
                    "the broker confirms no commit: nothing more is sent, since another member may have these partitions by \
                     now; look for the group's coordinator"
                ),
                None => tracing::info!(consumer = %consumer, "commits are confirmed again: sending goes on"),
            }
        }
    }

    /// Handles positions that the broker confirmed.
    pub(super) fn committed<W>(&mut self, list: Vec<(String, i32, i64)>, partitions: &mut Partitions<W>) {
        self.confirmed(Instant::now());
        for (topic, partition, next) in list {
            if let Some(owned) = partitions.current_mut(&topic, partition) {
                owned.group.confirmed(next);
            }
        }
    }

    /// Handles a commit that the broker refused.
    pub(super) fn refused<W: Work>(&mut self, refusal: RefusedCommit, client: &mut Client<W>) {
        // A topic that may not be committed must not stop all the others: the answer shows that the group still knows
        // this member.
        if refusal.of_topic {
            self.confirmed(Instant::now());
        }
        self.failed(refusal.why, client);
    }

    pub(super) fn failed<W: Work>(&mut self, text: String, client: &mut Client<W>) {
        self.errors += 1;
        // A commit that fails is tried again each second, so its log lines are limited.
        if let Some(not_logged) = self.refusals.allow(Instant::now()) {
            tracing::warn!(consumer = %client.name, error = %text, not_logged, "commit refused");
        }
        client.last_error = Some(text);
    }

    /// Handles a confirmation of any position by the broker.
    fn confirmed(&mut self, now: Instant) {
        self.confirmed_at = now;
    }

    /// Handles the broker's answer to a survey that shows a new position of `owned`. Unlike a confirmation, it does not
    /// end a stall.
    pub(super) fn seen<W>(&mut self, owned: &mut Partition<W>, next: i64, now: Instant) {
        if owned.group.seen(next, self.stalled) && !self.stalled {
            self.confirmed(now);
        }
    }

    /// For how long nothing was confirmed, if that is too long. `waiting_since` is the time of the oldest stored
    /// position that no commit has covered; without one there was nothing to confirm.
    fn unconfirmed(&self, waiting_since: Option<Instant>, now: Instant) -> Option<Duration> {
        let since = waiting_since?.max(self.confirmed_at);
        Some(now.saturating_duration_since(since)).filter(|time| *time >= self.patience)
    }
}

/// Adds a position to the list, with the data that ties it to this log: the epoch of the record before it, and the id
/// of its topic.
fn put<W: Work>(list: &mut TopicPartitionList, owned: &Partition<W>, next: NextOffset) -> KafkaResult<()> {
    let Assignment { topic, partition, .. } = &*owned.assignment;
    let mut element = list.add_partition(topic, *partition);
    element.set_offset(Offset::Offset(next.get()))?;
    if let Some(id) = owned.topic.id() {
        element.set_metadata(id.note());
    }
    if let Some(epoch) = owned.progress.epoch_before(next.get()) {
        native::set_leader_epoch(list, topic, *partition, epoch);
    }
    Ok(())
}

impl<W: Work> BrokerQueries<W> {
    /// Commits the stored positions before the group is left. The library commits too when it leaves, but while the
    /// group rebalances that commit is refused once and for all, and every record since the last commit would be read
    /// again. This function tries again.
    pub(super) fn flush(&self, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            match self.consumer.commit_consumer_state(CommitMode::Sync) {
                Ok(()) => break,
                Err(e) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset) => break,
                Err(error) if Instant::now() >= deadline => {
                    tracing::warn!(%error, "the last positions were not committed");
                    break;
                }
                Err(error) => tracing::debug!(%error, "positions cannot be committed yet"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.sender.send(Command::Flushed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::progress::Open;
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
            owned.group.stored(NextOffset::after(9), at(0));
            commits.seen(&mut owned, found, at(20));
            let unconfirmed = commits.unconfirmed(owned.group.unacked_since(), at(20));
            assert_eq!(unconfirmed.is_none(), ends, "{found}, stalled {stalled}");
            assert_eq!(owned.group.committed(), Some(found));
            assert_eq!(
                commits.confirmed_at,
                if ends && !stalled { at(20) } else { begin },
                "{found}, stalled {stalled}"
            );
        }
    }
}
