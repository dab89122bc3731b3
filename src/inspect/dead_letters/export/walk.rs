//! Walks through everything that a filter selects, newest first, with little in memory at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::inspect::dead_letters::dead_letter::DeadLetter;
use crate::inspect::dead_letters::filter::Filter;
use crate::inspect::dead_letters::index::Cursor;
use crate::inspect::dead_letters::scan::Scan;
use crate::inspect::dead_letters::state::State;
use crate::kafka::topics::AdminError;

/// Places that are taken from the index at once.
const PLACES: usize = 20_000;
/// Records that are read at once.
const RECORDS: usize = 500;

/// A walk over the shared search. What arrives meanwhile is not part of it.
pub struct Walk {
    scan: Arc<Scan>,
    filter: Filter,
    all: bool,
    cursor: Option<Cursor>,
    places: VecDeque<((i32, i64), State)>,
    is_last: bool,
}

impl Walk {
    /// Begins a walk. The search has to be complete, as [`Scan::fresh`] makes it. `all` takes every dead letter, not
    /// only the newest of each origin. A limit of the filter takes the newest ones.
    pub fn new(scan: Arc<Scan>, filter: Filter, all: bool) -> Self {
        Self { scan, filter, all, cursor: None, places: VecDeque::new(), is_last: false }
    }

    /// How many there are now.
    pub fn count(&self) -> u64 {
        self.scan.index().count(&self.filter, self.all)
    }

    /// Reads the next ones; empty: there are no more. What retention has deleted meanwhile is left out. It blocks: call
    /// it on a plain thread.
    ///
    /// # Errors
    /// Kafka does not answer, or the search has begun anew, so that the walk cannot go on.
    pub fn read(&mut self) -> Result<Vec<(DeadLetter, State)>, AdminError> {
        loop {
            if self.places.is_empty() {
                if self.is_last {
                    return Ok(Vec::new());
                }
                self.look()?;
            }
            let part: Vec<_> = self.places.drain(..self.places.len().min(RECORDS)).collect();
            let states: HashMap<(i32, i64), State> = part.iter().copied().collect();
            let places: Vec<(i32, i64)> = part.iter().map(|(place, _)| *place).collect();
            let records = self.scan.fetch(&places)?;
            let with_state = |record: &crate::kafka::record::Record| {
                let state = *states.get(&(record.partition, record.offset))?;
                Some((DeadLetter::read(record), state))
            };
            let found: Vec<_> = records.iter().filter_map(with_state).collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Takes the next places from the index.
    fn look(&mut self) -> Result<(), AdminError> {
        let index = self.scan.index();
        let gone = || AdminError::NoAnswer("the search has begun anew: export again".to_owned());
        if !index.is_complete() {
            return Err(gone());
        }
        let page = index.page(&self.filter, self.all, self.cursor, PLACES).map_err(|_| gone())?;
        let rows = page.rows.iter().map(|row| index.row(*row));
        self.places.extend(rows.map(|row| ((row.partition, row.offset), row.state)));
        self.is_last = page.cursor.is_none();
        self.cursor = page.cursor;
        Ok(())
    }
}
