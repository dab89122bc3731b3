//! Reads dead letters back: their headers by name, the newest of each origin, and the selected ones (pure).

mod filter;
mod latest;
mod letter;
mod meaning;
mod stats;

pub use filter::Filter;
pub use latest::LatestPerOrigin;
pub use letter::DeadLetter;
pub use meaning::{advice, meaning};
pub use stats::Stats;

#[cfg(test)]
pub(crate) mod tests;
