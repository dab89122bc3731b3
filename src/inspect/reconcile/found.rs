//! What a reconciliation finds, as `--json` and the API give it.

use schemars::JsonSchema;
use serde::Serialize;

use super::keys::MissingKey;
use super::range::Range;
use crate::inspect::ledger::Ledger;

/// What became of the records of a range.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Reconciled {
    #[serde(flatten)]
    pub ledger: Ledger,
    /// Records without a dead letter, whose end nothing tells because `kafka.receipts` names no topic.
    pub unknown: u64,
    /// Replayed copies in the range. They are no events: what came of them counts to the records that they repeat.
    pub replayed: u64,
    /// The records that have no end and wait nowhere. There may be more of them: `lost` is their number.
    pub missing: Vec<MissingKey>,
    /// The time of the oldest receipt, epoch ms; null where receipts were not read from the first one on.
    pub oldest_receipt_ms: Option<i64>,
    /// What was read of the input.
    pub partitions: Vec<ReadRange>,
    /// Where nothing was produced in the range: what was looked at. Such a ledger balances, and says nothing. Else
    /// null.
    pub empty: Option<EmptyRange>,
}

/// A range in which no event was produced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EmptyRange {
    /// The input topics that were looked at.
    pub topics: Vec<String>,
    /// The range as it was read: times in epoch ms, or offsets.
    pub range: Range,
    /// The time of the newest record in these topics, epoch ms; null where they hold none.
    pub newest_record_ms: Option<i64>,
}

/// A range of offsets that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReadRange {
    pub topic: String,
    pub partition: i32,
    pub from: i64,
    /// The first offset behind it.
    pub to: i64,
}
