//! All dead letters as compact rows: the newest of each origin, their states, and selections, pages and counts of them
//! (pure).
//!
//! A search fills the index from the end of each partition backwards, in rounds, so that the newest rows are there at
//! once ([`Index::older`]); what arrives meanwhile comes behind ([`Index::newer`]). The rows hold no texts: labels are
//! kept once for all rows that share them, and origin and trans_id as keyed hashes of 64 bits. One million rows take 39
//! MiB; the search ends at four million.

mod group;
mod judge;
mod labels;
mod newest;
mod page;
mod rows;
mod select;
mod spread;
mod states;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use self::labels::LabelTable;
use self::newest::Newest;
use self::rows::{BLOCK, Block, Partition, Parts, Rows, SUPERSEDED};
use self::spread::Spread;
use self::states::States;
use crate::error::Reason;
use crate::inspect::dead_letters::dead_letter::DeadLetter;
use crate::inspect::dead_letters::state::State;

pub use group::{Count, Group, Stats};
pub use page::{Cursor, Page, StaleCursor};
pub use rows::RowRef;
pub use states::{Cover, Discard, EndOffsets};

/// One dead letter as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The partition in the dead-letter topic.
    pub partition: i32,
    pub offset: i64,
    /// When it ended, epoch ms.
    pub failed_at_ms: i64,
    /// The reason, if it is one of the closed list.
    pub reason: Option<Reason>,
    /// Platform, account, code, faulty field and event as the headers state them, unmasked.
    pub platform: Option<&'a str>,
    pub account: Option<&'a str>,
    pub code: Option<&'a str>,
    pub field: Option<&'a str>,
    pub event: Option<&'a str>,
    /// How often it was replayed before; 255 stands for more, too.
    pub replays: u32,
    pub state: State,
}

/// The compact index. See the module.
pub struct Index {
    rows: Rows,
    partitions: BTreeMap<i32, Partition>,
    newest: Newest,
    spread: Spread,
    labels: LabelTable,
    states: States,
    hashes: RandomState,
    /// Tells the cursors of this index from those of another one.
    search: u32,
    /// Every row of the rounds up to this one is there.
    rounds: u32,
    complete: bool,
}

impl Default for Index {
    fn default() -> Self {
        let hashes = RandomState::new();
        Self {
            rows: Rows::default(),
            partitions: BTreeMap::new(),
            newest: Newest::default(),
            spread: Spread::default(),
            labels: LabelTable::default(),
            states: States::default(),
            search: hashes.hash_one(0) as u32,
            hashes,
            rounds: 0,
            complete: false,
        }
    }
}

impl Index {
    /// Begins a partition: the search reads it backwards from `end`, and forwards from there.
    pub fn begin(&mut self, partition: i32, end: i64) {
        self.partitions.entry(partition).or_insert(Partition { blocks: VecDeque::new(), from: end, end });
    }

    /// Adds what a round of the search found from offset `from` up to what was there before. The letters are in the
    /// order of their offsets.
    pub fn older(&mut self, partition: i32, from: i64, round: u32, letters: &[DeadLetter]) {
        let Some(known) = self.partitions.get_mut(&partition) else { return };
        let end = std::mem::replace(&mut known.from, from);
        let mut blocks: Vec<Block> = Vec::new();
        for letter in letters.iter().filter(|letter| (from..end).contains(&letter.offset)) {
            self.put(&mut blocks, letter, (partition, round, letters.len().min(BLOCK)));
        }
        let numbers = self.keep(blocks);
        if let Some(known) = self.partitions.get_mut(&partition) {
            numbers.into_iter().rev().for_each(|number| known.blocks.push_front(number));
        }
    }

    /// Adds what arrived behind the end of a partition, up to offset `end`. The letters are in the order of their
    /// offsets.
    pub fn newer(&mut self, partition: i32, end: i64, letters: &[DeadLetter]) {
        let Some(known) = self.partitions.get_mut(&partition) else { return };
        let from = std::mem::replace(&mut known.end, end);
        // The last block goes on, so that letters that come one by one do not make a block each.
        let last = known.blocks.back().copied().filter(|number| self.rows.blocks[*number as usize].round == 0);
        let mut blocks: Vec<Block> = Vec::new();
        let mut changed = Vec::new();
        for letter in letters.iter().filter(|letter| (from..end).contains(&letter.offset)) {
            let parts = self.parts(letter);
            match last.map(|number| (number as usize, &mut self.rows.blocks[number as usize])) {
                Some((number, block)) if blocks.is_empty() && block.takes(letter.offset) => {
                    block.push(&parts);
                    changed.push(RowRef::new(number, block.rows.len() - 1));
                }
                _ => self.put(&mut blocks, letter, (partition, 0, 16)),
            }
        }
        self.arrived(&changed);
        let numbers = self.keep(blocks);
        if let Some(known) = self.partitions.get_mut(&partition) {
            known.blocks.extend(numbers);
        }
    }

    /// Says that every partition of this round was added.
    pub fn finish_round(&mut self, round: u32) {
        self.rounds = round;
    }

    /// Says that the search has reached the beginning of every partition.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether the search has reached the beginning of every partition, or its bound.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Hides what retention has deleted: the offsets below `low`.
    pub fn trim(&mut self, partition: i32, low: i64) {
        if let Some(known) = self.partitions.get_mut(&partition) {
            known.from = known.from.max(low);
        }
    }

    /// Per partition the offset up to which the index knows everything that arrived.
    pub fn ends(&self) -> EndOffsets {
        self.partitions.iter().map(|(number, partition)| (*number, partition.end)).collect()
    }

    /// The number of rows, with the superseded and the deleted ones.
    pub fn len(&self) -> usize {
        self.rows.blocks.iter().map(|block| block.rows.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that the index holds, about.
    pub fn bytes(&self) -> usize {
        let rows: usize = self.rows.blocks.iter().map(|b| b.rows.capacity() * size_of::<rows::Packed>() + 64).sum();
        rows + self.newest.bytes() + self.spread.bytes() + self.labels.bytes() + self.states.bytes()
    }

    /// One dead letter.
    pub fn row(&self, row: RowRef) -> Row<'_> {
        let ((partition, offset), packed) = (self.rows.place(row), self.rows.get(row));
        let labels = self.labels.get(packed.labels);
        Row {
            partition,
            offset,
            failed_at_ms: packed.failed_ms(),
            reason: labels.reason,
            platform: self.labels.text(labels.platform),
            account: self.labels.text(labels.account),
            code: self.labels.text(labels.code),
            field: self.labels.text(labels.field),
            event: self.labels.text(labels.event),
            replays: packed.replays.into(),
            state: states::of(packed),
        }
    }

    /// Puts a letter behind the last of these blocks, or into a new one.
    fn put(&mut self, blocks: &mut Vec<Block>, letter: &DeadLetter, new: (i32, u32, usize)) {
        let parts = self.parts(letter);
        if !blocks.last().is_some_and(|block| block.takes(letter.offset)) {
            blocks.push(Block::new(new.0, letter.offset, new.1, new.2));
        }
        if let Some(block) = blocks.last_mut() {
            block.push(&parts);
        }
    }

    /// Keeps whole blocks and returns their numbers.
    fn keep(&mut self, blocks: Vec<Block>) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(blocks.len());
        for block in blocks {
            let (number, rows) = (self.rows.blocks.len(), block.rows.len());
            self.rows.blocks.push(block);
            self.arrived(&(0..rows).map(|at| RowRef::new(number, at)).collect::<Vec<_>>());
            numbers.push(number as u32);
        }
        numbers
    }

    /// Finds the state of new rows, and which is the newest of its origin.
    fn arrived(&mut self, rows: &[RowRef]) {
        for row in rows {
            let known = self.newest.get(self.rows.get(*row).origin, |row| self.rows.get(row).origin);
            let newest = known.map_or(*row, |known| self.spread.newest(&self.rows, known, *row));
            for old in known.into_iter().chain([*row]).filter(|old| *old != newest) {
                self.rows.get_mut(old).put(SUPERSEDED, true);
            }
            self.rows.get_mut(newest).put(SUPERSEDED, false);
            self.newest.set(newest, |row| self.rows.get(row).origin);
        }
        self.judge(rows);
    }

    fn parts(&mut self, letter: &DeadLetter) -> Parts {
        Parts {
            origin: self.hashes.hash_one(letter.origin()),
            trans_id: letter.text("trans-id").map_or(0, |id| self.hash(id)),
            offset: letter.offset,
            failed_ms: letter.failed_at_ms(),
            labels: self.labels.id(letter),
            replays: letter.replays().clamp(0, 255) as u8,
        }
    }

    /// The hash of a trans_id, never 0.
    fn hash(&self, trans_id: &str) -> u64 {
        self.hashes.hash_one(trans_id).max(1)
    }
}

#[cfg(test)]
mod tests;
