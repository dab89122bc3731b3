//! Counts the records of one topic that cannot be events of ours, and says when there are too many (pure).

use std::collections::{BTreeMap, VecDeque};

use crate::error::Reason;
use crate::storm::Place;

/// So many in a row stop the topic.
pub const IN_A_ROW: usize = 100;
/// Of so many records in a row, half stop the topic.
pub const OF: usize = 1_000;

/// Too many such records, and what they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// Which rule, in words.
    pub why: String,
    pub counts: BTreeMap<String, u64>,
    pub first: Place,
    pub last: Place,
}

/// What was read of one topic lately.
#[derive(Debug, Default)]
pub struct Count {
    /// The last [`OF`] records, oldest first. `None`: a record that names an account of ours. Before the first entry
    /// there were only such records.
    recent: VecDeque<Option<(Reason, Place)>>,
    /// How many of them are none.
    bad: usize,
    /// How many of the last ones are none, without a break.
    run: usize,
}

impl Count {
    /// A record that names an account of ours, whatever else is wrong with it.
    pub fn good(&mut self) {
        self.run = 0;
        if self.bad > 0 {
            self.push(None);
        }
    }

    /// Whether only good records are known.
    pub fn is_clean(&self) -> bool {
        self.bad == 0
    }

    /// A record that is none. `Some`: there are too many.
    pub fn bad(&mut self, reason: Reason, place: Place) -> Option<TooMany> {
        self.push(Some((reason, place)));
        self.run += 1;
        let (why, of) = if self.run >= IN_A_ROW {
            (format!("{IN_A_ROW} records in a row"), self.run)
        } else if self.bad >= OF / 2 {
            (format!("{} of the last {OF} records", self.bad), self.recent.len())
        } else {
            return None;
        };
        let mut counts = BTreeMap::new();
        let (mut first, mut last) = (place, place);
        for (n, (reason, place)) in self.recent.iter().rev().take(of).flatten().enumerate() {
            *counts.entry(reason.as_str().to_owned()).or_default() += 1;
            first = *place;
            if n == 0 {
                last = *place;
            }
        }
        Some(TooMany { why, counts, first, last })
    }

    fn push(&mut self, record: Option<(Reason, Place)>) {
        if self.recent.len() >= OF && self.recent.pop_front().flatten().is_some() {
            self.bad -= 1;
        }
        self.bad += usize::from(record.is_some());
        self.recent.push_back(record);
        if self.bad == 0 {
            self.recent.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Place {
        Place { partition: 0, offset }
    }

    #[test]
    fn a_hundred_in_a_row_are_too_many_and_one_good_record_breaks_the_row() {
        let mut count = Count::default();
        for n in 0..99 {
            assert_eq!(count.bad(Reason::Malformed, at(n)), None);
        }
        count.good();
        for n in 100..199 {
            assert_eq!(count.bad(Reason::UnknownAccount, at(n)), None, "{n}");
        }
        let found = count.bad(Reason::Malformed, Place { partition: 3, offset: 5 }).unwrap();
        assert_eq!(found.why, "100 records in a row");
        assert_eq!(found.counts, BTreeMap::from([("malformed".into(), 1), ("unknown_account".into(), 99)]));
        assert_eq!((found.first, found.last), (at(100), Place { partition: 3, offset: 5 }));
    }

    #[test]
    fn half_of_a_thousand_are_too_many_however_they_are_mixed() {
        let mut count = Count::default();
        let mut found = None;
        let mut read = 0;
        while found.is_none() {
            count.good();
            found = count.bad(Reason::Malformed, at(read));
            read += 1;
        }
        assert_eq!(read, 500, "one of two");
        let found = found.unwrap();
        assert_eq!((found.why.as_str(), found.counts["malformed"]), ("500 of the last 1000 records", 500));
        assert_eq!((found.first, found.last), (at(0), at(499)));
    }

    #[test]
    fn a_little_less_than_half_goes_on_for_ever() {
        let mut count = Count::default();
        for n in 0..100_000 {
            // 499 of each thousand, in two runs of less than a hundred and singly.
            let is_bad = n % 1_000 < 90 || (n % 1_000 >= 180 && n % 2 == 0 && n % 1_000 < 998);
            if is_bad {
                assert_eq!(count.bad(Reason::Malformed, at(n)), None, "{n}");
            } else {
                count.good();
            }
        }
        assert!(count.bad <= 499 && count.recent.len() == OF);
    }

    #[test]
    fn good_records_alone_take_no_memory_and_end_what_was_counted() {
        let mut count = Count::default();
        (0..5_000).for_each(|_| count.good());
        assert_eq!((count.recent.len(), count.is_clean()), (0, true));
        assert_eq!(count.bad(Reason::Malformed, at(1)), None);
        (0..999).for_each(|_| count.good());
        assert!(!count.is_clean());
        count.good();
        assert!(count.is_clean() && count.recent.is_empty());
    }
}
