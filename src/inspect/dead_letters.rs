//! Reads dead letters back: their headers by name, and all of them as an index that answers filters, pages and counts.

mod dead_letter;
mod discards;
mod export;
mod filter;
pub mod index;
mod item;
mod latest;
pub mod listing;
mod meaning;
pub mod scan;
mod state;
mod today;

pub use dead_letter::DeadLetter;
pub use discards::{DiscardLog, place};
pub use export::{Export, Walk, object};
pub use filter::{Filter, FilterError, moment};
pub use item::{Bytes, Full, Item};
pub use latest::LatestPerOrigin;
pub use meaning::{advice, meaning};
pub use state::State;
pub use today::Today;

#[cfg(test)]
pub(crate) mod tests;
