//! Since when Kafka keeps a record that the worker has not read, because its partition is parked, its topic is stopped,
//! or it was assigned a moment ago.
//!
//! The broker says at which offset a time begins, not which time an offset has. So the time is searched for by halving,
//! for all partitions at once: ten questions, once per position.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::kafka::topics::positions::PartitionName;

/// The result is this exact: a 1024th of the retention.
const HALVINGS: u32 = 10;
/// What nobody has asked for since this long is forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// The records whose times somebody wants to know, by partition.
#[derive(Debug, Default)]
pub(super) struct Unread(HashMap<PartitionName, Wanted>);

#[derive(Debug)]
struct Wanted {
    offset: i64,
    stored_ms: Option<i64>,
    asked: Instant,
}

/// A record whose time is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sought {
    pub(super) place: PartitionName,
    pub(super) offset: i64,
    pub(super) retention_ms: i64,
}

/// When the record at this offset of a partition was stored, epoch ms.
pub(super) type Found = (PartitionName, i64, i64);

impl Unread {
    /// What is known of a record. From now on it is wanted.
    pub(super) fn stored_ms(&mut self, topic: &str, partition: i32, offset: i64) -> Option<i64> {
        let asked = Instant::now();
        let wanted = self.0.entry((topic.to_owned(), partition)).or_insert(Wanted { offset, stored_ms: None, asked });
        if wanted.offset != offset {
            *wanted = Wanted { offset, stored_ms: None, asked };
        }
        wanted.asked = asked;
        wanted.stored_ms
    }

    /// What has to be searched for, of the topics whose retention is known.
    pub(super) fn wanted(&mut self, retention_ms: impl Fn(&str) -> Option<i64>) -> Vec<Sought> {
        self.0.retain(|_, wanted| wanted.asked.elapsed() < FORGET);
        let unknown = self.0.iter().filter(|(_, wanted)| wanted.stored_ms.is_none());
        let sought = unknown.filter_map(|(place, wanted)| {
            let retention_ms = retention_ms(&place.0)?;
            Some(Sought { place: place.clone(), offset: wanted.offset, retention_ms })
        });
        sought.collect()
    }

    pub(super) fn found(&mut self, found: Vec<Found>) {
        for (place, offset, stored_ms) in found {
            if let Some(wanted) = self.0.get_mut(&place).filter(|wanted| wanted.offset == offset) {
                wanted.stored_ms = Some(stored_ms);
            }
        }
    }
}

/// Searches for the times of all these records. `ask` answers, for partitions and times, the first offset whose record
/// is not older, or that there is none. What it does not answer is left out. A time that is found is never later than
/// the record's own, as long as the records of a partition are in the order of their times; what is older than the
/// retention counts as old as that.
pub(super) fn search<E>(
    sought: Vec<Sought>,
    now_ms: i64,
    mut ask: impl FnMut(&[(PartitionName, i64)]) -> Result<BTreeMap<PartitionName, Option<i64>>, E>,
) -> Result<Vec<Found>, E> {
    let bounds = |sought: Sought| {
        let from_ms = (now_ms - sought.retention_ms).max(0);
        (sought, from_ms, now_ms)
    };
    let mut open: Vec<(Sought, i64, i64)> = sought.into_iter().map(bounds).collect();
    for _ in 0..HALVINGS {
        let middle = |(from, to): (i64, i64)| from + (to - from) / 2;
        let times: Vec<_> =
            open.iter().map(|(sought, from, to)| (sought.place.clone(), middle((*from, *to)))).collect();
        if times.is_empty() {
            break;
        }
        let mut answers = ask(&times)?;
        open.retain_mut(|(sought, from, to)| {
            let middle = middle((*from, *to));
            match answers.remove(&sought.place) {
                None => return false,
                // It, or a record before it, is not older.
                Some(Some(first)) if first <= sought.offset => *from = middle,
                Some(_) => *to = middle,
            }
            true
        });
    }
    Ok(open.into_iter().map(|(sought, from, _)| (sought.place, sought.offset, from)).collect())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const NOW: i64 = 1_790_000_000_000;
    const RETENTION: i64 = 1_024_000;

    fn place(partition: i32) -> PartitionName {
        ("in".to_owned(), partition)
    }

    fn sought(partition: i32, offset: i64) -> Sought {
        Sought { place: place(partition), offset, retention_ms: RETENTION }
    }

    /// A log whose record n, from offset 100 on, is this old.
    fn first(ages: &[i64], time: i64) -> Option<i64> {
        ages.iter().position(|age| NOW - age >= time).map(|n| 100 + n as i64)
    }

    #[test]
    fn the_time_of_an_offset_is_found_by_halving_and_never_later_than_it_is() {
        let logs = [vec![900_000, 500_000, 500_000, 1_000], vec![2_000_000, 700_000], vec![]];
        let mut questions = 0;
        let wanted = vec![sought(0, 100), sought(1, 101), sought(2, 0), sought(3, 5)];
        let found = search(wanted, NOW, |times| {
            questions += 1;
            let known = times.iter().filter(|((_, partition), _)| *partition < 3);
            Ok::<_, Infallible>(known.map(|(at, ms)| (at.clone(), first(&logs[at.1 as usize], *ms))).collect())
        });
        let ages: Vec<_> = found.unwrap().into_iter().map(|((_, n), offset, at)| (n, offset, NOW - at)).collect();
        assert_eq!(questions, 10, "for all of them together");
        let [(0, 100, a), (1, 101, b), (2, 0, c)] = ages[..] else { panic!("{ages:?}") };
        assert!((900_000..=901_000).contains(&a) && (700_000..=701_000).contains(&b), "{ages:?}");
        assert_eq!(c, RETENTION, "what has no record that is young enough may be gone at any moment");
        for (offset, age) in [(101, 500_000), (102, 500_000), (103, 1_000)] {
            let one =
                |times: &[(PartitionName, i64)]| Ok::<_, Infallible>([(place(0), first(&logs[0], times[0].1))].into());
            let at = search(vec![sought(0, offset)], NOW, one).unwrap()[0].2;
            assert!((age..=age + 1_000).contains(&(NOW - at)), "{offset}: {}", NOW - at);
        }
    }

    #[test]
    fn a_time_is_asked_for_once_per_position_and_only_where_the_retention_is_known() {
        let mut unread = Unread::default();
        assert_eq!(unread.stored_ms("in", 0, 7), None);
        assert_eq!(unread.stored_ms("for-ever", 0, 7), None);
        let limit = |topic: &str| (topic == "in").then_some(RETENTION);
        assert_eq!(unread.wanted(limit), [sought(0, 7)]);
        unread.found(vec![(place(0), 7, NOW), (place(1), 7, NOW)]);
        assert_eq!((unread.stored_ms("in", 0, 7), unread.wanted(limit)), (Some(NOW), vec![]));
        assert_eq!(unread.stored_ms("in", 0, 8), None, "another position");
        unread.found(vec![(place(0), 7, NOW)]);
        assert_eq!((unread.stored_ms("in", 0, 8), unread.wanted(limit)), (None, vec![sought(0, 8)]));
    }
}
