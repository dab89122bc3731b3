//! `postback trace`: shows everything that is known about one event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::reach::{self, Reach};
use super::table::{self, time};
use super::{print, print_json, progress, reading};
use crate::clock::now_ms;
use crate::exit::{Exit, block_on};
use crate::inspect::trace::{ClaimRow, Depth, LookedAt, Sources, Trace, Wanted};
use crate::kafka::scan::Progress;
use crate::operate::lanes::{closed_lanes, read_lanes};
use crate::operate::{Keys, unknown_account};
use crate::platforms::Platform;
use crate::redact::mask_text;
use crate::settings::Config;
use crate::similar::nearest;
use crate::units::{show_count, show_span};

/// Arguments of `postback trace`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Show everything known of one event",
    after_help = "Examples:
  postback trace --config postback.toml order-1001-pay
  postback trace --config postback.toml --all order-1001-pay
  postback trace --config postback.toml --platform qihoo360 --account acme-ps order-1001-pay
  postback trace --config postback.toml --json order-1001-pay | jq .claims

Shown are: the claims in Redis, over every configured account and native event of it; copies in retry tiers and parking
topics that no worker has finished, what they wait for, and when a parked one expires (retry.max_parked); dead
letters, the newest of each origin; receipts, where kafka.receipts names a topic. The topics are read from outside
their groups to where they end now; nothing is changed.

It answers within two seconds, also over millions of records: it looks around the time at which a claim was written, and
then from the newest record backwards. Where that was not everything, it says how far it looked; --all reads the rest.

A `done` keeps ten bits of its origin (ORIGIN shows them as tag=N). An event that still lies unread in an input topic
leaves no trace yet.

Exit code: 0 something is known; 1 nothing is, or Kafka or Redis does not answer."
)]
pub struct Args {
    /// The event's trans_id
    #[arg(value_name = "TRANS_ID")]
    trans_id: String,
    /// Only of this platform
    #[arg(long)]
    platform: Option<String>,
    /// Only of this account
    #[arg(long)]
    account: Option<String>,
    /// Read everything, however long it takes
    #[arg(long)]
    all: bool,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// A platform of the configuration, by its name.
fn platform(text: &str, config: &Config) -> Result<&'static str, Exit> {
    config.platforms.find(text).map(Platform::name).ok_or_else(|| {
        let names: Vec<_> = config.platforms.all().map(Platform::name).collect();
        Exit::usage(format!("--platform: no such platform; one of: {}", names.join(", ")))
    })
}

/// Runs the command.
///
/// # Errors
/// 1 where nothing is known of the event or nobody answers, 2 where the account is not configured.
pub fn run(args: &Args) -> Result<(), Exit> {
    let config = args.reach.config()?;
    if let Some(account) = &args.account
        && !config.accounts.contains_key(&**account)
    {
        let close = nearest(account, config.accounts.keys().map(|name| &**name));
        return Err(Exit::usage(format!("--account: {}", unknown_account(account, close))));
    }
    let platform = args.platform.as_deref().map(|name| platform(name, &config)).transpose()?;
    let wanted = Wanted { trans_id: args.trans_id.clone(), platform, account: args.account.clone() };
    let trace = find(&config, wanted, if args.all { Depth::All } else { Depth::Quick })?;
    if trace.is_empty() {
        return Err(Exit::failed(nothing(&config, &args.trans_id, &trace.looked_at)));
    }
    if args.json { print_json(&trace) } else { print(&show(&trace, now_ms())) }
}

fn find(config: &Config, wanted: Wanted, depth: Depth) -> Result<Trace, Exit> {
    let sources = Sources {
        kafka: config.kafka.clone(),
        prefix: config.redis.prefix.clone(),
        window: config.dedupe.window,
        lease: config.dedupe.lease,
        accounts: config.accounts.clone(),
    };
    let (progress, over) = (Arc::new(Progress::default()), AtomicBool::new(false));
    let bar = progress::Progress::new("records read");
    std::thread::scope(|scope| {
        if !bar.is_hidden() {
            scope.spawn(|| reading::show(&progress, &bar, &over));
        }
        let found = block_on(async {
            let mut redis = reach::redis(config).await?;
            let lanes = read_lanes(&mut redis, &Keys::new(&config.redis.prefix)).await;
            let silent =
                |e: ::redis::RedisError| Exit::failed(format!("redis.url: {}", crate::redis::error::describe(&e)));
            let closed = closed_lanes(&lanes.map_err(silent)?);
            let trace = sources.trace(&mut redis, wanted, closed, depth, progress.clone());
            trace.await.map_err(|error| Exit::failed(error.to_string()))
        });
        over.store(true, Relaxed);
        found
    })
}

fn nothing(config: &Config, trans_id: &str, looked_at: &[LookedAt]) -> String {
    let receipts = if config.kafka.receipts.is_empty() {
        "; kafka.receipts names no topic, so a delivery that is older than dedupe.window leaves nothing"
    } else {
        ""
    };
    format!(
        "nothing is known of {}: no claim under redis.prefix {}, no copy in {}.* or {}.*, no dead letter in {}{receipts}. \
         {}",
        mask_text(trans_id),
        config.redis.prefix,
        config.kafka.retry_prefix,
        config.kafka.parked_prefix,
        config.kafka.dead_letter,
        match unread(looked_at) {
            rest if rest.is_empty() => {
                "It was not read, or not yet, or its trans_id, platform or account is another one".to_owned()
            }
            rest => rest.trim_end().replace('\n', "; "),
        },
    )
}

/// Says what was not looked at, a line each.
fn unread(looked_at: &[LookedAt]) -> String {
    let mut text = String::new();
    for part in looked_at.iter().filter(|part| !part.complete) {
        let what = match part.what {
            "waiting" => "copies in tiers and parking topics",
            "receipts" => "receipts of its partition",
            _ => "dead letters",
        };
        let (read, all) = (show_count(part.read), show_count(part.records));
        let since = part.since_ms.map(|ms| format!(", all since {}", time(Some(ms)))).unwrap_or_default();
        text.push_str(&format!("looked at {read} of {all} {what}{since}: --all reads the rest\n"));
    }
    text
}

fn show(trace: &Trace, now_ms: i64) -> String {
    let mut text = format!("{}\n", mask_text(&trace.trans_id));
    let mut section = |name: &str, headings: &[&str], rows: Vec<Vec<String>>| {
        text.push_str(&format!("\n{name}\n"));
        text.push_str(&if rows.is_empty() { "none\n".to_owned() } else { table::render(headings, &rows) });
    };
    let headings = ["ACCOUNT", "EVENT", "STATE", "AGE", "EXPIRES IN", "RESENDS", "ORIGIN", "MEANS", "KEY"];
    section("claims in Redis", &headings, trace.claims.iter().map(claim).collect());
    let headings =
        ["TOPIC", "AT", "ACCOUNT", "EVENT", "DUE", "ATTEMPTS", "RESENDS", "LAST", "EXPIRES IN", "WAITS UNTIL"];
    section("waiting", &headings, trace.waiting.iter().map(|row| waiting(row, now_ms)).collect());
    let headings = ["AT", "FAILED", "ACCOUNT", "EVENT", "REASON", "FIELD", "CODE", "DETAIL"];
    section("dead letters", &headings, trace.dead_letters.iter().map(dead_letter).collect());
    let headings = ["AT", "FINISHED", "ACCOUNT", "EVENT", "OUTCOME", "REASON", "ATTEMPTS", "RESENDS", "ORIGIN"];
    section("receipts", &headings, trace.receipts.iter().map(receipt).collect());
    match unread(&trace.looked_at) {
        rest if rest.is_empty() => text,
        rest => format!("{text}\n{rest}"),
    }
}

fn claim(row: &ClaimRow) -> Vec<String> {
    let age = |ms: Option<i64>| ms.map(show_span).unwrap_or_default();
    let tag = row.origin_tag.map(|tag| format!("tag={tag}"));
    vec![
        row.account.clone(),
        row.event.clone(),
        row.state.to_owned(),
        age(row.age_ms),
        age(row.expires_in_ms),
        row.resends.to_string(),
        row.origin.clone().or(tag).unwrap_or_default(),
        row.meaning.to_owned(),
        row.key.clone(),
    ]
}

fn waiting(row: &crate::inspect::trace::WaitingRow, now_ms: i64) -> Vec<String> {
    let due = match row.due_ms {
        Some(due) if due > now_ms => format!("in {}", show_span(due - now_ms)),
        Some(_) => "now".to_owned(),
        None => String::new(),
    };
    // Time in a tier does not count against `retry.max_parked`.
    let expires = match row.parked_until_ms.filter(|_| row.kind == "parked") {
        Some(until) if until > now_ms => show_span(until - now_ms),
        Some(_) => "now".to_owned(),
        None => String::new(),
    };
    let status = row.last_status.map(|status| format!("HTTP {status}"));
    let last: Vec<String> = [row.last_error.clone(), row.last_code.clone(), status].into_iter().flatten().collect();
    vec![
        row.topic.clone(),
        format!("{}:{}", row.partition, row.offset),
        row.account.clone().unwrap_or_default(),
        row.event.clone().unwrap_or_default(),
        due,
        row.attempts.to_string(),
        row.resends.to_string(),
        last.join(" "),
        expires,
        row.until.clone(),
    ]
}

fn dead_letter(dead_letter: &crate::inspect::dead_letters::DeadLetter) -> Vec<String> {
    let mut row =
        vec![format!("{}:{}", dead_letter.partition, dead_letter.offset), time(Some(dead_letter.failed_at_ms()))];
    let text = |name| dead_letter.text(name).unwrap_or_default().to_owned();
    row.extend(["account", "event", "reason", "field", "last-code", "detail"].map(text));
    row
}

fn receipt(receipt: &serde_json::Map<String, serde_json::Value>) -> Vec<String> {
    use serde_json::Value;
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let member = |name: &str| text(receipt.get(name));
    let origin = receipt
        .get("origin")
        .map(|origin| ["topic", "partition", "offset"].map(|name| text(origin.get(name))).join(":"));
    let mut row = vec![format!("{}:{}", member("partition"), member("offset"))];
    row.push(time(receipt.get("finished_at_ms").and_then(Value::as_i64)));
    row.extend(["account", "event", "outcome", "reason", "attempts", "resends"].map(member));
    row.push(origin.unwrap_or_default());
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::trace::WaitingRow;

    #[test]
    fn the_text_has_four_parts_and_says_where_there_is_nothing() {
        let claim = ClaimRow {
            platform: "qihoo360".into(),
            account: "acme-ps".into(),
            event: "ORDER".into(),
            key: "pb:00".into(),
            state: "done",
            meaning: "accepted",
            age_ms: Some(61_000),
            expires_in_ms: Some(90_000_000),
            resends: 1,
            origin: None,
            origin_tag: Some(17),
        };
        let trace = Trace { trans_id: "t-1".into(), claims: vec![claim], ..Trace::default() };
        let text = show(&trace, 0);
        assert!(text.contains("acme-ps  ORDER  done   1m01s  1d01h       1        tag=17"), "{text}");
        for part in ["\nwaiting\nnone\n", "\ndead letters\nnone\n", "\nreceipts\nnone\n"] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_parked_copy_says_when_it_expires() {
        let parked = |kind, parked_until_ms| WaitingRow {
            kind,
            topic: "postback.parked.acme-ps".into(),
            partition: 0,
            offset: 1,
            platform: None,
            account: Some("acme-ps".into()),
            event: Some("ORDER".into()),
            due_ms: None,
            until: "account acme-ps is resumed: paused".into(),
            parked_at_ms: Some(0),
            parked_until_ms,
            attempts: 0,
            resends: 0,
            last_error: None,
            last_code: None,
            last_status: None,
            origin: "conversions:0:1".into(),
        };
        let shown = |row| show(&Trace { trans_id: "t-1".into(), waiting: vec![row], ..Trace::default() }, 1_000);
        let text = shown(parked("parked", Some(90_001_000)));
        assert!(text.contains("EXPIRES IN  WAITS UNTIL\n") && text.contains("1d01h       account acme-ps"), "{text}");
        assert!(shown(parked("parked", Some(1_000))).contains("now         account acme-ps"));
        assert!(shown(parked("retry", Some(90_001_000))).contains("-           account acme-ps"));
    }

    #[test]
    fn where_nothing_is_known_the_text_says_what_was_looked_at() {
        let config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        let text = nothing(&config, "t-1", &[]);
        assert!(text.contains("postback.retry.*") && text.contains("postback.dlt"), "{text}");
        assert!(!text.contains("kafka.receipts") && text.contains("another one"));
    }

    #[test]
    fn what_was_not_looked_at_is_named() {
        let part = LookedAt {
            what: "dead_letters",
            records: 1_000_000,
            read: 340_000,
            complete: false,
            since_ms: Some(1_736_899_201_000),
        };
        let trace = Trace { trans_id: "t-1".into(), looked_at: vec![part.clone()], ..Trace::default() };
        let text = show(&trace, 0);
        assert!(text.contains("looked at 340,000 of 1,000,000 dead letters, all since 2025-01-1"), "{text}");
        let config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        let text = nothing(&config, "t-1", &[part]);
        assert!(text.ends_with("--all reads the rest") && !text.contains("another one"), "{text}");
        assert!(!show(&Trace::default(), 0).contains("--all"));
    }
}
