//! A broker and a store inside this process, for `postback demo` and for a run without a configuration file. They run
//! both or neither.
//!
//! Nothing here is durable: the data ends with the process. The parts listen on free ports of loopback. So the core
//! uses them like any Kafka and Redis, and commands in another terminal reach them.
//!
//! The module knows nothing of the worker but the list of its scripts ([`crate::redis::scripts`]). The store carries
//! out each script in Rust, and the compiler refuses the store if one is missing.

pub mod broker;
pub mod store;

use std::io;

use broker::Broker;
use store::Store;

/// Both parts. They run until this is dropped.
#[derive(Debug)]
pub struct EmbeddedServers {
    pub broker: Broker,
    pub store: Store,
}

/// Starts both parts; the broker gets these topics with their numbers of partitions.
///
/// # Errors
/// There is no free port, the thread cannot be made, or a topic cannot be made.
pub fn start(topics: &[(String, i32)]) -> io::Result<EmbeddedServers> {
    Ok(EmbeddedServers { broker: Broker::start(topics)?, store: Store::start()? })
}
