//! `postback` delivers advertising conversions from Kafka to ad platforms: at least once, never silently lost,
//! suppressed by `trans_id` where a repeat is proven.
//!
//! The way of one event:
//!
//! 1. [`kafka::consumer`] polls on a thread of its own, registers the record's offset, and hands the record to
//!    [`intake`] (or to [`redelivery`], which reads the retry tiers and parking topics).
//! 2. [`admit::examine`] decodes and validates the event and finds its account; the result is a [`delivery`], or its
//!    end.
//! 3. The [`lane`] of the account queues it. [`lane::attempt`] takes one delivery, or a batch where the platform takes
//!    several per request: it claims each ([`claim`]), waits for a slot of the shared rate, sends one request
//!    ([`send`]) and reads one verdict per delivery.
//! 4. [`settle`] decides what becomes of each delivery and carries it out. No other module confirms, publishes or
//!    dead-letters.
//! 5. The polling thread stores the lowest unfinished offset.
//!
//! `tests/house.rs` holds the table of which module may use which.

pub mod account;
pub mod admin;
pub mod admit;
pub mod app;
mod byte_order_mark;
pub mod claim;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod demo;
pub mod embedded;
pub mod envelope;
pub mod error;
pub mod event;
pub mod exit;
pub mod inspect;
pub mod intake;
pub mod kafka;
pub mod lane;
pub mod metrics;
pub mod operate;
pub mod platforms;
mod process_limits;
pub mod quiet;
pub mod redact;
pub mod redelivery;
pub mod redis;
pub mod replay;
pub mod sandbox;
pub mod secret;
pub mod send;
pub mod settings;
pub mod settle;
mod similar;
pub mod slots;
pub mod storm;
#[cfg(test)]
mod stub;
pub mod telemetry;
pub mod units;
mod unreadable;
