//! `postback reconcile`: shows what became of a range of the input, and names the records without an end.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::ledger::{Row, count, table};
use super::reach::Reach;
use super::table::time;
use super::{print, print_json, progress, reading, table as lines};
use crate::exit::Exit;
use crate::inspect::ledger::reasons;
use crate::inspect::reconcile::{EmptyRange, Limits, Range, RangeError, ReconcileError, Reconciled, reconcile};
use crate::kafka::scan::Progress;
use crate::settings::Config;
use crate::units::show_count;

/// Arguments of `postback reconcile`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Compare a range of the input with what became of it",
    after_help = "Examples:
  postback reconcile --config postback.toml --from 2h
  postback reconcile --config postback.toml --from 2026-11-29T00:00:00Z --to 2026-11-30T00:00:00Z
  postback reconcile --config postback.toml --topic conversions --partition 3 --from 1200000 --to 1300000
  postback reconcile --config postback.toml --from 1h --json | jq .missing

Every record of the range must have one end: delivered, duplicate, suppressed or dead_lettered. What waits in a tier or a
parking topic, or was not read yet, is open. What has no end and waits nowhere is missing, and is named. A replayed copy
is no event of its own: what came of it is the end of the dead letter that it repeats, which is open until then. A range of
times goes by the records' own times. A range in which nothing was produced balances, and the text says so.

The ends are read from receipts and dead letters. Where kafka.receipts names no topic, only dead letters are known, and
every other end is `unknown`. What the platforms themselves have counted is not known here (platform_accepted).

Exit code: 0 every record has its end; 1 some are open, missing or unknown, or Kafka does not answer; 2 no such range."
)]
pub struct Args {
    /// The beginning: RFC 3339, epoch ms, or a span before now, e.g. 2h. With --partition an offset
    #[arg(long, value_name = "TIME|OFFSET", required_unless_present = "partition")]
    from: Option<String>,
    /// The end, which is not part of the range [default: now]
    #[arg(long, value_name = "TIME|OFFSET")]
    to: Option<String>,
    /// Only this input topic
    #[arg(long)]
    topic: Option<String>,
    /// This partition of it: --from and --to are offsets [default: all that it holds]
    #[arg(long, requires = "topic")]
    partition: Option<i32>,
    /// Name at most so many missing keys
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// The ledger as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Args {
    fn range(&self) -> Result<Range, Exit> {
        let bounds = (self.from.as_deref(), self.to.as_deref());
        let range = Range::read(bounds, self.topic.as_deref(), self.partition);
        range.map_err(|wrong| usage(&wrong))
    }
}

fn usage(wrong: &RangeError) -> Exit {
    Exit::usage(format!("--{}: {}", wrong.field, wrong.message))
}

/// Runs the command.
///
/// # Errors
/// As `postback reconcile --help` says.
pub fn run(args: &Args) -> Result<(), Exit> {
    let range = args.range()?;
    let config = args.reach.config()?;
    let found = read(&config, &range, args.limit)?;
    if args.json {
        print_json(&found)?;
    } else {
        print(&show(&found))?;
    }
    if found.ledger.balanced {
        return Ok(());
    }
    Err(Exit::failed(format!("not every record has its end:\n{}", faults(&found).join("\n"))))
}

fn read(config: &Config, range: &Range, limit: usize) -> Result<Reconciled, Exit> {
    let (progress, over) = (Progress::default(), AtomicBool::new(false));
    let bar = progress::Progress::new("records read");
    std::thread::scope(|scope| {
        if !bar.is_hidden() {
            scope.spawn(|| reading::show(&progress, &bar, &over));
        }
        let limits = Limits { named: limit, records: u64::MAX };
        let found = reconcile(&config.kafka, range, limits, &progress);
        over.store(true, Relaxed);
        found
    })
    .map_err(|error| match error {
        ReconcileError::Range(wrong) => usage(&wrong),
        _ => Exit::failed(error.to_string()),
    })
}

/// A sentence for each reason why the range does not balance.
fn faults(found: &Reconciled) -> Vec<String> {
    let ledger = &found.ledger;
    let mut faults = Vec::new();
    if ledger.open > 0 {
        faults
            .push(format!("open is {}: they are on their way; `postback blocked` shows what holds them", ledger.open));
    }
    if ledger.lost > 0 {
        faults.push(format!("missing is {}: they have no end and wait nowhere", ledger.lost));
    }
    if ledger.results != ledger.calls {
        faults.push(format!("{} of {} calls have a final result", ledger.results, ledger.calls));
    }
    if found.unknown > 0 {
        faults.push(format!(
            "unknown is {}: kafka.receipts names no topic, so that only dead letters tell an end",
            found.unknown
        ));
    }
    // What the sentences above do not cover.
    if faults.is_empty() { ledger.faults() } else { faults }
}

fn show(found: &Reconciled) -> String {
    let ledger = &found.ledger;
    let different = format!("events of the range, {} of them different", show_count(ledger.distinct));
    let why = if ledger.dead_letters.is_empty() { String::new() } else { reasons(&ledger.dead_letters) };
    let verdict = match (&found.empty, ledger.balanced) {
        (Some(_), _) => "nothing was produced in this range",
        (None, true) => "one end per event",
        (None, false) => "see below",
    };
    let rows: [Row; 12] = [
        count("read", ledger.produced, &different),
        count("replayed", found.replayed, "copies that count to the events they repeat"),
        count("delivered", ledger.delivered, "accepted by their platform"),
        count("duplicate", ledger.duplicate, "copies of a delivered one, not sent again"),
        count("suppressed", ledger.suppressed, "the user opted out"),
        count("dead_lettered", ledger.dead_lettered, &why),
        count("open", ledger.open, "still on their way"),
        count("missing", ledger.lost, "no end, and waiting nowhere"),
        count("unknown", found.unknown, "without receipts nobody can tell"),
        count("declared_resends", ledger.declared_resends, "sends that could be a second one"),
        count("results", ledger.results, &format!("final ones, of {} calls", show_count(ledger.calls))),
        ("balanced", if ledger.balanced { "yes" } else { "NO" }.to_owned(), verdict.to_owned()),
    ];
    let mut text = table(rows);
    text.push_str(&found.empty.as_ref().map(nothing).unwrap_or_default());
    if found.missing.is_empty() {
        return text;
    }
    let named = found.missing.iter().map(|key| {
        let name = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            format!("{}:{}:{}", key.topic, key.partition, key.offset),
            time(key.at_ms),
            name(&key.trans_id),
            name(&key.account),
            name(&key.event),
            key.found.to_owned(),
        ]
    });
    let headings = ["MISSING AT", "PUBLISHED", "TRANS_ID", "ACCOUNT", "EVENT", "FOUND"];
    text.push('\n');
    text.push_str(&lines::render(&headings, &named.collect::<Vec<_>>()));
    let more = ledger.lost.saturating_sub(found.missing.len() as u64);
    if more > 0 {
        text.push_str(&format!("and {} more: --limit names more of them\n", show_count(more)));
    }
    if let Some(oldest) = found.oldest_receipt_ms {
        text.push_str(&format!("the oldest receipt is of {}: what ended before has none\n", time(Some(oldest))));
    }
    text
}

/// Why the ledger is empty: what was looked at.
fn nothing(of: &EmptyRange) -> String {
    let range = match &of.range {
        Range::Times { from_ms, to_ms, .. } => {
            let to = to_ms.map_or("now".to_owned(), |to_ms| time(Some(to_ms)));
            format!("from {} to {to}", time(Some(*from_ms)))
        }
        Range::Offsets { partition, from, to, .. } => {
            let to = to.map_or("its end".to_owned(), |to| format!("offset {to}"));
            format!("partition {partition} from offset {} to {to}", from.unwrap_or(0))
        }
    };
    let newest = match of.newest_record_ms {
        Some(at_ms) => format!("the newest record there is of {}", time(Some(at_ms))),
        None => "no record is there at all".to_owned(),
    };
    let topics = match of.topics.join(", ") {
        none if none.is_empty() => "no topic of kafka.input exists".to_owned(),
        names => names,
    };
    format!("\nnothing was produced in this range: {topics}, {range}; {newest}\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::inspect::ledger::Ledger;
    use crate::inspect::reconcile::MissingKey;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn range(line: &str) -> Result<Range, String> {
        let words = std::iter::once("reconcile").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.args.range().map_err(|exit| exit.text)
    }

    #[test]
    fn what_is_wrong_with_a_range_names_its_option() {
        assert!(range("--topic t --partition 3 --from 5 --to 9").is_ok());
        for (line, part) in [
            ("", "--from"),
            ("--partition 3", "--topic"),
            ("--from 9 --to 5", "--to: does not lie behind"),
            ("--from yesterday", "--from: neither RFC 3339"),
            ("--from 2999-01-01T00:00:00Z", "--from: lies in the future"),
            ("--topic t --partition 3 --from 2h", "--from: no offset"),
        ] {
            assert!(range(line).unwrap_err().contains(part), "{line}");
        }
    }

    #[test]
    fn a_missing_key_is_named_and_the_faults_say_what_to_look_at() {
        let key = MissingKey {
            topic: "conversions".into(),
            partition: 3,
            offset: 17,
            at_ms: Some(1_736_899_201_000),
            key: None,
            trans_id: Some("t-1".into()),
            platform: None,
            account: Some("acme-ps".into()),
            event: Some("order".into()),
            found: "neither a receipt nor a dead letter",
        };
        let ledger = Ledger { produced: 10, delivered: 7, lost: 2, open: 1, ..Ledger::default() };
        let found = Reconciled { ledger, missing: vec![key], ..Reconciled::default() };
        let text = show(&found);
        for part in ["conversions:3:17", "t-1", "acme-ps", "neither a receipt", "and 1 more", "missing", " NO "] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        let said = faults(&found).join("\n");
        assert!(said.contains("open is 1") && said.contains("missing is 2") && !said.contains("unknown"), "{said}");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!((&json["produced"], &json["missing"][0]["offset"]), (&10.into(), &17.into()));
        assert_eq!((&json["unknown"], &json["platform_accepted"]), (&0.into(), &serde_json::Value::Null));
    }

    #[test]
    fn a_range_in_which_nothing_was_produced_says_so_and_what_was_looked_at() {
        let range = Range::Times { topic: None, from_ms: 1_736_899_201_000, to_ms: None };
        let topics = vec!["conversions".to_owned()];
        let empty = EmptyRange { topics, range, newest_record_ms: Some(1_736_899_200_000) };
        let ledger = Ledger { balanced: true, ..Ledger::default() };
        let mut found = Reconciled { ledger, empty: Some(empty.clone()), ..Reconciled::default() };
        let text = show(&found);
        for part in [
            "balanced                 yes   nothing was produced in this range",
            "conversions, from 2025-01-15T00:00:01Z to now; the newest record there is of 2025-01-15T00:00:00Z",
        ] {
            assert!(text.contains(part) && !text.contains("one end per event"), "no `{part}` in\n{text}");
        }
        let range = Range::Offsets { topic: "clicks".into(), partition: 3, from: Some(7), to: None };
        found.empty = Some(EmptyRange { range, newest_record_ms: None, ..empty });
        assert!(show(&found).contains("partition 3 from offset 7 to its end; no record is there at all"));
        assert!(show(&Reconciled { empty: None, ..found }).contains("one end per event"));
    }

    #[test]
    fn without_receipts_the_text_says_so() {
        let found = Reconciled { unknown: 5, ..Reconciled::default() };
        assert!(faults(&found)[0].contains("kafka.receipts names no topic"));
        assert!(show(&found).contains("without receipts nobody can tell"));
    }
}
