//! `postback` delivers advertising conversions from Kafka to ad platforms: at least once, never silently lost,
//! suppressed by `trans_id` where a repeat is proven.

pub mod admin;
pub mod cli;
pub mod control;
pub mod error;
pub mod event;
pub mod kafka;
pub mod mask;
pub mod metrics;
pub mod pipeline;
pub mod redis;
pub mod senders;
pub mod telemetry;
