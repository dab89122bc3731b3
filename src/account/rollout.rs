//! Gray release: which events of an account are sent while `rollout.percent` is below 100, and where the others wait.
//!
//! **Who belongs to a share.** The place of an event is a number from 0 to 9,999: the first four bytes of the SHA-256
//! of its `trans_id` (its UTF-8 bytes as given), read as a big-endian number, modulo 10,000. An event belongs to a
//! share of `percent` if its place is below `percent` × 100. So every replica, every version and every other program
//! comes to the same answer. A copy is treated as its original, and a larger share contains every smaller one.
//!
//! **Where the others wait.** The remainder of an account is the topic `<kafka.parked_prefix>.<account>.rollout` with
//! 100 partitions. An event is written to the partition with the number of its percent: its place divided by 100. A
//! worker reads exactly the partitions that lie in the share as a whole, each from its committed position, and leaves
//! the others alone. A larger share opens further partitions, a smaller one closes some.
//!
//! This needs no further write and no state beside Kafka's own positions:
//!
//! - An event is written to the remainder once, however often the share changes.
//! - No event that may go stands behind one that may not. Within a percent the order is that of arrival.
//! - Memory holds no event that may not go, and a kill leaves what it leaves with every other topic.
//!
//! The rejected alternative is one partition that is read through at each change of the share. An event that may not go
//! yet is written again to its end. So each change copies the whole backlog and restarts the clock of retention. The
//! worker has to remember, over restarts and between replicas, how far it came.
//!
//! What follows from it: a share with a fraction of a percent is exact for events that arrive. What waits already is
//! released by whole percents, so the last fraction waits until the share covers its percent.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::kafka::REMAINDER_PARTITIONS;

/// All places.
const WHOLE: u16 = 10_000;
/// The places of one percent.
const PERCENT: u16 = WHOLE / REMAINDER_PARTITIONS as u16;

/// The part of an account's events that is sent: `rollout.percent`, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Default for Share {
    fn default() -> Self {
        Self::ALL
    }
}

impl Share {
    /// Every event is sent.
    pub const ALL: Share = Share(WHOLE);

    /// A share of so many hundredths of a percent, at most all.
    pub fn of_hundredths(hundredths: u16) -> Self {
        Self(hundredths.min(WHOLE))
    }

    pub fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Whether an event with this `trans_id` is sent.
    pub fn takes(self, trans_id: &str) -> bool {
        self.is_all() || place(trans_id) < self.0
    }

    /// Whether the events in this partition of the remainder are sent.
    pub fn releases(self, partition: i32) -> bool {
        // A worker writes to no other partition, so nothing of another one may be kept.
        let Ok(partition) = u16::try_from(partition) else { return true };
        (partition.saturating_add(1)).saturating_mul(PERCENT) <= self.0 || partition >= WHOLE / PERCENT
    }

    fn percent(self) -> f64 {
        f64::from(self.0) / f64::from(PERCENT)
    }
}

/// The place of an event, from 0 to 9,999.
pub fn place(trans_id: &str) -> u16 {
    let digest = Sha256::digest(trans_id.as_bytes());
    let first = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    (first % u32::from(WHOLE)) as u16
}

/// The partition of the remainder in which an event waits.
pub fn partition_of(trans_id: &str) -> i32 {
    i32::from(place(trans_id) / PERCENT)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percent())
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % PERCENT {
            0 => serializer.serialize_u16(self.0 / PERCENT),
            _ => serializer.serialize_f64(self.percent()),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_f64(Percent)
    }
}

struct Percent;

impl Visitor<'_> for Percent {
    type Value = Share;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 100 with at most two decimals")
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Share, E> {
        let hundredths = u16::try_from(n).ok().filter(|n| *n <= 100).map(|n| n * PERCENT);
        hundredths.map(Share).ok_or_else(|| E::invalid_value(Unexpected::Signed(n), &self))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Share, E> {
        self.visit_i64(i64::try_from(n).unwrap_or(i64::MAX))
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Share, E> {
        let hundredths = n * f64::from(PERCENT);
        let whole = hundredths.round();
        // 12.34 × 100 is not exactly a whole number.
        let fine = (0.0..=f64::from(WHOLE)).contains(&hundredths) && (hundredths - whole).abs() < 1e-6;
        if fine { Ok(Share(whole as u16)) } else { Err(E::invalid_value(Unexpected::Float(n), &self)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLES: [(&str, u16); 5] =
        [("order-1", 6065), ("order-2", 3110), ("t", 7597), ("订单-7", 9870), ("", 2610)];

    fn share(percent: f64) -> Share {
        serde_json::from_value(percent.into()).unwrap()
    }

    /// Worked out with `printf order-1 | sha256sum`, so that another program can check its own.
    #[test]
    fn the_place_of_an_event_is_the_same_in_every_program() {
        for (trans_id, expected) in EXAMPLES {
            assert_eq!(place(trans_id), expected, "{trans_id}");
            assert_eq!(partition_of(trans_id), i32::from(expected) / 100, "{trans_id}");
        }
    }

    #[test]
    fn a_share_takes_what_lies_below_it_and_a_larger_one_takes_that_too() {
        let ids: Vec<String> = (0..20_000).map(|n| format!("trans-{n}")).collect();
        let mut taken_before = 0;
        for percent in [0.0, 0.01, 1.0, 10.0, 12.34, 30.0, 50.0, 99.99, 100.0] {
            let share = share(percent);
            let taken = ids.iter().filter(|id| share.takes(id)).count();
            assert!(taken >= taken_before, "{percent}");
            let wanted = percent / 100.0 * ids.len() as f64;
            assert!((taken as f64 - wanted).abs() < 300.0, "{percent}: {taken}");
            assert!(ids.iter().all(|id| share.takes(id) == (f64::from(place(id)) < percent * 100.0)), "{percent}");
            taken_before = taken;
        }
        assert_eq!(ids.iter().filter(|id| share(0.0).takes(id)).count(), 0, "none at all");
        assert_eq!(taken_before, ids.len());
    }

    #[test]
    fn a_partition_of_the_remainder_is_read_once_the_share_covers_all_of_it() {
        let read = |percent: f64| (0..100).filter(|partition| share(percent).releases(*partition)).count();
        for (percent, partitions) in
            [(0.0, 0), (0.99, 0), (1.0, 1), (10.0, 10), (12.5, 12), (30.0, 30), (99.99, 99), (100.0, 100)]
        {
            assert_eq!(read(percent), partitions, "{percent}");
        }
        assert!(!share(10.0).releases(10) && share(10.0).releases(9));
        assert!(share(0.0).releases(100) && share(0.0).releases(-1), "no worker writes there");
        // What a share does not take waits where that share does not read.
        let ids: Vec<String> = (0..5_000).map(|n| format!("trans-{n}")).collect();
        for percent in [0.0, 0.5, 10.0, 12.5, 99.0] {
            let share = share(percent);
            assert!(ids.iter().all(|id| share.takes(id) || !share.releases(partition_of(id))), "{percent}");
        }
    }

    #[test]
    fn a_share_is_read_and_shown_as_the_number_that_was_written() {
        for text in ["0", "0.01", "10", "12.34", "12.5", "99.99", "100"] {
            let share: Share = serde_json::from_str(text).unwrap();
            assert_eq!((serde_json::to_string(&share).unwrap(), share.to_string()), (text.into(), format!("{text} %")));
        }
        for bad in ["-1", "100.01", "101", "12.345", "1e9", "-0.5"] {
            let why = serde_json::from_str::<Share>(bad).unwrap_err().to_string();
            assert!(why.contains("a number from 0 to 100 with at most two decimals"), "{bad}: {why}");
        }
        assert_eq!((Share::default(), Share::of_hundredths(20_000)), (Share::ALL, Share::ALL));
    }
}
