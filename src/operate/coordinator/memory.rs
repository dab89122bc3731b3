//! What the coordinator remembers from one check to the next.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Instant;

use ::redis::aio::MultiplexedConnection;

use crate::account::Halted;
use crate::operate::{Place, lanes};
use crate::quiet::Told;

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
    /// When the primary was last read.
    pub(super) primary_at: Option<Instant>,
    pub(super) seen: VecDeque<(Instant, usize)>,
    pub(super) told: Told,
    /// One of the shared keys held what no worker wrote at the last check.
    pub(super) met_foreign: bool,
}

/// The orders that consumers received: the text of each as it is in Redis, and the time.
pub(super) type Given = BTreeMap<Place, (String, Instant)>;

/// What the coordinator remembers of the positions of retry tiers and parking topics.
#[derive(Default)]
pub(super) struct Positions {
    /// The topic's id for each `<topic>/<partition>`, as it is in Redis. `None`: it has to be read.
    pub(super) noted: Option<HashMap<String, String>>,
    /// Assignments that began without an offset and that were compared with the remembered positions.
    pub(super) judged: HashSet<(String, u64)>,
}

impl Positions {
    /// Forgets the copy, because the store was flushed. It is read again, and the positions are written again.
    pub(super) fn read_anew(&mut self) {
        self.noted = None;
    }
}

/// What the coordinator remembers of the lanes' switches.
#[derive(Default)]
pub(super) struct Switches {
    /// Halts that Redis does not know yet, each with the token of the last resume before it.
    pub(super) pending: Vec<(Halted, Option<String>)>,
    /// The tokens of the last resumes that were carried out.
    pub(super) resumed: lanes::Resumes,
}
