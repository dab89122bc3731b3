//! Selects rows.

use std::collections::HashMap;

use super::Index;
use super::rows::{Packed, RowRef, SUPERSEDED};
use super::states::{self, EndOffsets};
use crate::inspect::dead_letters::filter::Filter;
use crate::inspect::dead_letters::state::State;

/// A filter as the rows can be asked: by the numbers of their labels.
pub(super) struct Matcher {
    labels: Vec<bool>,
    trans_id: Option<u64>,
    since: i64,
    until: i64,
    replays: Option<u8>,
    state: Option<State>,
}

impl Matcher {
    /// Whether everything but the state fits.
    pub(super) fn fits(&self, row: &Packed) -> bool {
        let at = row.failed_ms();
        self.labels.get(row.labels as usize).copied().unwrap_or(false)
            && self.trans_id.is_none_or(|hash| hash == row.trans_id)
            && (self.since..self.until).contains(&at)
            && self.replays.is_none_or(|replays| replays == row.replays)
    }

    pub(super) fn selects(&self, row: &Packed) -> bool {
        self.fits(row) && self.state.is_none_or(|state| states::of(row) == state)
    }
}

impl Index {
    /// The newest dead letter of each origin that the filter selects, by partition and offset. With `ends`, what lies
    /// behind them does not count: neither does it belong to the selection, nor does it replace an older one of its
    /// origin. A limit takes the newest ones.
    pub fn select(&self, filter: &Filter, ends: Option<&EndOffsets>) -> Vec<RowRef> {
        let mut found = Vec::new();
        self.matching(filter, ends, false, &mut |row| found.push(row));
        found.sort_by_key(|row| self.rows.place(*row));
        found
    }

    /// How many dead letters the filter selects; `all` counts those that have a newer one, too.
    pub fn count(&self, filter: &Filter, all: bool) -> u64 {
        let mut count = 0;
        self.matching(filter, None, all, &mut |_| count += 1);
        count
    }

    /// Hands out each selected row, in no order.
    pub(super) fn matching(&self, filter: &Filter, ends: Option<&EndOffsets>, all: bool, take: &mut dyn FnMut(RowRef)) {
        let Some(limit) = filter.limit else { return self.unlimited(filter, ends, all, take) };
        let mut found = Vec::new();
        self.unlimited(filter, ends, all, &mut |row| found.push(row));
        if limit < found.len() {
            found.select_nth_unstable_by_key(limit, |row| std::cmp::Reverse(self.rows.rank(*row)));
            found.truncate(limit);
        }
        found.into_iter().for_each(take);
    }

    fn unlimited(&self, filter: &Filter, ends: Option<&EndOffsets>, all: bool, take: &mut dyn FnMut(RowRef)) {
        let matcher = self.matcher(filter);
        // What lies behind the ends can change which one is the newest within: the last one in each partition is a
        // candidate.
        let mut within: HashMap<(u64, i32), RowRef> = HashMap::new();
        for partition in self.partitions.keys() {
            let end = ends.map_or(i64::MAX, |ends| ends.get(partition).copied().unwrap_or(0));
            for row in self.rows_of(*partition) {
                let packed = self.rows.get(row);
                if ends.is_some() && self.rows.place(row).1 >= end {
                    continue;
                }
                let is_newest = !packed.has(SUPERSEDED);
                if !all && ends.is_some_and(|ends| self.may_differ(packed.origin, is_newest, ends)) {
                    within.insert((packed.origin, *partition), row);
                } else if (all || is_newest) && matcher.selects(packed) {
                    take(row);
                }
            }
        }
        let mut newest: HashMap<u64, RowRef> = HashMap::new();
        for ((origin, _), row) in within {
            let best = newest.entry(origin).or_insert(row);
            *best = std::cmp::max_by_key(*best, row, |row| self.rows.lineage(*row));
        }
        newest.into_values().filter(|row| matcher.selects(self.rows.get(*row))).for_each(take);
    }

    /// Whether another row of this origin may be the newest before these ends than is the newest of all.
    fn may_differ(&self, origin: u64, is_newest: bool, ends: &EndOffsets) -> bool {
        self.spread.has(origin) || (!is_newest && self.newest_is_behind(origin, ends))
    }

    fn newest_is_behind(&self, origin: u64, ends: &EndOffsets) -> bool {
        let newest = self.newest.get(origin, |row| self.rows.get(row).origin);
        newest
            .map(|row| self.rows.place(row))
            .is_some_and(|(partition, offset)| ends.get(&partition).is_none_or(|end| offset >= *end))
    }

    /// The dead letter at this place; `None`: there is none, or the search has not come there.
    pub fn find(&self, partition: i32, offset: i64) -> Option<RowRef> {
        let known = self.partitions.get(&partition).filter(|known| known.from <= offset)?;
        let first = |number: &u32| {
            let block = &self.rows.blocks[*number as usize];
            block.rows.first().map_or(i64::MAX, |row| block.offset(row))
        };
        let behind = known.blocks.partition_point(|number| first(number) <= offset);
        let number = *known.blocks.get(behind.checked_sub(1)?)? as usize;
        let block = &self.rows.blocks[number];
        let at = block.rows.binary_search_by_key(&offset, |row| block.offset(row)).ok()?;
        Some(RowRef::new(number, at))
    }

    /// The rows of a partition that the topic still holds, in the order of their offsets.
    pub(super) fn rows_of(&self, partition: i32) -> impl Iterator<Item = RowRef> + '_ {
        let known = self.partitions.get(&partition);
        let from = known.map_or(i64::MAX, |known| known.from);
        let blocks = known.into_iter().flat_map(|known| known.blocks.iter().map(|number| *number as usize));
        blocks.flat_map(move |number| {
            let block = &self.rows.blocks[number];
            let rows = block.rows.iter().enumerate().filter(move |(_, row)| block.offset(row) >= from);
            rows.map(move |(at, _)| RowRef::new(number, at))
        })
    }

    pub(super) fn matcher(&self, filter: &Filter) -> Matcher {
        Matcher {
            labels: self.labels.selected(filter),
            trans_id: filter.trans_id.as_deref().map(|id| self.hash(id)),
            since: filter.since.unwrap_or(i64::MIN),
            until: filter.until.unwrap_or(i64::MAX),
            replays: filter.replays.map(|replays| replays.min(255) as u8),
            state: filter.state,
        }
    }
}
