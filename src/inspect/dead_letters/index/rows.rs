//! The rows of the index in blocks: 32 bytes per dead letter.

use std::collections::VecDeque;

/// Rows per block. The number of a row is the number of its block and its place there.
pub(super) const BLOCK: usize = 4096;
const BLOCK_BITS: u32 = 12;
/// Times are kept in 48 bits: this is the year 10889.
const TIME_MAX: i64 = (1 << 48) - 1;

/// A newer dead letter of the same origin is known.
pub(super) const SUPERSEDED: u8 = 1;
/// A replay published it again.
pub(super) const REPLAYED: u8 = 2;
/// A discard covers it.
pub(super) const DISCARDED: u8 = 4;

/// A dead letter in the index. It stays valid as long as the index lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowRef(pub(super) u32);

impl RowRef {
    pub(super) fn new(block: usize, at: usize) -> Self {
        Self(((block as u32) << BLOCK_BITS) | at as u32)
    }

    pub(super) fn block(self) -> usize {
        (self.0 >> BLOCK_BITS) as usize
    }

    fn at(self) -> usize {
        (self.0 as usize) & (BLOCK - 1)
    }
}

/// One dead letter, packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    /// Hashes of the origin and of the trans_id; 0 without a trans_id.
    pub(super) origin: u64,
    pub(super) trans_id: u64,
    failed_low: u32,
    /// The offset, counted from that of the block.
    delta: u32,
    pub(super) labels: u32,
    failed_high: u16,
    /// How often it was replayed before; 255 stands for more, too.
    pub(super) replays: u8,
    pub(super) flags: u8,
}

/// The parts of a row before it is packed.
pub(super) struct Parts {
    pub(super) origin: u64,
    pub(super) trans_id: u64,
    pub(super) offset: i64,
    pub(super) failed_ms: i64,
    pub(super) labels: u32,
    pub(super) replays: u8,
}

impl Packed {
    /// `pb-failed-at`, epoch ms.
    pub(super) fn failed_ms(&self) -> i64 {
        (i64::from(self.failed_high) << 32) | i64::from(self.failed_low)
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn put(&mut self, flag: u8, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }
}

/// Neighbouring dead letters of one partition, in the order of their offsets.
pub(super) struct Block {
    pub(super) partition: i32,
    /// The offset of the first row.
    base: i64,
    /// The round of the search that found it; 0: it came after the search had begun.
    pub(super) round: u32,
    pub(super) rows: Vec<Packed>,
}

impl Block {
    pub(super) fn new(partition: i32, base: i64, round: u32, capacity: usize) -> Self {
        Self { partition, base, round, rows: Vec::with_capacity(capacity) }
    }

    /// Whether a row with this offset can be added.
    pub(super) fn takes(&self, offset: i64) -> bool {
        self.rows.len() < BLOCK && u32::try_from(offset - self.base).is_ok()
    }

    /// Adds a row behind the others; [`Block::takes`] allows it.
    pub(super) fn push(&mut self, parts: &Parts) {
        let failed = parts.failed_ms.clamp(0, TIME_MAX);
        self.rows.push(Packed {
            origin: parts.origin,
            trans_id: parts.trans_id,
            failed_low: failed as u32,
            delta: (parts.offset - self.base) as u32,
            labels: parts.labels,
            failed_high: (failed >> 32) as u16,
            replays: parts.replays,
            flags: 0,
        });
    }

    pub(super) fn offset(&self, row: &Packed) -> i64 {
        self.base + i64::from(row.delta)
    }
}

/// The blocks of one partition in the order of their offsets, and the range of offsets that was read.
pub(super) struct Partition {
    pub(super) blocks: VecDeque<u32>,
    /// The lowest offset that was read, and that the topic still holds.
    pub(super) from: i64,
    /// The first offset that was not read.
    pub(super) end: i64,
}

/// All rows.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) blocks: Vec<Block>,
}

impl Rows {
    pub(super) fn get(&self, row: RowRef) -> &Packed {
        &self.blocks[row.block()].rows[row.at()]
    }

    pub(super) fn get_mut(&mut self, row: RowRef) -> &mut Packed {
        &mut self.blocks[row.block()].rows[row.at()]
    }

    /// Partition and offset.
    pub(super) fn place(&self, row: RowRef) -> (i32, i64) {
        let block = &self.blocks[row.block()];
        (block.partition, block.offset(&block.rows[row.at()]))
    }

    /// The order in which dead letters are shown.
    pub(super) fn rank(&self, row: RowRef) -> Rank {
        let (partition, offset) = self.place(row);
        (self.get(row).failed_ms(), partition, offset)
    }

    /// The newer one of two dead letters of one origin in one partition. The clocks of their writers do not count.
    pub(super) fn later(&self, one: RowRef, other: RowRef) -> RowRef {
        std::cmp::max_by_key(one, other, |row| self.place(*row).1)
    }

    /// Orders the newest dead letters of one origin in several partitions: the highest one is the newest of all. A
    /// clock decides only between those that were replayed equally often.
    pub(super) fn lineage(&self, row: RowRef) -> (u8, Rank) {
        (self.get(row).replays, self.rank(row))
    }
}

/// The time at which a dead letter was written, then its place.
pub(super) type Rank = (i64, i32, i64);
