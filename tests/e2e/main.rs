//! End to end: the built program against real Kafka and real Redis, with a scripted platform, everything on loopback.
//!
//! `tests/run` starts the servers and names them. Each test has its own topics, key prefix and group, and ends in the
//! ledger. Tests that stop or break a server start their own.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod ambiguous;
mod api;
mod breaker;
mod broker;
mod calls;
mod chunks;
mod conflict;
mod crash;
mod credentials;
mod dashboard;
mod dead_letter;
mod dead_letters;
mod declared;
mod declared_calls;
mod delivery;
mod dispatch;
mod duplicates;
mod election;
mod failover;
mod freeze;
mod gauges;
mod halt_probe;
mod handoff;
mod inspect;
mod isolation;
mod kdniao;
mod lanes;
mod limits;
mod nasty;
mod natural_day;
mod offsets;
mod privacy;
mod quota;
mod readme;
mod rebalance;
mod reconcile;
mod redis;
mod refused;
mod reload;
mod reload_files;
mod reload_tokens;
mod replay;
mod replay_commands;
mod retry;
mod rollout;
mod runbook;
mod runbook_away;
mod shutdown;
mod solinkup;
mod solinkup_tokens;
mod storm;
mod support;
mod throttle;
mod trace;
mod unclassified;
