//! `postback demo`: generator, worker, broker, store and platforms in one process, and the ledger of what became of it.
//!
//! The demo looks at the worker as anybody would: it publishes to the input topic, asks the API, reads receipts and dead
//! letters. Only the sandbox, whose faults it sets and whose ledger it compares with, is its own.
//!
//! [`generator`] makes the events and [`pacing`] holds them back, [`scenario`] and [`scheduler`] break platforms and mend
//! them, [`reader`] reads what became of each event into the [`tally`], [`dashboard`] and [`screen`] show it, and the
//! [`ledger`](crate::inspect::ledger) says whether it balances.

pub mod dashboard;
pub mod generator;
pub mod pacing;
mod processes;
mod publisher;
pub mod reader;
mod render;
mod run;
pub mod scenario;
pub mod scheduler;
pub mod screen;
pub mod settings;
mod signals;
mod start;
pub mod tally;
mod welcome;
mod worker;

pub use run::Options;
pub use start::run;
