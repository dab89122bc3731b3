//! What the coordinator remembers from one second to the next.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use ::redis::aio::MultiplexedConnection;

use crate::account::Halted;
use crate::operate::{Place, lanes};
use crate::quiet::Told;

/// What a partition's gauges show: lag in records, lag and commit age in seconds.
pub(super) type Shown = (Option<i64>, Option<f64>, f64);

#[derive(Default)]
pub(super) struct Memory {
    pub(super) connection: Option<MultiplexedConnection>,
    pub(super) switches: Switches,
    pub(super) orders: Given,
    pub(super) positions: Positions,
    pub(super) clock_told: Told,
    pub(super) epoch: Option<String>,
    pub(super) snapshot_at: Option<Instant>,
    pub(super) facts_at: Option<Instant>,
    /// When the primary was looked at last.
    pub(super) primary_at: Option<Instant>,
    pub(super) seen: VecDeque<(Instant, usize)>,
    /// Records and seconds of lag, age of the commit, as the gauges have them.
    pub(super) shown: HashMap<(Arc<str>, i32), Shown>,
    pub(super) told: Told,
}

/// The orders that consumers were given: each as its text stands in Redis, and when.
pub(super) type Given = BTreeMap<Place, (String, Instant)>;

/// What is remembered of the positions of tiers and parking.
#[derive(Default)]
pub(super) struct Positions {
    /// By `<topic>/<partition>` the id of the topic, as it stands in Redis; `None`: to be read.
    pub(super) noted: Option<HashMap<String, String>>,
    /// Assignments that began without an offset and were compared with the note.
    pub(super) judged: HashSet<(String, u64)>,
}

impl Positions {
    /// The store was flushed: what is known is noted again.
    pub(super) fn read_anew(&mut self) {
        self.noted = None;
    }
}

/// What is remembered of the lanes' switches.
#[derive(Default)]
pub(super) struct Switches {
    /// Halts that Redis does not know yet, each with the note of the last resume before it.
    pub(super) pending: Vec<(Halted, Option<String>)>,
    /// The notes of the last resumes that were obeyed.
    pub(super) resumed: lanes::Resumes,
}
