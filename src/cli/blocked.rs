//! `postback blocked`: shows what holds each partition back, and the state of each lane.

mod show;

use std::collections::BTreeSet;
use std::io::Write;

use ::redis::aio::MultiplexedConnection;
use anyhow::Context as _;
use chrono::Utc;

use super::source::{Access, Known};
use crate::inspect::unowned::{Unowned, unowned};
use crate::operate::Keys;
use crate::operate::foreign;
use crate::operate::lanes::read_lanes;
use crate::operate::report::{BlockedReport, UnownedPartition, blocked};
use crate::operate::snapshot::read_snapshots;
use crate::operate::storms::read_storms;
use crate::redis::foreign::{ForeignKeys, unless};
use crate::replay::waiting;

/// Arguments of `postback blocked`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Show what holds each partition and each lane back",
    after_help = "Examples:
  postback blocked --config postback.toml
  postback blocked --json --admin http://127.0.0.1:9464

Per partition of every running worker: the oldest unfinished offset, its trans_id, account, what it waits for, its age and
next try. Per lane: its state, since when and why. A running replay: which part of it waits. A topic that the storm brake
stopped: what was seen, and how to go on; of one that an operator lets pass: how many bad records still may. Workers tell of
themselves every 5 seconds; partitions with unfinished records of which none tells are read from Kafka."
)]
pub struct Args {
    /// Options that say whom to ask.
    #[command(flatten)]
    pub access: Access,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Partitions with nothing unfinished as well
    #[arg(long)]
    all: bool,
}

/// Runs the command.
///
/// # Errors
/// Nobody answers, or a refusal.
pub async fn run(args: &Args, known: &Known<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let report: BlockedReport = if let Some(api) = args.access.api()? {
        serde_json::from_value(api.get("blocked").await?).context("the worker's answer cannot be read")?
    } else {
        let (mut connection, keys) = (known.connect().await?, known.keys());
        read(known, &mut connection, &keys).await?
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", show::text(&report, args.all))?;
    }
    Ok(())
}

/// What Redis and Kafka tell. A key that holds what no worker wrote hides only what it would tell.
async fn read(known: &Known<'_>, c: &mut MultiplexedConnection, keys: &Keys) -> anyhow::Result<BlockedReport> {
    let foreign = ForeignKeys::default();
    let away = "Redis does not answer";
    foreign::name(c, keys, &foreign).await.context(away)?;
    let lanes = unless(read_lanes(c, keys).await, &keys.lanes(), &foreign).context(away)?.unwrap_or_default();
    let snapshots = unless(read_snapshots(c, keys, &foreign).await, &keys.replicas(), &foreign).context(away)?;
    let replays = unless(waiting(c, keys).await, &keys.replays(), &foreign).context(away)?.unwrap_or_default();
    let storms = unless(read_storms(c, keys).await, &keys.storms(), &foreign).context(away)?;
    let (storms, _, passes) = storms.unwrap_or_default();
    let storms = (storms.into_values().collect(), passes);
    let now_ms = Utc::now().timestamp_millis();
    let mut report = blocked(known.accounts, &lanes, storms, &snapshots.unwrap_or_default(), now_ms);
    report.foreign_keys.extend(foreign.names());
    Ok(BlockedReport { unowned: unowned_partitions(&report, known).await, replays, ..report })
}

/// The partitions that no running worker owns. Embedded parts run inside the worker that owns all of them.
async fn unowned_partitions(report: &BlockedReport, known: &Known<'_>) -> Vec<UnownedPartition> {
    let Some(kafka) = known.kafka.filter(|kafka| !kafka.embedded).cloned() else { return Vec::new() };
    let owned: BTreeSet<_> = report.partitions.iter().map(|row| (row.topic.clone(), row.partition)).collect();
    let look = tokio::task::spawn_blocking(move || unowned(&kafka, &owned));
    let found = look.await.map_err(|error| error.to_string()).and_then(|found| found.map_err(|e| e.to_string()));
    found
        .unwrap_or_else(|why| {
            eprintln!("warning: kafka.brokers: {why}: partitions that no worker owns are not shown");
            Vec::new()
        })
        .into_iter()
        .map(|Unowned { name: (topic, partition), committed, from, end }| UnownedPartition {
            topic,
            partition,
            committed,
            high: end,
            lag: end - from,
        })
        .collect()
}
