//! What the polling thread keeps of the work on a record, without knowing what that work is.

use std::fmt;

/// What the code that works on a record keeps beside it while its offset is held back.
pub trait Work: fmt::Debug + Send + Sync + 'static {
    /// How the work ends.
    type End: Copy + fmt::Debug + Send + 'static;

    /// What the status shows of the work.
    type Shown: Clone + fmt::Debug + PartialEq + Send + Sync;

    /// The end of work that was dropped without an end.
    const LOST: Self::End;

    /// The work on a record that was received at this moment, in epoch ms.
    fn received(at_ms: i64) -> Self;

    /// Whether the record is not read again after this end.
    fn is_over(end: Self::End) -> bool;

    /// Since when the work is open, by [`crate::clock::steady_ms`].
    fn since_steady_ms(&self) -> i64;

    /// Converts a moment before the receipt of the record, in epoch ms, to [`crate::clock::steady_ms`]. A later moment
    /// counts as the receipt.
    fn steady_of(&self, at_ms: i64) -> i64;

    /// What the status shows of the work now.
    fn shown(&self) -> Self::Shown;

    /// The index of the group to which the record belongs. A snapshot shows the oldest open record of each group.
    fn group(&self) -> Option<usize>;
}
