//! Reads dead letters back: their headers by name, and all of them as an index that answers filters, pages and counts.

mod filter;
pub mod index;
mod latest;
mod letter;
mod meaning;
pub mod scan;
mod state;

pub use filter::{Filter, FilterError, moment};
pub use latest::LatestPerOrigin;
pub use letter::DeadLetter;
pub use meaning::{advice, meaning};
pub use state::State;

#[cfg(test)]
pub(crate) mod tests;
