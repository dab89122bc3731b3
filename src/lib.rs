//! `postback` delivers advertising conversions from Kafka to ad platforms: at least once, never silently lost,
//! suppressed by `trans_id` where a repeat is proven.
//!
//! The way of one event: [`kafka::consumer`] polls and registers its offset; [`intake`] (or [`redelivery`], for retry tiers
//! and parking) has it examined by [`admit::examine`] and puts it into its account's [`lane`]; at the head of
//! the lane [`lane::attempt`] claims, waits for a slot, sends and judges; [`settle`] ends it, and the
//! polling thread stores the lowest unfinished offset.

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
pub mod sandbox;
pub mod secret;
pub mod send;
pub mod settings;
pub mod settle;
#[cfg(test)]
mod stub;
pub mod telemetry;
pub mod units;
