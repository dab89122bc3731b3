//! The search behind the index: one thread reads the dead-letter topic from its end backwards, and then what arrives.
//!
//! A process has one search for everybody who looks at dead letters. It begins when somebody asks, rests while nobody
//! has asked for `shared::REST`, goes on where it was when somebody asks again, and drops the index, its clients and
//! its connection after `shared::IDLE`. It joins no group, and its threads have the lowest priority, so that live
//! traffic comes first.

mod audit;
mod lookup;
mod search;
mod shared;
mod states;
mod waits;

use std::io;
use std::sync::{Arc, PoisonError, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::shared::{Shared, TEND};
use crate::inspect::dead_letters::index::{EndOffsets, Index};
use crate::kafka::reader::{Fetch, Range, Reader};
use crate::kafka::record::Record;
use crate::kafka::topics::AdminError;

pub use audit::Audit;
pub use lookup::{covered, states};
pub use shared::{Progress, SKEW_MS, Source, Trouble, reader};

/// The most dead letters that an index holds when its search ends: the newest ones, in about 160 MiB.
pub const MOST: usize = 4_000_000;

/// The handle of the search.
pub struct Scan {
    shared: Arc<Shared>,
    /// One reading of single records at a time has a thread.
    turn: Arc<Semaphore>,
}

impl Scan {
    /// Makes the search. It begins to read when somebody asks.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(source: Source) -> io::Result<Scan> {
        Self::bounded(source, MOST)
    }

    /// Makes a search that ends when it has found so many dead letters. [`Progress::left_out`] then says how many older
    /// ones there are.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn bounded(source: Source, most: usize) -> io::Result<Scan> {
        let shared = Arc::new(Shared::new(source, most));
        let work = shared.clone();
        std::thread::Builder::new().name("dead-letters".into()).spawn(move || search::run(&work))?;
        Ok(Scan { shared, turn: Arc::new(Semaphore::new(1)) })
    }

    /// The index as it is now. Asking for it keeps the search going.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.shared.ask();
        self.shared.index()
    }

    /// How far the search has come.
    pub fn progress(&self) -> Progress {
        self.shared.progress.borrow().clone()
    }

    /// Waits until the search has come far enough, at most so long. The search goes on meanwhile.
    pub async fn wait(&self, within: Duration, mut enough: impl FnMut(&Progress) -> bool) -> Progress {
        let until = tokio::time::Instant::now() + within;
        let mut progress = self.shared.progress.subscribe();
        loop {
            self.shared.ask();
            let now = progress.borrow_and_update().clone();
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if enough(&now) || left.is_zero() {
                return now;
            }
            let _ = tokio::time::timeout(left.min(Duration::from_secs(1)), progress.changed()).await;
        }
    }

    /// Waits until the index is complete, with everything that has arrived and every state that was set before this
    /// call. Returns the ends of the partitions at that moment.
    ///
    /// # Errors
    /// Kafka refuses, or it is not so far in time: the text says why.
    pub async fn fresh(&self, within: Duration) -> Result<EndOffsets, Trouble> {
        self.fresh_since(self.ask_anew(), within).await
    }

    /// Asks for everything that has arrived until now. The number tells [`Scan::fresh_since`] of which moment.
    pub fn ask_anew(&self) -> u64 {
        let mut asked = self.shared.asked();
        asked.fresh += 1;
        asked.fresh
    }

    /// Asks for everything that has arrived, if the search was complete and nobody has asked for so long that it may
    /// have stopped following.
    pub fn ask_anew_if_quiet(&self) -> Option<u64> {
        let quiet = self.shared.asked().quiet();
        (quiet >= TEND && self.shared.progress.borrow().done).then(|| self.ask_anew())
    }

    /// Whether the index has everything that had arrived when this number was asked for.
    pub fn is_fresh(&self, number: u64) -> bool {
        self.shared.progress.borrow().fresh >= number
    }

    /// As [`Scan::fresh`], for the moment at which this number was asked for. Who waits in several steps asks once: a
    /// search that takes longer than one step would never catch up with a new question in each.
    ///
    /// # Errors
    /// As for [`Scan::fresh`].
    pub async fn fresh_since(&self, number: u64, within: Duration) -> Result<EndOffsets, Trouble> {
        let so_far = |progress: &Progress| progress.done && progress.fresh >= number;
        let refused = |progress: &Progress| progress.trouble.as_ref().is_some_and(|trouble| trouble.refused);
        let progress = self.wait(within, |progress| so_far(progress) || refused(progress)).await;
        if so_far(&progress) {
            return Ok(self.index().ends());
        }
        Err(progress.trouble.unwrap_or_else(|| Trouble {
            text: format!("looked at {} of {} dead letters so far: ask again", progress.scanned, progress.total),
            refused: false,
        }))
    }

    /// Waits for the turn to read single records; `None`: the process ends. Whoever waits here holds no thread: while
    /// Kafka is away, one reading keeps all others waiting.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turn.clone().acquire_owned().await.ok()
    }

    /// Reads whole records by partition and offset, in the order that is asked; what retention has deleted is left out.
    /// The places have to come from the index. It blocks: call it on a plain thread.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn fetch(&self, places: &[(i32, i64)]) -> Result<Vec<Record>, AdminError> {
        self.read(|reader| reader.fetch(places))
    }

    /// Reads the record at a place that need not exist. It blocks: call it on a plain thread.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn fetch_one(&self, (partition, offset): (i32, i64)) -> Result<Option<Record>, AdminError> {
        self.read(|reader| {
            // The client would wait for a partition that does not exist, and read the whole partition for an offset
            // that does not: meanwhile nobody else could read.
            let holds = |range: &Range| range.partition == partition && (range.from..range.end).contains(&offset);
            if !reader.bounds()?.iter().any(holds) {
                return Ok(None);
            }
            Ok(reader.fetch(&[(partition, offset)])?.pop())
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Reader) -> Result<T, AdminError>) -> Result<T, AdminError> {
        self.shared.ask();
        let mut kept = self.shared.records.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = match kept.take() {
            Some(reader) => reader,
            None => reader(&self.shared.source.kafka, Fetch::Records)?,
        };
        let done = read(&reader)?;
        *kept = Some(reader);
        Ok(done)
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.shared.asked().over = true;
        self.shared.wake.notify_all();
    }
}
