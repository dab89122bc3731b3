//! What the polling thread keeps of the work on a record, without knowing what that work is.

use std::fmt;

/// What whoever works on a record notes beside it while its offset is held back.
pub trait Work: fmt::Debug + Send + Sync + 'static {
    /// How such work ends.
    type End: Copy + fmt::Debug + Send + 'static;

    /// What status shows of it.
    type Shown: Clone + fmt::Debug + PartialEq + Send + Sync;

    /// The end of work that nobody goes on with, and of which nobody said so.
    const LOST: Self::End;

    /// Of a record that was received at this moment, epoch ms.
    fn received(at_ms: i64) -> Self;

    /// Whether the record is not read again after this end.
    fn is_over(end: Self::End) -> bool;

    /// Since when it is open, by [`crate::clock::steady_ms`].
    fn since_steady_ms(&self) -> i64;

    /// A moment before its receipt, epoch ms, by [`crate::clock::steady_ms`]; one after it counts as its receipt.
    fn steady_of(&self, at_ms: i64) -> i64;

    /// What status shows of it now.
    fn shown(&self) -> Self::Shown;

    /// The index of the group whose oldest open record a snapshot tells.
    fn group(&self) -> Option<usize>;
}
