//! Counts of dead letters: per reason, code, field and account, and per reason and account.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::rows::RowRef;
use super::{Index, states};
use crate::inspect::dead_letters::filter::Filter;
use crate::inspect::dead_letters::meaning::{advice, meaning};
use crate::inspect::dead_letters::state::State;
use crate::redact::mask_text;

/// Dead letters that ended alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Group {
    /// The reason; null where it cannot be read.
    pub reason: Option<&'static str>,
    pub code: Option<String>,
    pub field: Option<String>,
    pub platform: Option<String>,
    pub account: Option<String>,
    pub count: u64,
    /// How many of them are open.
    pub open: u64,
    /// `pb-failed-at` of the oldest, epoch ms.
    pub first: i64,
    /// `pb-failed-at` of the newest, epoch ms.
    pub last: i64,
    /// The newest open one, else the newest, as `PARTITION:OFFSET`.
    pub sample: String,
    /// What the reason means.
    pub meaning: Option<&'static str>,
    /// What to do about it.
    pub advice: Option<&'static str>,
}

/// The counts of the selected dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stats {
    pub total: u64,
    pub open: u64,
    pub replayed: u64,
    pub discarded: u64,
    /// `pb-failed-at` of the oldest, epoch ms.
    pub oldest: Option<i64>,
    pub newest: Option<i64>,
    /// The number per reason.
    pub by_reason: BTreeMap<String, u64>,
    /// The numbers per reason and account, the largest first.
    pub counts: Vec<Count>,
}

/// The count of one reason and account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Count {
    /// The reason; empty where it cannot be read.
    pub reason: String,
    /// The platform as given; null where it cannot be read.
    pub platform: Option<String>,
    /// The account as given; null where it cannot be read.
    pub account: Option<String>,
    pub count: u64,
    /// How many of them are open.
    pub open: u64,
    /// `pb-failed-at` of the oldest, epoch ms.
    pub oldest: i64,
    pub newest: i64,
}

/// What is counted of the rows with one set of labels.
#[derive(Clone, Copy)]
struct GroupCounts {
    states: [u64; State::ALL.len()],
    first: i64,
    last: i64,
    /// The newest open one, else the newest.
    sample: (bool, i64, RowRef),
}

impl GroupCounts {
    fn count(&self) -> u64 {
        self.states.iter().sum()
    }

    fn open(&self) -> u64 {
        self.states[State::Open as usize]
    }

    fn add(&mut self, other: &GroupCounts) {
        self.states.iter_mut().zip(other.states).for_each(|(sum, more)| *sum += more);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.sample = self.sample.max(other.sample);
    }
}

impl Index {
    /// The selected dead letters in groups of reason, code, field and account: those with most open ones first.
    pub fn groups(&self, filter: &Filter, all: bool) -> Vec<Group> {
        let mut groups = BTreeMap::new();
        for (id, group) in self.groups_of(filter, all) {
            let labels = self.labels.get(id);
            let key = (labels.reason.map(|r| r.as_str()), labels.code, labels.field, labels.platform, labels.account);
            groups.entry(key).and_modify(|sum: &mut GroupCounts| sum.add(&group)).or_insert(group);
        }
        let shown = |id| self.labels.text(id).map(|text| mask_text(text).into_owned());
        let mut groups: Vec<Group> = groups
            .into_iter()
            .map(|((reason, code, field, platform, account), group)| {
                let known = crate::error::Reason::ALL.into_iter().find(|known| Some(known.as_str()) == reason);
                let (partition, offset) = self.rows.place(group.sample.2);
                Group {
                    reason,
                    code: shown(code),
                    field: shown(field).filter(|field| !field.is_empty()),
                    platform: shown(platform),
                    account: shown(account),
                    count: group.count(),
                    open: group.open(),
                    first: group.first,
                    last: group.last,
                    sample: format!("{partition}:{offset}"),
                    meaning: known.map(meaning),
                    advice: known.map(advice),
                }
            })
            .collect();
        groups.sort_by_key(|group| std::cmp::Reverse((group.open, group.count)));
        groups
    }

    /// The counts of the selected dead letters.
    pub fn stats(&self, filter: &Filter, all: bool) -> Stats {
        let mut stats = Stats::default();
        let mut counts: BTreeMap<_, GroupCounts> = BTreeMap::new();
        for (id, group) in self.groups_of(filter, all) {
            let labels = self.labels.get(id);
            let key = (labels.reason.map_or("", |reason| reason.as_str()), labels.platform, labels.account);
            counts.entry(key).and_modify(|sum| sum.add(&group)).or_insert(group);
            let [open, replayed, discarded] = group.states;
            stats.total += group.count();
            stats.open += open;
            stats.replayed += replayed;
            stats.discarded += discarded;
            stats.oldest = Some(stats.oldest.map_or(group.first, |oldest| oldest.min(group.first)));
            stats.newest = stats.newest.max(Some(group.last));
            *stats.by_reason.entry(key.0.to_owned()).or_default() += group.count();
        }
        let shown = |id| self.labels.text(id).map(|text| mask_text(text).into_owned());
        stats.counts = counts
            .into_iter()
            .map(|((reason, platform, account), group)| Count {
                reason: reason.to_owned(),
                platform: shown(platform),
                account: shown(account),
                count: group.count(),
                open: group.open(),
                oldest: group.first,
                newest: group.last,
            })
            .collect();
        stats.counts.sort_by_key(|count| std::cmp::Reverse(count.count));
        stats
    }

    /// The counts per set of labels.
    fn groups_of(&self, filter: &Filter, all: bool) -> impl Iterator<Item = (u32, GroupCounts)> {
        let mut groups_of: Vec<Option<GroupCounts>> = vec![None; self.labels.len()];
        self.matching(filter, None, all, &mut |row| {
            let packed = self.rows.get(row);
            let (at, state) = (packed.failed_ms(), states::of(packed));
            let mut group =
                GroupCounts { states: [0; 3], first: at, last: at, sample: (state == State::Open, at, row) };
            group.states[state as usize] = 1;
            let sum = &mut groups_of[packed.labels as usize];
            match sum {
                Some(sum) => sum.add(&group),
                None => *sum = Some(group),
            }
        });
        groups_of.into_iter().enumerate().filter_map(|(id, group)| Some((id as u32, group?)))
    }
}
