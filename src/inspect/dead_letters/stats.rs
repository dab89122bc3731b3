//! Counts dead letters per reason and account, with the oldest and the newest of each (pure).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::inspect::dead_letters::letter::DeadLetter;
use crate::redact::mask_text;

/// The counts of the selected dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub total: u64,
    /// `pb-failed-at` of the oldest, epoch ms.
    pub oldest: Option<i64>,
    pub newest: Option<i64>,
    /// The number per reason.
    pub by_reason: BTreeMap<String, u64>,
    /// The numbers per reason and account, the largest first.
    pub counts: Vec<Count>,
}

/// The count of one reason and account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The reason; empty where it cannot be read.
    pub reason: String,
    /// The platform as given; null where it cannot be read.
    pub platform: Option<String>,
    /// The account as given; null where it cannot be read.
    pub account: Option<String>,
    pub count: u64,
    /// `pb-failed-at` of the oldest, epoch ms.
    pub oldest: i64,
    pub newest: i64,
}

impl Stats {
    /// Counts these dead letters.
    pub fn of<'a>(letters: impl IntoIterator<Item = &'a DeadLetter>) -> Self {
        let mut stats = Stats::default();
        let mut counts: BTreeMap<(String, Option<String>, Option<String>), Count> = BTreeMap::new();
        for letter in letters {
            let at = letter.failed_at_ms();
            let text = |name| letter.text(name).map(|text| mask_text(text).into_owned());
            let reason = text("reason").unwrap_or_default();
            let (platform, account) = (text("platform"), text("account"));
            stats.total += 1;
            stats.oldest = Some(stats.oldest.map_or(at, |old| old.min(at)));
            stats.newest = stats.newest.max(Some(at));
            *stats.by_reason.entry(reason.clone()).or_default() += 1;
            let key = (reason.clone(), platform.clone(), account.clone());
            let count =
                counts.entry(key).or_insert(Count { reason, platform, account, count: 0, oldest: at, newest: at });
            count.count += 1;
            count.oldest = count.oldest.min(at);
            count.newest = count.newest.max(at);
        }
        stats.counts = counts.into_values().collect();
        stats.counts.sort_by_key(|count| std::cmp::Reverse(count.count));
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dead_letters::tests::letter;

    #[test]
    fn counts_are_per_reason_and_account_with_their_ends() {
        let at = |offset, reason, account, at: &str| {
            letter(0, offset, &[("reason", reason), ("account", account), ("failed-at", at)])
        };
        let letters = [
            at(1, "invalid", "a", "10"),
            at(2, "invalid", "a", "30"),
            at(3, "invalid", "b", "20"),
            at(4, "rejected", "a", "5"),
            letter(0, 5, &[("reason", "malformed"), ("failed-at", "40")]),
        ];
        let stats = Stats::of(&letters);
        assert_eq!((stats.total, stats.oldest, stats.newest), (5, Some(5), Some(40)));
        assert_eq!(stats.by_reason["invalid"], 3);
        let first = &stats.counts[0];
        assert_eq!((first.account.as_deref(), first.count, first.oldest, first.newest), (Some("a"), 2, 10, 30));
        assert_eq!(stats.counts.len(), 4);
        assert_eq!(Stats::of(&[]).oldest, None);
    }
}
