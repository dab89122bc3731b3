//! Publishes dead letters to their origin topic again: a plan that says beforehand what would come of it, a run by the
//! worker replicas, and what came of it.
//!
//! A plan is made once and never changed ([`store`]). One replay runs at a time, and one replica at a time publishes
//! for it, under a lock that outlives the replica. Commands and the API use [`Replays`] alike.

#[cfg(test)]
mod bench;
pub mod cause;
pub mod discard;
mod discards;
pub mod error;
mod judge;
mod lookup;
mod places;
pub mod plan;
pub mod replays;
pub mod run;
pub mod setup;
pub mod store;
pub mod view;
mod waiting;

pub use error::ReplayError;
pub use replays::Replays;
pub use run::Runner;
pub use setup::Setup;
pub use view::{ReplayView, Request, State};
pub use waiting::waiting;
