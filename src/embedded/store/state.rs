//! The keys of the store with their clock. One command runs on them at a time.

use std::cell::RefCell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::commands;
use super::keys::Keys;
use super::wire;

/// The state that all connections share.
pub(super) struct State {
    keys: RefCell<Keys>,
    clock: Clock,
    info: String,
}

impl State {
    pub(super) fn new() -> Self {
        Self { keys: RefCell::default(), clock: Clock::start(), info: info() }
    }

    /// Removes expired keys.
    pub(super) fn sweep(&self) {
        self.keys.borrow_mut().advance(self.clock.now_us());
    }

    /// Runs one command at the present time.
    pub(super) fn run(&self, request: &[Vec<u8>]) -> wire::Reply {
        let mut keys = self.keys.borrow_mut();
        keys.advance(self.clock.now_us());
        commands::run(&mut keys, &self.info, request)
    }
}

/// The time of day at the start, plus the time since then. Nobody can set it back.
struct Clock {
    start_us: i64,
    since: Instant,
}

impl Clock {
    fn start() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start_us: i64::try_from(now.as_micros()).unwrap_or(i64::MAX), since: Instant::now() }
    }

    fn now_us(&self) -> i64 {
        self.start_us.saturating_add(i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}

/// The text of `INFO`: the fields by which the worker judges a Redis, and the truth about durability.
fn info() -> String {
    let id = format!("{:040x}", rand::random::<u128>());
    [
        "# Server",
        "redis_version:7.0.0-embedded",
        "redis_mode:standalone",
        "# Memory",
        "maxmemory:0",
        "maxmemory_policy:noeviction",
        "# Persistence",
        "aof_enabled:0",
        "rdb_last_save_time:0",
        "# Replication",
        "role:master",
        "connected_slaves:0",
        &format!("master_replid:{id}"),
        "# Cluster",
        "cluster_enabled:0",
        "# Keyspace",
        "db0:keys={keys}",
        "",
    ]
    .join("\r\n")
}
