//! Shows to people what holds partitions and lanes back.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::table::{self, number, time};
use crate::operate::PartitionRow;
use crate::operate::report::{AccountRow, BlockedReport, ConsumerRow, UnownedPartition, WaitingReplay};
use crate::operate::snapshot::{KEPT_BACK, RefusedTopic};
use crate::storm::Storm;
use crate::units::show_span;

/// The whole report. `all`: partitions with nothing unfinished as well.
pub(super) fn text(report: &BlockedReport, all: bool) -> String {
    let is_kept_back = |p: &&PartitionRow| !all && p.reason.as_deref() == Some(KEPT_BACK);
    let (kept_back, others): (Vec<_>, Vec<_>) = report.partitions.iter().partition(is_kept_back);
    let (blocking, idle): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|p| all || p.offset.is_some() || p.parked.is_some());
    let parts = [
        unfinished(&blocking),
        replicas(report, &idle),
        remainders(&kept_back),
        report.partitions.iter().map(incidents).collect(),
        report.replays.iter().map(replay_text).collect(),
        unowned_text(&report.unowned),
        report.storms.iter().map(storm_text).collect(),
        report.storm_passes.iter().map(|(topic, left)| pass_text(topic, *left)).collect(),
        report.refused.iter().map(refused_text).collect(),
        foreign_text(&report.foreign_keys),
        consumers(report),
        lanes(&report.lanes),
    ];
    parts.concat()
}

/// The partitions with something unfinished, a line for each.
fn unfinished(rows: &[&PartitionRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |p: &&PartitionRow| {
        let reason = match &p.parked {
            Some(why) => format!("PARKED: {why}"),
            None => p.reason.clone().unwrap_or_default(),
        };
        vec![
            p.topic.clone(),
            p.partition.to_string(),
            number(p.offset),
            p.trans_id.clone().unwrap_or_default(),
            p.account.clone().unwrap_or_default(),
            p.age_ms.map(show_span).unwrap_or_default(),
            time(p.next_try_ms),
            number(p.lag),
            reason,
        ]
    };
    let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    let headings = ["TOPIC", "PARTITION", "OLDEST", "TRANS_ID", "ACCOUNT", "AGE", "NEXT TRY", "LAG", "WAITS FOR"];
    table::render(&headings, &lines)
}

/// How many partitions have nothing unfinished, as far as running replicas have told lately.
fn replicas(report: &BlockedReport, idle: &[&PartitionRow]) -> String {
    // What a replica told too long ago is no reason to say that nothing is unfinished now.
    let is_stale = |p: &&&PartitionRow| report.stale.iter().any(|of| of.replica == p.replica);
    let idle_then = idle.iter().filter(is_stale).count();
    let idle = idle.len() - idle_then;
    let mut text = String::new();
    if report.replicas.is_empty() {
        text.push_str("no running worker told of itself in the last 15 s: none runs, or Redis takes no writes\n");
    } else if idle > 0 {
        text.push_str(&format!("{idle} partitions with nothing unfinished\n"));
    }
    for of in &report.stale {
        text.push_str(&format!(
            "replica {} last told of itself {} ago: what is shown of it is as old and may be wrong by now; it tells every 5 s, \
             unless Redis takes no writes\n",
            of.replica,
            show_span(of.age_ms)
        ));
    }
    if idle_then > 0 {
        text.push_str(&format!(
            "{idle_then} partitions of which nobody has told lately whether something is unfinished\n"
        ));
    }
    text
}

/// What a partition waits for a person to order, and what happened to its topic or its offset.
fn incidents(of: &PartitionRow) -> String {
    let (topic, partition) = (&of.topic, of.partition);
    let mut text = String::new();
    if of.parked.is_some() {
        text.push_str(&format!(
            "{topic}/{partition} waits for: postback unblock offsets --topic {topic} --partition {partition} \
             --to earliest|latest|N --reason TEXT\n"
        ));
    }
    if of.remade_ms.is_some() {
        text.push_str(&format!(
            "{topic}/{partition} was deleted and made again (seen {}): it is read from its beginning, and what was unfinished \
             of the old one is gone\n",
            time(of.remade_ms)
        ));
    }
    if of.position_lost_ms.is_some() {
        text.push_str(&format!(
            "{topic}/{partition} lost its committed offset (seen {}): it is read again from its beginning; what was settled \
             already ends as a duplicate while its claim lasts, and is sent again after that\n",
            time(of.position_lost_ms)
        ));
    }
    text
}

fn replay_text(replay: &WaitingReplay) -> String {
    let part = if replay.account.is_empty() { "all of it".to_owned() } else { format!("account {}", replay.account) };
    format!("replay {} waits ({part}): {}\n", replay.id, replay.why)
}

fn pass_text(topic: &str, left: u64) -> String {
    format!(
        "the storm brake still lets {left} bad records of {topic} pass, as an operator ordered; {} ends that\n",
        crate::storm::end_pass(topic)
    )
}

fn refused_text(refused: &RefusedTopic) -> String {
    format!(
        "topic {} takes no records of {} since {} ({} are held for it): {}\n",
        refused.topic,
        refused.replica,
        time(Some(refused.since_ms)),
        refused.records,
        refused.why
    )
}

fn lanes(rows: &[AccountRow]) -> String {
    let line = |l: &AccountRow| vec![l.account.clone(), l.state.clone(), time(l.since_ms), l.why.clone()];
    let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    format!("\n{}", table::render(&["LANE", "STATE", "SINCE", "WHY"], &lines))
}

fn storm_text(storm: &Storm) -> String {
    format!(
        "the storm brake stopped the topic {} at {} (seen by {}): {}\n  the last one, {}: {}\n  {}\n  it waits for: {}\n",
        storm.topic,
        time(Some(storm.since_ms)),
        storm.replica,
        storm.summary(),
        storm.reason,
        storm.detail,
        storm.sample,
        storm.unblock
    )
}

/// What gray releases keep back, a line for each account: a remainder has a hundred partitions.
fn remainders(kept_back: &[&PartitionRow]) -> String {
    let mut topics: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for row in kept_back {
        let (partitions, records) = topics.entry(&row.topic).or_default();
        *partitions += 1;
        *records += row.lag.unwrap_or(0);
    }
    let line = |(topic, (partitions, records)): (&str, (usize, i64))| {
        format!("{topic}: {records} records in {partitions} partitions wait until rollout.percent is raised\n")
    };
    topics.into_iter().map(line).collect()
}

fn unowned_text(unowned: &[UnownedPartition]) -> String {
    if unowned.is_empty() {
        return String::new();
    }
    let row = |of: &UnownedPartition| {
        vec![of.topic.clone(), of.partition.to_string(), number(of.committed), number(Some(of.lag))]
    };
    let lines: Vec<Vec<String>> = unowned.iter().map(row).collect();
    format!(
        "\nno running worker owns these; start one, or wait for its partitions to be assigned\n{}",
        table::render(&["TOPIC", "PARTITION", "COMMITTED", "LAG"], &lines)
    )
}

fn foreign_text(keys: &BTreeSet<String>) -> String {
    if keys.is_empty() { String::new() } else { format!("{}\n", crate::redis::foreign::text(keys)) }
}

/// The consumers that have something to report.
fn consumers(report: &BlockedReport) -> String {
    let row = |row: &ConsumerRow| {
        let of = &row.counts;
        let mut said: Vec<String> = [
            (of.commit_errors, "commits refused"),
            (of.repeats, "offsets that came twice"),
            (of.drains_expired, "drains that ran out"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        said.extend(of.unconfirmed_ms.map(|ms| {
            let time = show_span(i64::try_from(ms).unwrap_or(i64::MAX));
            format!("NOTHING IS SENT: the broker has confirmed no commit for {time}")
        }));
        let error = of.last_error.clone().unwrap_or_default();
        (!said.is_empty()).then(|| vec![row.replica.clone(), of.name.clone(), said.join(", "), error])
    };
    let lines: Vec<Vec<String>> = report.consumers.iter().filter_map(row).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("\n{}", table::render(&["REPLICA", "CONSUMER", "SINCE ITS START", "LAST ERROR"], &lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::ConsumerSnapshot;
    use crate::operate::report::{AccountRow, StaleReplica, WaitingReplay};
    use crate::operate::snapshot::RefusedTopic;

    #[test]
    fn what_was_told_too_long_ago_is_no_reason_to_say_that_nothing_is_unfinished() {
        let row = |replica: &str, partition| PartitionRow {
            topic: "conversions".into(),
            partition,
            replica: replica.into(),
            ..PartitionRow::default()
        };
        let report = BlockedReport {
            partitions: vec![row("a", 0), row("a", 1), row("b", 2)],
            replicas: vec!["a".into(), "b".into()],
            stale: vec![StaleReplica { replica: "a".into(), age_ms: 12_000 }],
            ..BlockedReport::default()
        };
        let text = super::text(&report, false);
        for part in
            ["1 partitions with nothing unfinished", "replica a last told of itself 12s ago", "2 partitions of which"]
        {
            assert!(text.contains(part), "no `{part}` in {text}");
        }
        let text = super::text(&BlockedReport { stale: vec![], ..report }, false);
        assert!(text.contains("3 partitions with nothing unfinished") && !text.contains("last told"), "{text}");
    }

    #[test]
    fn what_a_consumer_counts_is_shown_where_it_is_not_0() {
        let row = |counts| ConsumerRow { replica: "a".into(), counts };
        let quiet = row(ConsumerSnapshot { name: "waiting".into(), ..ConsumerSnapshot::default() });
        let loud = row(ConsumerSnapshot {
            name: "intake".into(),
            commit_errors: 7,
            drains_expired: 1,
            unconfirmed_ms: Some(23_000),
            last_error: Some("not the coordinator".into()),
            ..ConsumerSnapshot::default()
        });
        let text = consumers(&BlockedReport { consumers: vec![quiet, loud], ..BlockedReport::default() });
        for part in
            ["intake", "7 commits refused, 1 drains that ran out, NOTHING IS SENT", "for 23s", "not the coordinator"]
        {
            assert!(text.contains(part), "no `{part}` in {text}");
        }
        assert!(!text.contains("waiting") && !text.contains("twice"), "{text}");
    }

    #[test]
    fn what_is_held_is_shown_with_its_cause_and_a_parked_partition_with_its_way_out() {
        let row = |partition| PartitionRow { topic: "conversions".into(), partition, ..PartitionRow::default() };
        let report = BlockedReport {
            partitions: vec![
                PartitionRow {
                    offset: Some(41),
                    trans_id: Some("t-1".into()),
                    account: Some("acme-ps".into()),
                    reason: Some("lane halted".into()),
                    age_ms: Some(7_380_000),
                    ..row(0)
                },
                PartitionRow { parked: Some("offset out of range".into()), ..row(1) },
                PartitionRow { remade_ms: Some(1_795_000_000_000), ..row(2) },
                PartitionRow { position_lost_ms: Some(1_795_000_000_000), ..row(3) },
            ],
            lanes: vec![AccountRow {
                account: "acme-ps".into(),
                state: "halted".into(),
                why: "bad key".into(),
                ..AccountRow::default()
            }],
            refused: vec![RefusedTopic {
                topic: "postback.parked.acme-ps".into(),
                replica: "a".into(),
                since_ms: 1_736_899_201_000,
                why: "refused by the broker".into(),
                records: 7,
            }],
            storms: vec![Storm {
                topic: "clicks".into(),
                since_ms: 1_736_899_201_000,
                replica: "a".into(),
                why: "100 records in a row".into(),
                counts: [("malformed".into(), 100)].into(),
                reason: "malformed".into(),
                detail: "expected value at line 1 column 1".into(),
                sample: "hello".into(),
                unblock: crate::storm::unblock("clicks"),
                ..Storm::default()
            }],
            foreign_keys: ["pb:rate:acme-ps".to_owned()].into(),
            storm_passes: [("views".into(), 900)].into(),
            replicas: vec!["a".into()],
            stale: vec![],
            consumers: vec![],
            replays: vec![WaitingReplay {
                id: "r-1".into(),
                account: "acme-ps".into(),
                why: "its lane is halted".into(),
            }],
            unowned: vec![UnownedPartition {
                topic: "clicks".into(),
                partition: 4,
                committed: Some(17),
                high: 20,
                lag: 3,
            }],
        };
        let text = super::text(&report, false);
        assert!(text.contains("41      t-1       acme-ps  2h03m  -         -    lane halted"), "{text}");
        assert!(text.contains("PARKED: offset out of range"));
        assert!(text.contains("unblock offsets --topic conversions --partition 1 "));
        assert!(text.contains("2 partitions with nothing unfinished"));
        assert!(text.contains("conversions/3 lost its committed offset (seen 2026-"), "{text}");
        assert!(text.contains("topic postback.parked.acme-ps takes no records of a since "), "{text}");
        assert!(text.contains("(7 are held for it): refused by the broker"), "{text}");
        assert!(text.contains("delete it (DEL): \"pb:rate:acme-ps\""), "{text}");
        assert!(text.contains("conversions/2 was deleted and made again"), "{text}");
        assert!(text.contains("replay r-1 waits (account acme-ps): its lane is halted"), "{text}");
        assert!(text.contains("clicks  4          17         3"), "{text}");
        assert!(text.contains("acme-ps  halted  -      bad key"), "{text}");
        for part in [
            "the topic clicks at 2025-01-15",
            "100 records in a row: 100 malformed",
            "  hello\n",
            "--topic clicks --reason",
            "still lets 900 bad records of views pass",
            "ordered; postback unblock storm --topic views --pass 0 --reason TEXT ends that",
        ] {
            assert!(text.contains(part), "no `{part}` in {text}");
        }
        assert!(!super::text(&report, true).contains("nothing unfinished"));
        assert!(super::text(&BlockedReport::default(), false).contains("no running worker"));
    }
}
