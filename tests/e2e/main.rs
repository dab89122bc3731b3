//! End to end: the built program against real Kafka and real Redis, with a scripted platform, everything on loopback.
//!
//! `tests/run` starts the servers and names them. Each test has its own topics, key prefix and group, and ends in the
//! ledger. Tests that stop or break a server start their own.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod ambiguous;
mod broker;
mod conflict;
mod crash;
mod credentials;
mod dead_letter;
mod delivery;
mod duplicates;
mod freeze;
mod inspect;
mod isolation;
mod limits;
mod nasty;
mod rebalance;
mod redis;
mod retry;
mod shutdown;
mod support;
mod throttle;
