//! Reads data back for people: dead letters, the trace of one event, the request that an event would become, the
//! ledger.

mod background;
pub mod dead_letters;
pub mod ledger;
pub mod platforms;
pub mod preview;
pub mod reconcile;
pub mod trace;
pub mod unowned;
