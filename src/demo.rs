//! `postback demo`: generator, worker, broker, store and platforms in one process, and the ledger of what became of it.
//!
//! The demo watches the worker from outside, as any user could: it publishes to the input topic, asks the API, and
//! reads receipts and dead letters. Only the sandbox belongs to the demo: it sets the faults there and compares with
//! its ledger.
//!
//! [`generator`] makes the events and [`pacing`] slows them down. [`scenario`] and [`scheduler`] break platforms and
//! mend them. [`reader`] reads what became of each event into the [`counts`]; [`dashboard`] and [`screen`] show it. The
//! [`ledger`](crate::inspect::ledger) says whether it balances.

mod accounts;
pub mod counts;
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
mod welcome;
mod worker;

pub use run::Options;
pub use start::run;
