//! Pages of a selection, newest first, that neither repeat nor hide a dead letter while the index grows.
//!
//! Once the search is done, the order is that of the ranks, and a cursor is the rank where a page ended. While the
//! search goes on, an older page may still turn out to lack a letter that is newer than its last one. So until then the
//! order is that of the rounds of the search, and within a round that of the ranks. A walk through the pages keeps the
//! order in which it began.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;

use super::Index;
use super::rows::{Rank, RowRef};
use crate::inspect::dead_letters::filter::Filter;

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The search and the round of the last row; `None`: the pages go by rank alone.
    found: Option<(u32, u32)>,
    rank: Rank,
}

/// The cursor belongs to a search whose index is gone. The pages have to be read again from the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleCursor;

impl fmt::Display for StaleCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cursor belongs to a search that is over: begin again without one")
    }
}

impl std::error::Error for StaleCursor {}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, partition, offset) = self.rank;
        match self.found {
            None => write!(f, "r.{at}.{partition}.{offset}"),
            Some((search, round)) => write!(f, "f.{at}.{partition}.{offset}.{search}.{round}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut parts = text.split('.');
            let kind = parts.next()?;
            let rank = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let found = match kind {
                "r" => None,
                "f" => Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)),
                _ => return None,
            };
            parts.next().is_none().then_some(Cursor { found, rank })
        };
        read().ok_or("no cursor of an earlier page")
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows in order.
    pub rows: Vec<RowRef>,
    /// Where to go on; `None`: nothing follows.
    pub cursor: Option<Cursor>,
}

/// A row's place in the order of the pages: the smallest comes first.
type Key = (u32, Reverse<Rank>, RowRef);

impl Index {
    /// All selected rows as they are known now, newest first.
    pub fn newest_first(&self, filter: &Filter, all: bool) -> Vec<RowRef> {
        let mut rows = Vec::new();
        self.matching(filter, None, all, &mut |row| rows.push(row));
        rows.sort_unstable_by_key(|row| Reverse(self.rows.rank(*row)));
        rows
    }

    /// A page of at most `limit` rows behind `cursor`. `all` takes every dead letter, not only the newest per origin.
    ///
    /// While the search goes on, there is always a cursor, because more may be found.
    ///
    /// # Errors
    /// The cursor is of another search that had not ended.
    pub fn page(&self, filter: &Filter, all: bool, cursor: Option<Cursor>, limit: usize) -> Result<Page, StaleCursor> {
        let found = cursor.and_then(|cursor| cursor.found);
        if found.is_some_and(|(search, _)| search != self.search) {
            return Err(StaleCursor);
        }
        let by_round = cursor.map_or(!self.complete, |cursor| cursor.found.is_some());
        let after = cursor.map(|cursor| (found.map_or(0, |(_, round)| round), Reverse(cursor.rank)));
        let mut first: BinaryHeap<Key> = BinaryHeap::with_capacity(limit + 1);
        let mut more = false;
        self.matching(filter, None, all, &mut |row| {
            let round = if by_round { self.rows.blocks[row.block()].round } else { 0 };
            let key = (round, Reverse(self.rows.rank(row)), row);
            // The rows of a round that is not finished are not all there yet.
            if round > self.rounds || after.is_some_and(|after| (key.0, key.1) <= after) {
                return;
            }
            first.push(key);
            if first.len() > limit {
                first.pop();
                more = true;
            }
        });
        let keys = first.into_sorted_vec();
        let cursor_at = |round, rank| Cursor { found: by_round.then_some((self.search, round)), rank };
        let last = keys.last().map(|(round, Reverse(rank), _)| cursor_at(*round, *rank));
        let begin = cursor.unwrap_or_else(|| cursor_at(0, (i64::MAX, i32::MAX, i64::MAX)));
        let go_on = more || (by_round && !self.complete);
        let rows = keys.into_iter().map(|(_, _, row)| row).collect();
        Ok(Page { rows, cursor: go_on.then(|| last.unwrap_or(begin)) })
    }
}
