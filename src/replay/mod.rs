//! Publishes dead letters to their origin topic again: a plan that says beforehand what would come of it, a run by the
//! worker replicas, and what came of it.
//!
//! A plan is made once and never changed ([`store`]). One replay runs at a time, and one replica at a time publishes for
//! it, under a lock that outlives the replica. Commands and the API use [`Replays`] alike.

pub mod error;
pub mod replays;
pub mod store;
pub mod view;

pub use error::ReplayError;
pub use replays::Replays;
pub use view::{ReplayView, Request, State};
