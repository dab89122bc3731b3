//! `postback accounts list | pause | resume`: switches lanes off and on. Redis keeps the switches, and every replica
//! obeys them.

use std::io::Write;

use anyhow::Context as _;
use chrono::Utc;
use clap::Subcommand;
use serde_json::json;

use super::source::{Access, Known, not_confirmed};
use super::table;
use crate::lane::handle::unclassified::UnclassifiedCode;
use crate::operate::audit::Via;
use crate::operate::report::{AccountRow, accounts};
use crate::operate::snapshot::{RolloutLoad, read_snapshots};
use crate::operate::{By, lanes};
use crate::redis::foreign::unless;

/// Arguments of `postback accounts`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Show, pause and resume accounts",
    after_help = "Examples:
  postback accounts list --config postback.toml
  postback accounts list --json --admin http://127.0.0.1:9464
  postback accounts pause acme-ps --reason 'campaign under review'
  postback accounts resume acme-ps --reason 'new secret in place'

The switches are kept in Redis: every replica obeys within two seconds, now and after a restart. A paused or halted
account parks its events; they flow back, oldest first, when it is resumed."
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

impl Args {
    /// The options that say which worker or Redis to ask.
    pub fn access(&self) -> &Access {
        match &self.command {
            Command::List { access, .. } => access,
            Command::Pause(change) | Command::Resume(change) => &change.access,
        }
    }
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Every account: state, since when, why, and what each replica holds of it
    #[command(after_help = "Examples:\n  postback accounts list\n  postback accounts list --json")]
    List {
        #[command(flatten)]
        access: Access,
        /// One JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Stop sending for an account; its events are parked
    #[command(after_help = "Example:\n  postback accounts pause acme-ps --reason 'campaign under review' --who li")]
    Pause(Change),
    /// Let an account flow again, whether it was paused or halted
    #[command(after_help = "Example:\n  postback accounts resume acme-ps --reason 'new secret in place'")]
    Resume(Change),
}

#[derive(Clone, Debug, clap::Args)]
struct Change {
    /// The account
    name: String,
    /// Why; shown by `list` and kept in the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who asks for it
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true, default_value = "cli")]
    who: String,
    #[command(flatten)]
    access: Access,
}

impl Change {
    fn reason(&self) -> &str {
        self.reason.as_deref().filter(|reason| !reason.trim().is_empty()).unwrap_or("no reason given")
    }
}

/// Runs the command.
///
/// # Errors
/// Errors that the user can do something about: an unknown account, no answer, a refusal.
pub async fn run(args: &Args, known: &Known<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    match &args.command {
        Command::List { access, json } => list(access, *json, known, out).await,
        Command::Pause(change) => {
            switch(change, "pause", change.reason(), known).await?;
            writeln!(out, "{} is paused; every replica obeys within two seconds", change.name)?;
            Ok(())
        }
        Command::Resume(change) => {
            switch(change, "resume", change.reason(), known).await?;
            writeln!(out, "{} is resumed; parked events flow back, oldest first", change.name)?;
            Ok(())
        }
    }
}

async fn switch(change: &Change, what: &str, reason: &str, known: &Known<'_>) -> anyhow::Result<()> {
    let name = change.name.as_str();
    if let Some(api) = change.access.api()? {
        // The worker checks whether the account exists. Here the name only has to be fit for a URL.
        let safe = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !safe {
            known.account(name)?;
        }
        api.post(&format!("accounts/{name}/{what}"), &json!({ "reason": reason, "who": change.who, "via": Via::Cli }))
            .await?;
        return Ok(());
    }
    known.account(name)?;
    let (mut connection, keys, by) = (known.connect().await?, known.keys(), By::new(Via::Cli, &change.who, reason));
    let now = Utc::now().timestamp_millis();
    let done = match what {
        "pause" => lanes::pause(&mut connection, &keys, name, &by, now).await,
        _ => lanes::resume(&mut connection, &keys, name, &by, now).await,
    };
    if let Err(error) = done {
        return Err(not_confirmed(&mut connection, &keys, &error).await);
    }
    known.publish_audit(&mut connection).await;
    Ok(())
}

async fn list(access: &Access, json: bool, known: &Known<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let rows: Vec<AccountRow> = if let Some(api) = access.api()? {
        serde_json::from_value(api.get("accounts").await?).context("the worker's answer cannot be read")?
    } else {
        let (mut connection, keys) = (known.connect().await?, known.keys());
        let foreign = known.foreign(&mut connection).await?;
        let lanes = unless(lanes::read_lanes(&mut connection, &keys).await, &keys.lanes(), &foreign);
        let lanes = lanes.context("Redis does not answer")?.unwrap_or_default();
        let snapshots = unless(read_snapshots(&mut connection, &keys, &foreign).await, &keys.replicas(), &foreign);
        let snapshots = snapshots.context("Redis does not answer")?.unwrap_or_default();
        accounts(known.accounts, &lanes, &snapshots)
    };
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
    } else {
        write!(out, "{}", show(&rows))?;
    }
    Ok(())
}

/// One row per account and replica. Only the first row of an account shows the columns of the account itself.
fn show(rows: &[AccountRow]) -> String {
    let headings = [
        "ACCOUNT",
        "PLATFORM",
        "STATE",
        "SINCE",
        "REPLICA",
        "QUEUED",
        "RELEASED",
        "IN FLIGHT",
        "OPEN",
        "PARKED",
        "KEPT BACK",
        "WHY",
    ];
    let mut lines = Vec::new();
    for row in rows {
        let why = match (row.why.as_str(), row.who.as_str()) {
            (why, "") => why.to_owned(),
            (why, who) => format!("{why} ({who})"),
        };
        let since = table::time(row.since_ms);
        let mut own = vec![row.account.clone(), row.platform.clone(), row.state.clone(), since];
        let mut why = Some(why);
        for part in &row.replicas {
            let load = &part.load;
            let counts = [load.queued, load.released, load.in_flight, load.open, load.parked];
            let mut line = std::mem::replace(&mut own, vec![" ".to_owned(); 4]);
            line.push(part.id.clone());
            line.extend(counts.map(|n| n.to_string()));
            line.push(load.rollout.as_ref().map_or_else(|| "-".to_owned(), kept_back));
            line.push(why.take().unwrap_or_else(|| " ".to_owned()));
            lines.push(line);
        }
        if row.replicas.is_empty() {
            own.extend(vec![String::new(); 7]);
            own.extend(why);
            lines.push(own);
        }
    }
    let mut text = table::render(&headings, &lines);
    if rows.iter().all(|row| row.replicas.is_empty()) {
        text.push_str("no running worker told of itself in the last 15 s\n");
    }
    text.push_str(&unclassified(rows));
    text
}

/// What the gray release of an account keeps back, and the share that is sent.
fn kept_back(rollout: &RolloutLoad) -> String {
    format!("{} ({} is sent)", rollout.waiting, rollout.percent)
}

/// The answers that no table lists.
fn unclassified(rows: &[AccountRow]) -> String {
    let of_row = |row: &AccountRow| {
        let kinds = row.replicas.iter().flat_map(|part| part.load.unclassified.iter().map(|kind| (&part.id, kind)));
        let line = |(id, kind): (&String, &UnclassifiedCode)| {
            let status = kind.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            let (count, last, sample) = (kind.count.to_string(), table::time(Some(kind.last_ms)), kind.sample.clone());
            vec![row.account.clone(), id.clone(), status, kind.code.clone(), count, last, sample]
        };
        kinds.map(line).collect::<Vec<_>>()
    };
    let lines: Vec<Vec<String>> = rows.iter().flat_map(of_row).collect();
    if lines.is_empty() {
        return String::new();
    }
    let headings = ["ACCOUNT", "REPLICA", "STATUS", "CODE", "COUNT", "LAST", "SAMPLE"];
    format!(
        "\nanswers that no table lists; each is tried again until somebody says what it means\n{}",
        table::render(&headings, &lines)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::LaneLoad;
    use crate::operate::report::ReplicaRow;

    #[test]
    fn a_table_shows_each_account_once_and_each_replica_below_it() {
        let part = |id: &str, open| ReplicaRow { id: id.into(), load: LaneLoad { open, ..LaneLoad::default() } };
        let mut second = part("b", 4);
        let percent = crate::account::rollout::Share::of_hundredths(1_000);
        second.load.rollout = Some(RolloutLoad { percent, waiting: 90, oldest_ms: None });
        second.load.unclassified = vec![UnclassifiedCode {
            status: Some(200),
            code: "77".into(),
            sample: "{\"errno\":77}".into(),
            count: 5,
            last_ms: 1_736_956_740_000,
            ..UnclassifiedCode::default()
        }];
        let rows = [
            AccountRow {
                account: "acme-ps".into(),
                platform: "qihoo360".into(),
                state: "halted".into(),
                since_ms: Some(1_736_956_740_000),
                why: "bad key".into(),
                who: "worker a".into(),
                replicas: vec![part("a", 3), second],
            },
            AccountRow { account: "acme-bz".into(), state: "flowing".into(), ..AccountRow::default() },
        ];
        let text = show(&rows);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 8);
        assert!(lines[1].starts_with("acme-ps  qihoo360  halted   2025-01-15T15:59:00Z  a "), "{text}");
        assert!(lines[1].ends_with("bad key (worker a)"));
        assert!(lines[2].trim_start().starts_with("b ") && lines[2].contains("90 (10 % is sent)"), "{text}");
        assert!(lines[7].starts_with("acme-ps  b        200     77    5      2025-01-15T15:59:00Z  {"), "{text}");
        assert!(lines[3].starts_with("acme-bz"));
        assert!(show(&rows[1..]).contains("no running worker"));
    }
}
