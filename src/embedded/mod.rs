//! A broker and a store inside this process, for `postback demo` and for a run without a file: both or neither.
//!
//! Nothing here is durable: what they hold is gone with the process. They listen on loopback, on ports that are free, so
//! that the core knows one Kafka and one Redis, and so that commands in another terminal reach them.
//!
//! This module knows nothing of the worker but the list of its scripts ([`crate::redis::scripts`]): the store carries
//! them out itself, and one that is missing must not compile.

pub mod broker;
pub mod store;

use std::io;

use broker::Broker;
use store::Store;

/// Both parts. They run until this is dropped.
#[derive(Debug)]
pub struct Parts {
    pub broker: Broker,
    pub store: Store,
}

/// Starts both, the broker with these topics and their numbers of partitions.
///
/// # Errors
/// No port, no thread, or a topic that cannot be made.
pub fn start(topics: &[(String, i32)]) -> io::Result<Parts> {
    Ok(Parts { broker: Broker::start(topics)?, store: Store::start()? })
}
