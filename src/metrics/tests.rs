use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::error::{Class, Outcome, Reason};

fn setup() -> Arc<Metrics> {
    let tiers = ["5s".to_owned(), "30s".to_owned()];
    Metrics::new(Setup {
        accounts: vec![("qihoo360", "acme-ps".into()), ("baizhu", "acme-bz".into())],
        tiers: &tiers,
        topics: vec!["conversions".into()],
    })
}

/// The series of an exposition: the name with its labels, and the value.
fn series(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.map(|l| l.rsplit_once(' ').unwrap()).map(|(n, v)| (n, v.parse().unwrap())).collect()
}

/// The table of the contract, written a second time: a change of any name, type or label breaks dashboards.
const GOLDEN: [(&str, &str, &str); 48] = [
    ("events_received_total", "counter", "topic"),
    ("events_finished_total", "counter", "account,outcome,platform"),
    ("events_open", "gauge", "account,platform"),
    ("events_parked", "gauge", "account,platform"),
    ("rollout_waiting_events", "gauge", "account,platform"),
    ("rollout_oldest_seconds", "gauge", "account,platform"),
    ("events_handed_off_total", "counter", "to"),
    ("unaccounted_events", "gauge", ""),
    ("attempts_total", "counter", "account,class,platform"),
    ("attempt_duration_seconds", "histogram", "platform"),
    ("event_age_at_delivery_seconds", "histogram", "platform"),
    ("oldest_open_event_age_seconds", "gauge", "account,platform"),
    ("oldest_parked_event_age_seconds", "gauge", "account,platform"),
    ("max_parked_seconds", "gauge", "account,platform"),
    ("dead_letters_total", "counter", "account,platform,reason"),
    ("retries_scheduled_total", "counter", "platform,tier"),
    ("ambiguous_resends_total", "counter", "account,platform"),
    ("unclassified_codes_total", "counter", "account,platform"),
    ("claims_total", "counter", "result"),
    ("lane_state", "gauge", "account,state"),
    ("breaker_state", "gauge", "account,state"),
    ("rate_limit_wait_seconds", "histogram", "platform"),
    ("lane_concurrency_limit", "gauge", "account"),
    ("consumer_lag_records", "gauge", "partition,topic"),
    ("consumer_lag_seconds", "gauge", "partition,topic"),
    ("commit_age_seconds", "gauge", "partition,topic"),
    ("retention_headroom_seconds", "gauge", "partition,topic"),
    ("retention_seconds", "gauge", "partition,topic"),
    ("unplaced_partitions", "gauge", ""),
    ("refused_topics", "gauge", ""),
    ("in_flight_events", "gauge", ""),
    ("in_flight_bytes", "gauge", ""),
    ("replay_running", "gauge", ""),
    ("replay_records_total", "counter", "result"),
    ("replay_outcomes_total", "counter", "outcome"),
    ("replay_stopped", "gauge", ""),
    ("redis_up", "gauge", ""),
    ("kafka_up", "gauge", ""),
    ("worker_holds", "gauge", "cause"),
    ("clock_offset_seconds", "gauge", ""),
    ("build_info", "gauge", "commit,version"),
    ("secret_age_days", "gauge", "account"),
    ("process_cpu_seconds_total", "counter", ""),
    ("process_resident_memory_bytes", "gauge", ""),
    ("process_open_fds", "gauge", ""),
    ("storm_stopped", "gauge", "topic"),
    ("config_reloads_total", "counter", "result"),
    ("config_last_reload_timestamp_seconds", "gauge", ""),
];

/// The full name: those of the process have no prefix.
fn full(name: &str) -> String {
    if name.starts_with("process_") { name.to_owned() } else { format!("postback_{name}") }
}

fn partition(partition: i32) -> PartitionMetrics {
    PartitionMetrics {
        topic: "conversions".into(),
        partition,
        lag_records: Some(7),
        lag_seconds: Some(2.0),
        commit_age: 1.0,
        retention: Some(604_800.0),
        headroom: Some(-5.0),
    }
}

#[test]
fn names_types_and_labels_are_those_of_the_contract() {
    let metrics = setup();
    metrics.set_partitions(vec![partition(0)]);
    metrics.account(0).set_secret_windows(vec![(Some(0), None)]);
    metrics.storms.show(["conversions"], &BTreeSet::new());
    let text = metrics.render();
    let mut found = BTreeMap::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let mut labels = BTreeSet::new();
        for key in series(&text).keys().filter(|k| {
            let base = k.split('{').next().unwrap();
            base == name
                || kind == "histogram"
                    && ["_bucket", "_sum", "_count"].iter().any(|s| base.strip_suffix(s) == Some(name))
        }) {
            let inside = key.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
            labels.extend(inside.split(',').filter(|l| !l.is_empty()).map(|l| l.split('=').next().unwrap()));
        }
        labels.remove("le");
        found.insert(name.to_owned(), (kind.to_owned(), labels.into_iter().collect::<Vec<_>>().join(",")));
    }
    let golden: BTreeMap<String, (String, String)> =
        GOLDEN.iter().map(|(n, k, l)| (full(n), ((*k).to_owned(), (*l).to_owned()))).collect();
    assert_eq!(found, golden);
}

#[test]
fn every_family_shows_its_type_before_anything_happened() {
    let text = Metrics::new(Setup::default()).render();
    for (name, kind, _) in GOLDEN {
        assert!(text.contains(&format!("# TYPE {} {kind}\n", full(name))), "{name}");
    }
}

#[test]
fn closed_labels_are_all_there_at_zero_for_every_account_from_the_start() {
    let text = setup().render();
    let all = series(&text);
    for (platform, account) in [("qihoo360", "acme-ps"), ("baizhu", "acme-bz")] {
        let mut want = Vec::new();
        for o in Outcome::ALL {
            want.push(format!(
                "events_finished_total{{account=\"{account}\",outcome=\"{}\",platform=\"{platform}\"}}",
                o.as_str()
            ));
        }
        for c in Class::ALL {
            want.push(format!(
                "attempts_total{{account=\"{account}\",class=\"{}\",platform=\"{platform}\"}}",
                c.as_str()
            ));
        }
        for r in Reason::ALL {
            want.push(format!(
                "dead_letters_total{{account=\"{account}\",platform=\"{platform}\",reason=\"{}\"}}",
                r.as_str()
            ));
        }
        for name in [
            "ambiguous_resends_total",
            "unclassified_codes_total",
            "events_open",
            "events_parked",
            "oldest_open_event_age_seconds",
            "oldest_parked_event_age_seconds",
            "max_parked_seconds",
        ] {
            want.push(format!("{name}{{account=\"{account}\",platform=\"{platform}\"}}"));
        }
        for tier in ["5s", "30s"] {
            want.push(format!("retries_scheduled_total{{platform=\"{platform}\",tier=\"{tier}\"}}"));
        }
        for key in want {
            assert_eq!(all.get(format!("postback_{key}").as_str()), Some(&0.0), "{key}");
        }
    }
    for result in ClaimResult::ALL {
        assert_eq!(all[format!("postback_claims_total{{result=\"{}\"}}", result.as_str()).as_str()], 0.0);
    }
    for to in ["retry", "parked", "returned"] {
        assert_eq!(all[format!("postback_events_handed_off_total{{to=\"{to}\"}}").as_str()], 0.0);
    }
    for result in ReplayResult::ALL {
        assert_eq!(all[format!("postback_replay_records_total{{result=\"{}\"}}", result.as_str()).as_str()], 0.0);
    }
    for outcome in Outcome::ALL {
        assert_eq!(all[format!("postback_replay_outcomes_total{{outcome=\"{}\"}}", outcome.as_str()).as_str()], 0.0);
    }
    for hold in Hold::ALL {
        assert_eq!(all[format!("postback_worker_holds{{cause=\"{}\"}}", hold.as_str()).as_str()], 0.0);
    }
    for name in ["replay_running", "replay_stopped", "unplaced_partitions", "refused_topics", "clock_offset_seconds"] {
        assert_eq!(all[format!("postback_{name}").as_str()], 0.0);
    }
    assert_eq!(all["postback_events_received_total{topic=\"conversions\"}"], 0.0);
}

#[test]
fn what_names_no_account_is_counted_as_unknown_and_shows_nothing_it_cannot_reach() {
    let metrics = setup();
    assert!(metrics.unknown(None) > 1_000_000, "accounts may be added for a long time");
    metrics.account(metrics.unknown(None)).dead_letter(Reason::Malformed);
    metrics.account(metrics.unknown(Some("baizhu"))).dead_letter(Reason::UnknownAccount);
    metrics.account(metrics.unknown(None)).attempt(Class::Retry);
    let text = metrics.render();
    let all = series(&text);
    assert_eq!(all["postback_dead_letters_total{account=\"unknown\",platform=\"unknown\",reason=\"malformed\"}"], 1.0);
    assert_eq!(
        all["postback_dead_letters_total{account=\"unknown\",platform=\"baizhu\",reason=\"unknown_account\"}"],
        1.0
    );
    let families: BTreeSet<_> =
        all.keys().filter(|k| k.contains("account=\"unknown\"")).map(|k| k.split('{').next().unwrap()).collect();
    let want = ["postback_dead_letters_total", "postback_events_finished_total", "postback_events_open"];
    assert_eq!(families.into_iter().collect::<Vec<_>>(), want);
}

#[test]
fn a_platform_without_an_account_falls_back_to_unknown() {
    let metrics = Metrics::new(Setup { accounts: vec![("baizhu", "a".into())], ..Setup::default() });
    assert_eq!(metrics.unknown(Some("qihoo360")), metrics.unknown(None));
    assert!(Arc::ptr_eq(metrics.account(99), metrics.account(metrics.unknown(None))));
}

#[test]
fn an_index_of_a_label_is_its_place_in_the_list() {
    assert!(Outcome::ALL.iter().enumerate().all(|(i, x)| *x as usize == i));
    assert!(Class::ALL.iter().enumerate().all(|(i, x)| *x as usize == i));
    assert!(Reason::ALL.iter().enumerate().all(|(i, x)| *x as usize == i));
    assert!(ClaimResult::ALL.iter().enumerate().all(|(i, x)| *x as usize == i));
    assert!(LaneState::ALL.iter().enumerate().all(|(i, x)| *x as usize == i));
    assert!(Hold::ALL.iter().enumerate().all(|(i, x)| *x as usize == i));
}

#[test]
fn a_lane_has_exactly_one_state() {
    let metrics = setup();
    let of = |state: &str| {
        series(&metrics.render())[format!("postback_lane_state{{account=\"acme-ps\",state=\"{state}\"}}").as_str()]
    };
    assert_eq!(of("flowing"), 1.0);
    let breaker = |account: &str, state: &str| {
        let name = format!("postback_breaker_state{{account=\"{account}\",state=\"{state}\"}}");
        series(&metrics.render())[name.as_str()]
    };
    assert_eq!((breaker("acme-ps", "closed"), breaker("acme-ps", "open")), (1.0, 0.0), "born at rest");
    metrics.account(0).breaker_state(BreakerState::Probing);
    assert_eq!(["closed", "open", "probing", "ramping"].map(|state| breaker("acme-ps", state)), [0.0, 0.0, 1.0, 0.0]);
    assert_eq!(breaker("acme-bz", "closed"), 1.0);
    metrics.account(0).lane_state(LaneState::Halted);
    assert_eq!(LaneState::ALL.map(|s| of(s.as_str())), [0.0, 0.0, 0.0, 1.0, 0.0]);
}

#[test]
fn a_revoked_partition_leaves_no_series_behind() {
    let metrics = setup();
    metrics.set_partitions(vec![partition(3)]);
    for series in ["consumer_lag_records{0} 7", "retention_seconds{0} 604800", "retention_headroom_seconds{0} -5"] {
        let series = series.replace("{0}", "{partition=\"3\",topic=\"conversions\"}");
        assert!(metrics.render().contains(&format!("postback_{series}\n")), "{series}");
    }
    metrics.set_partitions(vec![PartitionMetrics { headroom: None, ..partition(3) }]);
    assert!(!metrics.render().contains("headroom_seconds{"), "an unknown one is not 0");
    metrics.set_partitions(Vec::new());
    let text = metrics.render();
    assert!(!text.contains("partition=\"3\""));
    assert!(text.contains("# TYPE postback_commit_age_seconds gauge"));
}

#[test]
fn each_cause_of_a_hold_is_shown_for_as_long_as_it_lasts() {
    let metrics = setup();
    let shown = || {
        let text = metrics.render();
        let all = series(&text);
        Hold::ALL.map(|hold| all[format!("postback_worker_holds{{cause=\"{}\"}}", hold.as_str()).as_str()])
    };
    metrics.set_holds(&[Hold::Dedupe, Hold::Clock]);
    assert_eq!(shown(), [0.0, 1.0, 0.0, 1.0]);
    metrics.set_holds(&[Hold::Kafka]);
    assert_eq!(shown(), [0.0, 0.0, 1.0, 0.0]);
    metrics.set_clock_offset_ms(-61_500);
    assert!(metrics.render().contains("postback_clock_offset_seconds -61.5\n"));
}

#[test]
fn the_age_of_what_is_parked_grows_by_itself() {
    let metrics = setup();
    metrics.account(0).max_parked.set(259_200.0);
    metrics.account(0).oldest_parked_at_ms.set(chrono::Utc::now().timestamp_millis() - 3_600_000);
    let text = metrics.render();
    let all = series(&text);
    let age = all["postback_oldest_parked_event_age_seconds{account=\"acme-ps\",platform=\"qihoo360\"}"];
    assert!((3_600.0..3_660.0).contains(&age), "{age}");
    assert_eq!(all["postback_oldest_parked_event_age_seconds{account=\"acme-bz\",platform=\"baizhu\"}"], 0.0);
    assert_eq!(all["postback_max_parked_seconds{account=\"acme-ps\",platform=\"qihoo360\"}"], 259_200.0);
}

#[test]
fn histograms_reach_from_milliseconds_to_days() {
    let metrics = setup();
    metrics.account(0).attempt_duration(Duration::from_millis(3));
    metrics.account(0).age_at_delivery(-5.0);
    metrics.account(0).rate_wait(Duration::from_secs(2));
    let text = metrics.render();
    for edge in ["0.005", "3", "60"] {
        assert!(
            text.contains(&format!(
                "postback_attempt_duration_seconds_bucket{{platform=\"qihoo360\",le=\"{edge}\"}} 1"
            ))
        );
    }
    for edge in ["0.1", "10", "300", "604800"] {
        assert!(text.contains(&format!(
            "postback_event_age_at_delivery_seconds_bucket{{platform=\"qihoo360\",le=\"{edge}\"}} 1"
        )));
    }
}

#[test]
fn the_age_of_a_secret_is_that_of_the_one_in_force() {
    let metrics = setup();
    let now = chrono::Utc::now().timestamp_millis();
    let day = 86_400_000;
    metrics.account(0).set_secret_windows(vec![
        (Some(now - 10 * day), None),
        (Some(now - 2 * day), None),
        (Some(now + day), None),
    ]);
    let text = metrics.render();
    let age = series(&text)["postback_secret_age_days{account=\"acme-ps\"}"];
    assert!((2.0..2.01).contains(&age), "{age}");
    metrics.account(0).set_secret_windows(vec![(None, None)]);
    assert!(!metrics.render().contains("secret_age_days{"));
}

#[test]
fn a_hostile_topic_name_keeps_the_exposition_valid() {
    let metrics = setup();
    metrics.received("a\"} 1\nevil{x=\"\\");
    let text = metrics.render();
    assert!(text.contains(r#"postback_events_received_total{topic="a\"} 1\nevil{x=\"\\"} 1"#), "{text}");
}

#[test]
fn an_event_without_an_end_is_seen_as_unaccounted() {
    let metrics = setup();
    metrics.received("conversions");
    assert_eq!(metrics.unaccounted_events(), 1);
    metrics.account(0).open.inc();
    assert_eq!(metrics.unaccounted_events(), 0);
    metrics.account(0).open.dec();
    metrics.handed_off_parked.inc();
    assert_eq!(metrics.unaccounted_events(), 0);
    metrics.account(0).finished(Outcome::Delivered);
    assert_eq!(metrics.unaccounted_events(), -1);
    assert!(metrics.render().contains("postback_unaccounted_events -1\n"));
}

#[test]
fn unaccounted_stays_zero_while_threads_that_are_stopped_anywhere_move_events() {
    let metrics = setup();
    let stop = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        for index in 0..4 {
            let (metrics, stop) = (&metrics, &stop);
            scope.spawn(move || {
                let received = metrics.received_counter("conversions");
                while !stop.load(Ordering::Relaxed) {
                    let step = metrics.step();
                    received.inc();
                    // This simulates that the thread loses its core here.
                    std::thread::yield_now();
                    metrics.account(index % 2).open.inc();
                    drop(step);
                    let _step = metrics.step();
                    metrics.account(index % 2).finished(Outcome::Delivered);
                    std::thread::yield_now();
                    metrics.account(index % 2).open.dec();
                }
            });
        }
        let seen: BTreeSet<i64> = (0..200).map(|_| metrics.unaccounted_events()).collect();
        // The flag is set before any assertion. Otherwise a failed assertion would leave the other thread running for
        // ever.
        stop.store(true, Ordering::Relaxed);
        seen
    });
    assert_eq!(seen, BTreeSet::from([0]));
    assert_eq!(metrics.unaccounted_events(), 0);
}

#[test]
fn a_step_under_way_hides_its_half_and_shows_what_was_certain() {
    let metrics = setup();
    metrics.received("conversions");
    assert_eq!(metrics.unaccounted_events(), 1);
    let step = metrics.step();
    metrics.received("conversions");
    assert_eq!(metrics.unaccounted_events(), 1);
    drop(step);
    assert_eq!(metrics.unaccounted_events(), 2);
}

#[test]
fn a_topic_that_is_read_shows_whether_the_storm_brake_stopped_it() {
    let metrics = setup();
    let shown = |read: &[&str], stopped: &[&str]| {
        metrics.storms.show(read.iter().copied(), &stopped.iter().map(|topic| (*topic).to_owned()).collect());
        let text = metrics.render();
        let all = series(&text);
        ["a", "b"].map(|topic| all.get(format!("postback_storm_stopped{{topic=\"{topic}\"}}").as_str()).copied())
    };
    assert_eq!(shown(&["a"], &[]), [Some(0.0), None]);
    assert_eq!(shown(&["a"], &["b"]), [Some(0.0), Some(1.0)]);
    assert_eq!(shown(&[], &["a"]), [Some(1.0), Some(0.0)], "its partitions may be elsewhere");
}
