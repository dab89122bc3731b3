//! `postback` delivers advertising conversions from Kafka to ad platforms: at least once, never silently lost,
//! suppressed by `trans_id` where a repeat is proven.

pub mod cli;
pub mod error;
pub mod event;
pub mod kafka;
pub mod pipeline;
pub mod redis;
pub mod sandbox;
pub mod senders;
