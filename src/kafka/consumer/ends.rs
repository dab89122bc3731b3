//! Searches for partitions that have reached their last record and lag all the same, and takes the answers about what
//! comes next in them (`probe`).

use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::client::Client;
use super::partition::{Fetching, Next, Partition};
use super::partitions::Partitions;
use super::probe::Doubt;
use super::start_decision::{Ahead, Probed};
use super::work::Work;

/// A partition with no unfinished record and with more behind its position is asked about after this time.
const QUIET: Duration = Duration::from_secs(1);
/// The same time while the client always has records of other partitions, so that this partition may only wait for its
/// turn.
const QUIET_WHILE_BUSY: Duration = Duration::from_secs(30);
/// Longer than a fetch takes if there are records. A client that delivers nothing for this long has an answer for each
/// partition.
const A_TURN: Duration = Duration::from_millis(300);
/// The time between two searches for such partitions.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Ends {
    next_look: Instant,
    /// Since when the client has delivered nothing, although it was polled all the time and no bound held it back.
    empty_since: Option<Instant>,
    pub(super) probing: bool,
}

/// What the answers of a probe lead to.
#[derive(Default)]
pub(super) struct ProbeFindings {
    /// Partitions that are drained, and how each continues.
    pub(super) turns: Vec<(u64, Next)>,
    /// Whether a partition that the client may have stopped reading got no answer.
    pub(super) suspicious: bool,
}

impl Ends {
    pub(super) fn new(now: Instant) -> Self {
        Self { next_look: now, empty_since: None, probing: false }
    }

    /// The client delivered records, or a bound held it back.
    pub(super) fn busy(&mut self) {
        self.empty_since = None;
    }

    /// The client was polled and delivered nothing.
    pub(super) fn idle(&mut self) {
        self.empty_since.get_or_insert_with(Instant::now);
    }

    /// Searches for partitions that have reached their last record and lag all the same.
    pub(super) fn look<W: Work>(&mut self, now: Instant, partitions: &mut Partitions<W>, client: &Client<W>) {
        if self.probing || now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        let all_had_their_turn = self.empty_since.is_some_and(|empty| now - empty >= A_TURN);
        let (mut doubts, count) = (Vec::new(), partitions.len());
        for owned in partitions.iter_mut() {
            let at = idle_position(owned);
            if at.is_some() {
                client.look_for_end(owned, count);
            }
            let behind = at.filter(|at| owned.end.lies_beyond(*at));
            let since = owned.standstill.quiet_since(behind, now);
            if let (Some(at), Some(since)) = (behind, since)
                && is_quiet(since, all_had_their_turn, now)
            {
                doubts.push(Doubt::new(owned, at, false));
            }
        }
        self.probe(doubts, client);
    }

    /// Asks about each of these partitions: the client stopped reading one of them although its position lies within
    /// the log. Returns `false` if they cannot be asked about now, so that the suspicion has to stay.
    pub(super) fn doubt<W: Work>(
        &mut self,
        generations: &[u64],
        partitions: &Partitions<W>,
        client: &Client<W>,
    ) -> bool {
        let doubted = generations.iter().filter_map(|generation| partitions.get(*generation));
        let reading = doubted.filter(|owned| owned.is_reading());
        let doubts: Vec<Doubt> =
            reading.filter_map(|owned| Some(Doubt::new(owned, owned.progress.position()?, true))).collect();
        doubts.is_empty() || self.probe(doubts, client)
    }

    /// Returns `false` if nothing is asked, for example because another probe runs.
    fn probe<W: Work>(&mut self, doubts: Vec<Doubt>, client: &Client<W>) -> bool {
        if doubts.is_empty() || self.probing {
            return false;
        }
        let config = client.config().clone();
        self.probing = client.queries.spawn(move |queries| queries.probe(&config, &doubts));
        self.probing
    }

    pub(super) fn answered<W>(&mut self, probed: Vec<Probed>, partitions: &mut Partitions<W>) -> ProbeFindings {
        self.probing = false;
        let mut found = ProbeFindings::default();
        for Probed { generation, at, suspect, next } in probed {
            let Some(owned) = partitions.get_mut(generation) else { continue };
            if !owned.is_reading() {
                continue;
            }
            let Assignment { topic, partition, .. } = &*owned.assignment;
            match next {
                Some(Ahead::Record(cut)) if cut < at => {
                    tracing::error!(
                        kafka.topic = %topic, kafka.partition = partition, position = at, kafka.offset = cut,
                        "the log was cut below the position at an election and has other records now: they are read"
                    );
                    found.turns.push((generation, Next::Rewind(cut)));
                }
                Some(Ahead::Record(_)) => owned.found_sound(at),
                // There was no record in between, only a transaction marker or an aborted transaction.
                Some(Ahead::End(high)) if owned.progress.position() == Some(at) => {
                    owned.progress.pass(high);
                    owned.standstill.not_quiet();
                }
                Some(Ahead::End(_)) => {}
                None => found.suspicious |= suspect,
            }
        }
        found
    }

    /// A new client has no query under way.
    pub(super) fn renewed(&mut self) {
        self.probing = false;
    }
}

/// The position of a partition that is fetched and of which every record that was read is finished.
fn idle_position<W>(owned: &Partition<W>) -> Option<i64> {
    let idle = owned.is_reading() && owned.fetching == Fetching::Resumed && owned.progress.unfinished() == 0;
    owned.progress.position().filter(|_| idle)
}

/// Whether a partition that has delivered nothing since then should have. While a bound holds the intake back, a
/// probing client for each waiting partition would cost more than the events do.
fn is_quiet(since: Instant, all_had_their_turn: bool, now: Instant) -> bool {
    now - since >= if all_had_their_turn { QUIET } else { QUIET_WHILE_BUSY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_waits_for_its_turn_behind_a_bound_is_seldom_asked_about() {
        let since = Instant::now();
        let after = |ms| since + Duration::from_millis(ms);
        for (all_had_their_turn, ms) in [(true, 1_000), (false, 30_000)] {
            assert!(
                !is_quiet(since, all_had_their_turn, after(ms - 1)) && is_quiet(since, all_had_their_turn, after(ms))
            );
        }
    }
}
