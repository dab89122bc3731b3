//! `postback` delivers advertising conversions from Kafka to ad platforms: at least once, never silently lost,
//! suppressed by `trans_id` where a repeat is proven.
//!
//! The way of one event: [`kafka::consumer`] polls and registers its offset; [`intake`] (or [`waiting`], for retry tiers
//! and parking) has it examined by [`pipeline::gate`] and puts it into its account's [`pipeline::lane`]; at the head of
//! the lane [`pipeline::process`] claims, waits for a slot, sends and judges; [`pipeline::settle`] ends it, and the
//! polling thread stores the lowest unfinished offset.

pub mod admin;
pub mod app;
mod byte_order_mark;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod demo;
pub mod discovery;
pub mod embedded;
pub mod error;
pub mod event;
mod host;
pub mod intake;
pub mod kafka;
pub mod letters;
pub mod mask;
pub mod metrics;
pub mod pipeline;
pub mod preview;
pub mod redis;
mod replica;
pub mod sandbox;
pub mod senders;
pub mod start;
pub mod status;
mod tally;
pub mod telemetry;
pub mod trace;
mod traffic;
pub mod waiting;
pub mod watch;
