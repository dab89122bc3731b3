//! Asks the broker, from time to time, what the client does not tell: the ends of partitions that it does not fetch,
//! the committed positions, and which partition's position is out of range.

use std::time::{Duration, Instant};

use super::assignment::Assignment;
use super::client::Client;
use super::commits::Commits;
use super::partition::{Fetching, Next, Partition, State};
use super::partitions::Partitions;
use super::start_decision::{Parked, Subject, Surveyed};
use super::work::Work;

/// The client does not know the end of a partition that it does not fetch, so the broker is asked.
const SURVEY_EVERY: Duration = Duration::from_secs(5);
/// Commits can fail silently, so the broker's positions are compared with the stored ones.
const FULL_SURVEY_EVERY: Duration = Duration::from_secs(30);
/// A commit that is not confirmed within this time is asked about.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// When the broker is asked about positions.
pub(super) struct Surveys {
    next: Instant,
    next_full: Instant,
    running: bool,
    /// The client reported that some position is out of range, but not which one.
    pub(super) suspicious: bool,
    /// Before this time the suspicion starts no further survey.
    next_suspicion: Instant,
}

/// What the answers of a survey lead to.
#[derive(Default)]
pub(super) struct SurveyFindings {
    /// Partitions that are drained, and how each continues.
    pub(super) turns: Vec<(u64, Next)>,
    /// Partitions one of which the client stopped reading although its position lies within the log.
    pub(super) doubted: Vec<u64>,
}

impl Surveys {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, next_full: now, running: false, suspicious: false, next_suspicion: now }
    }

    /// Asks the broker, outside this thread, about partitions that the client does not fetch, and from time to time
    /// about all.
    pub(super) fn ask<W: Work>(&mut self, now: Instant, partitions: &Partitions<W>, client: &Client<W>) {
        let suspicious = self.suspicious && now >= self.next_suspicion;
        let full = suspicious || now >= self.next_full;
        if self.running || !(full || now >= self.next) {
            return;
        }
        self.next = now + SURVEY_EVERY;
        if full {
            self.next_full = now + FULL_SURVEY_EVERY;
        }
        if suspicious {
            (self.suspicious, self.next_suspicion) = (false, now + SURVEY_EVERY);
        }
        let subjects: Vec<Subject> = partitions.iter().filter_map(|owned| subject(owned, full, suspicious)).collect();
        if !subjects.is_empty() {
            self.running = client.queries.spawn(move |queries| queries.survey(&subjects, full));
            self.suspicious |= suspicious && !self.running;
        }
    }

    pub(super) fn answered<W: Work>(
        &mut self,
        surveyed: Vec<Surveyed>,
        partitions: &mut Partitions<W>,
        commits: &mut Commits,
        client: &mut Client<W>,
    ) -> SurveyFindings {
        self.running = false;
        let mut found = SurveyFindings::default();
        for answer in surveyed {
            let Some(owned) = partitions.get_mut(answer.generation) else { continue };
            let Some((low, high)) = answer.ends else {
                // A suspicion stays until there is an answer.
                self.suspicious |= answer.suspect.is_some();
                continue;
            };
            owned.end.stated(high);
            if let State::Parked(parked) = &mut owned.state {
                (parked.low, parked.high) = (low, high);
            }
            let overdue = owned.group.unacked_since().is_some_and(|at| at.elapsed() > CONFIRM_WITHIN);
            match answer.committed {
                Some(committed) if owned.group.committed().is_none_or(|known| committed > known) => {
                    commits.seen(owned, committed, Instant::now());
                }
                // The broker was asked and has nothing new, so the commits do not arrive.
                Some(_) if overdue => {
                    commits.failed(format!("commits of {} do not arrive", owned.assignment.topic), client);
                }
                _ => {}
            }
            if owned.is_stuck(Instant::now()) {
                owned.standstill.nudged(owned.progress.position());
                let Assignment { topic, partition, .. } = &*owned.assignment;
                tracing::error!(kafka.topic = %topic, kafka.partition = partition, "nothing comes, though there is more");
                found.turns.push((answer.generation, Next::Reread));
            } else if let Some(suspect) = answer.suspect {
                match out_of_range(owned, suspect, low, high) {
                    Some(parked) => found.turns.push((answer.generation, Next::Park(parked))),
                    None => found.doubted.push(answer.generation),
                }
            }
        }
        found
    }

    /// A new client has no query under way, and has not reported anything.
    pub(super) fn renewed(&mut self) {
        (self.running, self.suspicious) = (false, false);
    }
}

/// What is asked about this partition, if anything.
fn subject<W>(owned: &Partition<W>, full: bool, suspicious: bool) -> Option<Subject> {
    let reading = owned.is_reading();
    // The client may not know the end of a partition that has delivered nothing yet.
    let unknown = owned.end.high().is_none() && !owned.progress.has_received();
    let unread =
        matches!(owned.state, State::Parked(_)) || (reading && (owned.fetching == Fetching::Paused || unknown));
    (unread || (full && reading)).then(|| Subject {
        assignment: owned.assignment.clone(),
        suspect: owned.progress.position().filter(|_| suspicious && reading),
    })
}

/// Decides whether this is the partition that the client stopped reading because its position is out of range.
/// `suspect` was read before the query, so it is compared with the high mark; the present position is compared with
/// the low mark.
fn out_of_range<W>(owned: &Partition<W>, suspect: i64, low: i64, high: i64) -> Option<Parked> {
    let position = owned.progress.position().unwrap_or(suspect);
    let why = if suspect > high {
        "the position lies beyond the end"
    } else if position < low {
        "the position was deleted by retention"
    } else {
        return None;
    };
    let committed = owned.group.latest().or(Some(position));
    Some(Parked { why, committed, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::progress::Open;
    use crate::kafka::consumer::log_end::LogEnd;
    use crate::kafka::consumer::start_decision::Begin;
    use crate::kafka::offsets::NextOffset;

    type Part = Partition<Open>;

    fn owned(state: State) -> Part {
        Part::new(Assignment::new("t".into(), 0, 1), state)
    }

    #[test]
    fn what_the_client_fetches_is_asked_about_only_by_a_full_survey() {
        let asked = |owned: &Part, full, suspicious| subject(owned, full, suspicious).map(|subject| subject.suspect);
        let mut reading = owned(State::Reading);
        reading.progress.begin(Begin::at(3));
        reading.end.stated(9);
        reading.fetching = Fetching::Resumed;
        assert_eq!([asked(&reading, false, false), asked(&reading, true, false)], [None, Some(None)]);
        assert_eq!(asked(&reading, true, true), Some(Some(3)), "its position is in doubt");
        reading.fetching = Fetching::Paused;
        assert_eq!(asked(&reading, false, false), Some(None), "the client does not fetch it");
        (reading.fetching, reading.end) = (Fetching::Resumed, LogEnd::default());
        assert_eq!(asked(&reading, false, false), Some(None), "nobody knows its end");
        let parked = owned(State::Parked(Parked { why: "", committed: None, low: 0, high: 0 }));
        assert_eq!(asked(&parked, false, true), Some(None));
        assert_eq!(asked(&owned(State::Judging), true, true), None);
    }

    #[test]
    fn a_position_outside_the_log_is_parked_with_what_was_stored() {
        let mut owned = owned(State::Reading);
        owned.progress.begin(Begin::at(5));
        let why = |owned: &Part, low, high| out_of_range(owned, 5, low, high).map(|parked| parked.why);
        assert_eq!([why(&owned, 5, 9), why(&owned, 0, 5)], [None, None]);
        assert!(why(&owned, 6, 9).is_some_and(|why| why.contains("retention")));
        assert!(why(&owned, 0, 4).is_some_and(|why| why.contains("beyond")));
        let committed = |owned: &Part| out_of_range(owned, 5, 6, 9).and_then(|parked| parked.committed);
        assert_eq!(committed(&owned), Some(5));
        owned.group.set_committed(Some(4));
        assert_eq!(committed(&owned), Some(4));
        owned.group.stored(NextOffset::new(3), Instant::now());
        assert_eq!(committed(&owned), Some(3));
    }
}
